// The fused dense update: sum and mean of a round's gradients, clipping and the optimizer's step in one pass over memory; N + 1 reads and 1
// write of the variable's size, and as much again for every slot. Tiles of the sum stay in the first-level cache.
// Deterministic: every element is computed from its own inputs alone, whatever the number of threads or the instruction set. The sum and
// mean are DenseAccumulator's; from there on denormals count as zero, as in TensorFlow.
// Pure functions; the caller keeps everybody else from the memories meanwhile. On an error nothing has been written.
#ifndef GRADSYNC_OPTIMIZE_DENSE_UPDATE_H_
#define GRADSYNC_OPTIMIZE_DENSE_UPDATE_H_

#include <cstdint>
#include <span>

#include "core/status.h"
#include "core/tensor_view.h"
#include "core/thread_pool.h"
#include "optimize/optimizer.h"

namespace gradsync::optimize {

// (contributions[0] + contributions[1] + ...) / divisor * scale. At least one, all of one dtype and shape.
struct DenseGradient {
  std::span<const TensorView> contributions;
  std::int64_t divisor = 1;
  double scale = 1;
};

// INVALID_ARGUMENT unless target and gradient fit the optimizer and each other.
[[nodiscard]] Status CheckDense(const Optimizer& optimizer, const UpdateTarget& target, const DenseGradient& gradient);

// Updates variable and slots; checks first.
Status ApplyDense(const Optimizer& optimizer, const UpdateTarget& target, const DenseGradient& gradient, Services& services);

}  // namespace gradsync::optimize

#endif  // GRADSYNC_OPTIMIZE_DENSE_UPDATE_H_
