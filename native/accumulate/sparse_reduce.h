// What a sparse take computes, as pure functions of the gradients in order: the three forms of SparseAccumulator without steps, locks or
// waiting. Inputs were validated at apply: one dtype, equal inner dimensions, index i names a row. Rows are summed in the order given;
// threads of the pool take disjoint rows, so the result does not depend on their number. Memory: the result; while indices are sorted, 16
// bytes per slice. The gradients lose their indices once these are sorted.
#ifndef GRADSYNC_ACCUMULATE_SPARSE_REDUCE_H_
#define GRADSYNC_ACCUMULATE_SPARSE_REDUCE_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "accumulate/scale_tensor.h"
#include "core/buffer.h"
#include "core/dtype.h"
#include "core/lease.h"
#include "core/memory.h"
#include "core/status.h"
#include "core/thread_pool.h"
#include "kernels/sorted_slices.h"

namespace gradsync::accumulate {

// What a mean divides a row by: the number of gradients in the round, or of those that touched the row.
enum class SparseMean { kContributors, kTouched };

// One contributor's slices.
struct SparseGradient {
  Tensor indices;           // int64 [n]
  kernels::IndexList list;  // a view of them
  Lease values;             // [n, ...]
  [[nodiscard]] std::size_t bytes() const { return indices.bytes() + values.bytes(); }
  // Rows of one shape.
  [[nodiscard]] bool Fits(const SparseGradient& other) const {
    return SameShape(Dims(values.shape()).subspan(1), Dims(other.values.shape()).subspan(1));
  }
  Status Scale(double factor) {
    GRADSYNC_ASSIGN_OR_RETURN(Tensor* const own, values.MakeOwn());
    return ScaleTensor(*own, factor);
  }
};

// A taken aggregate. `shape` is the dense shape; dimension 0 is -1 where it is not known.
struct SparseSlices {
  Tensor indices;  // int64 [m]
  Tensor values;   // [m, ...]
  Shape shape;
};

// How to scale; nothing for a sum.
struct SparseScale {
  bool is_mean = true;
  SparseMean mean = SparseMean::kContributors;
};

// Where a reduction works: threads and instruction set, memory for the result and for what is sorted.
struct SparseWorkplace {
  Services& services;
  Memory& memory;
};

using SparseGradients = std::span<SparseGradient* const>;

// What sorting the slices takes, if they are not in order: a key for each, before and after.
[[nodiscard]] std::size_t SortBytes(SparseGradients gradients);

[[nodiscard]] StatusOr<SparseSlices> Combine(SparseGradients gradients, SparseScale scale, SparseWorkplace workplace);
[[nodiscard]] StatusOr<SparseSlices> Concatenate(SparseGradients gradients, SparseScale scale, SparseWorkplace workplace);
[[nodiscard]] StatusOr<SparseSlices> MergeLikeTensorFlow(SparseGradients gradients, SparseScale scale, SparseWorkplace workplace);

}  // namespace gradsync::accumulate

#endif  // GRADSYNC_ACCUMULATE_SPARSE_REDUCE_H_
