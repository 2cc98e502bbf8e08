// TensorFlow's merge of sparse gradients, on indices alone: which slices end up in which row of its result, in the order it adds them
// (SparseConditionalAccumulator::AddToAccumGradFunction). It walks the aggregate and the new gradient side by side, as if both were
// strictly increasing, and never looks back; for other lists the result is what it is. Pure.
#ifndef GRADSYNC_ACCUMULATE_TENSORFLOW_MERGE_H_
#define GRADSYNC_ACCUMULATE_TENSORFLOW_MERGE_H_

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/sorted_slices.h"

namespace gradsync::accumulate {

// Rows of the result. Slices are numbered through all lists, one list after the other.
struct MergedSlices {
  std::vector<std::int64_t> indices;  // of each row
  std::vector<std::uint32_t> counts;  // slices in each row: what TensorFlow divides by
  std::vector<std::uint32_t> slices;  // row after row, in the order of adding
};

// Fewer than 2^32 slices together (the caller's duty).
[[nodiscard]] MergedSlices MergeIndices(std::span<const kernels::IndexList> lists);

}  // namespace gradsync::accumulate

#endif  // GRADSYNC_ACCUMULATE_TENSORFLOW_MERGE_H_
