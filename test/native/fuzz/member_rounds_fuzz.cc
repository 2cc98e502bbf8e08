// Rounds with members, of bounded staleness and of a quorum, over dense and sparse gradients: any events with any arguments in any order.
// Every take and every begin is answered once, and rounds leave in order.
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "accumulate/dense_accumulator.h"
#include "accumulate/member_rounds.h"
#include "accumulate/sparse_accumulator.h"
#include "fuzz_input.h"

namespace gradsync::fuzz {
namespace {

using accumulate::AdaptiveWait;
using accumulate::BoundedStalenessOptions;
using accumulate::DenseAccumulator;
using accumulate::FixedWait;
using accumulate::LatePolicy;
using accumulate::MemberControl;
using accumulate::MemberRounds;
using accumulate::MemberRoundsOptions;
using accumulate::QuorumOptions;
using accumulate::SparseAccumulator;
using accumulate::Ticket;

MemberRoundsOptions AnyOptions(FuzzInput& input) {
  MemberRoundsOptions options;
  options.members.resize(static_cast<std::size_t>(input.Integer(0, 4)));
  for (std::int64_t& member : options.members) member = input.Number();
  if (input.Flag()) {
    options.rule = BoundedStalenessOptions{input.Number()};
    return options;
  }
  QuorumOptions quorum{.quorum = input.Number(), .wait = FixedWait{input.Double()}, .late = {}};
  if (input.Flag()) quorum.wait = AdaptiveWait{input.Double(), input.Double(), input.Double(), input.Number()};
  quorum.late = {.kind = static_cast<LatePolicy::Kind>(input.Integer(0, 3)), .decay = input.Double()};
  options.rule = quorum;
  return options;
}

struct Count {
  int asked = 0;
  int answered = 0;
  std::int64_t last_round = -1;
};

void Apply(FuzzInput& input, DenseAccumulator& accumulator, std::int64_t who, std::int64_t step) {
  static_cast<void>(accumulator.Apply(step, who, input.View(input.MostlyDType(accumulator.options().dtype), {input.Integer(0, 3)})));
}

void Apply(FuzzInput& input, SparseAccumulator& accumulator, std::int64_t who, std::int64_t step) {
  const TensorView indices = input.Indices();
  const Shape shape(indices.shape.begin(), indices.shape.end());
  const TensorView values = input.View(input.MostlyDType(accumulator.options().dtype), input.MostlyShape(shape));
  static_cast<void>(accumulator.Apply(step, who, indices, values, std::nullopt));
}

// An event that does not depend on the kind of gradients.
void Control(FuzzInput& input, MemberControl& control, const std::vector<std::int64_t>& begun, std::int64_t who, Count& count) {
  switch (input.Integer(0, 6)) {
    case 0:
    case 1:
      ++count.asked;
      control.Begin(who, Deadline::Infinite(), [&count](const StatusOr<Ticket>& ticket) {
        ++count.answered;
        FUZZ_CHECK(!ticket.ok() || ticket->lag >= 0);
      });
      return;
    case 2:
      static_cast<void>(control.Applied(begun.empty() || input.Rarely(4) ? input.Number() : begun.back()));
      return;
    case 3:
      static_cast<void>(control.Join(who, input.Flag() ? std::optional(input.Number()) : std::nullopt));
      return;
    case 4:
      static_cast<void>(control.Leave(who));
      return;
    case 5:
      static_cast<void>(control.Die(who));
      return;
    default:
      static_cast<void>(control.NumApplied());
      static_cast<void>(control.Lags(who));
  }
}

template <typename Accumulator>
void RunRounds(FuzzInput& input, Services& services, typename Accumulator::Options gradient) {
  gradient.name = "fuzz";
  gradient.dtype = input.MostlyDType(DType::kFloat32);
  const MemberRoundsOptions options = AnyOptions(input);
  const auto created = MemberRounds<Accumulator>::Create({.gradient = gradient, .rounds = options}, services);
  if (!created.ok()) return;
  MemberRounds<Accumulator>& rounds = **created;
  Count count;
  std::vector<std::int64_t> taken;
  for (int i = 0; i < kMaxCalls && input.HasMore(); ++i) {
    const int event = input.Integer(0, 9);
    const bool is_member = !options.members.empty() && !input.Rarely(8);
    const std::int64_t who = is_member
                                 ? options.members[static_cast<std::size_t>(input.Integer(0, static_cast<int>(options.members.size()) - 1))]
                                 : input.Number();
    if (event < 3) {
      Apply(input, rounds.accumulator(), who, input.Rarely(4) ? input.Number() : static_cast<std::int64_t>(taken.size()));
    } else if (event < 5) {
      ++count.asked;
      rounds.Take(Deadline::Infinite(), [&](const auto& round) {
        ++count.answered;
        if (!round.ok()) return;
        FUZZ_CHECK(taken.empty() || round->step > taken.back());
        FUZZ_CHECK(!round->contributions.empty());
        taken.push_back(round->step);
      });
    } else if (event < 6) {
      services.timer.Advance(std::chrono::milliseconds(input.Integer(0, 100)));
    } else {
      Control(input, rounds.control(), taken, who, count);
    }
    input.Clear();
  }
  rounds.Shutdown("the end");
  FUZZ_CHECK(count.answered == count.asked);
}

}  // namespace

void Run(FuzzInput& input, Services& services) {
  if (input.Flag()) {
    RunRounds<DenseAccumulator>(input, services, {});
  } else {
    RunRounds<SparseAccumulator>(input, services, {});
  }
}

}  // namespace gradsync::fuzz
