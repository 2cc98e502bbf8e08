#include "collective/sparse_work.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "core/dtype.h"
#include "kernels/segment_sum.h"

namespace gradsync::collective {
namespace {

using kernels::IndexList;
using kernels::SortedSlices;

// Bytes of rows that make a range worth a piece of its own, and pieces per core at most.
constexpr std::int64_t kRangeBytes = std::int64_t{128} * 1024;
constexpr std::int64_t kRangesPerCore = 4;
Shape RowsShape(const TensorView& view, std::int64_t rows) {
  Shape shape(view.shape.begin(), view.shape.end());
  shape[0] = rows;
  return shape;
}

// All of a strictly ascending list: nothing need be read to know its bounds.
IndexList StrictlyAscending(std::span<const std::int64_t> indices) {
  if (indices.empty()) return {};
  return {.indices = indices, .least = indices.front(), .most = indices.back()};
}

}  // namespace

SparseWork::SparseWork(std::vector<Part> parts, const WorkContext& context)
    : parts_(std::move(parts)), context_(context), dtype_(parts_[0].call->input.dtype), rows_(parts_.size()) {
  for (const std::int64_t dim : parts_[0].call->input.shape.subspan(1)) row_elements_ *= dim;
}

StatusOr<std::int64_t> SparseWork::Begin(int stage) {
  if (stage == kCombine) return static_cast<std::int64_t>(parts_.size());
  if (stage == kCount) {
    ChooseAlgorithm();
    if (report_.algorithm == SparseAlgorithm::kRows) return 0;
    CutRanges();
    return static_cast<std::int64_t>(ranges_.size());
  }
  if (report_.algorithm == SparseAlgorithm::kRows) return static_cast<std::int64_t>(parts_.size());
  std::int64_t rows = 0;
  for (Range& range : ranges_) {
    range.offset = rows;
    rows += range.touched;
  }
  for (std::size_t rank = 0; rank < parts_.size(); ++rank) GRADSYNC_RETURN_IF_ERROR(AllocateOutcome(rank, rows));
  return static_cast<std::int64_t>(ranges_.size());
}

Status SparseWork::Run(int stage, std::int64_t piece) {
  const auto index = static_cast<std::size_t>(piece);
  if (stage == kCombine) return Combine(index);
  if (stage == kCount) return Count(ranges_[index]);
  if (report_.algorithm == SparseAlgorithm::kRows) return ReduceForRank(index);
  return ReduceRange(ranges_[index], parts_);
}

// Keys are sorted with as much again beside them.
std::size_t SparseWork::ScratchBytes() const {
  std::size_t bytes = 2 * sizeof(kernels::NarrowKey) * static_cast<std::size_t>(report_.rows_given);
  for (const Rows& rank : rows_) bytes += rank.own_indices.bytes() + rank.own_rows.bytes();
  for (const Range& range : ranges_) bytes += range.slots.bytes();
  return bytes;
}

StatusOr<std::span<const std::int64_t>> SparseWork::WideIndices(std::size_t rank) {
  const TensorView& given = parts_[rank].call->indices;
  if (given.dtype == DType::kInt64) return given.as<std::int64_t>();
  GRADSYNC_ASSIGN_OR_RETURN(rows_[rank].own_indices, Tensor::Allocate(DType::kInt64, {given.size()}, *context_.memory));
  std::ranges::copy(given.as<std::int32_t>(), rows_[rank].own_indices.as<std::int64_t>().begin());
  return std::as_const(rows_[rank].own_indices).as<std::int64_t>();
}

Status SparseWork::CheckIndices(std::size_t rank, const IndexList& list) const {
  const std::int64_t bound = parts_[rank].call->table_rows;
  if (list.indices.empty() || (list.least >= 0 && list.most < bound)) return OkStatus();
  const auto wrong = std::ranges::find_if(list.indices, [bound](std::int64_t index) { return index < 0 || index >= bound; });
  return InvalidArgument("rank ", rank, ": indices: expected row numbers below ", bound, " but received ", *wrong, " at position ",
                         wrong - list.indices.begin());
}

Status SparseWork::Combine(std::size_t rank) {
  Rows& mine = rows_[rank];
  GRADSYNC_ASSIGN_OR_RETURN(const std::span<const std::int64_t> indices, WideIndices(rank));
  const IndexList list = IndexList::Of(indices);
  GRADSYNC_RETURN_IF_ERROR(CheckIndices(rank, list));
  const TensorView& input = parts_[rank].call->input;
  mine.rows = static_cast<const std::byte*>(input.data);
  mine.indices = indices;
  if (list.is_strictly_ascending) return OkStatus();
  GRADSYNC_ASSIGN_OR_RETURN(const SortedSlices sorted, SortedSlices::Sort({&list, 1}, nullptr, context_.memory.get()));
  GRADSYNC_ASSIGN_OR_RETURN(Tensor distinct, Tensor::Allocate(DType::kInt64, {sorted.segments()}, *context_.memory));
  GRADSYNC_ASSIGN_OR_RETURN(mine.own_rows, Tensor::Allocate(dtype_, RowsShape(input, sorted.segments()), *context_.memory));
  const void* const from[] = {input.data};
  GRADSYNC_RETURN_IF_ERROR(
      SegmentSum(sorted, from, SumOptions(1), distinct.as<std::int64_t>().data(), mine.own_rows.mutable_view().data, nullptr));
  mine.own_indices = std::move(distinct);
  mine.indices = std::as_const(mine.own_indices).as<std::int64_t>();
  mine.rows = reinterpret_cast<const std::byte*>(mine.own_rows.view().data);
  return OkStatus();
}

void SparseWork::ChooseAlgorithm() {
  SparseCounts counts{.ranks = static_cast<std::int64_t>(parts_.size()),
                      .cores = context_.cores,
                      .table_rows = parts_[0].call->table_rows,
                      .row_bytes = row_elements_ * static_cast<std::int64_t>(DTypeSize(dtype_))};
  for (std::size_t rank = 0; rank < parts_.size(); ++rank) {
    counts.rows_given += parts_[rank].call->indices.size();
    counts.rows_moved += static_cast<std::int64_t>(rows_[rank].indices.size());
  }
  SparseChoice choice = Choose(context_.costs->Get(), counts, parts_[0].call->algorithm);
  report_ = {.algorithm = choice.algorithm,
             .reason = std::move(choice.reason),
             .rows_given = counts.rows_given,
             .rows_moved = counts.rows_moved,
             .bytes_moved = counts.rows_moved * (counts.row_bytes + static_cast<std::int64_t>(sizeof(std::int64_t)))};
}

// Ranges of about equally many rows of the rank that has most; by address, of equally many rows of the table.
void SparseWork::CutRanges() {
  const std::int64_t table = parts_[0].call->table_rows;
  const auto most = std::ranges::max_element(rows_, {}, [](const Rows& rows) { return rows.indices.size(); })->indices;
  const std::int64_t wanted = std::clamp<std::int64_t>(report_.bytes_moved / kRangeBytes, 1, kRangesPerCore * context_.cores);
  const bool is_dense = report_.algorithm == SparseAlgorithm::kDense;
  std::int64_t first = 0;
  for (std::int64_t i = 1; i <= wanted; ++i) {
    std::int64_t last = table;
    if (i < wanted) {
      last = is_dense ? table / wanted * i : most[most.size() * static_cast<std::size_t>(i) / static_cast<std::size_t>(wanted)];
    }
    if (last == first) continue;
    ranges_.push_back({.first = std::exchange(first, last), .last = last});
  }
}

void SparseWork::Locate(Range& range) const {
  for (const Rows& rank : rows_) {
    const auto begin = std::ranges::lower_bound(rank.indices, range.first);
    const auto end = std::lower_bound(begin, rank.indices.end(), range.last);
    range.begins.push_back(static_cast<std::size_t>(begin - rank.indices.begin()));
    range.ends.push_back(static_cast<std::size_t>(end - rank.indices.begin()));
  }
}

Status SparseWork::Count(Range& range) const {
  Locate(range);
  if (report_.algorithm != SparseAlgorithm::kDense) return CountByMerging(range);
  return CountByAddress(range);
}

Status SparseWork::CountByMerging(Range& range) const {
  std::vector<IndexList> lists;
  for (std::size_t rank = 0; rank < rows_.size(); ++rank) {
    lists.push_back(StrictlyAscending(rows_[rank].indices.subspan(range.begins[rank], range.ends[rank] - range.begins[rank])));
  }
  GRADSYNC_ASSIGN_OR_RETURN(SortedSlices sorted, SortedSlices::Sort(lists, nullptr, context_.memory.get()));
  range.touched = sorted.segments();
  range.sorted.emplace(std::move(sorted));
  return OkStatus();
}

// The table's size comes from outside: more than there is memory for is RESOURCE_EXHAUSTED.
Status SparseWork::CountByAddress(Range& range) const {
  const std::size_t ranks = rows_.size();
  GRADSYNC_ASSIGN_OR_RETURN(
      range.slots, Tensor::Allocate(DType::kInt32, {range.last - range.first, static_cast<std::int64_t>(ranks)}, *context_.memory));
  const std::span<std::int32_t> slots = range.slots.as<std::int32_t>();
  std::ranges::fill(slots, 0);
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    for (std::size_t i = range.begins[rank]; i < range.ends[rank]; ++i) {
      const auto row = static_cast<std::size_t>(rows_[rank].indices[i] - range.first);
      slots[row * ranks + rank] = static_cast<std::int32_t>(i - range.begins[rank]) + 1;
    }
  }
  for (std::size_t row = 0; row < slots.size(); row += ranks) {
    const auto of_row = slots.subspan(row, ranks);
    range.touched += std::ranges::any_of(of_row, [](std::int32_t slot) { return slot != 0; }) ? 1 : 0;
  }
  return OkStatus();
}

Status SparseWork::AllocateOutcome(std::size_t rank, std::int64_t rows) const {
  Outcome& outcome = *parts_[rank].outcome;
  GRADSYNC_ASSIGN_OR_RETURN(outcome.indices, Tensor::Allocate(DType::kInt64, {rows}, *context_.memory));
  GRADSYNC_ASSIGN_OR_RETURN(outcome.values, Tensor::Allocate(dtype_, RowsShape(parts_[rank].call->input, rows), *context_.memory));
  outcome.sparse = report_;
  outcome.sparse.rows_result = rows;
  return OkStatus();
}

kernels::SegmentSumOptions SparseWork::SumOptions(std::int64_t divisor) const {
  return {
      .dtype = dtype_, .width = row_elements_, .divisor = static_cast<std::uint32_t>(divisor), .instruction_set = context_.instruction_set};
}

// Sums into the first place and copies from there to the others.
Status SparseWork::ReduceRange(const Range& range, std::span<const Part> to) const {
  const std::int64_t divisor = parts_[0].call->reduction == Reduction::kMean ? static_cast<std::int64_t>(parts_.size()) : 1;
  const std::size_t row_bytes = static_cast<std::size_t>(row_elements_) * DTypeSize(dtype_);
  std::vector<std::int64_t*> indices;
  std::vector<std::byte*> rows;
  for (const Part& part : to) {
    indices.push_back(part.outcome->indices.as<std::int64_t>().data() + range.offset);
    rows.push_back(static_cast<std::byte*>(part.outcome->values.mutable_view().data) + static_cast<std::size_t>(range.offset) * row_bytes);
  }
  std::vector<const void*> from;
  for (std::size_t rank = 0; rank < rows_.size(); ++rank) from.push_back(rows_[rank].rows + range.begins[rank] * row_bytes);
  if (range.touched == 0) return OkStatus();
  if (range.sorted.has_value()) {
    GRADSYNC_RETURN_IF_ERROR(SegmentSum(*range.sorted, from, SumOptions(divisor), indices[0], rows[0], nullptr));
  } else {
    GRADSYNC_RETURN_IF_ERROR(SumByAddress(range, from, divisor, indices[0], rows[0]));
  }
  const auto touched = static_cast<std::size_t>(range.touched);
  for (std::size_t i = 1; i < to.size(); ++i) {
    std::memcpy(indices[i], indices[0], touched * sizeof(std::int64_t));
    if (row_bytes > 0) std::memcpy(rows[i], rows[0], touched * row_bytes);
  }
  return OkStatus();
}

Status SparseWork::SumByAddress(const Range& range, std::span<const void* const> from, std::int64_t divisor, std::int64_t* indices,
                                std::byte* rows) const {
  return Dispatch(GradientTypes{}, dtype_, "sparse all-reduce", [&]<typename T>(std::type_identity<T> /*type*/) {
    T* out = reinterpret_cast<T*>(rows);
    std::vector<const T*> sources;
    for (std::int64_t row = range.first; row < range.last; ++row) {
      const auto slots = range.slots.as<std::int32_t>().subspan(static_cast<std::size_t>(row - range.first) * rows_.size(), rows_.size());
      sources.clear();
      for (std::size_t rank = 0; rank < slots.size(); ++rank) {
        if (slots[rank] != 0) sources.push_back(static_cast<const T*>(from[rank]) + (slots[rank] - 1) * row_elements_);
      }
      if (sources.empty()) continue;
      context_.kernels->of<T>().sum({.inputs = sources.data(), .count = sources.size(), .begin = 0, .end = row_elements_, .out = out},
                                    divisor);
      *indices++ = row;
      out += row_elements_;
    }
  });
}

Status SparseWork::ReduceForRank(std::size_t rank) const {
  Range all{.first = 0, .last = parts_[rank].call->table_rows};
  Locate(all);
  GRADSYNC_RETURN_IF_ERROR(CountByMerging(all));
  GRADSYNC_RETURN_IF_ERROR(AllocateOutcome(rank, all.touched));
  return ReduceRange(all, std::span(parts_).subspan(rank, 1));
}

}  // namespace gradsync::collective
