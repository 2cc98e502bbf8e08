#include "accumulate/sparse_reduce.h"

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "accumulate/tensorflow_merge.h"
#include "kernels/kernels.h"
#include "kernels/segment_sum.h"

namespace gradsync::accumulate {
namespace {

using kernels::HalfSum;
using kernels::IndexList;

// Elements that one thread handles at a time.
constexpr std::int64_t kGrain = std::int64_t{32} * 1024;
// Results beyond this do not stay in the caches anyway.
constexpr std::size_t kStreamingBytes = std::size_t{4} * 1024 * 1024;

std::int64_t WidthOf(SparseGradients gradients) {
  const Shape& shape = gradients.front()->values.shape();
  std::int64_t width = 1;
  for (std::size_t i = 1; i < shape.size(); ++i) width *= shape[i];
  return width;
}

std::int64_t CountSlices(SparseGradients gradients) {
  std::int64_t slices = 0;
  for (const SparseGradient* gradient : gradients) slices += gradient->indices.size();
  return slices;
}

// Per row; 0: by those that touched it.
std::uint32_t DivisorOf(SparseScale scale, SparseGradients gradients) {
  if (!scale.is_mean) return 1;
  return scale.mean == SparseMean::kTouched ? 0 : static_cast<std::uint32_t>(gradients.size());
}

// Uninitialized: `rows` indices, and as many rows of the gradients' dtype and inner dimensions.
StatusOr<SparseSlices> AllocateSlices(SparseGradients gradients, std::int64_t rows, Memory& memory) {
  const Lease& values = gradients.front()->values;
  Shape shape = values.shape();
  shape[0] = rows;
  GRADSYNC_ASSIGN_OR_RETURN(Tensor row_values, Tensor::Allocate(values.dtype(), std::move(shape), memory));
  GRADSYNC_ASSIGN_OR_RETURN(Tensor indices, Tensor::Allocate(DType::kInt64, Shape{rows}, memory));
  return SparseSlices{.indices = std::move(indices), .values = std::move(row_values), .shape = {}};
}

std::vector<IndexList> ListsOf(SparseGradients gradients) {
  std::vector<IndexList> lists;
  lists.reserve(gradients.size());
  for (const SparseGradient* gradient : gradients) lists.push_back(gradient->list);
  return lists;
}

// Sorted by index, equal indices summed.
StatusOr<SparseSlices> SortAndSum(SparseGradients gradients, SparseScale scale, HalfSum half_sum, SparseWorkplace workplace) {
  ThreadPool* const pool = &workplace.services.pool;
  GRADSYNC_ASSIGN_OR_RETURN(const kernels::SortedSlices sorted, kernels::SortedSlices::Sort(ListsOf(gradients), pool, &workplace.memory));
  std::vector<const void*> rows;
  for (SparseGradient* gradient : gradients) {
    gradient->list = {};
    gradient->indices = {};
    rows.push_back(gradient->values.view().data);
  }
  GRADSYNC_ASSIGN_OR_RETURN(SparseSlices out, AllocateSlices(gradients, sorted.segments(), workplace.memory));
  const kernels::SegmentSumOptions options{.dtype = out.values.dtype(),
                                           .width = WidthOf(gradients),
                                           .divisor = DivisorOf(scale, gradients),
                                           .half_sum = half_sum,
                                           .instruction_set = workplace.services.instruction_set};
  GRADSYNC_RETURN_IF_ERROR(SegmentSum(sorted, rows, options, out.indices.as<std::int64_t>().data(), out.values.mutable_view().data, pool));
  return out;
}

// Where each slice's values are, list after list.
template <typename T>
std::vector<const T*> RowsOf(SparseGradients gradients, std::int64_t width) {
  std::vector<const T*> rows;
  rows.reserve(static_cast<std::size_t>(CountSlices(gradients)));
  for (const SparseGradient* gradient : gradients) {
    const T* const values = gradient->values.as<T>().data();
    for (std::int64_t i = 0; i < gradient->indices.size(); ++i) rows.push_back(values + i * width);
  }
  return rows;
}

template <typename T>
void SumMerged(SparseGradients gradients, const MergedSlices& merged, std::uint32_t divisor, Services& services, SparseSlices& out) {
  const std::int64_t width = WidthOf(gradients);
  const std::vector<const T*> by_slice = RowsOf<T>(gradients, width);
  std::vector<const T*> rows;
  rows.reserve(merged.slices.size());
  for (const std::uint32_t slice : merged.slices) rows.push_back(by_slice[slice]);
  const std::vector<std::uint32_t> divisors = divisor == 0 ? merged.counts : std::vector(merged.counts.size(), divisor);
  std::ranges::copy(merged.indices, out.indices.as<std::int64_t>().begin());
  kernels::KernelsFor(services.instruction_set)
      .segments.of<T>()
      .sum_rounding_each({.rows = rows.data(),
                          .row_count = rows.size(),
                          .counts = merged.counts.data(),
                          .divisors = divisors.data(),
                          .segments = merged.counts.size(),
                          .width = width,
                          .out = out.values.as<T>().data()});
}

// A stretch of one gradient's elements and where they go.
struct Stretch {
  const SparseGradient* gradient;
  std::int64_t begin;
  std::int64_t end;
  std::int64_t first_row;  // of the gradient, in the output
};

std::vector<Stretch> Cut(SparseGradients gradients) {
  std::vector<Stretch> stretches;
  std::int64_t first_row = 0;
  for (const SparseGradient* gradient : gradients) {
    const std::int64_t size = gradient->values.view().size();
    for (std::int64_t begin = 0; begin < size; begin += kGrain) {
      stretches.push_back({.gradient = gradient, .begin = begin, .end = std::min(begin + kGrain, size), .first_row = first_row});
    }
    first_row += gradient->indices.size();
  }
  return stretches;
}

template <typename T>
void CopyValues(SparseGradients gradients, std::uint32_t divisor, Services& services, SparseSlices& out) {
  const std::int64_t width = WidthOf(gradients);
  T* const to = out.values.as<T>().data();
  const auto store = out.values.bytes() >= kStreamingBytes ? kernels::Store::kStreaming : kernels::Store::kCached;
  const auto sum = kernels::KernelsFor(services.instruction_set).of<T>().sum;
  const std::vector<Stretch> stretches = Cut(gradients);
  services.pool.ParallelFor(static_cast<std::int64_t>(stretches.size()), 1, [&](std::int64_t first, std::int64_t last) {
    for (const Stretch& stretch : std::span(stretches).subspan(first, last - first)) {
      const T* const from = stretch.gradient->values.as<T>().data();
      sum({.inputs = &from, .count = 1, .begin = stretch.begin, .end = stretch.end, .out = to + stretch.first_row * width, .store = store},
          divisor);
    }
  });
}

}  // namespace

std::size_t SortBytes(SparseGradients gradients) {
  return 2 * sizeof(kernels::NarrowKey) * static_cast<std::size_t>(CountSlices(gradients));
}

StatusOr<SparseSlices> Combine(SparseGradients gradients, SparseScale scale, SparseWorkplace workplace) {
  return SortAndSum(gradients, scale, HalfSum::kWide, workplace);
}

StatusOr<SparseSlices> Concatenate(SparseGradients gradients, SparseScale scale, SparseWorkplace workplace) {
  GRADSYNC_ASSIGN_OR_RETURN(SparseSlices out, AllocateSlices(gradients, CountSlices(gradients), workplace.memory));
  auto to = out.indices.as<std::int64_t>().begin();
  for (const SparseGradient* gradient : gradients) to = std::ranges::copy(gradient->list.indices, to).out;
  GRADSYNC_RETURN_IF_ERROR(Dispatch(GradientTypes{}, out.values.dtype(), "TakeGrad", [&](auto type) {
    CopyValues<typename decltype(type)::type>(gradients, DivisorOf(scale, gradients), workplace.services, out);
  }));
  return out;
}

StatusOr<SparseSlices> MergeLikeTensorFlow(SparseGradients gradients, SparseScale scale, SparseWorkplace workplace) {
  // Of strictly increasing lists the merge is the sorted union, summed in order.
  if (std::ranges::all_of(gradients, [](const SparseGradient* gradient) { return gradient->list.is_strictly_ascending; })) {
    return SortAndSum(gradients, scale, HalfSum::kNarrow, workplace);
  }
  if (CountSlices(gradients) > std::numeric_limits<std::uint32_t>::max()) {
    return ResourceExhausted("TakeGrad: cannot merge ", CountSlices(gradients), " slices at once");
  }
  const MergedSlices merged = MergeIndices(ListsOf(gradients));
  GRADSYNC_ASSIGN_OR_RETURN(SparseSlices out,
                            AllocateSlices(gradients, static_cast<std::int64_t>(merged.indices.size()), workplace.memory));
  GRADSYNC_RETURN_IF_ERROR(Dispatch(GradientTypes{}, out.values.dtype(), "TakeGrad", [&](auto type) {
    SumMerged<typename decltype(type)::type>(gradients, merged, DivisorOf(scale, gradients), workplace.services, out);
  }));
  return out;
}

}  // namespace gradsync::accumulate
