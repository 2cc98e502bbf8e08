// Optimizer: which update rule, with its hyperparameters; and what it updates. Formulas, slots and their order are in
// kernels/optimizers.h. Plain values and views: nothing is owned.
#ifndef GRADSYNC_OPTIMIZE_OPTIMIZER_H_
#define GRADSYNC_OPTIMIZE_OPTIMIZER_H_

#include <cstddef>
#include <span>
#include <string_view>
#include <type_traits>
#include <variant>

#include "core/dtype.h"
#include "core/status.h"
#include "core/tensor_view.h"
#include "kernels/optimizers.h"

namespace gradsync::optimize {

using Optimizer = std::variant<kernels::GradientDescent, kernels::Momentum, kernels::KerasMomentum, kernels::Adam, kernels::AdamWithAmsgrad,
                               kernels::AdaMax, kernels::Adagrad, kernels::AdagradV2, kernels::Adadelta, kernels::RmsProp,
                               kernels::CenteredRmsProp, kernels::Ftrl>;

// Variables of these types have fused updates. Of half types the sum and mean of the contributions are in float and rounded once, as those
// of an accumulator are; from there on every operation is rounded, as in TensorFlow.
using OptimizerTypes = DTypeSet<DType::kFloat16, DType::kBFloat16, DType::kFloat32, DType::kFloat64>;

// As in TensorFlow's operations: "Adam" of ResourceApplyAdam.
[[nodiscard]] std::string_view OptimizerName(const Optimizer& optimizer);

[[nodiscard]] inline std::size_t SlotCount(const Optimizer& optimizer) {
  return std::visit([](const auto& hyper) { return std::decay_t<decltype(hyper)>::kSlots; }, optimizer);
}

// A variable and its slots, in the order of TensorFlow's inputs, for writing. The memories do not overlap, and nobody else touches them.
struct UpdateTarget {
  MutableTensorView variable;
  std::span<const MutableTensorView> slots;
};

// INVALID_ARGUMENT unless the dtype is one of OptimizerTypes, and there are as many slots as the optimizer has, each of the variable's
// dtype and shape.
[[nodiscard]] Status CheckTarget(const Optimizer& optimizer, const UpdateTarget& target);

}  // namespace gradsync::optimize

#endif  // GRADSYNC_OPTIMIZE_OPTIMIZER_H_
