#include "accumulate/membership.h"

#include <algorithm>

namespace gradsync::accumulate {

void LagRecord::Add(std::int64_t lag) {
  ++reads;
  max = std::max(max, lag);
  ++counts[lag];
}

Membership::Membership(std::span<const std::int64_t> contributors) {
  for (const std::int64_t contributor : contributors) members_.emplace(contributor, Member{});
}

StatusOr<std::int64_t> Membership::Join(std::int64_t contributor, std::optional<std::int64_t> from, std::int64_t current) {
  Member joining;
  const auto found = members_.find(contributor);
  if (found != members_.end()) {
    if (found->second.is_live()) return Status(Code::kAlreadyExists, StrCat("contributor ", contributor, " is a member already"));
    joining = found->second;
  }
  const std::int64_t earliest = std::max(current, joining.last + 1);
  joining.state = Member::State::kLive;
  joining.from = from.value_or(earliest);
  if (joining.from < earliest) {
    return InvalidArgument("expected contributor ", contributor, " to join in round ", earliest, " or later but received ", joining.from);
  }
  joining.last = joining.from - 1;
  members_.insert_or_assign(contributor, joining);
  return joining.from;
}

Status Membership::Go(std::int64_t contributor, Member::State state) {
  const auto found = members_.find(contributor);
  const bool is_dead = found != members_.end() && found->second.state == Member::State::kDead;
  if (!is_dead) GRADSYNC_RETURN_IF_ERROR(Live(contributor).status());
  found->second.state = state;
  found->second.begun.reset();
  return OkStatus();
}

StatusOr<const Member*> Membership::Live(std::int64_t contributor) const {
  const auto found = members_.find(contributor);
  if (found != members_.end() && found->second.is_live()) return &found->second;
  const char* what = found == members_.end() ? " never joined" : found->second.state == Member::State::kLeft ? " has left" : " has died";
  return FailedPrecondition("expected a member but contributor ", contributor, what);
}

StatusOr<Member*> Membership::Live(std::int64_t contributor) {
  GRADSYNC_RETURN_IF_ERROR(std::as_const(*this).Live(contributor).status());
  return &members_.at(contributor);
}

std::int64_t Membership::Count(Member::State state) const {
  return std::ranges::count_if(members_, [&](const auto& entry) { return entry.second.state == state; });
}

std::string Membership::Names(const std::function<bool(const Member&)>& is_one) const {
  std::string names;
  for (const auto& [contributor, member] : members_) {
    if (is_one(member)) names += StrCat(names.empty() ? "" : ", ", contributor);
  }
  return names.empty() ? "none" : names;
}

}  // namespace gradsync::accumulate
