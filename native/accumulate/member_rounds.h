// MemberRounds: rounds with members over an accumulator of dense or sparse gradients. A worker's step is Begin (waits; then it reads the
// variables), accumulator().Apply with the ticket's step, and so on until Leave. The chief's is Take (waits; gives round after round),
// update the variables, Applied. MemberControl is the part that is the same for both kinds of gradients. Thread-safe; owned by shared_ptr;
// the Services outlive it. Callbacks run once, never under a lock: see round.h.
#ifndef GRADSYNC_ACCUMULATE_MEMBER_ROUNDS_H_
#define GRADSYNC_ACCUMULATE_MEMBER_ROUNDS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "accumulate/bounded_staleness.h"
#include "accumulate/member_rule.h"
#include "accumulate/quorum.h"
#include "accumulate/round.h"
#include "accumulate/scale_tensor.h"
#include "core/deadline.h"
#include "core/status.h"
#include "core/thread_pool.h"

namespace gradsync::accumulate {

struct MemberRoundsOptions {
  std::variant<BoundedStalenessOptions, QuorumOptions> rule;
  std::vector<std::int64_t> members;  // who takes part from the beginning; at least one

  friend bool operator==(const MemberRoundsOptions&, const MemberRoundsOptions&) = default;
};

class MemberControl : public std::enable_shared_from_this<MemberControl> {
 public:
  using BeginCallback = MemberRule::BeginCallback;

  // A rule that tells `control` (set later, held weakly) when the time of a round is over.
  static StatusOr<std::unique_ptr<MemberRule>> MakeRule(const std::string& name, const MemberRoundsOptions& options, Services& services,
                                                        const std::shared_ptr<std::weak_ptr<MemberControl>>& control);
  // `keep` owns `round`, which owns `rule`.
  MemberControl(std::shared_ptr<void> keep, RoundControl& round, MemberRule& rule, Services& services)
      : keep_(std::move(keep)), round_(round), rule_(rule), services_(services) {}

  // Waits until the contributor may begin its next step. FAILED_PRECONDITION for one that is no member or has not contributed to the step
  // it began last; UNAVAILABLE while the quorum is lost.
  Cancellation Begin(std::int64_t contributor, Deadline deadline, BeginCallback callback);
  // The variables now have that round, the last that was taken: the next may be.
  Status Applied(std::int64_t step);

  // Gives the first round of the new member: `from`, or the first round that is not complete.
  StatusOr<std::int64_t> Join(std::int64_t contributor, std::optional<std::int64_t> from);
  Status Leave(std::int64_t contributor);
  // Of somebody who cannot say so itself; may be repeated, also of one who left.
  Status Die(std::int64_t contributor);

  // How many rounds are in the variables.
  [[nodiscard]] StatusOr<std::int64_t> NumApplied();
  // What lag each read of that contributor had; FAILED_PRECONDITION for one that never joined.
  [[nodiscard]] StatusOr<LagRecord> Lags(std::int64_t contributor);

 private:
  void EndBegin(std::uint64_t id, bool is_deadline);
  void Expire(std::int64_t round);
  // `change` under the lock; its status, or that of a round that is closed.
  Status Update(const std::function<Status()>& change);

  const std::shared_ptr<void> keep_;
  RoundControl& round_;
  MemberRule& rule_;
  Services& services_;
};

template <typename Accumulator>
class MemberRounds {
 public:
  using GradientOptions = typename Accumulator::Options;
  using Taken = TakenRound<typename Accumulator::Taken>;
  struct Options {
    GradientOptions gradient;
    MemberRoundsOptions rounds;

    friend bool operator==(const Options&, const Options&) = default;
  };

  static StatusOr<std::shared_ptr<MemberRounds>> Create(Options options, Services& services) {
    const auto late = std::get_if<QuorumOptions>(&options.rounds.rule);
    if (late != nullptr && late->late.is_scaling() && !Contains(ScalableTypes{}, options.gradient.dtype)) {
      return InvalidArgument("'", options.gradient.name, "': expected a dtype among ", NamesOf(ScalableTypes{}),
                             " for contributions that are scaled but received ", options.gradient.dtype);
    }
    const auto self = std::make_shared<std::weak_ptr<MemberControl>>();
    GRADSYNC_ASSIGN_OR_RETURN(auto rule, MemberControl::MakeRule(options.gradient.name, options.rounds, services, self));
    MemberRule& members = *rule;
    GRADSYNC_ASSIGN_OR_RETURN(auto accumulator, Accumulator::Create(options.gradient, services, std::move(rule)));
    auto control = std::make_shared<MemberControl>(accumulator, accumulator->control(), members, services);
    *self = control;
    return std::shared_ptr<MemberRounds>(new MemberRounds(std::move(options), std::move(accumulator), std::move(control)));
  }
  ~MemberRounds() { Shutdown("the rounds were destroyed"); }
  MemberRounds(const MemberRounds&) = delete;
  MemberRounds& operator=(const MemberRounds&) = delete;

  // Its Apply is how members contribute: to the step they began, once. ALREADY_EXISTS for a second time.
  [[nodiscard]] Accumulator& accumulator() { return *accumulator_; }
  [[nodiscard]] MemberControl& control() { return *control_; }
  // The next round, once it is complete and the one before it applied. OUT_OF_RANGE when every member has left and nothing is open;
  // UNAVAILABLE when it cannot be completed because members died.
  Cancellation Take(Deadline deadline, typename Accumulator::TakeRoundCallback callback) {
    return accumulator_->TakeRound(deadline, std::move(callback));
  }
  void Shutdown(const std::string& reason) { accumulator_->Shutdown(reason); }
  [[nodiscard]] const Options& options() const { return options_; }

 private:
  MemberRounds(Options options, std::shared_ptr<Accumulator> accumulator, std::shared_ptr<MemberControl> control)
      : options_(std::move(options)), accumulator_(std::move(accumulator)), control_(std::move(control)) {}

  const Options options_;
  const std::shared_ptr<Accumulator> accumulator_;
  const std::shared_ptr<MemberControl> control_;
};

}  // namespace gradsync::accumulate

#endif  // GRADSYNC_ACCUMULATE_MEMBER_ROUNDS_H_
