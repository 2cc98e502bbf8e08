// BoundedStaleness: round t is all members' gradients of step t, applied once and in order; a member may run ahead of the slowest by
// `staleness` rounds and no more: it begins step t when round t - 1 - staleness is applied, so its reads lag by 0 to `staleness` rounds.
// 0 is synchronous training. (Stale synchronous parallel, Ho et al. 2013, with one mean per round.) A member that leaves or dies is waited
// for no longer. Ownership and threads: member_rule.h.
#ifndef GRADSYNC_ACCUMULATE_BOUNDED_STALENESS_H_
#define GRADSYNC_ACCUMULATE_BOUNDED_STALENESS_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "accumulate/member_rule.h"

namespace gradsync::accumulate {

struct BoundedStalenessOptions {
  std::int64_t staleness = 0;

  friend bool operator==(const BoundedStalenessOptions&, const BoundedStalenessOptions&) = default;
};

class BoundedStaleness : public MemberRule {
 public:
  static StatusOr<std::unique_ptr<MemberRule>> Create(std::string name, const BoundedStalenessOptions& options,
                                                      std::span<const std::int64_t> contributors, Timer& timer) {
    if (options.staleness < 0) return InvalidArgument("'", name, "': expected a staleness of at least 0 but received ", options.staleness);
    return std::unique_ptr<MemberRule>(new BoundedStaleness(std::move(name), contributors, options.staleness, timer));
  }

 protected:
  // One after the other: a step left out would leave its round without this member.
  [[nodiscard]] std::int64_t NextStep(const Member& member) const override { return member.last + 1; }
  // Never asked: a round is complete only when all its members contributed.
  [[nodiscard]] Verdict JudgeLate(Verdict verdict) const override { return verdict; }

 private:
  using MemberRule::MemberRule;
};

}  // namespace gradsync::accumulate

#endif  // GRADSYNC_ACCUMULATE_BOUNDED_STALENESS_H_
