// What is asked of gradients before an update: the global norm for clipping, and whether all elements are finite. One read of the
// gradients answers both. Sums of squares are taken in double in a fixed order (kernels/optimizers.h within a tile; tiles, ranges and
// gradients one after the other), so the bits depend on neither threads nor instruction set. Pure functions over caller-owned memory.
#ifndef GRADSYNC_OPTIMIZE_GRADIENT_NORM_H_
#define GRADSYNC_OPTIMIZE_GRADIENT_NORM_H_

#include <cstdint>
#include <optional>

#include "core/status.h"
#include "core/tensor_view.h"
#include "core/thread_pool.h"
#include "optimize/dense_update.h"

namespace gradsync::optimize {

// Sum of the squares of (contributions[0] + ...) / divisor. Not finite where an element is not (or, in float64, where a square overflows).
[[nodiscard]] StatusOr<double> SumOfSquares(const DenseGradient& gradient, Services& services);

// Whether no element of the sum, divided, is infinite or not a number. One read, with little arithmetic.
[[nodiscard]] bool IsAllFinite(const DenseGradient& gradient, Services& services);
// The position of the first element that is infinite or not a number; none in types other than OptimizerTypes.
[[nodiscard]] std::optional<std::int64_t> FindNonFinite(const TensorView& values);
// The same search in the sum of the gradient's contributions, divided.
[[nodiscard]] std::optional<std::int64_t> FindNonFinite(const DenseGradient& gradient, Services& services);
// Makes 0 of every such element.
void ZeroNonFinite(const MutableTensorView& values);

// What gradients of that global norm are multiplied by so that it does not exceed `clip_norm`: clip_norm / max(norm, clip_norm), computed
// as tf.clip_by_global_norm does, in the gradients' type, that of half types in float; not a number when the norm is not finite, which
// makes all gradients so, as there.
[[nodiscard]] StatusOr<double> ClipScale(DType dtype, double norm, double clip_norm);

}  // namespace gradsync::optimize

#endif  // GRADSYNC_OPTIMIZE_GRADIENT_NORM_H_
