// Sparse all-reduce: every algorithm against a table summed row by row, for any indices; the bytes that moved; and how the algorithm is
// chosen.
#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "collective/ranks.h"
#include "collective/sparse_cost.h"

namespace gradsync::test {
namespace {

using collective::SparseAlgorithm;
using collective::SparseCounts;
using collective::UnitCosts;

constexpr SparseAlgorithm kAlgorithms[] = {SparseAlgorithm::kRows, SparseAlgorithm::kRowRanges, SparseAlgorithm::kDense};

template <typename T>
struct Slices {
  Array<std::int64_t> indices;
  Array<T> rows;
};

template <typename T>
Slices<T> RandomSlices(std::int64_t count, std::int64_t width, std::int64_t table, std::mt19937_64& random) {
  Slices<T> slices{.indices = {.shape = {count}, .data = {}}, .rows = {.shape = {count, width}, .data = {}}};
  for (std::int64_t i = 0; i < count; ++i) {
    // Most are small, as in a vocabulary.
    const double share = std::pow(Integer(random, 0, 1'000'000) / 1e6, 4);
    slices.indices.data.push_back(std::min(table - 1, static_cast<std::int64_t>(share * static_cast<double>(table))));
    for (std::int64_t j = 0; j < width; ++j) {
      slices.rows.data.push_back(static_cast<T>(Integer(random, -99, 99)) / static_cast<T>(std::is_integral_v<T> ? 1 : 7));
    }
  }
  return slices;
}

template <typename T>
Call SparseCall(const Slices<T>& slices, std::int64_t table, Reduction reduction = Reduction::kSum) {
  return {.collective = Collective::kSparseAllReduce,
          .key = "s",
          .reduction = reduction,
          .input = slices.rows.view(),
          .indices = slices.indices.view(),
          .table_rows = table};
}

// Row by row: the repeats of a rank in order, then the ranks in order.
template <typename T>
std::map<std::int64_t, std::vector<T>> Expected(const std::vector<Slices<T>>& by_rank, Reduction reduction) {
  std::map<std::int64_t, std::vector<T>> total;
  const auto add = [](auto& table, std::int64_t index, const T* row, std::size_t width) {
    const auto [found, is_new] = table.try_emplace(index, row, row + width);
    if (is_new) return;
    for (std::size_t j = 0; j < width; ++j) found->second[j] += row[j];
  };
  for (const Slices<T>& slices : by_rank) {
    const auto width = static_cast<std::size_t>(slices.rows.shape[1]);
    std::map<std::int64_t, std::vector<T>> own;
    for (std::size_t i = 0; i < slices.indices.data.size(); ++i) {
      add(own, slices.indices.data[i], slices.rows.data.data() + i * width, width);
    }
    for (const auto& [index, row] : own) add(total, index, row.data(), width);
  }
  if (reduction == Reduction::kMean) {
    for (auto& [index, row] : total) {
      for (T& element : row) element /= static_cast<T>(by_rank.size());
    }
  }
  return total;
}

template <typename T>
void ExpectRows(const Outcome& outcome, const std::map<std::int64_t, std::vector<T>>& expected) {
  std::vector<std::int64_t> indices;
  std::vector<T> rows;
  for (const auto& [index, row] : expected) {
    indices.push_back(index);
    rows.insert(rows.end(), row.begin(), row.end());
  }
  ASSERT_EQ(Elements<std::int64_t>(outcome.indices), indices);
  ASSERT_EQ(Elements<T>(outcome.values), rows);
}

template <typename T>
class TypedSparse : public ::testing::Test {};
using Types = ::testing::Types<float, double, std::int32_t, std::int64_t>;
TYPED_TEST_SUITE(TypedSparse, Types);

TYPED_TEST(TypedSparse, EveryAlgorithmGivesTheSameBits) {
  using T = TypeParam;
  std::mt19937_64 random(Seed());
  for (const std::size_t size : {1U, 2U, 4U}) {
    Ranks ranks(size);
    for (const std::int64_t count : {0, 1, 50, 6000}) {
      for (const Reduction reduction : {Reduction::kSum, Reduction::kMean}) {
        std::vector<Slices<T>> slices;
        for (std::size_t rank = 0; rank < size; ++rank) {
          slices.push_back(RandomSlices<T>(rank == 1 ? count / 3 : count, 17, 3000, random));
        }
        const auto expected = Expected(slices, reduction);
        for (const SparseAlgorithm algorithm : kAlgorithms) {
          const auto call = [&](std::size_t rank) {
            Call asked = SparseCall(slices[rank], 3000, reduction);
            asked.algorithm = algorithm;
            return asked;
          };
          const auto results = count == 50 ? StartAll(ranks, call) : RunAll(ranks, call);
          for (const auto& result : results) {
            ASSERT_OK(result.status());
            ExpectRows(*result, expected);
            EXPECT_EQ(result->sparse.algorithm, algorithm);
          }
        }
      }
    }
  }
}

TEST(Sparse, HalfRowsAreSummedInFloat) {
  Ranks ranks(2);
  // 2048 + 1 + 1: in half arithmetic each 1 would be lost.
  Slices<Half> mine{.indices = Vector<std::int64_t>({5, 5, 5}), .rows = {.shape = {3, 1}, .data = {ToHalf(2048), ToHalf(1), ToHalf(1)}}};
  const auto results = RunAll(ranks, [&](std::size_t) { return SparseCall(mine, 6, Reduction::kMean); });
  ASSERT_OK(results[0].status());
  EXPECT_EQ(Elements<std::int64_t>(results[1]->indices), (std::vector<std::int64_t>{5}));
  EXPECT_EQ(Elements<Half>(results[1]->values), (std::vector<Half>{ToHalf(2050)}));
}

TEST(Sparse, NarrowIndicesAreTakenToo) {
  Ranks ranks(2);
  const Array<std::int32_t> indices = Vector<std::int32_t>({3, 1});
  const Array<float> rows{.shape = {2, 2}, .data = {30, 31, 10, 11}};
  const auto results = RunAll(ranks, [&](std::size_t) {
    return Call{.collective = Collective::kSparseAllReduce, .key = "s", .input = rows.view(), .indices = indices.view(), .table_rows = 4};
  });
  ASSERT_OK(results[0].status());
  EXPECT_EQ(Elements<std::int64_t>(results[0]->indices), (std::vector<std::int64_t>{1, 3}));
  EXPECT_EQ(Elements<float>(results[0]->values), (std::vector<float>{20, 22, 60, 62}));
}

TEST(Sparse, NoMoreMovesThanTheDistinctRows) {
  std::mt19937_64 random(Seed());
  Ranks ranks(3);
  std::vector<Slices<float>> slices;
  std::int64_t distinct = 0;
  for (std::size_t rank = 0; rank < 3; ++rank) {
    slices.push_back(RandomSlices<float>(5000, 8, 1000, random));
    std::vector<std::int64_t> indices = slices.back().indices.data;
    std::ranges::sort(indices);
    distinct += std::unique(indices.begin(), indices.end()) - indices.begin();
  }
  const auto results = RunAll(ranks, [&](std::size_t rank) { return SparseCall(slices[rank], 1000); });
  for (const auto& result : results) {
    ASSERT_OK(result.status());
    EXPECT_EQ(result->sparse.rows_given, 15'000);
    EXPECT_EQ(result->sparse.rows_moved, distinct);
    EXPECT_EQ(result->sparse.bytes_moved, distinct * (8 * 4 + 8));
    EXPECT_EQ(result->sparse.rows_result, result->indices.size());
    EXPECT_NE(result->sparse.reason.find(StrCat(distinct, " distinct rows of 15000")), std::string::npos) << result->sparse.reason;
  }
}

TEST(Sparse, AnIndexOutsideTheTableIsNamedOnEveryRank) {
  Ranks ranks(2);
  for (const std::int64_t wrong : {std::int64_t{-1}, std::int64_t{10}}) {
    std::vector<Slices<float>> slices(2);
    for (auto& mine : slices) mine = {.indices = Vector<std::int64_t>({9, 0, 3}), .rows = {.shape = {3, 1}, .data = {1, 2, 3}}};
    slices[1].indices.data[2] = wrong;
    const auto results = RunAll(ranks, [&](std::size_t rank) { return SparseCall(slices[rank], 10); });
    for (const auto& result : results) {
      EXPECT_EQ(result.status().code(), Code::kInvalidArgument);
      EXPECT_NE(
          result.status().message().find(StrCat("rank 1: indices: expected row numbers below 10 but received ", wrong, " at position 2")),
          std::string::npos)
          << result.status().ToString();
    }
  }
}

// A table by address of more rows than there is memory for, one whose size does not even fit into 64 bits among them.
TEST(Sparse, ATableTooLargeForItsAlgorithmIsAnErrorOnEveryRank) {
  Ranks ranks(2);
  for (const std::int64_t table : {std::int64_t{1} << 48, std::numeric_limits<std::int64_t>::max()}) {
    std::vector<Slices<float>> slices(2);
    for (auto& mine : slices) mine = {.indices = Vector<std::int64_t>({table - 1, 0}), .rows = {.shape = {2, 1}, .data = {1, 2}}};
    const auto results = RunAll(ranks, [&](std::size_t rank) {
      Call call = SparseCall(slices[rank], table);
      call.algorithm = SparseAlgorithm::kDense;
      return call;
    });
    for (const auto& result : results) EXPECT_FALSE(result.ok());
  }
}

TEST(Sparse, TheChoiceFollowsTheCounts) {
  const UnitCosts costs{.sorted_index = 10, .summed_byte = 0.1, .copied_byte = 0.1, .table_slot = 1, .stage = 5000};
  const SparseCounts few{.ranks = 4, .cores = 4, .rows_given = 20, .rows_moved = 20, .table_rows = 1'000'000, .row_bytes = 256};
  EXPECT_EQ(collective::Choose(costs, few, std::nullopt).algorithm, SparseAlgorithm::kRows);
  const SparseCounts many{.ranks = 4, .cores = 4, .rows_given = 90'000, .rows_moved = 40'000, .table_rows = 1'000'000, .row_bytes = 256};
  EXPECT_EQ(collective::Choose(costs, many, std::nullopt).algorithm, SparseAlgorithm::kRowRanges);
  const SparseCounts nearly_all{.ranks = 4, .cores = 4, .rows_given = 90'000, .rows_moved = 36'000, .table_rows = 10'000, .row_bytes = 256};
  EXPECT_EQ(collective::Choose(costs, nearly_all, std::nullopt).algorithm, SparseAlgorithm::kDense);
  const auto asked = collective::Choose(costs, few, SparseAlgorithm::kDense);
  EXPECT_EQ(asked.algorithm, SparseAlgorithm::kDense);
  EXPECT_NE(asked.reason.find("as asked for"), std::string::npos);
}

TEST(SparseMemory, WhatIsGivenBackServesTheNextExchange) {
  constexpr std::int64_t kTable = 5'000;
  Ranks ranks(3);
  std::mt19937_64 random(7);
  std::vector<Slices<float>> by_rank;
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) by_rank.push_back(RandomSlices<float>(2'000, 16, kTable, random));
  const auto run = [&](SparseAlgorithm algorithm) {
    return RunAll(ranks, [&](std::size_t rank) {
      Call call = SparseCall(by_rank[rank], kTable);
      call.algorithm = algorithm;
      return call;
    });
  };
  for (const SparseAlgorithm algorithm : kAlgorithms) {
    std::size_t bytes = 0;
    {
      const auto results = run(algorithm);
      for (const auto& result : results) bytes += result->indices.bytes() + result->values.bytes();
      // Outcomes, and nothing else once the exchange is over; of memory that serves again up to half lies waste.
      EXPECT_GE(ranks.group->memory_usage().in_use, bytes);
      EXPECT_LE(ranks.group->memory_usage().in_use, 2 * bytes);
    }
    EXPECT_EQ(ranks.group->memory_usage().in_use, 0U);
    EXPECT_GE(ranks.group->memory_usage().spare, bytes);
  }
  const auto held = run(SparseAlgorithm::kRows);
  ranks.group->Shutdown("the test is over");
  EXPECT_EQ(ranks.group->memory_usage().spare, 0U);
  EXPECT_GT(ranks.group->memory_usage().in_use, 0U);
}

}  // namespace
}  // namespace gradsync::test
