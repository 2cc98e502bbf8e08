// FlushDenormals: while it lives, its thread takes denormal operands for 0 and makes 0 of denormal results, as all threads of TensorFlow
// do; then the mode before is back. Besides the same bits this saves the processor's slow path, which moments that decay to nothing would
// take forever. On processors other than x86 and ARM it does nothing. Enclose calls the compiler cannot look into (kernels, by pointer):
// arithmetic in the same function may be moved out.
#ifndef GRADSYNC_KERNELS_FLUSH_DENORMALS_H_
#define GRADSYNC_KERNELS_FLUSH_DENORMALS_H_

#include <cstdint>
#include <type_traits>

#include "core/half.h"

#if defined(__SSE2__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace gradsync::kernels {

class FlushDenormals {
 public:
  FlushDenormals() : before_(Read()) { Write(before_ | kFlush); }
  ~FlushDenormals() { Write(before_); }
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
#if defined(__SSE2__) || defined(_M_X64)
  using Mode = unsigned int;
  static constexpr Mode kFlush = 0x8040;  // flush to zero, denormals are zero
  static Mode Read() { return _mm_getcsr(); }
  static void Write(Mode mode) { _mm_setcsr(mode); }
#elif defined(__aarch64__)
  using Mode = std::uint64_t;
  static constexpr Mode kFlush = std::uint64_t{1} << 24;
  static Mode Read() {
    Mode mode = 0;
    asm volatile("mrs %0, fpcr" : "=r"(mode));
    return mode;
  }
  static void Write(Mode mode) { asm volatile("msr fpcr, %0" : : "r"(mode)); }
#else
  using Mode = int;
  static constexpr Mode kFlush = 0;
  static Mode Read() { return 0; }
  static void Write(Mode /*mode*/) {}
#endif

  const Mode before_;
};

// For arithmetic on elements of T. Halves have no part in it: their denormals are ordinary floats, which TensorFlow keeps, and ToFloat
// makes them of denormal floats.
struct KeepDenormals {
  KeepDenormals() {}
};
template <typename T>
using DenormalsOf = std::conditional_t<std::is_same_v<T, Half>, KeepDenormals, FlushDenormals>;

}  // namespace gradsync::kernels

#endif  // GRADSYNC_KERNELS_FLUSH_DENORMALS_H_
