// A variable with its slots for tests of updates: owned vectors, and the views that native/optimize takes. Used by one thread.
#ifndef GRADSYNC_TEST_NATIVE_OPTIMIZE_UPDATE_SUPPORT_H_
#define GRADSYNC_TEST_NATIVE_OPTIMIZE_UPDATE_SUPPORT_H_

#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "optimize/dense_update.h"
#include "optimize/optimizer.h"
#include "optimize/sparse_update.h"
#include "support.h"

namespace gradsync::optimize {

template <typename T>
struct State {
  Shape shape;
  std::vector<T> variable;
  std::vector<std::vector<T>> slots;

  MutableTensorView ViewOf(std::vector<T>& values) {
    return {.dtype = kDTypeOf<T>, .shape = shape, .data = values.data(), .bytes = values.size() * sizeof(T)};
  }
  std::vector<MutableTensorView> SlotViews() {
    std::vector<MutableTensorView> views;
    for (auto& slot : slots) views.push_back(ViewOf(slot));
    return views;
  }

  Status Dense(const Optimizer& optimizer, const std::vector<std::vector<T>>& gradients, Services& services, std::int64_t divisor = 1,
               double scale = 1) {
    std::vector<TensorView> views;
    for (const auto& gradient : gradients) {
      const Shape* dims = gradient.size() == variable.size() ? &shape : nullptr;
      views.push_back(
          {.dtype = kDTypeOf<T>, .shape = dims ? Dims(*dims) : Dims(), .data = gradient.data(), .bytes = gradient.size() * sizeof(T)});
    }
    const auto slot_views = SlotViews();
    return ApplyDense(optimizer, {.variable = ViewOf(variable), .slots = slot_views}, {views, divisor, scale}, services);
  }

  Status Sparse(const Optimizer& optimizer, const std::vector<std::int64_t>& indices, const std::vector<T>& rows, Services& services,
                double scale = 1) {
    const test::Array<std::int64_t> index_array = test::Vector(indices);
    test::Array<T> row_array{.shape = shape, .data = rows};
    row_array.shape.front() = static_cast<std::int64_t>(indices.size());
    const auto slot_views = SlotViews();
    return ApplySparse(optimizer, {.variable = ViewOf(variable), .slots = slot_views},
                       {.indices = index_array.view(), .values = row_array.view(), .scale = scale}, services);
  }

  // Bit by bit, so that NaN equals NaN and 0 is not -0.
  friend bool operator==(const State& a, const State& b) {
    const auto same = [](const std::vector<T>& x, const std::vector<T>& y) {
      return x.size() == y.size() && (x.empty() || std::memcmp(x.data(), y.data(), x.size() * sizeof(T)) == 0);
    };
    if (!same(a.variable, b.variable) || a.slots.size() != b.slots.size()) return false;
    for (std::size_t i = 0; i < a.slots.size(); ++i) {
      if (!same(a.slots[i], b.slots[i])) return false;
    }
    return true;
  }
};

// Every optimizer, those with variants in each of them.
inline std::vector<Optimizer> AllOptimizers() {
  using namespace kernels;  // NOLINT(google-build-using-namespace): the list of its types
  std::vector<Optimizer> all = {GradientDescent{.alpha = 0.1},       AdamWithAmsgrad{0.9, 0.999, 0.01, 0.9, 0.999, 1e-7},
                                AdaMax{0.9, 0.01, 0.9, 0.999, 1e-7}, Adadelta{0.1, 0.95, 1e-6},
                                RmsProp{0.01, 0.9, 0.5, 1e-6},       CenteredRmsProp{0.01, 0.9, 0.5, 1e-3}};
  for (const bool flag : {false, true}) {
    all.emplace_back(Momentum{0.1, 0.9, flag});
    all.emplace_back(KerasMomentum{0.1, 0.9, flag});
    all.emplace_back(Adagrad{0.1, flag});
    all.emplace_back(AdagradV2{0.1, 1e-7, flag});
    for (const double decay : {0.0, 0.1}) all.emplace_back(Adam{0.9, 0.999, 0.01, 0.9, 0.999, 1e-7, flag, decay});
    for (const double power : {-0.5, -0.6}) {
      for (const double shrinkage : {0.0, 0.05}) all.emplace_back(Ftrl{0.1, 0.01, 0.02, shrinkage, power, flag});
    }
  }
  return all;
}

// 0, the least number, the least that is no denormal, and the greatest.
template <typename T>
inline constexpr T kSpecial[] = {0, std::numeric_limits<T>::denorm_min(), std::numeric_limits<T>::min(), std::numeric_limits<T>::max()};
template <>
inline constexpr Half kSpecial<Half>[] = {{0}, {1}, {0x0400}, {0x7bff}};
template <>
inline constexpr BFloat16 kSpecial<BFloat16>[] = {{0}, {1}, {0x0080}, {0x7f7f}};

template <typename T>
T Negative(T value) {
  if constexpr (kIsHalfType<T>) {
    return T{static_cast<std::uint16_t>(value.bits ^ 0x8000U)};
  } else {
    return -value;
  }
}

template <typename T>
T FromNumber(double value) {
  if constexpr (kIsHalfType<T>) {
    return FromDouble<T>(value);
  } else {
    return static_cast<T>(value);
  }
}

// Random values with a few of those that make trouble; slots are positive, so that roots exist.
template <typename T>
std::vector<T> RandomValues(std::mt19937_64& random, std::size_t size, bool is_slot) {
  std::vector<T> values(size);
  std::normal_distribution<double> normal;
  for (T& value : values) {
    const bool is_special = test::Integer(random, 0, 9) == 0;
    value = is_special ? kSpecial<T>[test::Integer(random, 0, 3)] : FromNumber<T>(std::abs(normal(random)));
    if (!is_slot && test::Integer(random, 0, 1) == 1) value = Negative(value);
  }
  return values;
}

template <typename T>
State<T> RandomState(std::mt19937_64& random, const Optimizer& optimizer, const Shape& shape) {
  const auto size = static_cast<std::size_t>(*NumElements(shape));
  State<T> state{.shape = shape, .variable = RandomValues<T>(random, size, false), .slots = {}};
  for (std::size_t i = 0; i < SlotCount(optimizer); ++i) state.slots.push_back(RandomValues<T>(random, size, true));
  return state;
}

}  // namespace gradsync::optimize

#endif  // GRADSYNC_TEST_NATIVE_OPTIMIZE_UPDATE_SUPPORT_H_
