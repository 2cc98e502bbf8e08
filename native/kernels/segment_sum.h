// SegmentSum: one row per distinct index of SortedSlices, the sum of its rows in the order of the slices, perhaps divided. The second half
// of every sparse aggregate. Threads take disjoint rows of the output, so the bits do not depend on their number. Pure; nothing is owned.
#ifndef GRADSYNC_KERNELS_SEGMENT_SUM_H_
#define GRADSYNC_KERNELS_SEGMENT_SUM_H_

#include <cstdint>
#include <span>

#include "core/dtype.h"
#include "core/instruction_set.h"
#include "core/status.h"
#include "core/thread_pool.h"
#include "kernels/sorted_slices.h"

namespace gradsync::kernels {

// Half types sum in float and round once, or are rounded after every operation, as arithmetic in the type itself would.
enum class HalfSum { kWide, kNarrow };

struct SegmentSumOptions {
  DType dtype = DType::kFloat32;
  std::int64_t width = 1;  // elements per row
  // What every sum is divided by; 1 divides nothing. 0: by the number of lists that hold the index.
  std::uint32_t divisor = 1;
  HalfSum half_sum = HalfSum::kWide;
  InstructionSet instruction_set = InstructionSet::kBaseline;
};

// `rows[l]` are the rows of list l, in its order, one behind the other. `out_indices` has room for sorted.segments() indices, `out_rows`
// for as many rows; it overlaps no input. INVALID_ARGUMENT for a dtype without aggregation. Without a pool the calling thread does all.
[[nodiscard]] Status SegmentSum(const SortedSlices& sorted, std::span<const void* const> rows, const SegmentSumOptions& options,
                                std::int64_t* out_indices, void* out_rows, ThreadPool* pool);

}  // namespace gradsync::kernels

#endif  // GRADSYNC_KERNELS_SEGMENT_SUM_H_
