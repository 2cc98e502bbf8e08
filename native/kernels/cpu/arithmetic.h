// The arithmetic that the kernels of this folder share: widening, rounding, adding and dividing single elements. Everything is always
// inlined (see cpu/instruction_set.h); pure functions.
#ifndef GRADSYNC_KERNELS_CPU_ARITHMETIC_H_
#define GRADSYNC_KERNELS_CPU_ARITHMETIC_H_

#include <cstdint>
#include <type_traits>

#include "kernels/cpu/instruction_set.h"
#include "kernels/kernels.h"

namespace gradsync::kernels::GRADSYNC_KERNELS_NAMESPACE {

// When half types are rounded.
enum class Rounding { kOnce, kEach };

GRADSYNC_ALWAYS_INLINE float Widen(Half value) { return ToFloat(value); }
GRADSYNC_ALWAYS_INLINE float Widen(BFloat16 value) { return ToFloat(value); }
template <typename T>
GRADSYNC_ALWAYS_INLINE T Widen(T value) {
  return value;
}

template <typename T>
GRADSYNC_ALWAYS_INLINE T Narrow(Wide<T> value) {
  if constexpr (kIsHalfType<T>) {
    return FromFloat<T>(value);
  } else {
    return value;
  }
}

template <typename T, Rounding kRounding>
GRADSYNC_ALWAYS_INLINE Wide<T> Round(Wide<T> value) {
  if constexpr (kRounding == Rounding::kEach) {
    return Widen(Narrow<T>(value));
  } else {
    return value;
  }
}

// Signed integers add and multiply as unsigned ones: they wrap around instead of being undefined.
struct Add {
  template <typename W>
  GRADSYNC_ALWAYS_INLINE static W Apply(W a, W b) {
    if constexpr (std::is_integral_v<W>) {
      return static_cast<W>(static_cast<std::make_unsigned_t<W>>(a) + static_cast<std::make_unsigned_t<W>>(b));
    } else {
      return a + b;
    }
  }
};
// The quotient of two int32 in double is exact after truncation: it lies at least 2^-31 of its size away from any integer it is not, and
// double rounds by 2^-53. Unlike integer division this is vectorized.
template <typename W>
GRADSYNC_ALWAYS_INLINE W Quotient(W value, W divisor) {
  if constexpr (std::is_same_v<W, std::int32_t>) {
    return static_cast<W>(static_cast<double>(value) / static_cast<double>(divisor));
  } else {
    return value / divisor;
  }
}

// Divides a tile. Dividing by a power of two and multiplying by its reciprocal round the same number, so they give the same bits; the
// second is several times faster.
template <typename T, Rounding kRounding>
GRADSYNC_ALWAYS_INLINE void DivideTile(std::int64_t count, std::int64_t divisor, Wide<T>* tile) {
  const Wide<T> by = Round<T, kRounding>(static_cast<Wide<T>>(divisor));
  if constexpr (std::is_floating_point_v<Wide<T>>) {
    if ((divisor & (divisor - 1)) == 0) {
      const Wide<T> reciprocal = 1 / by;
      for (std::int64_t i = 0; i < count; ++i) tile[i] *= reciprocal;
      return;
    }
  }
  for (std::int64_t i = 0; i < count; ++i) tile[i] = Quotient(tile[i], by);
}

}  // namespace gradsync::kernels::GRADSYNC_KERNELS_NAMESPACE

#endif  // GRADSYNC_KERNELS_CPU_ARITHMETIC_H_
