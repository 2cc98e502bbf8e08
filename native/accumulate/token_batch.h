// What EnqueueMany and DequeueMany do to tensors: a batch, whose components have one more dimension in front, into elements and back. Pure
// functions over memory that the caller or the result owns.
#ifndef GRADSYNC_ACCUMULATE_TOKEN_BATCH_H_
#define GRADSYNC_ACCUMULATE_TOKEN_BATCH_H_

#include <cstdint>
#include <deque>
#include <vector>

#include "core/buffer.h"
#include "core/dtype.h"
#include "core/shape.h"
#include "core/status.h"
#include "core/tensor_view.h"

namespace gradsync::accumulate {

// A tuple of tensors, as it lies in a queue.
using TokenElement = std::vector<Tensor>;

// The most elements of one batch: a shape such as [2^62, 0] needs no memory, its elements would.
inline constexpr std::int64_t kMaxBatch = std::int64_t{1} << 20;

// The elements of a batch, copied. INVALID_ARGUMENT unless all components have the same size in the 0th dimension, RESOURCE_EXHAUSTED
// where that is beyond kMaxBatch.
[[nodiscard]] StatusOr<std::deque<TokenElement>> SplitBatch(const std::vector<TensorView>& batch);
// A batch of elements of these dtypes and shapes; [0, ...] of none.
[[nodiscard]] StatusOr<TokenElement> StackBatch(const std::vector<TokenElement>& elements, const std::vector<DType>& dtypes,
                                                const std::vector<Shape>& shapes);

}  // namespace gradsync::accumulate

#endif  // GRADSYNC_ACCUMULATE_TOKEN_BATCH_H_
