// float16 and bfloat16 as storage types: sixteen bits and conversions to and from float. There is no arithmetic on them; kernels widen to
// float, compute, and round once (to nearest, ties to even; NaN stays NaN). The conversions have no branches on data that would stop a
// compiler from vectorizing a loop over them. Trivial types: no ownership, no thread rules.
#ifndef GRADSYNC_CORE_HALF_H_
#define GRADSYNC_CORE_HALF_H_

#include <cstdint>
#include <type_traits>

#include "core/always_inline.h"

namespace gradsync {

struct Half {
  std::uint16_t bits;
  friend bool operator==(Half, Half) = default;
};

struct BFloat16 {
  std::uint16_t bits;
  friend bool operator==(BFloat16, BFloat16) = default;
};

// Exact: every half is a float. Scaling by 2^112 rebiases the exponent and normalizes subnormals in one multiplication.
[[nodiscard]] GRADSYNC_ALWAYS_INLINE float ToFloat(Half value) {
  const std::uint32_t magnitude = (value.bits & 0x7fffU) << 13;
  const std::uint32_t sign = (value.bits & 0x8000U) << 16;
  const float scaled = __builtin_bit_cast(float, magnitude) * 0x1p112F;
  const std::uint32_t finite = __builtin_bit_cast(std::uint32_t, scaled);
  const std::uint32_t special = magnitude | 0x7f800000U;
  return __builtin_bit_cast(float, sign | (magnitude >= 0x0f800000U ? special : finite));
}

[[nodiscard]] GRADSYNC_ALWAYS_INLINE Half ToHalf(float value) {
  const std::uint32_t bits = __builtin_bit_cast(std::uint32_t, value);
  const std::uint32_t sign = bits & 0x80000000U;
  const std::uint32_t magnitude = bits ^ sign;
  // Normal results: rebias, then round to even by adding half a unit less the parity of the last kept bit.
  const std::uint32_t odd = (magnitude >> 13) & 1U;
  const std::uint32_t normal = (magnitude - 0x38000000U + 0xfffU + odd) >> 13;
  // Subnormal results: adding 0.5 aligns the fraction with float's last bits and lets the addition itself round.
  const float shifted = __builtin_bit_cast(float, magnitude) + 0.5F;
  const std::uint32_t subnormal = __builtin_bit_cast(std::uint32_t, shifted) - 0x3f000000U;
  const std::uint32_t special = magnitude > 0x7f800000U ? 0x7e00U : 0x7c00U;
  const std::uint32_t finite = magnitude < 0x38800000U ? subnormal : normal;
  const std::uint32_t result = magnitude >= 0x477ff000U ? special : finite;
  return Half{static_cast<std::uint16_t>((sign >> 16) | result)};
}

[[nodiscard]] GRADSYNC_ALWAYS_INLINE float ToFloat(BFloat16 value) {
  return __builtin_bit_cast(float, static_cast<std::uint32_t>(value.bits) << 16);
}

[[nodiscard]] GRADSYNC_ALWAYS_INLINE BFloat16 ToBFloat16(float value) {
  const std::uint32_t bits = __builtin_bit_cast(std::uint32_t, value);
  const bool is_nan = (bits & 0x7fffffffU) > 0x7f800000U;
  const std::uint32_t rounded = (bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16;
  const std::uint32_t quiet = (bits >> 16) | 0x40U;
  return BFloat16{static_cast<std::uint16_t>(is_nan ? quiet : rounded)};
}

[[nodiscard]] GRADSYNC_ALWAYS_INLINE bool IsFinite(Half value) { return (value.bits & 0x7c00U) != 0x7c00U; }
[[nodiscard]] GRADSYNC_ALWAYS_INLINE bool IsFinite(BFloat16 value) { return (value.bits & 0x7f80U) != 0x7f80U; }
[[nodiscard]] GRADSYNC_ALWAYS_INLINE bool IsFinite(float value) {
  return (__builtin_bit_cast(std::uint32_t, value) & 0x7f800000U) != 0x7f800000U;
}
[[nodiscard]] GRADSYNC_ALWAYS_INLINE bool IsFinite(double value) {
  constexpr std::uint64_t kExponent = 0x7ff0000000000000U;
  return (__builtin_bit_cast(std::uint64_t, value) & kExponent) != kExponent;
}

// By type, for templates: FromFloat<Half>(x).
template <typename T>
[[nodiscard]] T FromFloat(float value) = delete;
template <>
[[nodiscard]] GRADSYNC_ALWAYS_INLINE Half FromFloat<Half>(float value) {
  return ToHalf(value);
}
template <>
[[nodiscard]] GRADSYNC_ALWAYS_INLINE BFloat16 FromFloat<BFloat16>(float value) {
  return ToBFloat16(value);
}

// Rounded once: double to float would round a first time. That step is made to odd here (Boldo and Melquiond 2008): towards zero, with the
// last bit telling that something was lost.
template <typename T>
[[nodiscard]] GRADSYNC_ALWAYS_INLINE T FromDouble(double value) {
  const float near = static_cast<float>(value);
  const double back = near;
  if (back == value || value != value) return FromFloat<T>(near);
  const bool is_away = (back > value) == (value > 0);
  return FromFloat<T>(__builtin_bit_cast(float, (__builtin_bit_cast(std::uint32_t, near) - (is_away ? 1U : 0U)) | 1U));
}

template <typename T>
inline constexpr bool kIsHalfType = std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>;

}  // namespace gradsync

#endif  // GRADSYNC_CORE_HALF_H_
