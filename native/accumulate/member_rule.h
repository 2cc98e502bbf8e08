// MemberRule: the CompletionRule of rounds with members, under bounded staleness and quorum. Round t holds the members' gradients of step
// t. A member begins step t (and reads the variables then) once at most `staleness` rounds before t are missing in them; a round leaves
// only after the one before was applied, so rounds are applied once and in order. A contribution needs a begun step and counts once.
// Joining, leaving and dying change whom a round waits for, so none is ever stuck for want of somebody who is gone.
// A state machine, not synchronized: used under its Round's lock. The Timer outlives it.
#ifndef GRADSYNC_ACCUMULATE_MEMBER_RULE_H_
#define GRADSYNC_ACCUMULATE_MEMBER_RULE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>

#include "accumulate/completion_rule.h"
#include "accumulate/membership.h"
#include "core/deadline.h"
#include "core/status.h"

namespace gradsync::accumulate {

class MemberRule : public CompletionRule {
 public:
  using BeginCallback = std::function<void(StatusOr<Ticket>)>;

  // Events. The Round is flushed after each, which answers whoever can be.
  StatusOr<std::int64_t> Join(std::int64_t contributor, std::optional<std::int64_t> from);
  // Its data has ended, or it is gone for good. What it contributed stays; its wait to begin ends with CANCELLED.
  Status Leave(std::int64_t contributor);
  // The same for one that will not say so itself; may be repeated.
  void Die(std::int64_t contributor);
  // The variables now have the round that was taken.
  Status Applied(std::int64_t step);
  // Somebody wants to begin its next step. Gives the id of the wait; an error is given to nobody else.
  StatusOr<std::uint64_t> Begin(std::int64_t contributor, BeginCallback callback);
  void SetTimer(std::uint64_t id, Timer::Id timer);
  // That wait ends without a ticket; nothing if it is over.
  void EndBegin(std::uint64_t id, bool is_deadline);
  // The time of a round is over.
  virtual void Expire(std::int64_t /*round*/) {}

  // Rounds 0 ... applied() - 1 are in the variables.
  [[nodiscard]] std::int64_t applied() const { return current_ - (is_outstanding_ ? 1 : 0); }
  [[nodiscard]] const Membership& members() const { return members_; }

  [[nodiscard]] StatusOr<Verdict> Judge(std::int64_t step, std::int64_t contributor) const override;
  void Record(const Verdict& verdict) override;
  [[nodiscard]] std::int64_t current() const override { return current_; }
  [[nodiscard]] StatusOr<bool> IsComplete(std::int64_t required) const override;
  std::int64_t Complete() override;
  void Abandon(std::int64_t step) override;
  [[nodiscard]] std::string Missing(std::int64_t required) const override;
  [[nodiscard]] Calls Release() override;
  [[nodiscard]] Calls EndAll(const Status& status) override;

 protected:
  // Contributions in a round.
  struct Count {
    std::int64_t fresh = 0;  // of that step
    std::int64_t all = 0;    // with those that came late
  };

  MemberRule(std::string name, std::span<const std::int64_t> contributors, std::int64_t staleness, Timer& timer)
      : name_(std::move(name)), staleness_(staleness), timer_(timer), members_(contributors) {}

  // The step a member does next.
  [[nodiscard]] virtual std::int64_t NextStep(const Member& member) const = 0;
  // What becomes of a contribution whose round is over: `verdict` comes as one that was dropped.
  [[nodiscard]] virtual Verdict JudgeLate(Verdict verdict) const = 0;
  // Whether the current round has as many contributions as it needs at least.
  [[nodiscard]] virtual bool HasQuorum() const { return true; }
  // Whether the current round waits for nobody who is missing any more.
  [[nodiscard]] virtual bool IsDue() const { return false; }
  // UNAVAILABLE when the current round cannot be completed by those who are there.
  [[nodiscard]] virtual Status CheckReachable() const { return OkStatus(); }
  virtual void OnBegun() {}
  virtual void OnContributed(Deadline::Clock::duration /*since_begin*/) {}
  // The current round is another one.
  virtual void OnNewRound() {}

  [[nodiscard]] Count CountOf(std::int64_t round) const;
  // Whether the current round waits for that member.
  [[nodiscard]] bool IsAwaited(const Member& member) const { return member.is_live() && member.from <= current_ && member.last < current_; }

  const std::string name_;  // in messages
  const std::int64_t staleness_;
  Timer& timer_;
  Membership members_;

 private:
  Status Go(std::int64_t contributor, Member::State state);
  Status CheckMembers() const;
  Status CheckStep(const Member& member, std::int64_t step, std::int64_t contributor) const;
  void Answer(Member& member, StatusOr<Ticket> answer);
  void SkipEmptyRounds();
  void MoveTo(std::int64_t round);

  std::int64_t current_ = 0;
  bool is_outstanding_ = false;  // round current_ - 1 was taken and is not applied yet
  std::map<std::int64_t, Count> counts_;
  std::uint64_t next_id_ = 1;
  Calls answers_;
};

}  // namespace gradsync::accumulate

#endif  // GRADSYNC_ACCUMULATE_MEMBER_RULE_H_
