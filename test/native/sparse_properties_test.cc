// The sparse accumulator for random slices of every dtype: the combined form against a dense table in float64, the concatenated form
// against concatenation; and the memory it holds, counted.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "accumulate/sparse_accumulator.h"
#include "core/thread_pool.h"
#include "error_bound.h"
#include "support.h"

namespace gradsync::accumulate {
namespace {

using test::Answer;
using test::Array;
using test::Elements;
using test::Integer;
using test::Vector;

template <typename T>
using Wide = std::conditional_t<kIsHalfType<T>, float, T>;

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

template <typename T>
struct Gradient {
  std::vector<std::int64_t> indices;
  Array<T> values;
};

// Rows of `width` elements for rows of a table.
template <typename T>
std::vector<Gradient<T>> RandomGradients(std::mt19937_64& random, int contributors, int most_rows, std::int64_t table, std::int64_t width) {
  const double scale = std::is_integral_v<T> ? 1000 : std::pow(10, Integer(random, -3, 1));
  std::normal_distribution<double> normal(0, scale);
  std::vector<Gradient<T>> gradients(static_cast<std::size_t>(contributors));
  for (Gradient<T>& gradient : gradients) {
    const int rows = Integer(random, 0, most_rows);
    gradient.values.shape = {rows, width};
    for (int i = 0; i < rows; ++i) gradient.indices.push_back(std::uniform_int_distribution<std::int64_t>(0, table - 1)(random));
    if (Integer(random, 0, 2) == 0) std::ranges::sort(gradient.indices);
    for (std::int64_t i = 0; i < rows * width; ++i) gradient.values.data.push_back(Narrow<T>(static_cast<Wide<T>>(normal(random))));
  }
  return gradients;
}

// Applies them in any order, some leased, some with int32 indices; takes them all.
template <typename T>
StatusOr<SparseSlices> ApplyAndTake(std::mt19937_64& random, SparseAccumulator& accumulator, const std::vector<Gradient<T>>& gradients) {
  std::vector<std::size_t> order(gradients.size());
  for (std::size_t k = 0; k < order.size(); ++k) order[k] = k;
  std::ranges::shuffle(order, random);
  for (const std::size_t k : order) {
    const auto& [indices, values] = gradients[k];
    const auto wide = Vector(indices);
    const auto narrow = Vector(std::vector<std::int32_t>(indices.begin(), indices.end()));
    const TensorView index = Integer(random, 0, 1) == 0 ? wide.view() : narrow.view();
    const auto contributor = static_cast<std::int64_t>(k);
    const StatusOr<Receipt> receipt =
        Integer(random, 0, 1) == 0 ? accumulator.Apply(0, contributor, index, values.view(), std::nullopt)
                                   : accumulator.ApplyLeased(0, contributor, index, *Lease::Of(values.view(), nullptr), std::nullopt);
    GRADSYNC_RETURN_IF_ERROR(receipt.status());
  }
  Answer<StatusOr<SparseSlices>> answer;
  accumulator.Take(static_cast<std::int64_t>(gradients.size()), Deadline::Infinite(), answer.Callback());
  return answer.Wait();
}

// What the table holds of one row: sums of the elements and of their magnitudes, how many rows were added, by how many contributors.
struct TableRow {
  std::vector<double> sums;
  std::vector<double> magnitudes;
  int rows = 0;
  int contributors = 0;
  std::size_t last = ~std::size_t{0};
};

template <typename T>
std::vector<TableRow> DenseTable(const std::vector<Gradient<T>>& gradients, std::int64_t table, std::int64_t width) {
  const auto elements = static_cast<std::size_t>(width);
  std::vector<TableRow> dense(static_cast<std::size_t>(table),
                              {.sums = std::vector<double>(elements), .magnitudes = std::vector<double>(elements)});
  for (std::size_t k = 0; k < gradients.size(); ++k) {
    for (std::size_t i = 0; i < gradients[k].indices.size(); ++i) {
      TableRow& row = dense[static_cast<std::size_t>(gradients[k].indices[i])];
      for (std::size_t e = 0; e < elements; ++e) {
        const auto element = static_cast<double>(Widen(gradients[k].values.data[i * elements + e]));
        row.sums[e] += element;
        row.magnitudes[e] += std::abs(element);
      }
      ++row.rows;
      row.contributors += std::exchange(row.last, k) != k ? 1 : 0;
    }
  }
  return dense;
}

template <typename T>
class SparseProperties : public ::testing::Test {
 protected:
  std::shared_ptr<SparseAccumulator> Make(SparseForm form, Reduction reduction, std::optional<SparseMean> mean = std::nullopt) {
    return *SparseAccumulator::Create(
        {.name = "emb/grad", .dtype = kDTypeOf<T>, .shape = {}, .reduction = reduction, .form = form, .mean = mean}, services_);
  }

  Services services_{2};
};
using Types = ::testing::Types<Half, BFloat16, float, double, std::int32_t, std::int64_t>;
TYPED_TEST_SUITE(SparseProperties, Types);

TYPED_TEST(SparseProperties, CombinedLiesWithinTheBoundOfADenseTableInFloat64) {
  using T = TypeParam;
  std::mt19937_64 random(test::Seed());
  for (int trial = 0; trial < 60; ++trial) {
    const bool is_large = trial % 20 == 0;
    const int contributors = Integer(random, 1, 6);
    const std::int64_t table = is_large ? 4000 : Integer(random, 1, 40);
    const std::int64_t width = Integer(random, 0, 19);
    const auto gradients = RandomGradients<T>(random, contributors, is_large ? 12'000 : 30, table, width);
    const int mean = Integer(random, 0, 2);  // none, over contributors, over those that touched the row
    const auto accumulator = this->Make(SparseForm::kCombined, mean == 0 ? Reduction::kSum : Reduction::kMean,
                                        mean == 2 ? SparseMean::kTouched : SparseMean::kContributors);
    const StatusOr<SparseSlices> taken = ApplyAndTake(random, *accumulator, gradients);
    ASSERT_OK(taken.status());
    const auto dense = DenseTable(gradients, table, width);
    auto index = taken->indices.template as<std::int64_t>().begin();
    auto value = taken->values.template as<T>().begin();
    for (std::int64_t r = 0; r < table; ++r) {
      const TableRow& row = dense[static_cast<std::size_t>(r)];
      if (row.rows == 0) continue;
      ASSERT_NE(index, taken->indices.template as<std::int64_t>().end());
      ASSERT_EQ(*index++, r);
      const double divisor = mean == 0 ? 1 : mean == 1 ? contributors : row.contributors;
      for (std::size_t e = 0; e < row.sums.size(); ++e) {
        const double quotient = row.sums[e] / divisor;
        const double expected = std::is_integral_v<T> ? std::trunc(quotient) : quotient;
        const double bound = test::MeanErrorBound<T>(row.rows, row.magnitudes[e] / divisor);
        ASSERT_LE(std::abs(static_cast<double>(Widen(*value++)) - expected), std::is_integral_v<T> ? 0 : bound)
            << "trial " << trial << ", row " << r << ", of " << row.rows;
      }
    }
    ASSERT_EQ(index, taken->indices.template as<std::int64_t>().end());
  }
}

TYPED_TEST(SparseProperties, ConcatenatedIsConcatenationDividedElementByElement) {
  using T = TypeParam;
  std::mt19937_64 random(test::Seed());
  for (int trial = 0; trial < 60; ++trial) {
    const int contributors = Integer(random, 1, 6);
    const bool is_mean = Integer(random, 0, 1) == 1;
    const auto gradients = RandomGradients<T>(random, contributors, trial % 20 == 0 ? 12'000 : 30, 50, Integer(random, 0, 19));
    const auto accumulator = this->Make(SparseForm::kConcatenated, is_mean ? Reduction::kMean : Reduction::kSum);
    const StatusOr<SparseSlices> taken = ApplyAndTake(random, *accumulator, gradients);
    ASSERT_OK(taken.status());
    std::vector<std::int64_t> indices;
    std::vector<Wide<T>> values;
    for (const auto& gradient : gradients) {
      indices.insert(indices.end(), gradient.indices.begin(), gradient.indices.end());
      for (const T value : gradient.values.data) {
        const auto divisor = static_cast<Wide<T>>(is_mean ? contributors : 1);
        values.push_back(Widen(Narrow<T>(static_cast<Wide<T>>(Widen(value) / divisor))));
      }
    }
    std::vector<Wide<T>> received;
    for (const T value : taken->values.template as<T>()) received.push_back(Widen(value));
    ASSERT_EQ(Elements<std::int64_t>(taken->indices), indices) << "trial " << trial;
    ASSERT_EQ(received, values) << "trial " << trial;
  }
}

// 3 contributors with `kRows` slices each; every index occurs twice.
class SparseMemory : public ::testing::TestWithParam<SparseForm> {
 protected:
  static constexpr std::int64_t kRows = 5000;
  static constexpr std::int64_t kWidth = 9;  // so that rows and indices differ in size by more than half: none serves as the other
  static constexpr std::size_t kSlices = 3 * kRows;
  static constexpr std::size_t kIndexBytes = kSlices * sizeof(std::int64_t);
  static constexpr std::size_t kValueBytes = kSlices * kWidth * sizeof(float);
  static constexpr std::size_t kSortBytes = kSlices * 16;

  SparseMemory() {
    for (std::int64_t i = 0; i < kRows; ++i) indices_.data.push_back(i * 7 % kRows / 2);
  }
  void Apply(SparseAccumulator& accumulator, bool is_leased) {
    for (std::int64_t k = 0; k < 3; ++k) {
      const auto receipt = is_leased ? accumulator.ApplyLeased(1000, k, indices_.view(), *Lease::Of(values_.view(), nullptr), std::nullopt)
                                     : accumulator.Apply(1000, k, indices_.view(), values_.view(), std::nullopt);
      ASSERT_OK(receipt.status());
    }
  }
  static SparseSlices Take(SparseAccumulator& accumulator) {
    Answer<StatusOr<SparseSlices>> answer;
    accumulator.Take(3, Deadline::Infinite(), answer.Callback());
    return *answer.Wait();
  }

  Services services_{2};
  Array<std::int64_t> indices_{.shape = {kRows}, .data = {}};
  Array<float> values_{.shape = {kRows, kWidth}, .data = std::vector<float>(kRows * kWidth, 1)};
};

TEST_P(SparseMemory, IsThatOfTheLoggedRowsAndTheResult) {
  for (const bool is_leased : {false, true}) {
    const auto accumulator = *SparseAccumulator::Create({.name = "g", .shape = {}, .form = GetParam(), .mean = {}}, services_);
    const std::size_t logged = kIndexBytes + (is_leased ? 0 : kValueBytes);
    std::size_t held = 0;
    for (int round = 0; round < 4; ++round) {
      Apply(*accumulator, is_leased);
      EXPECT_EQ(accumulator->memory_usage().in_use, logged);
      std::size_t result = 0;
      {
        const SparseSlices taken = Take(*accumulator);
        result = taken.indices.bytes() + taken.values.bytes();
        EXPECT_EQ(accumulator->memory_usage().in_use, result);
      }
      // The rows, then the result beside them; before that, while they are sorted, keys in place of the result.
      const std::size_t sorted = GetParam() == SparseForm::kCombined ? kSortBytes : 0;
      EXPECT_EQ(accumulator->memory_usage().peak, logged + std::max(result, sorted));
      EXPECT_EQ(accumulator->memory_usage().in_use, 0U);
      EXPECT_LE(accumulator->memory_usage().spare, logged + result + kSortBytes);
      if (round > 2) {
        EXPECT_EQ(accumulator->memory_usage().spare, held) << "by now every buffer serves again";
      }
      held = accumulator->memory_usage().spare;
    }
    accumulator->Shutdown("the end");
    EXPECT_EQ(accumulator->memory_usage().spare, 0U);
  }
}
INSTANTIATE_TEST_SUITE_P(Forms, SparseMemory, ::testing::Values(SparseForm::kCombined, SparseForm::kConcatenated, SparseForm::kTensorFlow),
                         [](const auto& form) -> std::string {
                           switch (form.param) {
                             case SparseForm::kCombined:
                               return "Combined";
                             case SparseForm::kConcatenated:
                               return "Concatenated";
                             case SparseForm::kTensorFlow:
                               return "TensorFlow";
                           }
                           return {};
                         });

}  // namespace
}  // namespace gradsync::accumulate
