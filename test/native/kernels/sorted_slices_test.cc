// SortedSlices against a stable sort of (index, list, position), for any lists and any number of threads.
#include "kernels/sorted_slices.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <tuple>
#include <vector>

#include "support.h"

namespace gradsync::kernels {
namespace {

using Lists = std::vector<std::vector<std::int64_t>>;
using Slice = std::tuple<std::int64_t, std::size_t, std::size_t>;  // index, list, position

SortedSlices Sort(const Lists& lists, ThreadPool* pool = nullptr) {
  std::vector<IndexList> views;
  for (const auto& list : lists) views.push_back(IndexList::Of(list));
  auto sorted = SortedSlices::Sort(views, pool);
  EXPECT_TRUE(sorted.ok()) << sorted.status().ToString();
  return *std::move(sorted);
}

std::vector<Slice> SlicesOf(const SortedSlices& sorted) {
  std::vector<Slice> slices;
  if (sorted.size() == 0) return slices;
  sorted.VisitKeys([&](auto keys) {
    const KeyLayout& layout = sorted.layout();
    for (const auto& key : keys) slices.emplace_back(layout.Index(key), layout.List(key), layout.Position(key));
  });
  return slices;
}

std::vector<Slice> Expected(const Lists& lists) {
  std::vector<Slice> slices;
  for (std::size_t list = 0; list < lists.size(); ++list) {
    for (std::size_t i = 0; i < lists[list].size(); ++i) slices.emplace_back(lists[list][i], list, i);
  }
  std::ranges::sort(slices);
  return slices;
}

void ExpectSegments(const SortedSlices& sorted, const std::vector<Slice>& slices) {
  std::vector<std::int64_t> heads;  // the number of segments that begin before each place
  std::int64_t count = 0;
  for (std::size_t i = 0; i < slices.size(); ++i) {
    heads.push_back(count);
    if (i == 0 || std::get<0>(slices[i]) != std::get<0>(slices[i - 1])) ++count;
  }
  EXPECT_EQ(sorted.segments(), count);
  std::size_t covered = 0;
  for (const KeyChunk& chunk : sorted.chunks()) {
    EXPECT_EQ(chunk.begin, covered);
    EXPECT_EQ(chunk.first_segment, heads[chunk.begin]);
    covered = chunk.end;
  }
  EXPECT_EQ(covered, slices.size());
}

TEST(SortedSlicesTest, NoSlicesAreFine) {
  for (const Lists& lists : {Lists{}, Lists{{}}, Lists{{}, {}}}) {
    const SortedSlices sorted = Sort(lists);
    EXPECT_EQ(sorted.size(), 0U);
    EXPECT_EQ(sorted.segments(), 0);
    EXPECT_TRUE(sorted.chunks().empty());
  }
}

TEST(SortedSlicesTest, EqualIndicesStayInOrderOfListAndPosition) {
  const Lists lists{{7, 3, 7}, {}, {3, -2, 3}};
  const SortedSlices sorted = Sort(lists);
  EXPECT_EQ(SlicesOf(sorted), (std::vector<Slice>{{-2, 2, 1}, {3, 0, 1}, {3, 2, 0}, {3, 2, 2}, {7, 0, 0}, {7, 0, 2}}));
  EXPECT_EQ(sorted.segments(), 3);
}

TEST(SortedSlicesTest, IndicesOverTheWholeRangeOf64BitsSort) {
  constexpr auto kLeast = std::numeric_limits<std::int64_t>::min();
  constexpr auto kMost = std::numeric_limits<std::int64_t>::max();
  const Lists lists{{kMost, 0, kLeast}, {-1, kMost, kLeast, 1}};
  const SortedSlices sorted = Sort(lists);
  EXPECT_TRUE(sorted.layout().is_wide());
  EXPECT_EQ(SlicesOf(sorted), Expected(lists));
}

TEST(SortedSlicesTest, WhatIsKnownOfAListIsTrue) {
  const auto of = [](std::vector<std::int64_t> indices) {
    const IndexList list = IndexList::Of(indices);
    return std::tuple(list.least, list.most, list.is_ascending, list.is_strictly_ascending);
  };
  EXPECT_EQ(of({}), std::tuple(0, 0, true, true));
  EXPECT_EQ(of({5}), std::tuple(5, 5, true, true));
  EXPECT_EQ(of({-1, 2, 9}), std::tuple(-1, 9, true, true));
  EXPECT_EQ(of({2, 2, 9}), std::tuple(2, 9, true, false));
  EXPECT_EQ(of({2, 9, 8}), std::tuple(2, 9, false, false));
}

// From one index for all to more than 64 bits of index and position, sorted and not, far more lists than slices and the reverse.
TEST(SortedSlicesTest, AnyListsSortAsAStableSortDoesForAnyNumberOfThreads) {
  std::mt19937_64 random(test::Seed());
  ThreadPool one(1);
  ThreadPool four(4);
  for (int trial = 0; trial < 200; ++trial) {
    const bool is_large = trial % 20 == 0;
    const int bits = test::Integer(random, 0, 63);
    const std::int64_t span = static_cast<std::int64_t>((std::uint64_t{1} << bits) - 1);
    const bool are_ascending = trial % 4 == 0;
    Lists lists(static_cast<std::size_t>(test::Integer(random, 1, is_large ? 5 : 40)));
    for (auto& list : lists) {
      list.resize(static_cast<std::size_t>(test::Integer(random, 0, is_large ? 60'000 : 30)));
      for (auto& index : list) index = std::uniform_int_distribution<std::int64_t>(-span / 2, span - span / 2)(random);
      if (are_ascending || test::Integer(random, 0, 3) == 0) std::ranges::sort(list);
    }
    const std::vector<Slice> expected = Expected(lists);
    for (ThreadPool* pool : {static_cast<ThreadPool*>(nullptr), &one, &four}) {
      const SortedSlices sorted = Sort(lists, pool);
      ASSERT_EQ(SlicesOf(sorted), expected) << "trial " << trial;
      ExpectSegments(sorted, expected);
    }
  }
}

}  // namespace
}  // namespace gradsync::kernels
