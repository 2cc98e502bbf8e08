// How far a sum may lie from the same sum in float64, by the standard model of rounding (Higham, Accuracy and Stability of Numerical
// Algorithms, 3.1): n operations of unit roundoff u err by at most gamma(n) = n u / (1 - n u), relative to the sum of the magnitudes.
#ifndef GRADSYNC_TEST_NATIVE_ERROR_BOUND_H_
#define GRADSYNC_TEST_NATIVE_ERROR_BOUND_H_

#include <cmath>
#include <limits>
#include <type_traits>

#include "core/half.h"

namespace gradsync::test {

// Half the distance from 1 to the next number of the type, and the least positive number. Integers round nothing.
template <typename T>
struct Precision {
  static constexpr double kRoundoff = std::is_integral_v<T> ? 0 : static_cast<double>(std::numeric_limits<T>::epsilon()) / 2;
  static constexpr double kLeast = std::is_integral_v<T> ? 0 : static_cast<double>(std::numeric_limits<T>::denorm_min());
};
template <>
struct Precision<Half> {
  static constexpr double kRoundoff = 0x1p-11;
  static constexpr double kLeast = 0x1p-24;
};
template <>
struct Precision<BFloat16> {
  static constexpr double kRoundoff = 0x1p-8;
  static constexpr double kLeast = 0x1p-133;
};

inline double Gamma(double operations, double roundoff) { return operations * roundoff / (1 - operations * roundoff); }

// Of `count` numbers of type T, added in any order and divided once: `magnitude` is the sum of their magnitudes, divided. They are added in
// T, half types in float and rounded to T at the end; float64, where the other sum is made, rounds as often.
template <typename T>
double MeanErrorBound(int count, double magnitude) {
  using Wide = std::conditional_t<kIsHalfType<T>, float, T>;
  const double summed = magnitude * (Gamma(count, Precision<Wide>::kRoundoff) + Gamma(count, Precision<double>::kRoundoff));
  const double narrowed = kIsHalfType<T> ? (magnitude + summed) * Precision<T>::kRoundoff : 0;
  return summed + narrowed + Precision<T>::kLeast;
}

}  // namespace gradsync::test

#endif  // GRADSYNC_TEST_NATIVE_ERROR_BOUND_H_
