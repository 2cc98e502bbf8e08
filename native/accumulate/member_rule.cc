#include "accumulate/member_rule.h"

#include <algorithm>
#include <utility>

namespace gradsync::accumulate {

StatusOr<std::int64_t> MemberRule::Join(std::int64_t contributor, std::optional<std::int64_t> from) {
  GRADSYNC_ASSIGN_OR_RETURN(const std::int64_t first, members_.Join(contributor, from, current_));
  SkipEmptyRounds();
  return first;
}

Status MemberRule::Go(std::int64_t contributor, Member::State state) {
  GRADSYNC_RETURN_IF_ERROR(members_.Go(contributor, state));
  Member& member = members_.all().at(contributor);
  const char* how = state == Member::State::kLeft ? " has left" : " has died";
  if (member.waiting) Answer(member, Cancelled("Begin on '", name_, "' was cancelled: contributor ", contributor, how));
  SkipEmptyRounds();
  return OkStatus();
}

Status MemberRule::Leave(std::int64_t contributor) { return Go(contributor, Member::State::kLeft); }

// One that is gone already stays as it went.
void MemberRule::Die(std::int64_t contributor) {
  if (members_.Live(contributor).ok()) static_cast<void>(Go(contributor, Member::State::kDead));
}

Status MemberRule::Applied(std::int64_t step) {
  if (!is_outstanding_ || step != current_ - 1) {
    const std::string expected = is_outstanding_ ? StrCat("round ", current_ - 1) : std::string("a round to be taken first");
    return FailedPrecondition("'", name_, "': expected ", expected, " to be applied but received ", step);
  }
  Abandon(step);
  return OkStatus();
}

void MemberRule::Abandon(std::int64_t step) {
  if (!is_outstanding_ || step != current_ - 1) return;
  is_outstanding_ = false;
  SkipEmptyRounds();
}

StatusOr<std::uint64_t> MemberRule::Begin(std::int64_t contributor, BeginCallback callback) {
  GRADSYNC_ASSIGN_OR_RETURN(Member* const member, members_.Live(contributor));
  if (member->waiting) return FailedPrecondition("'", name_, "': contributor ", contributor, " waits to begin already");
  if (member->begun) {
    return FailedPrecondition("'", name_, "': expected contributor ", contributor, " to contribute to step ", member->begun->ticket.step,
                              ", which it began, before the next");
  }
  member->waiting = Member::Waiting{.id = next_id_++, .timer = 0, .callback = std::move(callback)};
  return member->waiting->id;
}

void MemberRule::SetTimer(std::uint64_t id, Timer::Id timer) {
  for (auto& [contributor, member] : members_.all()) {
    if (member.waiting && member.waiting->id == id) member.waiting->timer = timer;
  }
}

void MemberRule::EndBegin(std::uint64_t id, bool is_deadline) {
  for (auto& [contributor, member] : members_.all()) {
    if (!member.waiting || member.waiting->id != id) continue;
    if (!is_deadline) return Answer(member, Cancelled("Begin operation was cancelled"));
    return Answer(member, DeadlineExceeded("Begin on '", name_, "' by contributor ", contributor, ": step ", NextStep(member),
                                           " may not begin while only ", applied(), " rounds are applied (staleness ", staleness_, "); ",
                                           is_outstanding_ ? StrCat("round ", current_ - 1, " was taken and not applied") : Missing(1)));
  }
}

void MemberRule::Answer(Member& member, StatusOr<Ticket> answer) {
  Member::Waiting waiting = *std::exchange(member.waiting, std::nullopt);
  timer_.Cancel(waiting.timer);
  answers_.push_back([callback = std::move(waiting.callback), answer = std::move(answer)] { callback(answer); });
}

CompletionRule::Calls MemberRule::Release() {
  const Status reachable = CheckReachable();
  for (auto& [contributor, member] : members_.all()) {
    if (!member.waiting) continue;
    const std::int64_t step = NextStep(member);
    if (!reachable.ok()) {
      Answer(member, reachable);
    } else if (applied() >= step - staleness_) {
      const Ticket ticket{.step = step, .applied = applied(), .lag = step - applied()};
      member.begun = Member::Begun{.ticket = ticket, .at = timer_.Now()};
      member.lags.Add(ticket.lag);
      OnBegun();
      Answer(member, ticket);
    }
  }
  return std::exchange(answers_, {});
}

CompletionRule::Calls MemberRule::EndAll(const Status& status) {
  for (auto& [contributor, member] : members_.all()) {
    if (member.waiting) Answer(member, status);
  }
  return std::exchange(answers_, {});
}

// Whether that member may contribute to that step now.
Status MemberRule::CheckStep(const Member& member, std::int64_t step, std::int64_t contributor) const {
  if (step <= member.last && step >= 0) {
    return {Code::kAlreadyExists, StrCat("'", name_, "': contributor ", contributor, " has contributed to step ", member.last,
                                         " or joined after it; expected a later step but received ", step)};
  }
  if (member.begun && member.begun->ticket.step == step) return OkStatus();
  const std::string begun = member.begun ? StrCat("began step ", member.begun->ticket.step) : std::string("began none");
  return FailedPrecondition("'", name_, "': expected a contribution to a step that contributor ", contributor, " began but received step ",
                            step, "; it ", begun);
}

StatusOr<Verdict> MemberRule::Judge(std::int64_t step, std::int64_t contributor) const {
  GRADSYNC_ASSIGN_OR_RETURN(const Member* const member, members_.Live(contributor));
  GRADSYNC_RETURN_IF_ERROR(CheckStep(*member, step, contributor));
  Verdict verdict{.receipt = {.is_accepted = step >= current_, .local_step = step, .global_step = std::max(step, current_)},
                  .contribution = {.step = step, .contributor = contributor},
                  .round = std::max(step, current_)};
  verdict.contribution.lag = verdict.round - member->begun->ticket.applied;
  return verdict.receipt.is_accepted ? verdict : JudgeLate(verdict);
}

void MemberRule::Record(const Verdict& verdict) {
  Member& member = members_.all().at(verdict.contribution.contributor);
  OnContributed(timer_.Now() - member.begun->at);
  member.last = verdict.contribution.step;
  member.begun.reset();
  if (!verdict.receipt.is_accepted) return;
  Count& count = counts_[verdict.round];
  ++count.all;
  if (verdict.contribution.step == verdict.round) ++count.fresh;
}

MemberRule::Count MemberRule::CountOf(std::int64_t round) const {
  const auto found = counts_.find(round);
  return found == counts_.end() ? Count{} : found->second;
}

// An error when nobody is left and nothing either.
Status MemberRule::CheckMembers() const {
  if (!counts_.empty() || members_.Count(Member::State::kLive) > 0) return OkStatus();
  if (members_.Count(Member::State::kDead) == 0) return OutOfRange("'", name_, "' has ended: every member has left");
  const auto is_dead = [](const Member& member) { return member.state == Member::State::kDead; };
  return {Code::kUnavailable, StrCat("'", name_, "' has no members any more; died: ", members_.Names(is_dead))};
}

StatusOr<bool> MemberRule::IsComplete(std::int64_t /*required*/) const {
  GRADSYNC_RETURN_IF_ERROR(CheckMembers());
  if (is_outstanding_) return false;
  const bool has_all = std::ranges::none_of(members_.all(), [this](const auto& entry) { return IsAwaited(entry.second); });
  if (CountOf(current_).all > 0 && HasQuorum() && (has_all || IsDue())) return true;
  GRADSYNC_RETURN_IF_ERROR(CheckReachable());
  return false;
}

std::int64_t MemberRule::Complete() {
  counts_.erase(current_);
  is_outstanding_ = true;
  MoveTo(current_ + 1);
  return current_ - 1;
}

void MemberRule::MoveTo(std::int64_t round) {
  current_ = round;
  OnNewRound();
}

// A round that nobody contributed to and nobody will (those who would have are gone, others joined later) has nothing to apply.
void MemberRule::SkipEmptyRounds() {
  if (is_outstanding_ || CountOf(current_).all > 0) return;
  std::optional<std::int64_t> next;
  const auto consider = [&](std::int64_t round) { next = std::min(next.value_or(round), round); };
  for (const auto& [contributor, member] : members_.all()) {
    if (member.is_live()) consider(std::max(member.from, member.last + 1));
  }
  if (!counts_.empty()) consider(counts_.begin()->first);
  if (next && *next > current_) MoveTo(*next);
}

std::string MemberRule::Missing(std::int64_t /*required*/) const {
  return StrCat("round ", current_, " has ", CountOf(current_).fresh, " contributions and waits for ",
                members_.Names([this](const Member& member) { return IsAwaited(member); }));
}

}  // namespace gradsync::accumulate
