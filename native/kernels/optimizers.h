// The inner loops of the optimizers' updates, one table per instruction set and element type (kernels.h). Formulas and the order of
// operations are those of TensorFlow's CPU kernels: products and sums are rounded one by one (in half types too: each operation in float,
// its result to the type), so the bits are TensorFlow's too. Exceptions:
// its reciprocal root and its power (of a learning-rate power other than -0.5) are approximations; here they are 1 / sqrt(x), each of both
// rounded once, and the C library's pow.
// Plain data; the kernels hold no state. Thread-safe for disjoint rows.
#ifndef GRADSYNC_KERNELS_OPTIMIZERS_H_
#define GRADSYNC_KERNELS_OPTIMIZERS_H_

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "core/half.h"

namespace gradsync::kernels {

inline constexpr std::size_t kMaxSlots = 3;

// TensorFlow orders a few operations differently for a whole variable, for rows of several elements and for rows of one.
enum class UpdateForm { kWhole, kRows, kRowsOfOne };

// Rows of a variable and of its slots, changed in place: row indices[i] with row i of the gradient, for i in [0, count), one after another.
// Without indices there is one row: `width` elements, from the beginning. No two of the memories overlap.
template <typename T>
struct UpdateRows {
  const T* gradient;
  double scale = 1;  // the gradient is multiplied by it first, as a T
  T* variable;
  T* slots[kMaxSlots] = {};
  const std::int64_t* indices = nullptr;
  std::int64_t count = 1;
  std::int64_t width;
  UpdateForm form = UpdateForm::kWhole;
};

// The optimizers by TensorFlow's names, g standing for the scaled gradient. Hyperparameters are converted to the element type first.
// Slots are in the order of the operation's inputs.

// variable -= alpha * g
struct GradientDescent {
  static constexpr std::size_t kSlots = 0;
  double alpha = 0;
};

// accum = momentum * accum + g; variable -= lr * accum, or with Nesterov lr * g + lr * momentum * accum
struct Momentum {
  static constexpr std::size_t kSlots = 1;
  double lr = 0;
  double momentum = 0;
  bool nesterov = false;
};

// accum = momentum * accum - lr * g; variable += accum, or with Nesterov momentum * accum - lr * g
struct KerasMomentum {
  static constexpr std::size_t kSlots = 1;
  double lr = 0;
  double momentum = 0;
  bool nesterov = false;
};

// m += (1 - beta1) * (g - m); v += (1 - beta2) * (g^2 - v); variable -= alpha * m / (sqrt(v) + epsilon)
// with alpha = lr * sqrt(1 - beta2_power) / (1 - beta1_power); Nesterov replaces m by beta1 * m + (1 - beta1) * g in the last.
// A weight_decay makes it AdamW (Loshchilov and Hutter 2019): variable -= variable * weight_decay * lr comes first, as in Keras.
struct Adam {
  static constexpr std::size_t kSlots = 2;
  double beta1_power = 0;
  double beta2_power = 0;
  double lr = 0;
  double beta1 = 0;
  double beta2 = 0;
  double epsilon = 0;
  bool nesterov = false;
  double weight_decay = 0;
};

// Adam with the root of vhat = max(vhat, v), the third slot.
struct AdamWithAmsgrad {
  static constexpr std::size_t kSlots = 3;
  double beta1_power = 0;
  double beta2_power = 0;
  double lr = 0;
  double beta1 = 0;
  double beta2 = 0;
  double epsilon = 0;
};

// m += (1 - beta1) * (g - m); v = max(beta2 * v, |g|); variable -= lr / (1 - beta1_power) * (m / (v + epsilon))
struct AdaMax {
  static constexpr std::size_t kSlots = 2;
  double beta1_power = 0;
  double lr = 0;
  double beta1 = 0;
  double beta2 = 0;
  double epsilon = 0;
};

// accum += g^2 (when update_slots); variable -= lr * g / sqrt(accum)
struct Adagrad {
  static constexpr std::size_t kSlots = 1;
  double lr = 0;
  bool update_slots = true;
};

// The same with sqrt(accum) + epsilon.
struct AdagradV2 {
  static constexpr std::size_t kSlots = 1;
  double lr = 0;
  double epsilon = 0;
  bool update_slots = true;
};

// accum = rho * accum + (1 - rho) * g^2; u = sqrt(accum_update + epsilon) / sqrt(accum + epsilon) * g; variable -= lr * u;
// accum_update = rho * accum_update + (1 - rho) * u^2
struct Adadelta {
  static constexpr std::size_t kSlots = 2;
  double lr = 0;
  double rho = 0;
  double epsilon = 0;
};

// ms += (1 - rho) * (g^2 - ms); mom = momentum * mom + lr * g / sqrt(ms + epsilon); variable -= mom
struct RmsProp {
  static constexpr std::size_t kSlots = 2;
  double lr = 0;
  double rho = 0;
  double momentum = 0;
  double epsilon = 0;
};

// The same with ms - mg^2 + epsilon under the root, where mg += (1 - rho) * (g - mg). Slots: mg, ms, mom.
struct CenteredRmsProp {
  static constexpr std::size_t kSlots = 3;
  double lr = 0;
  double rho = 0;
  double momentum = 0;
  double epsilon = 0;
};

// new = accum + g^2; p = -lr_power; linear += g + 2 * l2_shrinkage * variable - (new^p - accum^p) / lr * variable; accum = new;
// variable = (l1 * sign(linear) - linear) / (new^p / lr + 2 * l2) where |linear| > l1, else 0. Slots: accum, linear.
// multiply_linear_by_lr keeps linear, and its threshold, multiplied by lr instead. An l2_shrinkage is V2's.
struct Ftrl {
  static constexpr std::size_t kSlots = 2;
  double lr = 0;
  double l1 = 0;
  double l2 = 0;
  double l2_shrinkage = 0;
  double lr_power = -0.5;
  bool multiply_linear_by_lr = false;
};

// The list of them: type, name of its kernel.
#define GRADSYNC_OPTIMIZERS(X)          \
  X(GradientDescent, gradient_descent)  \
  X(Momentum, momentum)                 \
  X(KerasMomentum, keras_momentum)      \
  X(Adam, adam)                         \
  X(AdamWithAmsgrad, adam_with_amsgrad) \
  X(AdaMax, ada_max)                    \
  X(Adagrad, adagrad)                   \
  X(AdagradV2, adagrad_v2)              \
  X(Adadelta, adadelta)                 \
  X(RmsProp, rms_prop)                  \
  X(CenteredRmsProp, centered_rms_prop) \
  X(Ftrl, ftrl)

template <typename T>
struct OptimizerKernels {
#define GRADSYNC_OPTIMIZER_KERNEL(type, name) void (*name)(const UpdateRows<T>& rows, const type& hyper);
  GRADSYNC_OPTIMIZERS(GRADSYNC_OPTIMIZER_KERNEL)
#undef GRADSYNC_OPTIMIZER_KERNEL

  // The kernel of an optimizer, by the type of its hyperparameters.
#define GRADSYNC_OPTIMIZER_UPDATE(type, name) \
  void Update(const UpdateRows<T>& rows, const type& hyper) const { name(rows, hyper); }
  GRADSYNC_OPTIMIZERS(GRADSYNC_OPTIMIZER_UPDATE)
#undef GRADSYNC_OPTIMIZER_UPDATE

  // Sum of values[i]^2 in double: 16 sums of the elements i, i + 16, ..., then of these in pairs. The same bits on every instruction set.
  double (*sum_of_squares)(const T* values, std::int64_t count);
  // Whether none is infinite or not a number.
  bool (*all_finite)(const T* values, std::int64_t count);
};

// One table of kernels for each type that variables of fused updates may have.
struct OptimizersByType {
  const OptimizerKernels<Half>* float16;
  const OptimizerKernels<BFloat16>* bfloat16;
  const OptimizerKernels<float>* float32;
  const OptimizerKernels<double>* float64;

  template <typename T>
  [[nodiscard]] const OptimizerKernels<T>& of() const {
    if constexpr (std::is_same_v<T, Half>) {
      return *float16;
    } else if constexpr (std::is_same_v<T, BFloat16>) {
      return *bfloat16;
    } else if constexpr (std::is_same_v<T, float>) {
      return *float32;
    } else {
      static_assert(std::is_same_v<T, double>);
      return *float64;
    }
  }
};

}  // namespace gradsync::kernels

#endif  // GRADSYNC_KERNELS_OPTIMIZERS_H_
