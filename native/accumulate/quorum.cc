#include "accumulate/quorum.h"

#include <algorithm>
#include <chrono>
#include <cmath>

namespace gradsync::accumulate {

double LatePolicy::FactorOf(std::int64_t lag) const {
  const auto rounds = static_cast<double>(lag);
  return kind == Kind::kScaleInverse ? 1 / (1 + rounds) : std::pow(decay, rounds);
}

StatusOr<std::unique_ptr<MemberRule>> Quorum::Create(std::string name, const QuorumOptions& options,
                                                     std::span<const std::int64_t> contributors, Timer& timer, OnDeadline on_deadline) {
  const auto members = static_cast<std::int64_t>(contributors.size());
  if (options.quorum < 1 || options.quorum > members) {
    return InvalidArgument("'", name, "': expected a quorum of 1 to ", members, " (the members) but received ", options.quorum);
  }
  if (const Status wait = CheckWait(options.wait); !wait.ok()) return InvalidArgument("'", name, "': ", wait.message());
  if (options.late.kind == LatePolicy::Kind::kScaleExponential && !(options.late.decay > 0 && options.late.decay <= 1)) {
    return InvalidArgument("'", name, "': expected a decay above 0 and at most 1 but received ", options.late.decay);
  }
  return std::unique_ptr<MemberRule>(new Quorum(std::move(name), options, contributors, timer, std::move(on_deadline)));
}

std::int64_t Quorum::NextStep(const Member& member) const { return std::max(member.last + 1, current()); }

Verdict Quorum::JudgeLate(Verdict verdict) const {
  if (options_.late.kind == LatePolicy::Kind::kDrop) return verdict;
  verdict.receipt.is_accepted = true;
  if (options_.late.is_scaling()) {
    verdict.contribution.factor = options_.late.FactorOf(verdict.contribution.lag);
    verdict.receipt.factor = verdict.contribution.factor;
  }
  return verdict;
}

// The quorum, or fewer where members have left.
std::int64_t Quorum::Needed() const {
  const auto counts = [this](const auto& entry) {
    const Member& member = entry.second;
    return member.state == Member::State::kDead || (member.is_live() && member.from <= current());
  };
  return std::min(options_.quorum, static_cast<std::int64_t>(std::ranges::count_if(members_.all(), counts)));
}

Status Quorum::CheckReachable() const {
  const auto awaited = std::ranges::count_if(members_.all(), [this](const auto& entry) { return IsAwaited(entry.second); });
  const std::int64_t possible = CountOf(current()).fresh + static_cast<std::int64_t>(awaited);
  if (possible >= Needed()) return OkStatus();
  const auto is_dead = [](const Member& member) { return member.state == Member::State::kDead; };
  return {Code::kUnavailable, StrCat("'", name_, "': round ", current(), " needs ", Needed(), " contributions but at most ", possible,
                                     " can come; died: ", members_.Names(is_dead))};
}

// The clock of a round runs from its first member's begin.
void Quorum::OnBegun() {
  if (std::exchange(is_open_, true)) return;
  const double wait_ms = deadline_.wait_ms();
  constexpr double kCenturyMs = 100.0 * 365 * 24 * 3600 * 1000;
  if (wait_ms <= 0) {
    is_expired_ = true;
  } else if (wait_ms < kCenturyMs) {
    const auto wait = std::chrono::duration_cast<Deadline::Clock::duration>(std::chrono::duration<double, std::milli>(wait_ms));
    alarm_ = timer_.Schedule(Deadline::At(timer_.Now() + wait), [on_deadline = on_deadline_, round = current()] { on_deadline(round); });
  }
}

void Quorum::Expire(std::int64_t round) {
  if (round == current() && is_open_) is_expired_ = true;
}

void Quorum::OnContributed(Deadline::Clock::duration since_begin) {
  deadline_.Add(std::chrono::duration<double, std::milli>(since_begin).count());
}

void Quorum::OnNewRound() {
  timer_.Cancel(std::exchange(alarm_, 0));
  is_open_ = is_expired_ = false;
}

}  // namespace gradsync::accumulate
