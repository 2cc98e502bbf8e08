#include "accumulate/member_rounds.h"

#include <set>

namespace gradsync::accumulate {

StatusOr<std::unique_ptr<MemberRule>> MemberControl::MakeRule(const std::string& name, const MemberRoundsOptions& options,
                                                              Services& services,
                                                              const std::shared_ptr<std::weak_ptr<MemberControl>>& control) {
  if (options.members.empty()) return InvalidArgument("'", name, "': expected at least one member but received none");
  const std::set<std::int64_t> unique(options.members.begin(), options.members.end());
  if (unique.size() != options.members.size()) return InvalidArgument("'", name, "': expected every member once but received repeats");
  if (const auto* staleness = std::get_if<BoundedStalenessOptions>(&options.rule)) {
    return BoundedStaleness::Create(name, *staleness, options.members, services.timer);
  }
  const auto on_deadline = [control](std::int64_t round) {
    if (const auto self = control->lock()) self->Expire(round);
  };
  return Quorum::Create(name, std::get<QuorumOptions>(options.rule), options.members, services.timer, on_deadline);
}

Status MemberControl::Update(const std::function<Status()>& change) {
  Status status;
  GRADSYNC_RETURN_IF_ERROR(round_.Update([&] { status = change(); }));
  return status;
}

Cancellation MemberControl::Begin(std::int64_t contributor, Deadline deadline, BeginCallback callback) {
  std::uint64_t id = 0;
  const Status status = Update([&] {
    const StatusOr<std::uint64_t> begun = rule_.Begin(contributor, callback);
    if (!begun.ok()) return begun.status();
    id = *begun;
    rule_.SetTimer(id, services_.timer.Schedule(deadline, [self = weak_from_this(), id] {
      if (const auto control = self.lock()) control->EndBegin(id, true);
    }));
    return OkStatus();
  });
  if (!status.ok()) {
    callback(status);
    return {};
  }
  return Cancellation([self = weak_from_this(), id] {
    if (const auto control = self.lock()) control->EndBegin(id, false);
  });
}

// A round that is closed has answered everybody.
void MemberControl::EndBegin(std::uint64_t id, bool is_deadline) {
  static_cast<void>(round_.Update([&] { rule_.EndBegin(id, is_deadline); }));
}

void MemberControl::Expire(std::int64_t round) {
  static_cast<void>(round_.Update([&] { rule_.Expire(round); }));
}

Status MemberControl::Applied(std::int64_t step) {
  return Update([&] { return rule_.Applied(step); });
}

StatusOr<std::int64_t> MemberControl::Join(std::int64_t contributor, std::optional<std::int64_t> from) {
  StatusOr<std::int64_t> first = 0;
  GRADSYNC_RETURN_IF_ERROR(round_.Update([&] { first = rule_.Join(contributor, from); }));
  return first;
}

Status MemberControl::Leave(std::int64_t contributor) {
  return Update([&] { return rule_.Leave(contributor); });
}

Status MemberControl::Die(std::int64_t contributor) {
  return round_.Update([&] { rule_.Die(contributor); });
}

StatusOr<std::int64_t> MemberControl::NumApplied() {
  std::int64_t applied = 0;
  GRADSYNC_RETURN_IF_ERROR(round_.Update([&] { applied = rule_.applied(); }));
  return applied;
}

StatusOr<LagRecord> MemberControl::Lags(std::int64_t contributor) {
  LagRecord lags;
  GRADSYNC_RETURN_IF_ERROR(Update([&]() -> Status {
    const auto found = rule_.members().all().find(contributor);
    if (found == rule_.members().all().end()) return FailedPrecondition("expected a member but contributor ", contributor, " never joined");
    lags = found->second.lags;
    return OkStatus();
  }));
  return lags;
}

}  // namespace gradsync::accumulate
