// The numbers that the optimizers compute with: elements themselves, or, of half types, floats that are rounded after every operation.
// Everything is always inlined (see cpu/instruction_set.h). Plain values; a Cell refers to memory of its caller's.
#ifndef GRADSYNC_KERNELS_CPU_NUMBER_H_
#define GRADSYNC_KERNELS_CPU_NUMBER_H_

#include <math.h>  // NOLINT(modernize-deprecated-headers): C's functions, not the inline ones of <cmath>

#include "core/half.h"
#include "kernels/cpu/arithmetic.h"

namespace gradsync::kernels::GRADSYNC_KERNELS_NAMESPACE {

// A half type in arithmetic: every operation is done in float and rounded to S, which is what arithmetic in S itself would give, as float
// has more than twice its digits (Figueroa 1995).
template <typename S>
struct Rounded {
  float value;

  GRADSYNC_ALWAYS_INLINE explicit Rounded(S stored) : value(Widen(stored)) {}
  GRADSYNC_ALWAYS_INLINE explicit Rounded(double number) : value(Widen(FromDouble<S>(number))) {}
  GRADSYNC_ALWAYS_INLINE static Rounded Of(float result) { return Rounded(Narrow<S>(result)); }

  GRADSYNC_ALWAYS_INLINE friend Rounded operator+(Rounded a, Rounded b) { return Of(a.value + b.value); }
  GRADSYNC_ALWAYS_INLINE friend Rounded operator-(Rounded a, Rounded b) { return Of(a.value - b.value); }
  GRADSYNC_ALWAYS_INLINE friend Rounded operator*(Rounded a, Rounded b) { return Of(a.value * b.value); }
  GRADSYNC_ALWAYS_INLINE friend Rounded operator/(Rounded a, Rounded b) { return Of(a.value / b.value); }
  GRADSYNC_ALWAYS_INLINE friend Rounded operator-(Rounded a) { return Of(-a.value); }
  GRADSYNC_ALWAYS_INLINE friend bool operator<(Rounded a, Rounded b) { return a.value < b.value; }
  GRADSYNC_ALWAYS_INLINE friend bool operator>(Rounded a, Rounded b) { return a.value > b.value; }
  GRADSYNC_ALWAYS_INLINE Rounded& operator+=(Rounded other) { return *this = *this + other; }
  GRADSYNC_ALWAYS_INLINE Rounded& operator-=(Rounded other) { return *this = *this - other; }
};

// What elements of type T are while one computes with them.
template <typename T>
struct NumberOf {
  using Type = T;
};
template <>
struct NumberOf<Half> {
  using Type = Rounded<Half>;
};
template <>
struct NumberOf<BFloat16> {
  using Type = Rounded<BFloat16>;
};
template <typename T>
using Number = typename NumberOf<T>::Type;

// An element of the memory as a number that an update changes.
template <typename T>
class Cell {
 public:
  GRADSYNC_ALWAYS_INLINE explicit Cell(T& element) : element_(element) {}
  GRADSYNC_ALWAYS_INLINE T& number() { return element_; }

 private:
  T& element_;
};
template <typename T>
requires kIsHalfType<T>
class Cell<T> {
 public:
  GRADSYNC_ALWAYS_INLINE explicit Cell(T& element) : element_(element), number_(element) {}
  GRADSYNC_ALWAYS_INLINE ~Cell() { element_ = Narrow<T>(number_.value); }
  Cell(const Cell&) = delete;
  Cell& operator=(const Cell&) = delete;
  GRADSYNC_ALWAYS_INLINE Number<T>& number() { return number_; }

 private:
  T& element_;
  Number<T> number_;
};

GRADSYNC_ALWAYS_INLINE float Sqrt(float x) { return ::sqrtf(x); }
GRADSYNC_ALWAYS_INLINE double Sqrt(double x) { return ::sqrt(x); }
template <typename S>
GRADSYNC_ALWAYS_INLINE Rounded<S> Sqrt(Rounded<S> x) {
  return Rounded<S>::Of(::sqrtf(x.value));
}
// Of half types rounded once, as most of TensorFlow's are.
template <typename N>
GRADSYNC_ALWAYS_INLINE N ReciprocalRoot(N x) {
  return N{1} / Sqrt(x);
}
template <typename S>
GRADSYNC_ALWAYS_INLINE Rounded<S> ReciprocalRoot(Rounded<S> x) {
  return Rounded<S>::Of(1.0F / ::sqrtf(x.value));
}
GRADSYNC_ALWAYS_INLINE float Pow(float x, float y) { return ::powf(x, y); }
GRADSYNC_ALWAYS_INLINE double Pow(double x, double y) { return ::pow(x, y); }
template <typename S>
GRADSYNC_ALWAYS_INLINE Rounded<S> Pow(Rounded<S> x, Rounded<S> y) {
  return Rounded<S>::Of(::powf(x.value, y.value));
}
GRADSYNC_ALWAYS_INLINE float Abs(float x) { return ::fabsf(x); }
GRADSYNC_ALWAYS_INLINE double Abs(double x) { return ::fabs(x); }
template <typename S>
GRADSYNC_ALWAYS_INLINE Rounded<S> Abs(Rounded<S> x) {
  return Rounded<S>::Of(::fabsf(x.value));
}

// As std::max and std::min: a NaN in `b` is passed over.
template <typename N>
GRADSYNC_ALWAYS_INLINE N Max(N a, N b) {
  return a < b ? b : a;
}
template <typename N>
GRADSYNC_ALWAYS_INLINE N Min(N a, N b) {
  return b < a ? b : a;
}
// The processor's own take denormals for 0, as all arithmetic here does; of numbers that are only passed on a compiler may make copies.
GRADSYNC_ALWAYS_INLINE Rounded<BFloat16> Flushed(Rounded<BFloat16> x) {
  const std::uint32_t bits = __builtin_bit_cast(std::uint32_t, x.value);
  x.value = __builtin_bit_cast(float, (bits & 0x7f800000U) == 0 ? bits & 0x80000000U : bits);
  return x;
}
GRADSYNC_ALWAYS_INLINE Rounded<BFloat16> Max(Rounded<BFloat16> a, Rounded<BFloat16> b) { return Flushed(a < b ? b : a); }
GRADSYNC_ALWAYS_INLINE Rounded<BFloat16> Min(Rounded<BFloat16> a, Rounded<BFloat16> b) { return Flushed(b < a ? b : a); }

}  // namespace gradsync::kernels::GRADSYNC_KERNELS_NAMESPACE

#endif  // GRADSYNC_KERNELS_CPU_NUMBER_H_
