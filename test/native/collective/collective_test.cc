// What each collective computes: every dtype and reduction against arithmetic in rank order, by ranks that block and by ranks that do not,
// any number of ranks and sizes around the borders of pieces.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "collective/ranks.h"

namespace gradsync::test {
namespace {

template <typename T>
T From(double value) {
  if constexpr (kIsHalfType<T>) {
    return FromFloat<T>(static_cast<float>(value));
  } else {
    return static_cast<T>(value);
  }
}

template <typename T>
auto Widened(T value) {
  if constexpr (kIsHalfType<T>) {
    return ToFloat(value);
  } else {
    return value;
  }
}

// What the reduction is defined to be, one element at a time.
template <typename T>
T Expected(const std::vector<T>& by_rank, Reduction reduction) {
  auto value = Widened(by_rank[0]);
  for (std::size_t rank = 1; rank < by_rank.size(); ++rank) {
    const auto other = Widened(by_rank[rank]);
    switch (reduction) {
      case Reduction::kSum:
      case Reduction::kMean:
        value = value + other;
        break;
      case Reduction::kProduct:
        value = value * other;
        break;
      case Reduction::kMin:
        value = std::min(value, other);
        break;
      case Reduction::kMax:
        value = std::max(value, other);
        break;
    }
  }
  if (reduction == Reduction::kMean) value = value / static_cast<decltype(value)>(by_rank.size());
  if constexpr (kIsHalfType<T>) {
    return FromFloat<T>(value);
  } else {
    return value;
  }
}

// Small numbers of either sign, fractions where the type has them, so that the order of a sum shows in its bits.
template <typename T>
Array<T> Fill(std::int64_t count, std::mt19937_64& random) {
  std::vector<T> data(static_cast<std::size_t>(count));
  for (T& element : data) {
    const int integer = Integer(random, -9, 9);
    element = From<T>(std::is_integral_v<T> ? integer : integer + Integer(random, 1, 999) / 1024.0);
  }
  return Vector(std::move(data));
}

template <typename T>
class TypedCollective : public ::testing::Test {};
using Types = ::testing::Types<Half, BFloat16, float, double, std::int32_t, std::int64_t>;
TYPED_TEST_SUITE(TypedCollective, Types);

constexpr Reduction kReductions[] = {Reduction::kSum, Reduction::kMean, Reduction::kMin, Reduction::kMax, Reduction::kProduct};

TYPED_TEST(TypedCollective, AllReduceReducesInRankOrderOnEveryRank) {
  using T = TypeParam;
  std::mt19937_64 random(Seed());
  for (const std::size_t size : {1U, 2U, 3U, 5U, 8U}) {
    Ranks ranks(size);
    for (const std::int64_t count : {0, 1, 7, 4099, 40'000}) {
      for (const Reduction reduction : kReductions) {
        std::vector<Array<T>> arrays;
        for (std::size_t rank = 0; rank < size; ++rank) arrays.push_back(Fill<T>(count, random));
        std::vector<T> expected;
        for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
          std::vector<T> by_rank;
          for (const auto& array : arrays) by_rank.push_back(array.data[i]);
          expected.push_back(Expected(by_rank, reduction));
        }
        const auto call = [&](std::size_t rank) { return AllReduceCall(arrays[rank], reduction); };
        const auto results = count % 2 == 0 ? RunAll(ranks, call) : StartAll(ranks, call);
        for (std::size_t rank = 0; rank < size; ++rank) {
          ASSERT_OK(results[rank].status());
          ASSERT_EQ(arrays[rank].data, expected) << size << " ranks, " << count << " elements, " << ReductionName(reduction);
        }
      }
    }
  }
}

TEST(Collective, AllReduceLeavesTheInputOfAnOutputElsewhere) {
  Ranks ranks(2);
  std::vector<Array<float>> inputs = {Vector<float>({1, 2}), Vector<float>({10, 20})};
  std::vector<Array<float>> outputs = {Vector<float>({0, 0}), Vector<float>({0, 0})};
  const auto results = RunAll(ranks, [&](std::size_t rank) {
    Call call = AllReduceCall(inputs[rank]);
    if (rank == 1) call.output = outputs[rank].mutable_view();
    return call;
  });
  ASSERT_OK(results[0].status());
  EXPECT_EQ(inputs[0].data, (std::vector<float>{11, 22}));
  EXPECT_EQ(inputs[1].data, (std::vector<float>{10, 20}));
  EXPECT_EQ(outputs[1].data, (std::vector<float>{11, 22}));
}

TEST(Collective, MinimumAndMaximumKeepNaN) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  Ranks ranks(3);
  for (const Reduction reduction : {Reduction::kMin, Reduction::kMax}) {
    std::vector<Array<float>> arrays = {Vector<float>({nan, 1, 1, 1}), Vector<float>({2, nan, 2, 2}), Vector<float>({3, 3, nan, 3})};
    const auto results = RunAll(ranks, [&](std::size_t rank) { return AllReduceCall(arrays[rank], reduction); });
    for (std::size_t rank = 0; rank < 3; ++rank) {
      ASSERT_OK(results[rank].status());
      for (std::size_t i = 0; i < 3; ++i) EXPECT_TRUE(std::isnan(arrays[rank].data[i]));
      EXPECT_EQ(arrays[rank].data[3], reduction == Reduction::kMin ? 1 : 3);
    }
  }
}

TEST(Collective, TheSameBitsInEveryOrderOfArrivalAndWithAnyThreads) {
  std::mt19937_64 random(Seed());
  std::vector<Array<float>> inputs;
  for (std::size_t rank = 0; rank < 4; ++rank) inputs.push_back(Fill<float>(100'003, random));
  std::vector<float> first;
  std::vector<std::size_t> order(4);
  std::iota(order.begin(), order.end(), 0U);
  for (const std::size_t threads : {1U, 2U, 5U}) {
    for (int round = 0; round < 5; ++round) {
      std::ranges::shuffle(order, random);
      Ranks ranks(4, "test", threads);
      std::vector<Array<float>> arrays = inputs;
      std::vector<Answer<StatusOr<Outcome>>> answers(4);
      for (const std::size_t rank : order) {
        ranks[rank].Start(AllReduceCall(arrays[rank], Reduction::kMean), Patient(), answers[rank].Callback());
      }
      for (auto& answer : answers) ASSERT_OK(answer.Wait().status());
      if (first.empty()) first = arrays[0].data;
      for (const auto& array : arrays) ASSERT_EQ(array.data, first);
    }
  }
}

Array<float> Rows(std::int64_t rows, float first) {
  Array<float> array{.shape = {rows, 2}, .data = std::vector<float>(static_cast<std::size_t>(rows) * 2)};
  std::iota(array.data.begin(), array.data.end(), first);
  return array;
}

TEST(Collective, AllGatherPutsRowsOfUnequalNumberInRankOrder) {
  Ranks ranks(4);
  std::vector<Array<float>> inputs = {Rows(2, 0), Rows(0, 0), Rows(1, 100), Rows(40'000, 200)};
  const auto call = [&](std::size_t rank) { return Call{.collective = Collective::kAllGather, .key = "g", .input = inputs[rank].view()}; };
  std::vector<float> expected;
  for (const auto& input : inputs) expected.insert(expected.end(), input.data.begin(), input.data.end());
  for (const bool blocks : {true, false}) {
    const auto results = blocks ? RunAll(ranks, call) : StartAll(ranks, call);
    for (const auto& result : results) {
      ASSERT_OK(result.status());
      EXPECT_EQ(result->values.shape(), (Shape{40'003, 2}));
      EXPECT_EQ(Elements<float>(result->values), expected);
      EXPECT_EQ(result->counts, (std::vector<std::int64_t>{2, 0, 1, 40'000}));
    }
  }
}

TEST(Collective, AllGatherOfNothingIsNothing) {
  Ranks ranks(2);
  Array<float> none = Rows(0, 0);
  const auto results =
      RunAll(ranks, [&](std::size_t) { return Call{.collective = Collective::kAllGather, .key = "g", .input = none.view()}; });
  for (const auto& result : results) {
    ASSERT_OK(result.status());
    EXPECT_EQ(result->values.shape(), (Shape{0, 2}));
  }
}

TEST(Collective, ReduceScatterGivesEachRankItsRows) {
  Ranks ranks(3);
  std::vector<Array<float>> inputs = {Rows(5, 0), Rows(5, 100), Rows(5, 1000)};
  const auto results = RunAll(ranks, [&](std::size_t rank) {
    return Call{.collective = Collective::kReduceScatter, .key = "g", .reduction = Reduction::kSum, .input = inputs[rank].view()};
  });
  const std::vector<std::vector<float>> expected = {{1100, 1103, 1106, 1109}, {1112, 1115, 1118, 1121}, {1124, 1127}};
  for (std::size_t rank = 0; rank < 3; ++rank) {
    ASSERT_OK(results[rank].status());
    EXPECT_EQ(Elements<float>(results[rank]->values), expected[rank]);
  }
}

TEST(Collective, BroadcastCopiesTheRootsBytesOfAnyDtype) {
  Ranks ranks(3);
  for (std::size_t root = 0; root < 3; ++root) {
    std::vector<Array<std::uint8_t>> arrays;
    for (std::uint8_t rank = 0; rank < 3; ++rank) arrays.push_back(Vector(std::vector<std::uint8_t>(70'001, rank)));
    const auto results = RunAll(ranks, [&](std::size_t rank) {
      return Call{.collective = Collective::kBroadcast,
                  .key = "g",
                  .root = static_cast<std::int64_t>(root),
                  .input = arrays[rank].view(),
                  .output = arrays[rank].mutable_view()};
    });
    for (std::size_t rank = 0; rank < 3; ++rank) {
      ASSERT_OK(results[rank].status());
      EXPECT_EQ(arrays[rank].data, std::vector<std::uint8_t>(70'001, static_cast<std::uint8_t>(root)));
    }
  }
}

TEST(Collective, AllToAllSendsEqualOrGivenSplits) {
  Ranks ranks(2);
  std::vector<Array<float>> inputs = {Rows(4, 0), Rows(4, 100)};
  const auto equal =
      RunAll(ranks, [&](std::size_t rank) { return Call{.collective = Collective::kAllToAll, .key = "g", .input = inputs[rank].view()}; });
  ASSERT_OK(equal[0].status());
  EXPECT_EQ(Elements<float>(equal[0]->values), (std::vector<float>{0, 1, 2, 3, 100, 101, 102, 103}));
  EXPECT_EQ(Elements<float>(equal[1]->values), (std::vector<float>{4, 5, 6, 7, 104, 105, 106, 107}));
  const std::vector<std::vector<std::int64_t>> splits = {{1, 3}, {0, 4}};
  const auto given = RunAll(ranks, [&](std::size_t rank) {
    return Call{.collective = Collective::kAllToAll, .key = "g", .input = inputs[rank].view(), .splits = splits[rank]};
  });
  ASSERT_OK(given[0].status());
  EXPECT_EQ(Elements<float>(given[0]->values), (std::vector<float>{0, 1}));
  EXPECT_EQ(given[0]->counts, (std::vector<std::int64_t>{1, 0}));
  EXPECT_EQ(Elements<float>(given[1]->values), (std::vector<float>{2, 3, 4, 5, 6, 7, 100, 101, 102, 103, 104, 105, 106, 107}));
}

TEST(Collective, ABarrierHoldsEveryRankUntilTheLastHasCome) {
  Ranks ranks(4);
  std::atomic<int> arrived = 0;
  InThreads(4, [&](std::size_t rank) {
    for (int round = 1; round <= 200; ++round) {
      arrived.fetch_add(1);
      EXPECT_OK(ranks[rank].Run(BarrierCall(), Patient()).status());
      EXPECT_GE(arrived.load(), 4 * round);
      EXPECT_OK(ranks[rank].Run(BarrierCall(), Patient()).status());
    }
  });
}

TEST(Collective, SeveralAreInFlightUnderOneKeyAndUnderMany) {
  constexpr int kCalls = 20;
  Ranks ranks(3);
  std::vector<std::vector<Array<float>>> arrays(3);
  std::vector<Answer<StatusOr<Outcome>>> answers(3 * kCalls);
  for (std::size_t rank = 0; rank < 3; ++rank) {
    for (int i = 0; i < kCalls; ++i) arrays[rank].push_back(Vector<float>({static_cast<float>(i), static_cast<float>(rank)}));
  }
  // Keys in another order on every rank; the calls under one key in the same.
  for (std::size_t rank = 0; rank < 3; ++rank) {
    for (int i = 0; i < kCalls; ++i) {
      const auto index = static_cast<std::size_t>(i % 4 == 3 ? i : (i / 4) * 4 + (i + static_cast<int>(rank)) % 3);
      Call call = AllReduceCall(arrays[rank][index], Reduction::kSum, StrCat("key", index % 4));
      call.sequence = static_cast<std::int64_t>(index);
      ranks[rank].Start(call, Patient(), answers[rank * kCalls + index].Callback());
    }
  }
  for (auto& answer : answers) ASSERT_OK(answer.Wait().status());
  for (const auto& of_rank : arrays) {
    for (int i = 0; i < kCalls; ++i) {
      EXPECT_EQ(of_rank[static_cast<std::size_t>(i)].data, (std::vector<float>{3.0F * static_cast<float>(i), 3}));
    }
  }
}

TEST(Collective, SubgroupsAndASecondGroupAreIndependent) {
  Ranks ranks(4);
  Ranks others(4, "others");
  InThreads(4, [&](std::size_t rank) {
    const bool is_odd = rank % 2 == 1;
    const auto half = ranks[rank].Subgroup(is_odd ? std::vector<std::int64_t>{3, 1} : std::vector<std::int64_t>{0, 2});
    ASSERT_OK(half.status());
    EXPECT_EQ((*half)->size(), 2);
    EXPECT_EQ((*half)->rank(), is_odd ? (rank == 3 ? 0 : 1) : static_cast<std::int64_t>(rank / 2));
    for (int round = 0; round < 50; ++round) {
      Array<std::int32_t> mine = Vector<std::int32_t>({static_cast<std::int32_t>(rank)});
      EXPECT_OK((*half)->Run(AllReduceCall(mine), Patient()).status());
      EXPECT_EQ(mine.data[0], is_odd ? 4 : 2);
      EXPECT_OK(others[rank].Run(AllReduceCall(mine), Patient()).status());
      EXPECT_EQ(mine.data[0], 12);
      EXPECT_OK(ranks[rank].Run(AllReduceCall(mine), Patient()).status());
      EXPECT_EQ(mine.data[0], 48);
    }
  });
}

}  // namespace
}  // namespace gradsync::test
