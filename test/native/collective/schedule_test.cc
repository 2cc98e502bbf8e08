// Random schedules: ranks that call, block, cancel, run out of time, leave and die, in every order that threads and a seed bring about.
// Every call ends exactly once; what ends well is right; what fails has one of the codes that communicator.h names; nobody is stuck.
#include <algorithm>
#include <atomic>
#include <map>
#include <set>

#include "collective/ranks.h"

namespace gradsync::test {
namespace {

constexpr Code kFailures[] = {Code::kDeadlineExceeded, Code::kCancelled, Code::kAborted, Code::kUnavailable, Code::kFailedPrecondition};

bool IsFailure(const Status& status) { return std::ranges::find(kFailures, status.code()) != std::end(kFailures); }

// One call of one schedule: an all-reduce of the rank's number in `elements` places, which every outcome that is well must turn into the
// sum.
struct Contribution {
  explicit Contribution(std::size_t rank, std::size_t elements) : array(Vector(std::vector<std::int32_t>(elements, 1 << rank))) {}
  void ExpectSum(std::size_t ranks) const { ASSERT_EQ(array.data, std::vector<std::int32_t>(array.data.size(), (1 << ranks) - 1)); }
  Array<std::int32_t> array;
};

// Without threads: every interleaving of calls of some ranks, with cancels and departures between them. All results come by themselves.
void RunSchedule(std::uint64_t seed, Services& services) {
  std::mt19937_64 random(seed);
  const auto size = static_cast<std::size_t>(Integer(random, 1, 4));
  auto group = *LocalGroup::Create({.name = "schedule", .size = static_cast<std::int64_t>(size)}, services);
  std::vector<std::shared_ptr<Communicator>> ranks;
  for (std::size_t rank = 0; rank < size; ++rank) ranks.push_back(*group->Join(static_cast<std::int64_t>(rank)));
  struct Pending {
    std::unique_ptr<Contribution> contribution;
    std::unique_ptr<int> answers = std::make_unique<int>(0);
    std::unique_ptr<Code> code = std::make_unique<Code>(Code::kOk);
    Cancellation cancellation;
    std::int64_t number;  // of its rank's calls under its key
    int key;
  };
  std::vector<std::vector<Pending>> calls(size);
  std::map<std::pair<std::size_t, int>, std::int64_t> numbers;
  const int steps = Integer(random, 1, 30);
  for (int step = 0; step < steps; ++step) {
    const auto rank = static_cast<std::size_t>(Integer(random, 0, static_cast<int>(size) - 1));
    const int action = Integer(random, 0, 99);
    if (action < 80 && ranks[rank] != nullptr) {
      const int key = Integer(random, 0, 1);
      Pending& mine = calls[rank].emplace_back();
      mine.contribution = std::make_unique<Contribution>(rank, 3);
      mine.number = numbers[{rank, key}]++;
      mine.key = key;
      Call call = AllReduceCall(mine.contribution->array, Reduction::kSum, key == 0 ? "a" : "b");
      call.sequence = mine.number;  // that calls are matched by their order is checked by the communicator itself
      mine.cancellation =
          ranks[rank]->Start(call, Deadline::Infinite(), [answers = mine.answers.get(), code = mine.code.get()](auto result) {
            ++*answers;
            *code = result.status().code();
          });
    } else if (action < 92 && !calls[rank].empty()) {
      calls[rank][static_cast<std::size_t>(Integer(random, 0, static_cast<int>(calls[rank].size()) - 1))].cancellation.Cancel();
    } else if (action < 95 && ranks[rank] != nullptr) {
      ranks[rank]->Leave("as the schedule says");
    } else if (action < 97) {
      ranks[rank].reset();
    } else if (action < 98) {
      group->Shutdown("as the schedule says");
    }
  }
  group->Shutdown("the schedule is over");
  std::map<std::pair<int, std::int64_t>, std::set<bool>> ends;  // of the calls that belong together: all well, or none
  for (const auto& of_rank : calls) {
    for (const Pending& call : of_rank) {
      ASSERT_EQ(*call.answers, 1) << "seed " << seed;
      const bool is_well = *call.code == Code::kOk;
      ends[{call.key, call.number}].insert(is_well);
      if (is_well) {
        call.contribution->ExpectSum(size);
      } else {
        ASSERT_TRUE(IsFailure(Status(*call.code, ""))) << CodeName(*call.code) << ", seed " << seed;
      }
    }
  }
  for (const auto& [call, outcomes] : ends) ASSERT_EQ(outcomes.size(), 1U) << "seed " << seed;
}

TEST(CollectiveSchedule, EveryCallEndsOnceAndAllRanksOfItTheSameWay) {
  const std::uint64_t first = Seed();
  Services services(1);
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
  constexpr std::uint64_t kSchedules = 20'000;
#else
  constexpr std::uint64_t kSchedules = 100'000;
#endif
  for (std::uint64_t i = 0; i < kSchedules && !HasFatalFailure(); ++i) RunSchedule(first + i, services);
}

// With a thread per rank that blocks or does not, short deadlines, and ranks that die half way.
void RunThreads(std::uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto size = static_cast<std::size_t>(Integer(random, 2, 4));
  Ranks ranks(size);
  const bool somebody_dies = Integer(random, 0, 1) == 1;
  std::vector<std::uint64_t> seeds;
  for (std::size_t rank = 0; rank < size; ++rank) seeds.push_back(random());
  InThreads(size, [&](std::size_t rank) {
    std::mt19937_64 own(seeds[rank]);
    for (int i = 0; i < 30; ++i) {
      Contribution mine(rank, i % 4 == 0 ? 30'000 : 5);
      Call call = AllReduceCall(mine.array);
      call.sequence = i;
      const Deadline deadline = Integer(own, 0, 9) == 0 ? Deadline::AfterMilliseconds(Integer(own, 0, 2)) : Patient();
      Status status;
      if (Integer(own, 0, 1) == 0) {
        status = ranks[rank].Run(call, deadline).status();
      } else {
        Answer<StatusOr<Outcome>> answer;
        const Cancellation cancellation = ranks[rank].Start(call, deadline, answer.Callback());
        if (Integer(own, 0, 9) == 0) cancellation.Cancel();
        status = answer.Wait().status();
      }
      if (status.ok()) {
        mine.ExpectSum(size);
      } else {
        EXPECT_TRUE(IsFailure(status)) << status.ToString();
      }
      if (somebody_dies && rank == 1 && Integer(own, 0, 19) == 0) {
        ranks.communicators[rank].reset();
        return;
      }
    }
  });
}

TEST(CollectiveSchedule, ThreadsThatDieCancelAndRunOutOfTimeLeaveNobodyStuck) {
  const std::uint64_t first = Seed();
  for (std::uint64_t i = 0; i < 100 && !HasFatalFailure(); ++i) RunThreads(first + i);
}

TEST(CollectiveSchedule, MoreRanksThanCoresInTwoGroupsAtOnceMakeProgress) {
  constexpr std::size_t kSize = 8;
  Ranks one(kSize, "one");
  Ranks two(kSize, "two");
  InThreads(2 * kSize, [&](std::size_t thread) {
    Ranks& ranks = thread % 2 == 0 ? one : two;
    const std::size_t rank = thread / 2;
    for (int i = 0; i < 40; ++i) {
      Contribution mine(rank, i % 5 == 0 ? 50'000 : 9);
      EXPECT_OK(ranks[rank].Run(AllReduceCall(mine.array), Patient()).status());
      mine.ExpectSum(kSize);
    }
  });
}

}  // namespace
}  // namespace gradsync::test
