// SegmentSum against the same sums written out element by element, bit for bit: every dtype, instruction set, number of threads, and widths
// around those of vectors, lines and blocks.
#include "kernels/segment_sum.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "kernels/kernels.h"
#include "support.h"

namespace gradsync::kernels {
namespace {

template <typename T>
T FromDouble(double value) {
  if constexpr (kIsHalfType<T>) {
    return FromFloat<T>(static_cast<float>(value));
  } else {
    return static_cast<T>(value);
  }
}

template <typename T>
Wide<T> Widen(T value) {
  if constexpr (kIsHalfType<T>) {
    return ToFloat(value);
  } else {
    return value;
  }
}

template <typename T>
T Narrow(Wide<T> value) {
  if constexpr (kIsHalfType<T>) {
    return FromFloat<T>(value);
  } else {
    return value;
  }
}

// As arithmetic in T itself would round, where asked for.
template <typename T>
Wide<T> Round(Wide<T> value, HalfSum half_sum) {
  if constexpr (kIsHalfType<T>) {
    return half_sum == HalfSum::kNarrow ? ToFloat(FromFloat<T>(value)) : value;
  } else {
    return value;
  }
}

template <typename T>
struct Lists {
  std::int64_t width;
  std::vector<std::vector<std::int64_t>> indices;
  std::vector<std::vector<T>> rows;
};

template <typename T>
struct Sums {
  std::vector<std::int64_t> indices;
  std::vector<T> rows;
};

template <typename T>
Lists<T> Random(std::mt19937_64& random, std::int64_t width, int max_rows, std::int64_t table) {
  Lists<T> lists{.width = width, .indices = {}, .rows = {}};
  std::normal_distribution<double> normal(0, 100);
  for (int list = 0; list < test::Integer(random, 1, 6); ++list) {
    auto& indices = lists.indices.emplace_back(test::Integer(random, 0, max_rows));
    for (auto& index : indices) index = std::uniform_int_distribution<std::int64_t>(0, table)(random);
    auto& rows = lists.rows.emplace_back(indices.size() * static_cast<std::size_t>(width));
    for (T& element : rows) element = FromDouble<T>(normal(random));
  }
  return lists;
}

template <typename T>
Sums<T> Expected(const Lists<T>& lists, std::uint32_t divisor, HalfSum half_sum) {
  struct Row {
    std::vector<Wide<T>> sum;
    std::int64_t slices = 0;
    std::int64_t lists = 0;
    std::size_t last_list = ~std::size_t{0};
    std::vector<T> first;
  };
  std::map<std::int64_t, Row> sums;
  const auto width = static_cast<std::size_t>(lists.width);
  for (std::size_t list = 0; list < lists.indices.size(); ++list) {
    for (std::size_t i = 0; i < lists.indices[list].size(); ++i) {
      const T* const row = lists.rows[list].data() + i * width;
      Row& to = sums[lists.indices[list][i]];
      if (to.slices == 0) {
        to.first.assign(row, row + width);
        for (std::size_t e = 0; e < width; ++e) to.sum.push_back(Widen(row[e]));
      } else {
        for (std::size_t e = 0; e < width; ++e) to.sum[e] = Round<T>(to.sum[e] + Widen(row[e]), half_sum);
      }
      ++to.slices;
      to.lists += to.last_list != list ? 1 : 0;
      to.last_list = list;
    }
  }
  Sums<T> expected;
  for (auto& [index, row] : sums) {
    expected.indices.push_back(index);
    const auto by = Round<T>(static_cast<Wide<T>>(divisor == 0 ? row.lists : divisor), half_sum);
    for (std::size_t e = 0; e < width; ++e) {
      const Wide<T> quotient = by == 1 ? row.sum[e] : static_cast<Wide<T>>(row.sum[e] / by);
      expected.rows.push_back(by == 1 && row.slices == 1 ? row.first[e] : Narrow<T>(quotient));
    }
  }
  return expected;
}

template <typename T>
Sums<T> Run(const Lists<T>& lists, const SegmentSumOptions& options, ThreadPool* pool) {
  std::vector<IndexList> views;
  std::vector<const void*> rows;
  for (const auto& indices : lists.indices) views.push_back(IndexList::Of(indices));
  for (const auto& values : lists.rows) rows.push_back(values.data());
  const SortedSlices sorted = *SortedSlices::Sort(views, pool);
  Sums<T> sums;
  sums.indices.resize(static_cast<std::size_t>(sorted.segments()));
  // In a Buffer, whose alignment allows stores past the caches.
  const std::size_t elements = sums.indices.size() * static_cast<std::size_t>(options.width);
  Buffer out = *Buffer::Allocate((elements + 1) * sizeof(T));
  std::memset(out.data(), 0x55, out.size());
  EXPECT_OK(SegmentSum(sorted, rows, options, sums.indices.data(), out.data(), pool));
  const T* const result = reinterpret_cast<const T*>(out.data());
  sums.rows.assign(result, result + elements);
  for (std::size_t i = elements * sizeof(T); i < out.size(); ++i) EXPECT_EQ(out.data()[i], std::byte{0x55}) << "written behind the end";
  return sums;
}

template <typename T>
void ExpectSame(const Sums<T>& sums, const Sums<T>& expected, const std::string& what) {
  ASSERT_EQ(sums.indices, expected.indices) << what;
  ASSERT_EQ(sums.rows.size(), expected.rows.size()) << what;
  if (sums.rows.empty()) return;  // memcmp wants memory, also for no bytes
  ASSERT_EQ(std::memcmp(sums.rows.data(), expected.rows.data(), sums.rows.size() * sizeof(T)), 0) << what;
}

template <typename T>
class SegmentSumTest : public ::testing::Test {};

using GradientElements = ::testing::Types<Half, BFloat16, float, double, std::int32_t, std::int64_t>;
class ElementNames {
 public:
  template <typename T>
  static std::string GetName(int /*index*/) {
    return std::string(DTypeName(kDTypeOf<T>));
  }
};
TYPED_TEST_SUITE(SegmentSumTest, GradientElements, ElementNames);

TYPED_TEST(SegmentSumTest, EqualsTheSumsWrittenOut) {
  using T = TypeParam;
  std::mt19937_64 random(test::Seed());
  ThreadPool pool(3);
  for (const std::int64_t width : {0, 1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 63, 64, 65, 100, 127, 128, 200, 513}) {
    const Lists<T> lists = Random<T>(random, width, 60, width % 2 == 0 ? 25 : 1000);
    for (const std::uint32_t divisor : {0U, 1U, 3U, 4U}) {
      for (const HalfSum half_sum : {HalfSum::kWide, HalfSum::kNarrow}) {
        const Sums<T> expected = Expected(lists, divisor, half_sum);
        for (const InstructionSet set : AvailableInstructionSets()) {
          const SegmentSumOptions options{
              .dtype = kDTypeOf<T>, .width = width, .divisor = divisor, .half_sum = half_sum, .instruction_set = set};
          const std::string what = StrCat(InstructionSetName(set), ", width ", width, ", divisor ", divisor);
          ExpectSame(Run(lists, options, nullptr), expected, what);
          ExpectSame(Run(lists, options, &pool), expected, what);
        }
      }
    }
  }
}

// Large enough to be written past the caches, and segments longer than a chunk.
TYPED_TEST(SegmentSumTest, EqualsTheSumsWrittenOutWhenTheyAreLarge) {
  using T = TypeParam;
  std::mt19937_64 random(test::Seed());
  ThreadPool pool(2);
  for (const std::int64_t table : {2, 200'000}) {
    const Lists<T> lists = Random<T>(random, 64, 20'000, table);
    const Sums<T> expected = Expected(lists, 3, HalfSum::kWide);
    for (const InstructionSet set : AvailableInstructionSets()) {
      const SegmentSumOptions options{.dtype = kDTypeOf<T>, .width = 64, .divisor = 3, .half_sum = HalfSum::kWide, .instruction_set = set};
      ExpectSame(Run(lists, options, &pool), expected, StrCat(InstructionSetName(set), ", table ", table));
    }
  }
}

TEST(SegmentSumOptionsTest, ADtypeWithoutAggregationIsRefused) {
  const SortedSlices none = *SortedSlices::Sort({}, nullptr);
  EXPECT_EQ(SegmentSum(none, {}, {.dtype = DType::kBool}, nullptr, nullptr, nullptr).code(), Code::kInvalidArgument);
}

}  // namespace
}  // namespace gradsync::kernels
