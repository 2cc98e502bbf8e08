// SparseCosts: what decides how a sparse all-reduce exchanges its rows: the cost of each step, measured on this machine once, when first
// needed (about a millisecond), and the estimate made of it. The choice changes the time a collective takes, never its result. Thread-safe.
#ifndef GRADSYNC_COLLECTIVE_SPARSE_COST_H_
#define GRADSYNC_COLLECTIVE_SPARSE_COST_H_

#include <array>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>

#include "collective/communicator.h"
#include "kernels/kernels.h"

namespace gradsync::collective {

// Nanoseconds.
struct UnitCosts {
  double sorted_index = 0;  // bringing one index into order
  double summed_byte = 0;   // of a row that is read and summed
  double copied_byte = 0;   // of a row written for another rank
  double table_slot = 0;    // looking up one row of the table for one rank
  double stage = 0;         // waking another thread and waiting for it
};

// What an estimate is made from.
struct SparseCounts {
  std::int64_t ranks = 1;
  std::int64_t cores = 1;
  std::int64_t rows_given = 0;
  std::int64_t rows_moved = 0;  // the sum over the ranks of their distinct rows
  std::int64_t table_rows = 0;
  std::int64_t row_bytes = 0;
};

struct SparseChoice {
  SparseAlgorithm algorithm;
  std::string reason;
};

// Milliseconds, by SparseAlgorithm.
[[nodiscard]] std::array<double, 3> Estimate(const UnitCosts& costs, const SparseCounts& counts);
// The algorithm of the least estimate, or the one that was asked for.
[[nodiscard]] SparseChoice Choose(const UnitCosts& costs, const SparseCounts& counts, std::optional<SparseAlgorithm> asked);

class SparseCosts {
 public:
  explicit SparseCosts(const kernels::KernelTable& kernels) : kernels_(kernels) {}
  [[nodiscard]] const UnitCosts& Get();

 private:
  const kernels::KernelTable& kernels_;
  std::once_flag measured_;
  UnitCosts costs_;
};

}  // namespace gradsync::collective

#endif  // GRADSYNC_COLLECTIVE_SPARSE_COST_H_
