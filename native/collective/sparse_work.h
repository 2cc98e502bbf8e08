// SparseWork: the sparse all-reduce. Stage kCombine: each rank's rows become distinct and sorted (a rank whose rows are so already is read
// in place). Then, from the counts, the algorithm is chosen. Stage kCount: ranges of rows of the table, which of them are touched. Stage
// kReduce: the rows of each range are summed over the ranks that have them, in rank order, and written to every rank's outcome.
// Deterministic: a row of the result depends on the rows of that index alone. Threads and ownership as in work.h.
#ifndef GRADSYNC_COLLECTIVE_SPARSE_WORK_H_
#define GRADSYNC_COLLECTIVE_SPARSE_WORK_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "collective/sparse_cost.h"
#include "collective/work.h"
#include "core/buffer.h"
#include "kernels/segment_sum.h"
#include "kernels/sorted_slices.h"

namespace gradsync::collective {

class SparseWork : public Work {
 public:
  SparseWork(std::vector<Part> parts, const WorkContext& context);

  [[nodiscard]] int stages() const override { return 3; }
  StatusOr<std::int64_t> Begin(int stage) override;
  Status Run(int stage, std::int64_t piece) override;
  [[nodiscard]] std::size_t ScratchBytes() const override;

 private:
  enum Stage { kCombine, kCount, kReduce };

  // A rank's distinct rows by index; views of its call, or of `own`.
  struct Rows {
    std::span<const std::int64_t> indices;
    const std::byte* rows = nullptr;
    Tensor own_indices{};
    Tensor own_rows{};
  };
  // Rows of the table, [first, last), that one piece handles.
  struct Range {
    std::int64_t first = 0;
    std::int64_t last = 0;
    std::vector<std::size_t> begins{};  // by rank: where the range begins in its indices
    std::vector<std::size_t> ends{};
    std::optional<kernels::SortedSlices> sorted{};  // kRows and kRowRanges
    Tensor slots{};                                 // kDense: int32 [row, rank]: 1 + the position in its indices, or 0
    std::int64_t touched = 0;
    std::int64_t offset = 0;  // of its first row in the result
  };

  Status Combine(std::size_t rank);
  StatusOr<std::span<const std::int64_t>> WideIndices(std::size_t rank);
  Status CheckIndices(std::size_t rank, const kernels::IndexList& list) const;
  void ChooseAlgorithm();
  void CutRanges();
  void Locate(Range& range) const;
  Status Count(Range& range) const;
  Status CountByMerging(Range& range) const;
  Status CountByAddress(Range& range) const;
  Status AllocateOutcome(std::size_t rank, std::int64_t rows) const;
  kernels::SegmentSumOptions SumOptions(std::int64_t divisor) const;
  Status SumByAddress(const Range& range, std::span<const void* const> from, std::int64_t divisor, std::int64_t* indices,
                      std::byte* rows) const;
  Status ReduceRange(const Range& range, std::span<const Part> to) const;
  Status ReduceForRank(std::size_t rank) const;

  const std::vector<Part> parts_;
  const WorkContext context_;
  const DType dtype_;
  std::int64_t row_elements_ = 1;
  std::vector<Rows> rows_;
  std::vector<Range> ranges_;
  SparseReport report_;
};

}  // namespace gradsync::collective

#endif  // GRADSYNC_COLLECTIVE_SPARSE_WORK_H_
