#include "step/fused_step.h"

#include <algorithm>
#include <cmath>
#include <mutex>
#include <new>
#include <utility>

#include "step/gradients.h"
#include "step/run_step.h"

namespace gradsync::step {
namespace {

// A step under way: waits for all rounds, then runs on a thread of the pool. Kept alive by the takes it waits for.
class PendingStep : public std::enable_shared_from_this<PendingStep> {
 public:
  PendingStep(FusedStepOptions options, Services& services, FusedStepCallback callback)
      : options_(std::move(options)),
        services_(services),
        callback_(std::move(callback)),
        takes_(options_.updates.size()),
        gradients_(options_.updates.size()),
        missing_(options_.updates.size() + 1) {}

  void Start(Deadline deadline) {
    for (std::size_t i = 0; i < options_.updates.size(); ++i) Take(i, deadline);
    Arrive(OkStatus());  // what was counted for this loop
  }

  // Ends the wait; without effect once all rounds are there.
  void Cancel() {
    std::vector<Cancellation> takes;
    {
      const std::lock_guard lock(mutex_);
      if (missing_ == 0) return;
      if (status_.ok()) status_ = Cancelled("the fused step was cancelled");
      takes = takes_;
    }
    for (const Cancellation& take : takes) take.Cancel();
  }

 private:
  void Take(std::size_t i, Deadline deadline) {
    Cancellation take =
        std::visit([&](const auto& accumulator) { return TakeFrom(*accumulator, i, deadline); }, options_.updates[i].accumulator);
    bool is_ended = false;
    {
      const std::lock_guard lock(mutex_);
      takes_[i] = take;
      is_ended = !status_.ok();
    }
    if (is_ended) take.Cancel();
  }

  template <typename Accumulator>
  Cancellation TakeFrom(Accumulator& accumulator, std::size_t i, Deadline deadline) {
    using Owner = std::conditional_t<std::is_same_v<Accumulator, accumulate::DenseAccumulator>, DenseGradients, SparseGradients>;
    const auto arrive = [self = shared_from_this(), &accumulator, i](StatusOr<typename Accumulator::Gradients> batch) {
      const Status status = batch.status();
      if (batch.ok()) self->gradients_[i].emplace(Owner(accumulator, *std::move(batch)));  // before Arrive, whose lock publishes it
      self->Arrive(status);
    };
    return accumulator.TakeGradients(options_.updates[i].num_required, deadline, arrive);
  }

  // One wait is over. The first that fails ends the others.
  void Arrive(const Status& status) {
    bool is_first_failure = false;
    bool is_last = false;
    {
      const std::lock_guard lock(mutex_);
      is_first_failure = !status.ok() && status_.ok();
      if (is_first_failure) status_ = status;
      is_last = --missing_ == 0;
    }
    if (is_last) return Finish();
    if (is_first_failure) Cancel();
  }

  void Finish() {
    if (status_.ok()) return services_.pool.Submit([self = shared_from_this()] { self->Run(); });
    for (auto& gradients : gradients_) {
      if (gradients) std::visit([](auto& all) { all.Return(); }, *gradients);
    }
    callback_(status_);
  }

  void Run() {
    std::vector<Gradients> gradients;
    for (auto& some : gradients_) gradients.push_back(*std::move(some));
    callback_(RunOrFail(gradients));
  }

  // Lists are allocated by the standard library, which throws: on a thread of the pool that would end the process.
  StatusOr<FusedStepResult> RunOrFail(std::vector<Gradients>& gradients) {
    try {
      return RunStep(options_, gradients, services_);
    } catch (const std::bad_alloc&) {
      return ResourceExhausted("not enough memory for a fused step");
    }
  }

  const FusedStepOptions options_;
  Services& services_;
  const FusedStepCallback callback_;

  std::mutex mutex_;  // guards what follows until nothing is missing; gradients_[i] is written by take i alone
  std::vector<Cancellation> takes_;
  std::vector<std::optional<Gradients>> gradients_;
  std::size_t missing_;
  Status status_;
};

bool HasTwice(std::vector<const void*> objects) {
  std::ranges::sort(objects, std::less<>{});
  return std::ranges::adjacent_find(objects) != objects.end();
}

Status CheckOptions(const FusedStepOptions& options) {
  if (options.updates.empty()) return InvalidArgument("expected a fused step of at least one variable but received none");
  if (options.clip_norm && !(*options.clip_norm > 0 && std::isfinite(*options.clip_norm))) {
    return InvalidArgument("expected a positive, finite clip norm but received ", *options.clip_norm);
  }
  std::vector<const void*> accumulators;
  std::vector<const void*> variables;
  for (const VariableUpdateSpec& update : options.updates) {
    accumulators.push_back(
        std::visit([](const auto& accumulator) { return static_cast<const void*>(accumulator.get()); }, update.accumulator));
    variables.push_back(update.variable.get());
    for (const auto& slot : update.slots) variables.push_back(slot.get());
  }
  if (HasTwice(std::move(accumulators))) {
    return InvalidArgument("expected an accumulator of its own for every variable of a fused step but received one twice");
  }
  if (HasTwice(std::move(variables))) {
    return InvalidArgument("expected different variables and slots in a fused step but received one twice");
  }
  return OkStatus();
}

}  // namespace

Cancellation StartFusedStep(FusedStepOptions options, Deadline deadline, Services& services, FusedStepCallback callback) {
  if (Status status = CheckOptions(options); !status.ok()) {
    callback(std::move(status));
    return {};
  }
  const auto step = std::make_shared<PendingStep>(std::move(options), services, std::move(callback));
  step->Start(deadline);
  return Cancellation([weak = std::weak_ptr(step)] {
    if (const auto pending = weak.lock()) pending->Cancel();
  });
}

}  // namespace gradsync::step
