// The fused sparse update: clipping and the optimizer's step on the named rows of a variable and its slots, in place; no other row is
// touched. Where TensorFlow has a ResourceSparseApply* operation (Momentum, KerasMomentum, Adagrad, AdagradV2, Adadelta, RMSProp,
// CenteredRMSProp, Ftrl, FtrlV2) it computes exactly that; ResourceScatterSub of alpha * gradient for GradientDescent; for Adam (AdamW),
// AdamWithAmsgrad and AdaMax it is the lazy form: the rows are gathered, updated with the dense operation, and scattered back, so moments
// of rows that are not named neither decay nor move their rows.
// Deterministic. Repeated indices are applied one after another, in order; strictly ascending ones on several threads. Denormals count as
// zero, as in TensorFlow. Pure functions; on an error nothing has been written.
#ifndef GRADSYNC_OPTIMIZE_SPARSE_UPDATE_H_
#define GRADSYNC_OPTIMIZE_SPARSE_UPDATE_H_

#include "core/status.h"
#include "core/tensor_view.h"
#include "core/thread_pool.h"
#include "optimize/optimizer.h"

namespace gradsync::optimize {

// Row i of `values` [n, ...] times `scale` belongs to row indices[i] of the variable; `indices` are int64 [n].
struct SparseGradient {
  TensorView indices;
  TensorView values;
  double scale = 1;
};

// INVALID_ARGUMENT unless target and gradient fit the optimizer and each other; a bad index is named with its position and the bound.
[[nodiscard]] Status CheckSparse(const Optimizer& optimizer, const UpdateTarget& target, const SparseGradient& gradient);

// Updates the rows of variable and slots; checks first.
Status ApplySparse(const Optimizer& optimizer, const UpdateTarget& target, const SparseGradient& gradient, Services& services);

}  // namespace gradsync::optimize

#endif  // GRADSYNC_OPTIMIZE_SPARSE_UPDATE_H_
