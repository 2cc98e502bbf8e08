// Lines: the elements of some whole cache lines, kept in vector registers: loaded, added to, divided, stored, and never in memory between.
// Half types have none (they are widened, see arithmetic.h), nor have compilers without vectors. Everything is always inlined (see
// cpu/instruction_set.h).
#ifndef GRADSYNC_KERNELS_CPU_LINES_H_
#define GRADSYNC_KERNELS_CPU_LINES_H_

#include <cstdint>
#include <type_traits>

#include "kernels/cpu/arithmetic.h"

namespace gradsync::kernels::GRADSYNC_KERNELS_NAMESPACE {

template <typename T>
inline constexpr auto kLineElements = static_cast<std::int64_t>(kLineBytes / sizeof(T));

#if defined(__GNUC__)
#if defined(__AVX512F__)
inline constexpr std::size_t kVectorBytes = 64;
#elif defined(__AVX2__)
inline constexpr std::size_t kVectorBytes = 32;
#else
inline constexpr std::size_t kVectorBytes = 16;
#endif

template <typename T>
inline constexpr bool kHasLines = !kIsHalfType<T>;

// A vector register of T; integers as unsigned ones, which wrap around.
template <typename T>
struct VectorOf {
  using Lane = typename std::conditional_t<std::is_integral_v<T>, std::make_unsigned<T>, std::type_identity<T>>::type;
  using Type [[gnu::vector_size(kVectorBytes)]] = Lane;
  using Unaligned [[gnu::vector_size(kVectorBytes), gnu::aligned(alignof(T)), gnu::may_alias]] = Lane;
};

template <typename T, int kLines>
class Lines {
 public:
  GRADSYNC_ALWAYS_INLINE explicit Lines(const T* from) {
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) vectors_[v] = Load(from + v * kLanes);
  }
  GRADSYNC_ALWAYS_INLINE void Add(const T* row) {
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) vectors_[v] += Load(row + v * kLanes);
  }
  // The bits of DivideTile.
  GRADSYNC_ALWAYS_INLINE void Divide(std::int64_t divisor) {
    if (divisor == 1) return;
    if constexpr (std::is_floating_point_v<T>) {
      const T by = static_cast<T>(divisor);
      const bool is_power_of_two = (divisor & (divisor - 1)) == 0;
      const T factor = 1 / by;
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; ++v) vectors_[v] = is_power_of_two ? vectors_[v] * factor : vectors_[v] / by;
    } else {
      alignas(kLineBytes) T tile[kLines * kLineElements<T>];
      Store(tile, gradsync::kernels::Store::kCached);
      DivideTile<T, Rounding::kOnce>(kLines * kLineElements<T>, divisor, tile);
      *this = Lines(tile);
    }
  }
  // kStreaming: to whole lines.
  GRADSYNC_ALWAYS_INLINE void Store(T* to, gradsync::kernels::Store store) const {
    if (store == gradsync::kernels::Store::kStreaming) {
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; ++v) StreamVector(to + v * kLanes, vectors_[v]);
    } else {
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; ++v) *reinterpret_cast<Unaligned*>(to + v * kLanes) = vectors_[v];
    }
  }

 private:
  using Vector = typename VectorOf<T>::Type;
  using Unaligned = typename VectorOf<T>::Unaligned;
  static constexpr auto kVectors = static_cast<int>(kLines * kLineBytes / kVectorBytes);
  static constexpr auto kLanes = static_cast<std::int64_t>(kVectorBytes / sizeof(T));

  GRADSYNC_ALWAYS_INLINE static Vector Load(const T* from) { return *reinterpret_cast<const Unaligned*>(from); }
  GRADSYNC_ALWAYS_INLINE static void StreamVector(T* to, Vector value) {
#if defined(__AVX512F__)
    _mm512_stream_si512(reinterpret_cast<__m512i*>(to), reinterpret_cast<__m512i>(value));
#elif defined(__AVX2__)
    _mm256_stream_si256(reinterpret_cast<__m256i*>(to), reinterpret_cast<__m256i>(value));
#elif defined(__SSE2__)
    _mm_stream_si128(reinterpret_cast<__m128i*>(to), reinterpret_cast<__m128i>(value));
#else
    *reinterpret_cast<Unaligned*>(to) = value;
#endif
  }

  Vector vectors_[kVectors];
};
#else
template <typename T>
inline constexpr bool kHasLines = false;
#endif

}  // namespace gradsync::kernels::GRADSYNC_KERNELS_NAMESPACE

#endif  // GRADSYNC_KERNELS_CPU_LINES_H_
