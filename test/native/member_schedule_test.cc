// More than 100,000 random schedules of join, leave, die, begin, apply, take, applied, cancel and expire against the model of
// member_world.h; then the same kinds of events on real threads and clocks, against conservation alone. GRADSYNC_SEED=n repeats a run.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <limits>
#include <thread>

#include "member_world.h"

namespace gradsync::accumulate {
namespace {

using test::Integer;
using test_world::World;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int kSchedules = 2'500;
#else
constexpr int kSchedules = 60'000;
#endif

std::vector<std::int64_t> FirstMembers(int count) {
  std::vector<std::int64_t> members(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < members.size(); ++i) members[i] = static_cast<std::int64_t>(i);
  return members;
}

template <typename MakeOptions>
void RunSchedules(MakeOptions&& make) {
  std::mt19937_64 random(test::Seed());
  Services services(1, Timer::Time{});
  std::int64_t taken = 0;
  std::int64_t max_lag = 0;
  for (int i = 0; i < kSchedules; ++i) {
    SCOPED_TRACE(::testing::Message() << "schedule " << i << " of seed " << test::Seed());
    const auto [options, dtype] = make(random);
    World world(random, services, options, dtype);
    const int events = Integer(random, 1, 120);
    for (int event = 0; event < events && !world.IsOver(); ++event) {
      world.Act();
      if (::testing::Test::HasFailure()) FAIL() << "at event " << event;
    }
    world.Drain();
    if (::testing::Test::HasFailure()) FAIL() << "in the drain";
    taken += world.num_taken();
    max_lag = std::max(max_lag, world.max_lag());
  }
  ::testing::Test::RecordProperty("schedules", kSchedules);
  ::testing::Test::RecordProperty("contributions", std::to_string(taken));
  ::testing::Test::RecordProperty("maxLag", std::to_string(max_lag));
  EXPECT_GT(taken, kSchedules) << "the schedules do something";
}

TEST(MemberSchedules, BoundedStalenessFollowsTheModel) {
  RunSchedules([](std::mt19937_64& random) {
    const MemberRoundsOptions options{.rule = BoundedStalenessOptions{.staleness = Integer(random, 0, 3)},
                                      .members = FirstMembers(Integer(random, 1, 4))};
    return std::pair(options, DType::kInt64);
  });
}

TEST(MemberSchedules, QuorumFollowsTheModel) {
  RunSchedules([](std::mt19937_64& random) {
    const int members = Integer(random, 1, 4);
    QuorumOptions quorum{.quorum = Integer(random, 1, members)};
    const double fixed[] = {0, 5, 12, std::numeric_limits<double>::infinity()};
    if (Integer(random, 0, 1) == 0) {
      quorum.wait = FixedWait{.ms = fixed[Integer(random, 0, 3)]};
    } else {
      quorum.wait = AdaptiveWait{.multiplier = 2, .min_ms = 2, .max_ms = 40, .window = Integer(random, 1, 5)};
    }
    quorum.late = {.kind = static_cast<LatePolicy::Kind>(Integer(random, 0, 3)), .decay = 0.5};
    const MemberRoundsOptions options{.rule = quorum, .members = FirstMembers(members)};
    return std::pair(options, quorum.late.is_scaling() ? DType::kFloat64 : DType::kInt64);
  });
}

// Workers on threads of their own, who leave, die, come again and miss deadlines, and a chief: every accepted gradient is in exactly one
// round, rounds come once and in order, no read lags by more than the bound, and nobody is stuck.
struct Crowd {
  static constexpr std::int64_t kWorkers = 4;
  static constexpr std::int64_t kSteps = 40;
  static constexpr std::int64_t kSize = kWorkers * kSteps;

  MemberRounds<DenseAccumulator>& rounds;
  std::int64_t staleness;
  std::array<std::atomic<std::int64_t>, kSize> accepted{};
  std::array<std::int64_t, kSize> taken{};
  std::atomic<bool> is_over = false;

  void Work(std::int64_t who, std::uint64_t seed) {
    std::mt19937_64 random(seed);
    while (true) {
      test::Answer<StatusOr<Ticket>> answer;
      const bool is_hasty = Integer(random, 0, 9) == 0;
      rounds.control().Begin(who, is_hasty ? Deadline::AfterMilliseconds(0.05) : Deadline::Infinite(), answer.Callback());
      const auto ticket = answer.Wait();
      if (!ticket.ok()) {
        ASSERT_TRUE(ticket.status().code() == Code::kDeadlineExceeded || ticket.status().code() == Code::kUnavailable)
            << ticket.status().ToString();
        if (ticket.status().code() == Code::kDeadlineExceeded) continue;
        break;
      }
      ASSERT_LE(ticket->lag, staleness);
      if (ticket->step >= kSteps) break;
      if (Integer(random, 0, 19) == 0) {  // it dies before it contributes, and comes again
        ASSERT_OK(rounds.control().Die(who));
        if (!rounds.control().Join(who, std::nullopt).ok()) return;
        continue;
      }
      const std::int64_t at = who * kSteps + ticket->step;
      std::vector<std::int64_t> gradient(kSize);
      gradient[static_cast<std::size_t>(at)] = 1;
      const auto receipt = rounds.accumulator().Apply(ticket->step, who, test::Vector(std::move(gradient)).view());
      ASSERT_OK(receipt.status());
      if (receipt->is_accepted) ++accepted[static_cast<std::size_t>(at)];
    }
    ASSERT_OK(rounds.control().Leave(who));
  }

  void Chief() {
    std::int64_t previous = -1;
    while (true) {
      test::Answer<StatusOr<TakenRound<Tensor>>> answer;
      rounds.Take(Deadline::Infinite(), answer.Callback());
      const auto round = answer.Wait();
      if (!round.ok()) {
        if (round.status().code() == Code::kOutOfRange) return;
        ASSERT_EQ(round.status().code(), Code::kUnavailable) << round.status().ToString();
        continue;  // somebody died and has not come again yet
      }
      ASSERT_GT(round->step, previous);
      previous = round->step;
      const auto counts = round->result.as<std::int64_t>();
      for (std::size_t i = 0; i < counts.size(); ++i) taken[i] += counts[i];
      ASSERT_OK(rounds.control().Applied(round->step));
    }
  }
};

TEST(MemberSchedules, NothingIsLostOrStuckAmongThreads) {
  std::mt19937_64 random(test::Seed());
  Services services(2);
  for (int trial = 0; trial < 60; ++trial) {
    SCOPED_TRACE(::testing::Message() << "trial " << trial << " of seed " << test::Seed());
    MemberRoundsOptions options{.rule = BoundedStalenessOptions{.staleness = trial % 3}, .members = FirstMembers(Crowd::kWorkers)};
    if (trial % 2 == 1) {
      options.rule =
          QuorumOptions{.quorum = 1, .wait = FixedWait{.ms = trial % 4 == 1 ? 0 : 0.1}, .late = {.kind = LatePolicy::Kind::kAccept}};
    }
    const auto rounds = *MemberRounds<DenseAccumulator>::Create(
        {.gradient = {.name = "w", .dtype = DType::kInt64, .shape = {}, .reduction = Reduction::kSum}, .rounds = options}, services);
    Crowd crowd{.rounds = *rounds, .staleness = trial % 2 == 1 ? 0 : trial % 3};
    std::vector<std::thread> threads;
    for (std::int64_t who = 0; who < Crowd::kWorkers; ++who) threads.emplace_back([&, who, seed = random()] { crowd.Work(who, seed); });
    crowd.Chief();
    for (auto& thread : threads) thread.join();
    for (std::size_t i = 0; i < crowd.taken.size(); ++i) ASSERT_EQ(crowd.taken[i], crowd.accepted[i]) << "contribution " << i;
  }
}

}  // namespace
}  // namespace gradsync::accumulate
