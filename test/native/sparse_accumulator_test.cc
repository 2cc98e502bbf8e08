// The sparse conditional accumulator: its three forms, TensorFlow's error order and words, result shapes.
#include "accumulate/sparse_accumulator.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "core/thread_pool.h"
#include "support.h"

namespace gradsync::accumulate {
namespace {

using test::Answer;
using test::Array;
using test::Elements;
using test::Vector;

struct Slices {
  std::vector<std::int64_t> indices;
  std::vector<float> values;
  Shape shape;
  friend bool operator==(const Slices&, const Slices&) = default;
};

class SparseAccumulatorTest : public ::testing::Test {
 protected:
  std::shared_ptr<SparseAccumulator> Make(SparseAccumulatorOptions options) {
    options.name = "emb/grad";
    auto made = SparseAccumulator::Create(std::move(options), services_);
    EXPECT_TRUE(made.ok()) << made.status().ToString();
    return *made;
  }
  std::shared_ptr<SparseAccumulator> Make(SparseForm form, PartialShape shape = {}, Reduction reduction = Reduction::kMean,
                                          std::optional<SparseMean> mean = std::nullopt) {
    return Make({.name = {}, .dtype = DType::kFloat32, .shape = std::move(shape), .reduction = reduction, .form = form, .mean = mean});
  }
  // Rows of one element, unless `values` says otherwise.
  static Status ApplyRows(SparseAccumulator& accumulator, std::vector<std::int64_t> indices, const Array<float>& values,
                          std::int64_t contributor = 0, const std::optional<Shape>& dense_shape = std::nullopt) {
    return accumulator.Apply(1000, contributor, Vector(std::move(indices)).view(), values.view(), dense_shape).status();
  }
  static Status Apply(SparseAccumulator& accumulator, std::vector<std::int64_t> indices, std::vector<float> values,
                      std::int64_t contributor = 0) {
    const auto rows = static_cast<std::int64_t>(values.size());
    return ApplyRows(accumulator, std::move(indices), Array<float>{.shape = {rows, 1}, .data = std::move(values)}, contributor);
  }
  static StatusOr<SparseSlices> TakeSlices(SparseAccumulator& accumulator, std::int64_t required = 1) {
    Answer<StatusOr<SparseSlices>> answer;
    accumulator.Take(required, Deadline::Infinite(), answer.Callback());
    return answer.Wait();
  }
  static Slices Take(SparseAccumulator& accumulator, std::int64_t required = 1) {
    const StatusOr<SparseSlices> slices = TakeSlices(accumulator, required);
    EXPECT_TRUE(slices.ok()) << slices.status().ToString();
    if (!slices.ok()) return {};
    return {.indices = Elements<std::int64_t>(slices->indices), .values = Elements<float>(slices->values), .shape = slices->shape};
  }

  Services services_{2};
};

TEST_F(SparseAccumulatorTest, CombinedSortsSumsRepeatsAndDividesByContributors) {
  const auto accumulator = Make(SparseForm::kCombined, PartialShape(Shape{8, 1}));
  EXPECT_OK(Apply(*accumulator, {5, 2, 5}, {1, 2, 4}, 0));
  EXPECT_OK(Apply(*accumulator, {7, 2}, {8, 16}, 1));
  EXPECT_EQ(Take(*accumulator, 2), (Slices{{2, 5, 7}, {9, 2.5F, 4}, {8, 1}}));
}

TEST_F(SparseAccumulatorTest, CombinedCanDivideByThoseThatTouchedTheRow) {
  const auto accumulator = Make(SparseForm::kCombined, {}, Reduction::kMean, SparseMean::kTouched);
  EXPECT_OK(Apply(*accumulator, {5, 2, 5}, {1, 2, 4}, 0));
  EXPECT_OK(Apply(*accumulator, {}, {}, 1));
  EXPECT_OK(Apply(*accumulator, {7, 2}, {8, 16}, 2));
  EXPECT_EQ(Take(*accumulator, 3), (Slices{{2, 5, 7}, {9, 5, 8}, {-1, 1}}));
}

TEST_F(SparseAccumulatorTest, ConcatenatedKeepsAllSlicesInOrderOfContributor) {
  const auto accumulator = Make(SparseForm::kConcatenated, PartialShape(Shape{-1, 1}));
  EXPECT_OK(Apply(*accumulator, {7, 2}, {8, 16}, 1));
  EXPECT_OK(Apply(*accumulator, {}, {}, 2));
  EXPECT_OK(Apply(*accumulator, {5, 2, 5}, {3, 6, 9}, 0));
  EXPECT_EQ(Take(*accumulator, 3), (Slices{{5, 2, 5, 7, 2}, {1, 2, 3, 8 / 3.0F, 16 / 3.0F}, {-1, 1}}));
  const auto sum = Make(SparseForm::kConcatenated, {}, Reduction::kSum);
  EXPECT_OK(Apply(*sum, {1, 1}, {1, 2}));
  EXPECT_EQ(Take(*sum), (Slices{{1, 1}, {1, 2}, {-1, 1}}));
}

TEST_F(SparseAccumulatorTest, ConcatenatedRefusesTheTouchedMean) {
  const auto made = SparseAccumulator::Create({.name = "e",
                                               .dtype = DType::kFloat32,
                                               .shape = {},
                                               .reduction = Reduction::kMean,
                                               .form = SparseForm::kConcatenated,
                                               .mean = SparseMean::kTouched},
                                              services_);
  EXPECT_EQ(made.status().code(), Code::kInvalidArgument);
}

// The vectors that TensorFlow 2.21 itself was seen to give.
struct MergeVector {
  const char* title;
  Reduction reduction;
  std::vector<std::pair<std::vector<std::int64_t>, std::vector<float>>> gradients;
  std::vector<std::int64_t> indices;
  std::vector<float> values;
};

TEST_F(SparseAccumulatorTest, TensorFlowsMergeGivesItsResultsBitForBit) {
  const std::vector<MergeVector> vectors{
      {"strictly increasing", Reduction::kMean, {{{1, 4}, {2, 4}}, {{1, 2}, {6, 8}}}, {1, 2, 4}, {4, 8, 4}},
      {"repeats against single", Reduction::kMean, {{{1, 1, 2}, {1, 2, 3}}, {{1, 2}, {10, 30}}}, {1, 1, 2}, {5.5F, 2, 16.5F}},
      {"single against repeats", Reduction::kMean, {{{1}, {1}}, {{1, 1}, {10, 20}}}, {1, 1}, {5.5F, 20}},
      {"repeats against repeats", Reduction::kMean, {{{1, 1}, {1, 2}}, {{1, 1}, {10, 20}}}, {1, 1}, {5.5F, 11}},
      {"unsorted", Reduction::kMean, {{{3, 0}, {3, 1}}, {{0, 3}, {10, 30}}, {{3, 0}, {300, 100}}}, {0, 3, 0}, {10, 111, 50.5F}},
      {"one gradient as is", Reduction::kMean, {{{3, 0, 2}, {1, 2, 3}}}, {3, 0, 2}, {1, 2, 3}},
      {"sum of repeats", Reduction::kSum, {{{1, 1}, {1, 2}}, {{1}, {5}}}, {1, 1}, {6, 2}},
      {"empty ones between", Reduction::kMean, {{{}, {}}, {{2}, {6}}, {{}, {}}}, {2}, {6}},
      {"empty only", Reduction::kMean, {{{}, {}}}, {}, {}},
      {"negative as is", Reduction::kMean, {{{-3, 1}, {1, 2}}}, {-3, 1}, {1, 2}},
  };
  for (const MergeVector& vector : vectors) {
    const auto accumulator = Make(SparseForm::kTensorFlow, PartialShape(Shape{8, 1}), vector.reduction);
    std::int64_t contributor = 0;
    for (const auto& [indices, values] : vector.gradients) EXPECT_OK(Apply(*accumulator, indices, values, contributor++));
    EXPECT_EQ(Take(*accumulator, contributor), (Slices{vector.indices, vector.values, {8, 1}})) << vector.title;
  }
}

TEST_F(SparseAccumulatorTest, TensorFlowsMergeWithRowsOfTwo) {
  const auto accumulator = Make(SparseForm::kTensorFlow, PartialShape(Shape{-1, 2}));
  EXPECT_OK(ApplyRows(*accumulator, {0, 1}, Array<float>{.shape = {2, 2}, .data = {1, 0, 0, 2}}));
  EXPECT_OK(ApplyRows(*accumulator, {0, 2}, Array<float>{.shape = {2, 2}, .data = {0, 1, 3, 0}}, 1));
  EXPECT_EQ(Take(*accumulator, 2), (Slices{{0, 1, 2}, {.5F, .5F, 0, 2, 3, 0}, {-1, 2}}));
}

TEST_F(SparseAccumulatorTest, HalfSumsAreWideWhenCombinedAndNarrowInTensorFlowsForm) {
  const auto total = [this](SparseForm form) {
    const auto accumulator = Make({.name = {}, .dtype = DType::kFloat16, .shape = {}, .form = form, .mean = {}});
    for (const float value : {2048.0F, 1.0F, 1.0F}) {
      const Array<Half> row{.shape = {1, 1}, .data = {ToHalf(value)}};
      EXPECT_OK(accumulator->Apply(0, 0, Vector<std::int64_t>({3}).view(), row.view(), std::nullopt).status());
    }
    return ToFloat(TakeSlices(*accumulator)->values.as<Half>()[0]);
  };
  EXPECT_EQ(total(SparseForm::kTensorFlow), 682.5F);
  EXPECT_EQ(total(SparseForm::kCombined), 683.5F);
}

TEST_F(SparseAccumulatorTest, ResultShapesComeFromTheDeclaredFirstDimensionAndTheValues) {
  const auto shape_of = [this](PartialShape declared, const Array<float>& values) {
    const auto accumulator = Make(SparseForm::kCombined, std::move(declared));
    EXPECT_OK(ApplyRows(*accumulator, {0}, values));
    return Take(*accumulator).shape;
  };
  const Array<float> cube{.shape = {1, 2, 2, 2}, .data = std::vector<float>(8)};
  const Array<float> pair{.shape = {1, 2, 3}, .data = std::vector<float>(6)};
  EXPECT_EQ(shape_of(PartialShape(Shape{2, -1}), cube), (Shape{2, 2, 2, 2}));
  EXPECT_EQ(shape_of(PartialShape(Shape{4, 2}), pair), (Shape{4, 2, 3}));
  EXPECT_EQ(shape_of(PartialShape(Shape{-1, 2}), pair), (Shape{-1, 2, 3}));
  EXPECT_EQ(shape_of(PartialShape(Shape{}), pair), (Shape{-1, 2, 3}));
  EXPECT_EQ(shape_of(PartialShape(), Array<float>{.shape = {1}, .data = {1}}), (Shape{-1}));
}

TEST_F(SparseAccumulatorTest, MalformedSlicesAreRefusedInTensorFlowsWords) {
  const auto accumulator = Make(SparseForm::kCombined);
  const Array<std::int64_t> matrix{.shape = {1, 2}, .data = {0, 1}};
  const Array<float> rows{.shape = {2, 1}, .data = {1, 2}};
  EXPECT_EQ(accumulator->Apply(0, 0, matrix.view(), rows.view(), std::nullopt).status(),
            InvalidArgument("Input indices should be vector but received shape: [1,2]"));
  EXPECT_EQ(ApplyRows(*accumulator, {0}, Array<float>{.shape = {}, .data = {1}}), InvalidArgument("Values cannot be 0-dimensional."));
  EXPECT_EQ(ApplyRows(*accumulator, {0, 1, 2}, rows), InvalidArgument("Expected 3 non-empty input values, got 2"));
  EXPECT_EQ(accumulator->Apply(0, 0, rows.view(), rows.view(), std::nullopt).status().code(), Code::kInvalidArgument);
  const Array<double> wide{.shape = {2, 1}, .data = {1, 2}};
  EXPECT_EQ(accumulator->Apply(0, 0, Vector<std::int64_t>({0, 1}).view(), wide.view(), std::nullopt).status(),
            InvalidArgument("Accumulator 'emb/grad': expected gradient values of dtype float32 but received float64"));
  EXPECT_EQ(accumulator->NumAccumulated(), 0);
}

TEST_F(SparseAccumulatorTest, ShapesAreCheckedInTensorFlowsOrder) {
  const auto accumulator = Make(SparseForm::kCombined, PartialShape(Shape{2, 2, -1}));
  const auto apply = [&](Shape values, const std::optional<Shape>& dense, std::vector<std::int64_t> indices = {0}) {
    std::int64_t size = 1;
    for (const std::int64_t dim : values) size *= dim;
    const Array<float> array{.shape = std::move(values), .data = std::vector<float>(static_cast<std::size_t>(size))};
    return ApplyRows(*accumulator, std::move(indices), array, 0, dense).message();
  };
  EXPECT_EQ(apply({1, 2, 1}, Shape{2, 2}), "Shape mismatch: expected shape rank at least 3, got 2");
  EXPECT_EQ(apply({1, 2, 1}, Shape{2, 3, 1}), "Shape mismatch: expected shape dim 1 to be 2, got 3");
  EXPECT_EQ(apply({1, 2, 1}, std::nullopt, {2}), "Shape mismatch: index of slice 0 exceeded limits of shape; index is 2 exceeded 2");
  EXPECT_EQ(apply({1, 2}, std::nullopt), "Shape mismatch: expected values rank at least 3, got 2");
  EXPECT_EQ(apply({1, 3, 1}, std::nullopt), "Shape mismatch: expected values dim 1 to be 2, got 3");
  EXPECT_EQ(apply({1, 2, 4}, Shape{2, 2, 4}), "");
  EXPECT_EQ(apply({1, 2}, std::nullopt), "Shape mismatch: expected values rank 3, got 2");
  EXPECT_EQ(apply({1, 2, 5}, std::nullopt), "Shape mismatch: expected values dim 2 to be 4, got 5");
  EXPECT_EQ(accumulator->NumAccumulated(), 1);
  (void)Take(*accumulator);
  EXPECT_EQ(apply({1, 2, 5}, std::nullopt), "");  // the round's shape ended with it
}

TEST_F(SparseAccumulatorTest, AnIndexOutsideTheTableNamesItselfItsPositionAndTheLimit) {
  const auto accumulator = Make(SparseForm::kCombined);
  const Array<float> rows{.shape = {2, 1}, .data = {1, 2}};
  EXPECT_EQ(ApplyRows(*accumulator, {0, 4}, rows, 0, Shape{4, 1}), InvalidArgument("gradient_indices[1] = 4 is not in [0, 4)"));
  EXPECT_EQ(ApplyRows(*accumulator, {3, -1}, rows, 0, Shape{4, 1}),
            InvalidArgument("gradient_indices[1] = -1 is negative; expected an index in [0, 4)"));
  EXPECT_EQ(ApplyRows(*accumulator, {-2, 0}, rows),
            InvalidArgument("gradient_indices[0] = -2 is negative; expected an index of at least 0"));
  EXPECT_EQ(accumulator->NumAccumulated(), 0);
}

TEST_F(SparseAccumulatorTest, Int32IndicesAreWidened) {
  const auto accumulator = Make(SparseForm::kCombined);
  const Array<float> rows{.shape = {2, 1}, .data = {1, 2}};
  EXPECT_OK(accumulator->Apply(0, 0, Vector<std::int32_t>({9, 3}).view(), rows.view(), std::nullopt).status());
  EXPECT_EQ(Take(*accumulator), (Slices{{3, 9}, {2, 1}, {-1, 1}}));
}

TEST_F(SparseAccumulatorTest, AStaleGradientIsDroppedUnseen) {
  const auto accumulator = Make(SparseForm::kCombined);
  EXPECT_OK(accumulator->SetGlobalStep(3));
  const Array<float> malformed{.shape = {}, .data = {}};
  const auto receipt = accumulator->Apply(2, 0, malformed.view(), malformed.view(), std::nullopt);
  ASSERT_TRUE(receipt.ok());
  EXPECT_FALSE(receipt->is_accepted);
}

// Leased values are read where they lie and let go when their round was reduced; at once where they were not accepted.
TEST_F(SparseAccumulatorTest, ALeaseEndsWithItsRoundOrItsRefusal) {
  const auto accumulator = Make(SparseForm::kCombined);
  const auto owner = std::make_shared<Array<float>>(Array<float>{.shape = {2, 1}, .data = {1, 2}});
  const auto apply = [&](std::int64_t step, std::vector<std::int64_t> indices) {
    return accumulator->ApplyLeased(step, 0, Vector(std::move(indices)).view(), *Lease::Of(owner->view(), owner), std::nullopt);
  };
  EXPECT_EQ(apply(0, {0, -1}).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(owner.use_count(), 1);
  EXPECT_TRUE(apply(0, {5, 3})->is_accepted);
  EXPECT_EQ(owner.use_count(), 2);
  owner->data[0] = 7;  // nobody may; that it shows proves that nothing was copied
  EXPECT_EQ(Take(*accumulator), (Slices{{3, 5}, {2, 7}, {-1, 1}}));
  EXPECT_EQ(owner.use_count(), 1);
  EXPECT_FALSE(apply(0, {5, 3})->is_accepted);
  EXPECT_EQ(owner.use_count(), 1);
}

// Sums that round differently in another order: the bits are the same for any order of arrival and number of threads.
TEST_F(SparseAccumulatorTest, TheSameContributionsGiveTheSameBits) {
  std::mt19937_64 random(test::Seed());
  std::normal_distribution<float> normal;
  constexpr int kContributors = 6;
  constexpr int kRows = 9000;
  std::vector<Array<std::int64_t>> indices;
  std::vector<Array<float>> values;
  for (int c = 0; c < kContributors; ++c) {
    indices.push_back({.shape = {kRows}, .data = {}});
    values.push_back({.shape = {kRows, 3}, .data = {}});
    for (int i = 0; i < kRows; ++i) indices.back().data.push_back(test::Integer(random, 0, 2000));
    for (int i = 0; i < 3 * kRows; ++i) values.back().data.push_back(normal(random));
  }
  for (const SparseForm form : {SparseForm::kCombined, SparseForm::kConcatenated, SparseForm::kTensorFlow}) {
    std::optional<Slices> first;
    for (const std::size_t threads : {1, 2, 5}) {
      Services services(threads);
      const auto accumulator = *SparseAccumulator::Create({.name = "g", .shape = {}, .form = form, .mean = {}}, services);
      std::vector<int> order(kContributors);
      std::iota(order.begin(), order.end(), 0);
      std::ranges::shuffle(order, random);
      for (const int c : order) EXPECT_TRUE(accumulator->Apply(0, c, indices[c].view(), values[c].view(), std::nullopt).ok());
      const Slices slices = Take(*accumulator, kContributors);
      if (!first) first = slices;
      EXPECT_EQ(slices, *first) << threads << " threads";
    }
  }
}

// Against a map of doubles: small integers make every sum exact, so equality is exact.
TEST_F(SparseAccumulatorTest, CombinedEqualsABruteForceSumForAnyIndices) {
  std::mt19937_64 random(test::Seed());
  for (int trial = 0; trial < 300; ++trial) {
    const int contributors = test::Integer(random, 1, 6);
    const std::int64_t width = test::Integer(random, 0, 5);
    const bool is_large = trial % 10 == 0;
    const std::int64_t table = is_large ? 1 + (std::int64_t{1} << test::Integer(random, 1, 40)) : 12;
    const auto accumulator = Make(SparseForm::kCombined, PartialShape(Shape{table, width}), Reduction::kSum);
    std::map<std::int64_t, std::vector<double>> expected;
    for (int c = 0; c < contributors; ++c) {
      const int rows = test::Integer(random, 0, is_large ? 2000 : 20);
      std::vector<std::int64_t> indices;
      Array<float> values{.shape = {rows, width}, .data = {}};
      for (int r = 0; r < rows; ++r) {
        indices.push_back(std::uniform_int_distribution<std::int64_t>(0, table - 1)(random));
        auto& row = expected.try_emplace(indices.back(), static_cast<std::size_t>(width)).first->second;
        for (double& sum : row) {
          values.data.push_back(static_cast<float>(test::Integer(random, -50, 50)));
          sum += values.data.back();
        }
      }
      ASSERT_OK(ApplyRows(*accumulator, indices, values, c));
    }
    Slices slices{{}, {}, {table, width}};
    for (const auto& [index, row] : expected) {
      slices.indices.push_back(index);
      slices.values.insert(slices.values.end(), row.begin(), row.end());
    }
    ASSERT_EQ(Take(*accumulator, contributors), slices) << "trial " << trial;
  }
}

}  // namespace
}  // namespace gradsync::accumulate
