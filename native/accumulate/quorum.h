// Quorum: a round waits for all members until its deadline (arrival_deadline.h), then leaves with those it has once they are `quorum`.
// Members that leave lower the quorum to those who remain; dead ones do not: when too few remain because of them, who waits gets
// UNAVAILABLE, until others join or the dead are said to have left. A contribution whose round is over is dropped, accepted into the
// current round, or that scaled by a function of its lag; it never counts for the quorum, and the mean divides by all contributions.
// A late member goes on with the current step. Ownership and threads: member_rule.h.
#ifndef GRADSYNC_ACCUMULATE_QUORUM_H_
#define GRADSYNC_ACCUMULATE_QUORUM_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "accumulate/arrival_deadline.h"
#include "accumulate/member_rule.h"

namespace gradsync::accumulate {

// What becomes of a contribution that comes `lag` >= 1 rounds after its own. Inverse: factor 1 / (1 + lag), as staleness-aware SGD does
// (Zhang et al. 2016). Exponential: factor decay^lag.
struct LatePolicy {
  enum class Kind { kDrop, kAccept, kScaleInverse, kScaleExponential };
  Kind kind = Kind::kDrop;
  double decay = 0.5;  // of kScaleExponential, in (0, 1]

  [[nodiscard]] bool is_scaling() const { return kind == Kind::kScaleInverse || kind == Kind::kScaleExponential; }
  [[nodiscard]] double FactorOf(std::int64_t lag) const;
  friend bool operator==(const LatePolicy&, const LatePolicy&) = default;
};

struct QuorumOptions {
  std::int64_t quorum = 1;  // at most the number of members at the beginning
  ArrivalWait wait = FixedWait{};
  LatePolicy late = {};

  friend bool operator==(const QuorumOptions&, const QuorumOptions&) = default;
};

class Quorum : public MemberRule {
 public:
  // Told at the deadline of a round: call Expire under the Round's lock.
  using OnDeadline = std::function<void(std::int64_t round)>;

  static StatusOr<std::unique_ptr<MemberRule>> Create(std::string name, const QuorumOptions& options,
                                                      std::span<const std::int64_t> contributors, Timer& timer, OnDeadline on_deadline);
  ~Quorum() override { timer_.Cancel(alarm_); }
  void Expire(std::int64_t round) override;

 protected:
  // A late member does not make up for the rounds it missed.
  [[nodiscard]] std::int64_t NextStep(const Member& member) const override;
  [[nodiscard]] Verdict JudgeLate(Verdict verdict) const override;
  [[nodiscard]] bool HasQuorum() const override { return CountOf(current()).fresh >= Needed(); }
  [[nodiscard]] bool IsDue() const override { return is_expired_; }
  [[nodiscard]] Status CheckReachable() const override;
  void OnBegun() override;
  void OnContributed(Deadline::Clock::duration since_begin) override;
  void OnNewRound() override;

 private:
  Quorum(std::string name, const QuorumOptions& options, std::span<const std::int64_t> contributors, Timer& timer, OnDeadline on_deadline)
      : MemberRule(std::move(name), contributors, 0, timer),
        options_(options),
        deadline_(options.wait),
        on_deadline_(std::move(on_deadline)) {}
  [[nodiscard]] std::int64_t Needed() const;

  const QuorumOptions options_;
  ArrivalDeadline deadline_;
  const OnDeadline on_deadline_;
  // Of the current round.
  bool is_open_ = false;  // somebody began it
  bool is_expired_ = false;
  Timer::Id alarm_ = 0;
};

}  // namespace gradsync::accumulate

#endif  // GRADSYNC_ACCUMULATE_QUORUM_H_
