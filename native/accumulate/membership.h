// Membership: who takes part in rounds with members, from which round on, and how far each has come. A contributor joins, begins a step,
// contributes to it, and so on, until it leaves (its data ended) or dies (somebody noticed). Records what lag each read of a member had.
// A plain state, not synchronized: owned by a MemberRule, which is used under its Round's lock.
#ifndef GRADSYNC_ACCUMULATE_MEMBERSHIP_H_
#define GRADSYNC_ACCUMULATE_MEMBERSHIP_H_

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>

#include "core/deadline.h"
#include "core/status.h"

namespace gradsync::accumulate {

// What a member that may begin is told: its step, how many rounds were applied to the variables it reads now (rounds 0 ... applied - 1),
// and how many are missing there: step - applied.
struct Ticket {
  std::int64_t step = 0;
  std::int64_t applied = 0;
  std::int64_t lag = 0;
};

// The lags of all reads of one contributor.
struct LagRecord {
  std::int64_t reads = 0;
  std::int64_t max = 0;
  std::map<std::int64_t, std::int64_t> counts;  // lag -> reads that had it

  void Add(std::int64_t lag);
};

struct Member {
  enum class State { kLive, kLeft, kDead };
  // A step it began and has not contributed to.
  struct Begun {
    Ticket ticket;
    Timer::Time at;
  };
  // It wants to begin its next step.
  struct Waiting {
    std::uint64_t id = 0;
    Timer::Id timer = 0;
    std::function<void(StatusOr<Ticket>)> callback;
  };

  State state = State::kLive;
  std::int64_t from = 0;   // its first round
  std::int64_t last = -1;  // the last step it contributed to
  std::optional<Begun> begun;
  std::optional<Waiting> waiting;
  LagRecord lags;

  [[nodiscard]] bool is_live() const { return state == State::kLive; }
};

class Membership {
 public:
  // All take part from round 0 on.
  explicit Membership(std::span<const std::int64_t> contributors);

  // From round `from` on; not given: from `current`, the first that is not complete, or after the last it contributed to. Gives that round.
  // ALREADY_EXISTS for a member, INVALID_ARGUMENT for an earlier round.
  StatusOr<std::int64_t> Join(std::int64_t contributor, std::optional<std::int64_t> from, std::int64_t current);
  // `state` is how it goes. FAILED_PRECONDITION for one that is not there; a dead one may still be said to have left.
  Status Go(std::int64_t contributor, Member::State state);
  // FAILED_PRECONDITION, saying whether it left, died or never joined, unless it is live.
  StatusOr<Member*> Live(std::int64_t contributor);
  StatusOr<const Member*> Live(std::int64_t contributor) const;

  [[nodiscard]] std::map<std::int64_t, Member>& all() { return members_; }
  [[nodiscard]] const std::map<std::int64_t, Member>& all() const { return members_; }
  [[nodiscard]] std::int64_t Count(Member::State state) const;
  // "1, 2" or "none": those for whom `is_one` holds.
  [[nodiscard]] std::string Names(const std::function<bool(const Member&)>& is_one) const;

 private:
  std::map<std::int64_t, Member> members_;  // who is or ever was one
};

}  // namespace gradsync::accumulate

#endif  // GRADSYNC_ACCUMULATE_MEMBERSHIP_H_
