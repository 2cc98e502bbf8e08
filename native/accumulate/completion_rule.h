// CompletionRule: what a Round (round.h) asks about its contributions: whether one may enter and where, when the current round is complete,
// and who else waits for that. A rule is a state machine without payloads, threads or locks of its own: owned by its Round, which calls it
// under its lock and makes the calls it leaves behind (Release) without it. FirstN is TensorFlow's rule; MemberRule (member_rule.h) is that
// of rounds with members: bounded staleness and quorum.
#ifndef GRADSYNC_ACCUMULATE_COMPLETION_RULE_H_
#define GRADSYNC_ACCUMULATE_COMPLETION_RULE_H_

#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/status.h"

namespace gradsync::accumulate {

// The answer to an apply. A stale contribution was dropped, not even validated; a scaled one came late and counts with a factor.
struct Receipt {
  bool is_accepted = true;
  std::int64_t local_step = 0;        // the contributor's
  std::int64_t global_step = 0;       // of the round it entered, or would have to enter
  std::optional<double> factor = {};  // given where it was scaled

  friend bool operator==(const Receipt&, const Receipt&) = default;
};

// One contribution in a round.
struct Contribution {
  std::int64_t step = 0;  // the contributor's
  std::int64_t contributor = 0;
  std::int64_t lag = 0;  // rounds whose update was missing in the values it was computed from; 0 where nobody counts them
  double factor = 1;     // what it is multiplied by
};

// What becomes of a contribution, and the number of the round it belongs to.
struct Verdict {
  Receipt receipt;
  Contribution contribution;
  std::int64_t round = 0;
};

class CompletionRule {
 public:
  using Calls = std::vector<std::function<void()>>;

  CompletionRule() = default;
  virtual ~CompletionRule() = default;
  CompletionRule(const CompletionRule&) = delete;
  CompletionRule& operator=(const CompletionRule&) = delete;

  // Where a contribution would go that came now. Changes nothing.
  [[nodiscard]] virtual StatusOr<Verdict> Judge(std::int64_t step, std::int64_t contributor) const = 0;
  // It went there; or was dropped, if the verdict says so.
  virtual void Record(const Verdict& verdict) = 0;
  // The round that is next to be completed.
  [[nodiscard]] virtual std::int64_t current() const = 0;
  // Whether the current round may leave with a take that asks for `required`; an error when no take can be answered any more.
  [[nodiscard]] virtual StatusOr<bool> IsComplete(std::int64_t required) const = 0;
  // The current round leaves; gives its step.
  virtual std::int64_t Complete() = 0;
  // A round that left could not be reduced.
  virtual void Abandon(std::int64_t /*step*/) {}
  // A round that left comes back with its `count` contributions; false where that cannot be: then it is abandoned.
  virtual bool Reopen(std::int64_t step, std::int64_t /*count*/) {
    Abandon(step);
    return false;
  }
  // What the caller of Take is told to be missing, e.g. "expected 3 gradients but received 1".
  [[nodiscard]] virtual std::string Missing(std::int64_t required) const = 0;

  // Answers to those who wait for the rule itself; each is called once, without the lock.
  [[nodiscard]] virtual Calls Release() { return {}; }
  // The same for all who still wait, with `status`: the round ends.
  [[nodiscard]] virtual Calls EndAll(const Status& /*status*/) { return {}; }

  // TensorFlow's global step; a rule that counts its steps itself cannot be set.
  [[nodiscard]] virtual std::int64_t step() const { return current(); }
  virtual Status SetStep(std::int64_t step) { return FailedPrecondition("expected no step to be set but received ", step); }
};

// TensorFlow's: whatever is not stale enters the one open round, which leaves, whole, with the first take whose number is reached.
class FirstN : public CompletionRule {
 public:
  [[nodiscard]] StatusOr<Verdict> Judge(std::int64_t step, std::int64_t contributor) const override {
    return Verdict{.receipt = {.is_accepted = step >= step_, .local_step = step, .global_step = step_},
                   .contribution = {.step = step, .contributor = contributor},
                   .round = current()};
  }
  void Record(const Verdict& verdict) override { count_ += verdict.receipt.is_accepted ? 1 : 0; }
  [[nodiscard]] std::int64_t current() const override { return 0; }
  [[nodiscard]] StatusOr<bool> IsComplete(std::int64_t required) const override { return count_ >= required; }
  std::int64_t Complete() override {
    count_ = 0;
    if (step_ == std::numeric_limits<std::int64_t>::max()) return step_;
    return step_++;
  }
  bool Reopen(std::int64_t step, std::int64_t count) override {
    count_ += count;
    if (step_ == step + 1) step_ = step;  // otherwise it was set, or another round has left since
    return true;
  }
  [[nodiscard]] std::string Missing(std::int64_t required) const override {
    return StrCat("expected ", required, " gradients but received ", count_);
  }
  [[nodiscard]] std::int64_t step() const override { return step_; }
  Status SetStep(std::int64_t step) override {
    step_ = step;
    return OkStatus();
  }

 private:
  std::int64_t step_ = 0;
  std::int64_t count_ = 0;
};

}  // namespace gradsync::accumulate

#endif  // GRADSYNC_ACCUMULATE_COMPLETION_RULE_H_
