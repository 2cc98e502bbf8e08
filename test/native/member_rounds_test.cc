// Rounds with members, one behaviour at a time: bounded staleness, quorum, late policies, joining, leaving and dying, dense and sparse. The
// clock is moved by hand. Random schedules are in member_schedule_test.cc.
#include "accumulate/member_rounds.h"

#include <gtest/gtest.h>

#include <chrono>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "accumulate/dense_accumulator.h"
#include "accumulate/sparse_accumulator.h"
#include "support.h"

namespace gradsync::accumulate {
namespace {

using test::Answer;
using test::Vector;
using DenseRounds = MemberRounds<DenseAccumulator>;
using std::chrono::milliseconds;

class MemberRoundsTest : public ::testing::Test {
 protected:
  using TakeAnswer = Answer<StatusOr<TakenRound<Tensor>>>;
  using BeginAnswer = Answer<StatusOr<Ticket>>;

  StatusOr<std::shared_ptr<DenseRounds>> TryMake(const MemberRoundsOptions& options, DType dtype = DType::kFloat32) {
    return DenseRounds::Create({.gradient = {.name = "w", .dtype = dtype, .shape = {}}, .rounds = options}, services_);
  }
  std::shared_ptr<DenseRounds> Staleness(std::int64_t staleness, std::vector<std::int64_t> members) {
    return *TryMake({.rule = BoundedStalenessOptions{.staleness = staleness}, .members = std::move(members)});
  }
  std::shared_ptr<DenseRounds> MakeQuorum(const QuorumOptions& quorum, std::vector<std::int64_t> members = {0, 1, 2}) {
    return *TryMake({.rule = quorum, .members = std::move(members)});
  }
  static BeginAnswer Begin(DenseRounds& rounds, std::int64_t who, Deadline deadline = Deadline::Infinite()) {
    BeginAnswer answer;
    rounds.control().Begin(who, deadline, answer.Callback());
    return answer;
  }
  static StatusOr<Receipt> Apply(DenseRounds& rounds, std::int64_t step, std::int64_t who, float value) {
    return rounds.accumulator().Apply(step, who, Vector<float>({value}).view());
  }
  // Begins, which must be possible at once, and contributes.
  static void Step(DenseRounds& rounds, std::int64_t who, float value) {
    BeginAnswer begun = Begin(rounds, who);
    ASSERT_TRUE(begun.HasCome());
    const auto ticket = begun.Wait();
    ASSERT_OK(ticket.status());
    ASSERT_OK(Apply(rounds, ticket->step, who, value).status());
  }
  static TakeAnswer Take(DenseRounds& rounds, Deadline deadline = Deadline::Infinite()) {
    TakeAnswer answer;
    rounds.Take(deadline, answer.Callback());
    return answer;
  }
  // The value of a round that is complete, which is then applied.
  static float TakeAndApply(DenseRounds& rounds, std::int64_t step) {
    TakeAnswer answer = Take(rounds);
    EXPECT_TRUE(answer.HasCome());
    const auto taken = answer.Wait();
    EXPECT_OK(taken.status());
    if (!taken.ok()) return std::numeric_limits<float>::quiet_NaN();
    EXPECT_EQ(taken->step, step);
    EXPECT_OK(rounds.control().Applied(step));
    return taken->result.as<float>()[0];
  }

  Services services_{1, Timer::Time{}};
};

// The published trial: one worker held back, staleness 3.
TEST_F(MemberRoundsTest, LagsGrowToTheBoundAndNoFurther) {
  const auto rounds = Staleness(3, {0, 1});
  for (int step = 0; step < 4; ++step) Step(*rounds, 0, 1);
  BeginAnswer blocked = Begin(*rounds, 0);
  EXPECT_FALSE(blocked.HasCome()) << "round 0 is not applied";
  for (int step = 0; step < 4; ++step) {
    Step(*rounds, 1, 3);
    EXPECT_EQ(TakeAndApply(*rounds, step), 2);
    ASSERT_TRUE(blocked.HasCome());
    EXPECT_EQ(blocked.Wait()->lag, 3);
    ASSERT_OK(Apply(*rounds, step + 4, 0, 1).status());
    blocked = Begin(*rounds, 0);
  }
  const auto fast = rounds->control().Lags(0);
  EXPECT_EQ(fast->counts, (std::map<std::int64_t, std::int64_t>{{0, 1}, {1, 1}, {2, 1}, {3, 5}}));
  EXPECT_EQ(fast->max, 3);
  EXPECT_EQ(rounds->control().Lags(1)->counts, (std::map<std::int64_t, std::int64_t>{{0, 4}}));
  EXPECT_EQ(*rounds->control().NumApplied(), 4);
}

TEST_F(MemberRoundsTest, WithoutStalenessNobodyBeginsBeforeTheRoundIsApplied) {
  const auto rounds = Staleness(0, {0, 1});
  Step(*rounds, 0, 2);
  Step(*rounds, 1, 4);
  BeginAnswer next = Begin(*rounds, 0);
  const auto taken = Take(*rounds).Wait();
  EXPECT_EQ(taken->result.as<float>()[0], 3);
  EXPECT_FALSE(next.HasCome()) << "taken is not applied";
  EXPECT_FALSE(Take(*rounds).HasCome());
  EXPECT_OK(rounds->control().Applied(0));
  EXPECT_EQ(next.Wait()->lag, 0);
  EXPECT_EQ(rounds->control().Applied(0).code(), Code::kFailedPrecondition);
}

TEST_F(MemberRoundsTest, AContributionCountsOnceAndNeedsABegunStep) {
  const auto rounds = Staleness(1, {0, 1});
  EXPECT_EQ(Apply(*rounds, 0, 0, 1).status().code(), Code::kFailedPrecondition) << "not begun";
  Step(*rounds, 0, 1);
  EXPECT_EQ(Apply(*rounds, 0, 0, 1).status().code(), Code::kAlreadyExists);
  Step(*rounds, 0, 1);
  EXPECT_EQ(Apply(*rounds, 5, 1, 1).status().code(), Code::kFailedPrecondition);
  EXPECT_EQ(Apply(*rounds, 0, 7, 1).status(), FailedPrecondition("expected a member but contributor 7 never joined"));
  EXPECT_EQ(Begin(*rounds, 7).Wait().status().code(), Code::kFailedPrecondition);
  Begin(*rounds, 1);
  EXPECT_EQ(Begin(*rounds, 1).Wait().status().code(), Code::kFailedPrecondition) << "begun already";
}

TEST_F(MemberRoundsTest, ABadGradientChangesNothingAndMayBeMended) {
  const auto rounds = Staleness(0, {0, 1});
  Step(*rounds, 0, 1);
  Begin(*rounds, 1);
  EXPECT_EQ(rounds->accumulator().Apply(0, 1, Vector<float>({1, 2}).view()).status().code(), Code::kInvalidArgument);
  EXPECT_OK(Apply(*rounds, 0, 1, 5).status());
  EXPECT_EQ(TakeAndApply(*rounds, 0), 3);
}

TEST_F(MemberRoundsTest, WhoLeavesIsNotWaitedForAndTheLastOneEndsTheRounds) {
  const auto rounds = Staleness(1, {0, 1});
  Step(*rounds, 0, 1);
  Step(*rounds, 0, 2);
  TakeAnswer waiting = Take(*rounds);
  EXPECT_FALSE(waiting.HasCome());
  EXPECT_OK(rounds->control().Leave(1));
  EXPECT_EQ(waiting.Wait()->contributions.size(), 1U);
  EXPECT_OK(rounds->control().Applied(0));
  EXPECT_OK(rounds->control().Leave(0));
  EXPECT_EQ(TakeAndApply(*rounds, 1), 2) << "what it contributed stays";
  EXPECT_EQ(Take(*rounds).Wait().status(), OutOfRange("'w' has ended: every member has left"));
  EXPECT_EQ(Apply(*rounds, 2, 0, 1).status(), FailedPrecondition("expected a member but contributor 0 has left"));
  EXPECT_EQ(*rounds->control().Join(0, std::nullopt), 2);
  EXPECT_FALSE(Take(*rounds).HasCome());
}

TEST_F(MemberRoundsTest, ADeathMayBeToldTwiceAndEndsTheWaitOfTheDead) {
  const auto rounds = Staleness(0, {0, 1});
  Step(*rounds, 1, 4);
  BeginAnswer waiting = Begin(*rounds, 1);
  EXPECT_OK(rounds->control().Die(1));
  EXPECT_OK(rounds->control().Die(1));
  EXPECT_EQ(waiting.Wait().status(), Cancelled("Begin on 'w' was cancelled: contributor 1 has died"));
  Step(*rounds, 0, 2);
  EXPECT_EQ(TakeAndApply(*rounds, 0), 3);
  EXPECT_OK(rounds->control().Die(0));
  EXPECT_EQ(Take(*rounds).Wait().status().code(), Code::kUnavailable);
}

TEST_F(MemberRoundsTest, WhoJoinsIsWaitedForFromItsFirstRoundOn) {
  const auto rounds = Staleness(0, {0});
  EXPECT_EQ(*rounds->control().Join(1, 1), 1);
  EXPECT_EQ(rounds->control().Join(1, std::nullopt).status().code(), Code::kAlreadyExists);
  Step(*rounds, 0, 1);
  EXPECT_EQ(TakeAndApply(*rounds, 0), 1);
  EXPECT_EQ(rounds->control().Join(2, 0).status().code(), Code::kInvalidArgument) << "round 0 is over";
  Step(*rounds, 0, 1);
  TakeAnswer waiting = Take(*rounds);
  EXPECT_FALSE(waiting.HasCome());
  Step(*rounds, 1, 5);
  EXPECT_EQ(waiting.Wait()->result.as<float>()[0], 3);
}

TEST_F(MemberRoundsTest, DeadlinesSayWhoIsMissing) {
  const auto rounds = Staleness(0, {0, 1, 2});
  Step(*rounds, 1, 1);
  TakeAnswer take = Take(*rounds, Deadline::At(services_.timer.Now() + milliseconds(5)));
  BeginAnswer begin = Begin(*rounds, 1, Deadline::At(services_.timer.Now() + milliseconds(5)));
  services_.timer.Advance(milliseconds(5));
  EXPECT_EQ(take.Wait().status(),
            DeadlineExceeded("TakeGrad on accumulator 'w' at global step 0: round 0 has 1 contributions and waits for "
                             "0, 2 before the deadline (contributors present: 1)"));
  EXPECT_EQ(begin.Wait().status(), DeadlineExceeded("Begin on 'w' by contributor 1: step 1 may not begin while only 0 rounds are applied "
                                                    "(staleness 0); round 0 has 1 contributions and waits for 0, 2"));
  Step(*rounds, 0, 1);
  Step(*rounds, 2, 1);
  EXPECT_EQ(TakeAndApply(*rounds, 0), 1) << "the round outlived the deadlines";
}

TEST_F(MemberRoundsTest, AQuorumGoesOnAtItsDeadlineWithWhatItHas) {
  const auto rounds = MakeQuorum({.quorum = 2, .wait = FixedWait{.ms = 10}});
  Step(*rounds, 0, 1);
  TakeAnswer waiting = Take(*rounds);
  services_.timer.Advance(milliseconds(10));
  EXPECT_FALSE(waiting.HasCome()) << "no quorum at the deadline";
  Step(*rounds, 2, 3);
  EXPECT_EQ(waiting.Wait()->result.as<float>()[0], 2) << "as soon as there is one";
  EXPECT_OK(rounds->control().Applied(0));
  for (const int who : {0, 2}) Step(*rounds, who, 1);
  TakeAnswer next = Take(*rounds);
  services_.timer.Advance(milliseconds(9));
  EXPECT_FALSE(next.HasCome());
  services_.timer.Advance(milliseconds(1));
  EXPECT_TRUE(next.HasCome());
}

TEST_F(MemberRoundsTest, AQuorumDoesNotWaitForItsDeadlineWhenAllAreThere) {
  const auto rounds = MakeQuorum({.quorum = 1, .wait = FixedWait{.ms = 10}});
  for (const int who : {0, 1, 2}) Step(*rounds, who, 1);
  EXPECT_EQ(TakeAndApply(*rounds, 0), 1);
}

TEST_F(MemberRoundsTest, LateContributionsFollowThePolicy) {
  struct Row {
    LatePolicy late;
    Receipt receipt;
    float mean;  // of 2 in time and 12 two rounds late
  };
  using Kind = LatePolicy::Kind;
  const Row rows[] = {
      {.late = {.kind = Kind::kDrop}, .receipt = {.is_accepted = false, .local_step = 0, .global_step = 2}, .mean = 2},
      {.late = {.kind = Kind::kAccept}, .receipt = {.local_step = 0, .global_step = 2}, .mean = 7},
      {.late = {.kind = Kind::kScaleInverse}, .receipt = {.local_step = 0, .global_step = 2, .factor = 1.0 / 3}, .mean = 3},
      {.late = {.kind = Kind::kScaleExponential, .decay = 0.5},
       .receipt = {.local_step = 0, .global_step = 2, .factor = 0.25},
       .mean = 2.5},
  };
  for (const Row& row : rows) {
    const auto rounds = MakeQuorum({.quorum = 1, .wait = FixedWait{.ms = 0}, .late = row.late}, {0, 1});
    EXPECT_EQ(Begin(*rounds, 1).Wait()->step, 0);
    for (int step = 0; step < 2; ++step) {
      Step(*rounds, 0, 1);
      EXPECT_EQ(TakeAndApply(*rounds, step), 1);
    }
    EXPECT_EQ(*Apply(*rounds, 0, 1, 12), row.receipt);
    EXPECT_EQ(Apply(*rounds, 0, 1, 12).status().code(), Code::kAlreadyExists);
    TakeAnswer waiting = Take(*rounds);
    EXPECT_FALSE(waiting.HasCome()) << "a late one makes no quorum";
    Step(*rounds, 0, 2);
    EXPECT_FLOAT_EQ(waiting.Wait()->result.as<float>()[0], row.mean);
    EXPECT_OK(rounds->control().Applied(2));
    EXPECT_EQ(Begin(*rounds, 1).Wait()->step, 3) << "a late member goes on with the current step";
  }
}

TEST_F(MemberRoundsTest, DeathsDoNotLowerAQuorumAndLeavesDo) {
  const auto rounds = MakeQuorum({.quorum = 2, .wait = FixedWait{.ms = 0}});
  TakeAnswer take = Take(*rounds);
  EXPECT_OK(rounds->control().Die(1));
  Step(*rounds, 0, 4);
  EXPECT_FALSE(take.HasCome());
  EXPECT_OK(rounds->control().Die(2));
  EXPECT_EQ(take.Wait().status().code(), Code::kUnavailable);
  EXPECT_EQ(Begin(*rounds, 0).Wait().status().code(), Code::kUnavailable);
  EXPECT_OK(rounds->control().Leave(2));
  EXPECT_OK(rounds->control().Leave(1));
  EXPECT_EQ(TakeAndApply(*rounds, 0), 4) << "the dead are given up";
}

TEST_F(MemberRoundsTest, AnAdaptiveDeadlineFollowsTheMedianOfArrivals) {
  const auto rounds = MakeQuorum({.quorum = 1, .wait = AdaptiveWait{.multiplier = 2, .min_ms = 5, .max_ms = 100, .window = 3}}, {0, 1});
  const auto round = [&](int arrival_ms) {  // contributor 0 takes that long, 1 never comes; how long the round took
    Begin(*rounds, 0);
    TakeAnswer answer = Take(*rounds);
    services_.timer.Advance(milliseconds(arrival_ms));
    const std::int64_t step = *rounds->control().NumApplied();
    EXPECT_OK(Apply(*rounds, step, 0, 1).status());
    int total = arrival_ms;
    for (; !answer.HasCome() && total < 1000; ++total) services_.timer.Advance(milliseconds(1));
    EXPECT_OK(rounds->control().Applied(step));
    return total;
  };
  EXPECT_EQ(round(10), 100) << "max: no arrivals yet";
  EXPECT_EQ(round(10), 20) << "twice the median of 10";
  EXPECT_EQ(round(2), 20) << "of 10, 10";
  EXPECT_EQ(round(2), 20) << "of 10, 10, 2";
  EXPECT_EQ(round(2), 5) << "of 10, 2, 2: at least min";
}

TEST_F(MemberRoundsTest, SparseGradientsHaveTheSameRoundsAndScales) {
  using SparseRounds = MemberRounds<SparseAccumulator>;
  const QuorumOptions quorum{.quorum = 1, .wait = FixedWait{.ms = 0}, .late = {.kind = LatePolicy::Kind::kScaleInverse}};
  const auto rounds = *SparseRounds::Create(
      {.gradient = {.name = "e", .dtype = DType::kFloat32, .shape = {}, .mean = {}}, .rounds = {.rule = quorum, .members = {0, 1}}},
      services_);
  const auto apply = [&](std::int64_t step, std::int64_t who, std::vector<std::int64_t> indices, std::vector<float> values) {
    const auto index = Vector(std::move(indices));
    return rounds->accumulator().Apply(step, who, index.view(), Vector(std::move(values)).view(), std::nullopt);
  };
  for (const int who : {0, 1}) rounds->control().Begin(who, Deadline::Infinite(), BeginAnswer().Callback());
  ASSERT_OK(apply(0, 0, {7, 3}, {1, 2}).status());
  Answer<StatusOr<TakenRound<SparseSlices>>> first;
  rounds->Take(Deadline::Infinite(), first.Callback());
  EXPECT_EQ(test::Elements<std::int64_t>(first.Wait()->result.indices), (std::vector<std::int64_t>{3, 7}));
  ASSERT_OK(rounds->control().Applied(0));
  EXPECT_EQ(apply(0, 1, {3}, {8})->factor, 0.5);
  rounds->control().Begin(0, Deadline::Infinite(), BeginAnswer().Callback());
  ASSERT_OK(apply(1, 0, {3, 4}, {2, 6}).status());
  Answer<StatusOr<TakenRound<SparseSlices>>> second;
  rounds->Take(Deadline::Infinite(), second.Callback());
  const auto taken = second.Wait();
  EXPECT_EQ(test::Elements<std::int64_t>(taken->result.indices), (std::vector<std::int64_t>{3, 4}));
  EXPECT_EQ(test::Elements<float>(taken->result.values), (std::vector<float>{3, 3})) << "(2 + 8/2) / 2, 6 / 2";
  ASSERT_EQ(taken->contributions.size(), 2U);
  EXPECT_EQ(taken->contributions[1].lag, 1);
  EXPECT_EQ(taken->contributions[1].factor, 0.5);
}

TEST_F(MemberRoundsTest, OptionsThatCannotWorkAreRefused) {
  const auto code = [this](const MemberRoundsOptions& options, DType dtype = DType::kFloat32) {
    return TryMake(options, dtype).status().code();
  };
  const QuorumOptions scaled{.quorum = 1, .wait = FixedWait{}, .late = {.kind = LatePolicy::Kind::kScaleExponential, .decay = 2}};
  EXPECT_EQ(code({.rule = BoundedStalenessOptions{.staleness = -1}, .members = {0}}), Code::kInvalidArgument);
  EXPECT_EQ(code({.rule = BoundedStalenessOptions{}, .members = {}}), Code::kInvalidArgument);
  EXPECT_EQ(code({.rule = BoundedStalenessOptions{}, .members = {1, 1}}), Code::kInvalidArgument);
  EXPECT_EQ(code({.rule = QuorumOptions{.quorum = 3}, .members = {0, 1}}), Code::kInvalidArgument);
  EXPECT_EQ(code({.rule = QuorumOptions{.quorum = 1, .wait = FixedWait{.ms = -1}}, .members = {0}}), Code::kInvalidArgument);
  EXPECT_EQ(code({.rule = QuorumOptions{.quorum = 1, .wait = AdaptiveWait{.min_ms = 2, .max_ms = 1}}, .members = {0}}),
            Code::kInvalidArgument);
  EXPECT_EQ(code({.rule = scaled, .members = {0}}), Code::kInvalidArgument);
  const QuorumOptions inverse{.quorum = 1, .wait = FixedWait{}, .late = {.kind = LatePolicy::Kind::kScaleInverse}};
  EXPECT_EQ(code({.rule = inverse, .members = {0}}, DType::kInt32), Code::kInvalidArgument) << "a part of an integer";
}

TEST_F(MemberRoundsTest, ClosingAnswersEverybody) {
  const auto rounds = Staleness(0, {0, 1});
  Step(*rounds, 0, 1);
  BeginAnswer begin = Begin(*rounds, 0);
  TakeAnswer take = Take(*rounds);
  rounds->Shutdown("the session ended");
  EXPECT_EQ(begin.Wait().status(), Cancelled("'w' was closed: the session ended"));
  EXPECT_EQ(take.Wait().status().code(), Code::kCancelled);
  EXPECT_EQ(Begin(*rounds, 0).Wait().status().code(), Code::kFailedPrecondition);
  EXPECT_EQ(rounds->control().Leave(0).code(), Code::kFailedPrecondition);
}

}  // namespace
}  // namespace gradsync::accumulate
