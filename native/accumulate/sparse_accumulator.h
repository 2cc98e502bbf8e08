// SparseAccumulator: TensorFlow's conditional accumulator for sparse gradients (row values[i] belongs to row indices[i]), on a Round. Apply
// logs the slices, outside the lock and without merging; take makes one of three forms of them, always in order of contributor, then of
// position:
//   combined      indices sorted and unique whatever came in; repeats are summed; half types sum in float. Equal to the dense mean.
//   concatenated  all slices one after the other, repeats kept: what one device would have had for the union of the batches.
//   tensorflow    TensorFlow's merge, bit for bit: right only for strictly increasing indices; arithmetic in the element type.
// It holds no more than the slices given to it and one result; while it sorts, 16 bytes per slice instead of the result (sparse_reduce.h).
// Memory given back, also that of results once they are destroyed, serves the next round. Deterministic, whatever the number of threads.
// Thread-safe; owned by shared_ptr; the Services outlive it. Callbacks: see round.h.
#ifndef GRADSYNC_ACCUMULATE_SPARSE_ACCUMULATOR_H_
#define GRADSYNC_ACCUMULATE_SPARSE_ACCUMULATOR_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "accumulate/round.h"
#include "accumulate/sparse_reduce.h"
#include "core/buffer.h"
#include "core/deadline.h"
#include "core/dtype.h"
#include "core/lease.h"
#include "core/memory.h"
#include "core/shape.h"
#include "core/status.h"
#include "core/tensor_view.h"
#include "core/thread_pool.h"

namespace gradsync::accumulate {

enum class SparseForm { kCombined, kConcatenated, kTensorFlow };

struct SparseAccumulatorOptions {
  std::string name;
  DType dtype = DType::kFloat32;
  PartialShape shape;
  Reduction reduction = Reduction::kMean;
  SparseForm form = SparseForm::kCombined;
  // Not given: contributors, but touched for the form tensorflow, as there. `concatenated` has no touched mean.
  std::optional<SparseMean> mean;

  [[nodiscard]] SparseMean EffectiveMean() const;
  friend bool operator==(const SparseAccumulatorOptions&, const SparseAccumulatorOptions&) = default;
};

class SparseAccumulator {
 public:
  using Options = SparseAccumulatorOptions;
  using Taken = SparseSlices;
  using TakeCallback = std::function<void(StatusOr<Taken>)>;
  using TakeRoundCallback = std::function<void(StatusOr<TakenRound<Taken>>)>;

  // `rule` says which contributions make a round.
  static StatusOr<std::shared_ptr<SparseAccumulator>> Create(SparseAccumulatorOptions options, Services& services,
                                                             std::unique_ptr<CompletionRule> rule = std::make_unique<FirstN>());
  ~SparseAccumulator();
  SparseAccumulator(const SparseAccumulator&) = delete;
  SparseAccumulator& operator=(const SparseAccumulator&) = delete;

  // Copies. `indices` are int32 or int64, [n]; `values` are [n, ...]; `dense_shape` is checked where given. Errors are INVALID_ARGUMENT in
  // TensorFlow's order and words, change nothing; besides, an index outside the table is an error (in the form tensorflow as there only).
  StatusOr<Receipt> Apply(std::int64_t local_step, std::int64_t contributor, const TensorView& indices, const TensorView& values,
                          const std::optional<Shape>& dense_shape);
  // The same without a copy of the values: they stay alive and unchanged until the lease is dropped, which is when their round has been
  // reduced, or at once where they are not accepted. Indices are copied all the same, so that nobody can change them once checked.
  StatusOr<Receipt> ApplyLeased(std::int64_t local_step, std::int64_t contributor, const TensorView& indices, Lease values,
                                const std::optional<Shape>& dense_shape);
  Cancellation Take(std::int64_t num_required, Deadline deadline, TakeCallback callback);
  // The current round with its step and contributors, when the rule says it is complete.
  Cancellation TakeRound(Deadline deadline, TakeRoundCallback callback) { return round_->TakeRound(1, deadline, std::move(callback)); }
  // The round before its reduction, for whoever does more with it than Take. `Reduce` makes of it what Take would; it leaves the values as
  // they are but not the indices: once.
  using Gradients = Batch<SparseGradient>;
  Cancellation TakeGradients(std::int64_t num_required, Deadline deadline, std::function<void(StatusOr<Gradients>)> callback) {
    return round_->TakeBatch(num_required, deadline, std::move(callback));
  }
  StatusOr<SparseSlices> Reduce(Gradients& gradients);
  // As though they had not been taken (Round::Return).
  void Return(Gradients gradients) { round_->Return(std::move(gradients)); }
  RoundControl& control() { return *round_; }

  [[nodiscard]] std::int64_t NumAccumulated() const { return round_->NumAccumulated(); }
  [[nodiscard]] std::int64_t GlobalStep() const { return round_->GlobalStep(); }
  Status SetGlobalStep(std::int64_t step) { return round_->SetGlobalStep(step); }
  void Shutdown(const std::string& reason);
  // Of copies, results and what is sorted, not of leases. A result counts until it is destroyed.
  [[nodiscard]] Memory::Usage memory_usage() const { return memory_->usage(); }
  [[nodiscard]] const SparseAccumulatorOptions& options() const { return options_; }

 private:
  using SparseRound = Round<SparseGradient, SparseSlices>;

  SparseAccumulator(SparseAccumulatorOptions options, Services& services, std::unique_ptr<CompletionRule> rule);

  StatusOr<Receipt> ApplyValues(std::int64_t local_step, std::int64_t contributor, const TensorView& indices, const TensorView& values,
                                const std::optional<Shape>& dense_shape, const std::function<StatusOr<Lease>()>& hold);

  const SparseAccumulatorOptions options_;
  Services& services_;
  const std::shared_ptr<Memory> memory_;
  const std::shared_ptr<SparseRound> round_;
};

}  // namespace gradsync::accumulate

#endif  // GRADSYNC_ACCUMULATE_SPARSE_ACCUMULATOR_H_
