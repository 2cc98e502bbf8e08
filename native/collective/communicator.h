// Communicator: one rank's end of a group of ranks that compute together. A rank describes what it wants as a Call; the n-th call under a
// key is matched with the n-th call under that key of every other rank, and all get their results when all have called. Implementations:
// LocalCommunicator (ranks are threads of this process); the interface asks nothing of a transport that Gloo or NCCL could not give.
// Thread-safe: a rank may have any number of calls under way, from any of its threads. What a Call points to belongs to the caller, who
// keeps it alive and lets it be until the call has returned or its callback has been called; nobody touches it afterwards.
// Every call ends: with its results, or for all ranks with the same failure, whose message names the ranks concerned:
//   INVALID_ARGUMENT   two ranks ask for different things under one key, or one asks for something impossible
//   DEADLINE_EXCEEDED  ranks were missing when a rank that waited would wait no longer
//   CANCELLED          for the rank that cancelled; ABORTED for the others
//   UNAVAILABLE        a rank has left the group, or died: all calls of now and later
// Deadlines and cancelling end waiting; once the last rank has called, the results come, and soon.
#ifndef GRADSYNC_COLLECTIVE_COMMUNICATOR_H_
#define GRADSYNC_COLLECTIVE_COMMUNICATOR_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/buffer.h"
#include "core/deadline.h"
#include "core/status.h"
#include "core/tensor_view.h"

namespace gradsync::collective {

// What is asked for; `call` below is the rank's Call, `outcome` its Outcome. Dimension 0 of a tensor counts its rows.
enum class Collective {
  kAllReduce,      // call.output = the reduction of all inputs, element by element; equal shapes
  kAllGather,      // outcome.values = the rows of all ranks in rank order; each may have another number of rows, or none
  kReduceScatter,  // outcome.values = rank r's part of the rows of the reduction; equal shapes; the first (rows % size) ranks get one more
  kBroadcast,      // call.output = the input of rank call.root; equal shapes
  kBarrier,        // nothing but waiting for all
  kAllToAll,       // outcome.values = the rows that each rank meant for this one, in rank order
  kSparseAllReduce,  // outcome.indices, .values = the reduction of the rows of all ranks by index: sorted, each index once
};

// In rank order: ((r0 + r1) + r2) + ...; a mean is the sum divided by the number of ranks (for integers truncated). Half types are reduced
// in float and rounded once; integers wrap around; the minimum and maximum of anything and a NaN is a NaN. The same inputs give the same
// bits. A sparse all-reduce sums the repeats of a rank first, in the order given, rounds half types, and reduces these sums in rank order.
enum class Reduction { kSum, kMean, kMin, kMax, kProduct };

[[nodiscard]] std::string_view CollectiveName(Collective collective);
[[nodiscard]] std::string_view ReductionName(Reduction reduction);

// How a sparse all-reduce exchanges rows. All give the same bits.
enum class SparseAlgorithm {
  kRows,       // every rank reads the rows of all and reduces them for itself
  kRowRanges,  // a range of rows is reduced once and written to all
  kDense,      // the same, with the rows found by address in the table instead of by merging the ranks' indices
};

[[nodiscard]] std::string_view SparseAlgorithmName(SparseAlgorithm algorithm);

struct Call {
  Collective collective = Collective::kBarrier;
  // Calls under different keys are matched independently of each other.
  std::string key{};
  // Which call this is meant to be, e.g. the training step: ranks that disagree are told so instead of mixing steps.
  std::optional<std::int64_t> sequence{};
  // Of all-reduce, reduce-scatter, sparse all-reduce (there: sum or mean).
  Reduction reduction = Reduction::kSum;
  // Of broadcast.
  std::int64_t root = 0;
  // All but barrier; a broadcast reads that of the root only. One of GradientTypes; what is only moved may have any dtype.
  TensorView input{};
  // Of all-reduce and broadcast: same dtype and shape as the input. It may be the input itself, and overlaps no other memory of any rank.
  MutableTensorView output{};
  // Of sparse all-reduce: int32 or int64 [n], row i of `input` belongs to row indices[i] of the table. Any order, repeats are summed.
  TensorView indices{};
  // Of sparse all-reduce: rows of the table, the bound of the indices.
  std::int64_t table_rows = 0;
  // Of sparse all-reduce; not given: the one that is estimated to be fastest.
  std::optional<SparseAlgorithm> algorithm{};
  // Of all-to-all: how many rows go to each rank; empty: equally many.
  std::vector<std::int64_t> splits{};
};

struct SparseReport {
  SparseAlgorithm algorithm = SparseAlgorithm::kRows;
  // Why: the counts it was decided on, and the estimate for each algorithm.
  std::string reason{};
  std::int64_t rows_given = 0;   // by all ranks, with repeats
  std::int64_t rows_moved = 0;   // what entered the exchange: the sum over the ranks of their distinct rows
  std::int64_t rows_result = 0;  // distinct rows of all ranks together
  std::int64_t bytes_moved = 0;  // rows_moved times the bytes of an index and a row
};

// What a call gives besides what it wrote to call.output.
struct Outcome {
  Tensor values{};
  // Of sparse all-reduce: int64.
  Tensor indices{};
  // Of all-gather and all-to-all: how many of the rows came from each rank.
  std::vector<std::int64_t> counts{};
  SparseReport sparse{};
};

class Communicator {
 public:
  using Callback = std::function<void(StatusOr<Outcome>)>;

  Communicator() = default;
  virtual ~Communicator() = default;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  // 0 <= rank < size.
  [[nodiscard]] virtual std::int64_t rank() const = 0;
  [[nodiscard]] virtual std::int64_t size() const = 0;

  // Takes part in a collective and blocks until its outcome is there: for threads that are a rank. The thread works while it waits.
  virtual StatusOr<Outcome> Run(const Call& call, Deadline deadline) = 0;
  // The same without blocking: `callback` is called exactly once, from any thread, maybe before Start returns, never under a lock.
  virtual Cancellation Start(Call call, Deadline deadline, Callback callback) = 0;

  // The communicator of some of these ranks: `ranks[i]` becomes rank i. Each of them makes it for itself, with the same list, which holds
  // this rank. Its calls are independent of those here. INVALID_ARGUMENT for ranks that do not exist or repeat.
  virtual StatusOr<std::shared_ptr<Communicator>> Subgroup(const std::vector<std::int64_t>& ranks) = 0;
  // Ends the rank's part in this group, in all groups made of it and in the group it was made of: everything that waits for it fails with
  // UNAVAILABLE. May be repeated. What goes out of use without it (the last communicator of a rank is destroyed) leaves as well.
  virtual void Leave(const std::string& reason) = 0;
};

}  // namespace gradsync::collective

#endif  // GRADSYNC_COLLECTIVE_COMMUNICATOR_H_
