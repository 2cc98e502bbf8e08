// DenseAccumulator: TensorFlow's conditional accumulator for dense gradients, on a Round. Gradients are copied at apply or leased, held,
// and summed once at take: N inputs, one output, in order of contributor; mean divides by the number of gradients. float16 and bfloat16 sum
// in float and round once; integers wrap around and their mean truncates. Deterministic, whatever the number of threads. It holds no more
// than the gradients given to it and one output; memory given back, also that of results once they are destroyed, serves the next round.
// Thread-safe; owned by shared_ptr; the Services outlive it. Threads of callbacks: see round.h.
#ifndef GRADSYNC_ACCUMULATE_DENSE_ACCUMULATOR_H_
#define GRADSYNC_ACCUMULATE_DENSE_ACCUMULATOR_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "accumulate/round.h"
#include "accumulate/scale_tensor.h"
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

struct DenseAccumulatorOptions {
  std::string name;
  DType dtype = DType::kFloat32;
  PartialShape shape;
  Reduction reduction = Reduction::kMean;

  friend bool operator==(const DenseAccumulatorOptions&, const DenseAccumulatorOptions&) = default;
};

class DenseAccumulator : public std::enable_shared_from_this<DenseAccumulator> {
 public:
  using Options = DenseAccumulatorOptions;
  using Taken = Tensor;
  using TakeCallback = std::function<void(StatusOr<Taken>)>;
  using TakeRoundCallback = std::function<void(StatusOr<TakenRound<Taken>>)>;

  // INVALID_ARGUMENT for a dtype that has no aggregation. `rule` says which contributions make a round.
  static StatusOr<std::shared_ptr<DenseAccumulator>> Create(DenseAccumulatorOptions options, Services& services,
                                                            std::unique_ptr<CompletionRule> rule = std::make_unique<FirstN>());
  ~DenseAccumulator();
  DenseAccumulator(const DenseAccumulator&) = delete;
  DenseAccumulator& operator=(const DenseAccumulator&) = delete;

  // Copies the gradient. INVALID_ARGUMENT, with nothing changed, when dtype or shape do not fit.
  StatusOr<Receipt> Apply(std::int64_t local_step, std::int64_t contributor, const TensorView& gradient);
  // Does not copy it: the lease ends when its round has been reduced, before the take is answered, or at once when it is refused or stale.
  StatusOr<Receipt> ApplyLeased(std::int64_t local_step, std::int64_t contributor, Lease gradient);
  // `num_required` below 1 is INVALID_ARGUMENT, given to the callback at once.
  Cancellation Take(std::int64_t num_required, Deadline deadline, TakeCallback callback);
  // The same of a sum of exactly `bytes` bytes; a round of another size is returned (INVALID_ARGUMENT).
  Cancellation TakeSized(std::int64_t num_required, std::size_t bytes, Deadline deadline, TakeCallback callback);
  // Writes the sum to `out`, which stays alive until the callback runs and is nobody else's: no memory is allocated. Gives its shape.
  Cancellation TakeInto(std::int64_t num_required, std::span<std::byte> out, Deadline deadline,
                        std::function<void(StatusOr<Shape>)> callback);
  // The current round with its step and contributors, when the rule says it is complete.
  Cancellation TakeRound(Deadline deadline, TakeRoundCallback callback) { return round_->TakeRound(1, deadline, std::move(callback)); }
  RoundControl& control() { return *round_; }

  // What one contributor gave.
  struct Gradient {
    Lease lease;
    [[nodiscard]] std::size_t bytes() const { return lease.bytes(); }
    [[nodiscard]] bool Fits(const Gradient& other) const { return SameShape(lease.shape(), other.lease.shape()); }
    [[nodiscard]] TensorView view() const { return lease.view(); }
    // Its elements to change.
    [[nodiscard]] StatusOr<Tensor*> MakeOwn() { return lease.MakeOwn(); }
    Status Scale(double factor) {
      GRADSYNC_ASSIGN_OR_RETURN(Tensor* const own, lease.MakeOwn());
      return ScaleTensor(*own, factor);
    }
  };
  // The round before its reduction, in the order of reduction, for whoever fuses the sum with what comes after it.
  using Gradients = Batch<Gradient>;
  Cancellation TakeGradients(std::int64_t num_required, Deadline deadline, std::function<void(StatusOr<Gradients>)> callback) {
    return round_->TakeBatch(num_required, deadline, std::move(callback));
  }
  // As though they had not been taken (Round::Return).
  void Return(Gradients gradients) { round_->Return(std::move(gradients)); }
  // They are done with: their memory serves a later round.
  void Recycle(Gradients gradients);

  [[nodiscard]] std::int64_t NumAccumulated() const { return round_->NumAccumulated(); }
  [[nodiscard]] std::int64_t GlobalStep() const { return round_->GlobalStep(); }
  Status SetGlobalStep(std::int64_t step) { return round_->SetGlobalStep(step); }
  void Shutdown(const std::string& reason);
  // Of the copies and results, not of leases. A result counts until it is destroyed.
  [[nodiscard]] Memory::Usage memory_usage() const { return memory_->usage(); }
  [[nodiscard]] const DenseAccumulatorOptions& options() const { return options_; }

 private:
  using DenseRound = Round<Gradient, Tensor>;

  DenseAccumulator(DenseAccumulatorOptions options, Services& services, std::unique_ptr<CompletionRule> rule);
  static StatusOr<Tensor> Sum(Batch<Gradient> batch, Reduction reduction, Services& services, Memory& memory);
  static Status SumInto(const Batch<Gradient>& batch, Reduction reduction, Services& services, void* out, bool is_streaming);
  Status CheckSize(const Gradients& gradients, std::size_t bytes) const;
  template <typename T, typename Use>
  Cancellation TakeChecked(std::int64_t num_required, std::size_t bytes, Deadline deadline, std::function<void(StatusOr<T>)> callback,
                           Use&& use);
  Status Check(const TensorView& gradient, const Gradient* first) const;

  const DenseAccumulatorOptions options_;
  Services& services_;
  const std::shared_ptr<Memory> memory_;
  const std::shared_ptr<DenseRound> round_;
};

}  // namespace gradsync::accumulate

#endif  // GRADSYNC_ACCUMULATE_DENSE_ACCUMULATOR_H_
