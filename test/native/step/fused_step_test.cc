// FusedStep: many variables at once equal take, clip and update one by one; guards name contributor and variable; all or nothing; waits
// end.
#include "step/fused_step.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "support.h"

namespace gradsync::step {
namespace {

using accumulate::DenseAccumulator;
using accumulate::SparseAccumulator;
using accumulate::Variable;
using test::Answer;
using test::Vector;
using Floats = std::vector<float>;
using Step = StatusOr<FusedStepResult>;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

class FusedStepTest : public ::testing::Test {
 protected:
  std::shared_ptr<Variable> MakeVariable(const std::string& name, Floats values, Shape shape) {
    auto variable = std::make_shared<Variable>(accumulate::VariableOptions{.name = name, .dtype = DType::kFloat32, .shape = {}});
    const test::Array<float> value{.shape = std::move(shape), .data = std::move(values)};
    EXPECT_OK(variable->Assign(value.view()));
    return variable;
  }
  static Floats ValueOf(const Variable& variable) { return test::Elements<float>(variable.Read()->tensor()); }

  // A vector trained by gradient descent of rate 1 on the mean of its gradients, and a table by rows.
  FusedStepOptions DenseAndSparse() {
    return {.updates = {{.variable = dense_,
                         .slots = {},
                         .optimizer = kernels::GradientDescent{1},
                         .accumulator = dense_gradients_,
                         .num_required = 2},
                        {.variable = table_,
                         .slots = {},
                         .optimizer = kernels::GradientDescent{1},
                         .accumulator = sparse_gradients_,
                         .num_required = 2}},
            .clip_norm = std::nullopt};
  }
  void ApplyDense(std::int64_t contributor, Floats values) {
    EXPECT_TRUE(dense_gradients_->Apply(1 << 20, contributor, Vector(std::move(values)).view()).ok());
  }
  void ApplySparse(std::int64_t contributor, std::vector<std::int64_t> rows, Floats values) {
    const test::Array<float> array{.shape = {static_cast<std::int64_t>(rows.size()), 1}, .data = std::move(values)};
    EXPECT_TRUE(sparse_gradients_->Apply(1 << 20, contributor, Vector(std::move(rows)).view(), array.view(), std::nullopt).ok());
  }
  Step Run(FusedStepOptions options, Deadline deadline = Deadline::Infinite()) {
    Answer<Step> answer;
    StartFusedStep(std::move(options), deadline, services_, answer.Callback());
    return answer.Wait();
  }

  Services services_{2};
  std::shared_ptr<Variable> dense_ = MakeVariable("dense", {0, 0}, {2});
  std::shared_ptr<Variable> table_ = MakeVariable("table", {0, 0, 0}, {3, 1});
  std::shared_ptr<DenseAccumulator> dense_gradients_ =
      *DenseAccumulator::Create({.name = "d", .dtype = DType::kFloat32, .shape = {}}, services_);
  std::shared_ptr<SparseAccumulator> sparse_gradients_ =
      *SparseAccumulator::Create({.name = "s", .dtype = DType::kFloat32, .shape = {}, .mean = {}}, services_);
};

TEST_F(FusedStepTest, TakesAveragesAndUpdatesAllVariables) {
  Answer<Step> answer;
  StartFusedStep(DenseAndSparse(), Deadline::Infinite(), services_, answer.Callback());
  ApplyDense(1, {3, 0});
  ApplyDense(0, {1, 2});
  ApplySparse(0, {2, 2}, {1, 2});
  EXPECT_FALSE(answer.HasCome());
  ApplySparse(1, {0}, {8});
  const Step result = answer.Wait();
  ASSERT_TRUE(result.ok());
  EXPECT_TRUE(result->is_applied);
  EXPECT_FALSE(result->global_norm.has_value());
  EXPECT_EQ(ValueOf(*dense_), (Floats{-2, -1}));
  EXPECT_EQ(ValueOf(*table_), (Floats{-4, 0, -1.5F}));
  EXPECT_EQ(dense_gradients_->GlobalStep(), 1);
}

TEST_F(FusedStepTest, ClipsByTheNormOfAllTogether) {
  FusedStepOptions options = DenseAndSparse();
  options.clip_norm = 6.5;
  for (auto& update : options.updates) update.num_required = 1;
  ApplyDense(0, {3, 4});
  ApplySparse(0, {1}, {12});
  const Step result = Run(options);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->global_norm, 13);
  EXPECT_EQ(result->scale, static_cast<double>(6.5F * (1.0F / 13)));
  EXPECT_EQ(ValueOf(*dense_), (Floats{-3 * static_cast<float>(result->scale), -4 * static_cast<float>(result->scale)}));
  EXPECT_EQ(ValueOf(*table_), (Floats{0, -12 * static_cast<float>(result->scale), 0}));
}

TEST_F(FusedStepTest, AnInfiniteNormMakesAllGradientsNotANumberAsInTensorFlow) {
  FusedStepOptions options = DenseAndSparse();
  options.clip_norm = 1;
  for (auto& update : options.updates) update.num_required = 1;
  ApplyDense(0, {kInfinity, 4});
  ApplySparse(0, {1}, {12});
  const Step result = Run(options);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->global_norm, kInfinity);
  EXPECT_TRUE(std::isnan(result->scale));
  EXPECT_TRUE(std::isnan(ValueOf(*dense_)[1]));
}

TEST_F(FusedStepTest, AGuardSaysWhoseGradientIsNotFinite) {
  FusedStepOptions options = DenseAndSparse();
  options.non_finite = NonFinitePolicy::kError;
  ApplyDense(0, {1, 1});
  ApplyDense(7, {1, kInfinity});
  ApplySparse(0, {0}, {1});
  ApplySparse(1, {0}, {1});
  const Step result = Run(options);
  EXPECT_EQ(result.status().code(), Code::kInvalidArgument);
  EXPECT_EQ(
      result.status().message(),
      "Gradient of variable 'dense': expected finite elements but contributor 7 has one that is infinite or not a number at position 1");
  EXPECT_EQ(ValueOf(*dense_), (Floats{0, 0}));
  EXPECT_EQ(ValueOf(*table_), (Floats{0, 0, 0}));
}

TEST_F(FusedStepTest, AGuardMaySkipTheStep) {
  FusedStepOptions options = DenseAndSparse();
  options.non_finite = NonFinitePolicy::kSkip;
  ApplyDense(0, {1, 1});
  ApplyDense(1, {1, 1});
  ApplySparse(3, {0}, {1});
  ApplySparse(5, {0, 1}, {1, std::nanf("")});
  const Step result = Run(options);
  ASSERT_TRUE(result.ok());
  EXPECT_FALSE(result->is_applied);
  ASSERT_EQ(result->non_finite.size(), 1U);
  EXPECT_EQ(result->non_finite[0].variable, "table");
  EXPECT_EQ(result->non_finite[0].contributor, 5);
  EXPECT_EQ(result->non_finite[0].position, 1);
  EXPECT_EQ(ValueOf(*dense_), (Floats{0, 0}));
  EXPECT_EQ(dense_->version(), 1);
}

TEST_F(FusedStepTest, AGuardMayCountSuchElementsAsZero) {
  FusedStepOptions options = DenseAndSparse();
  options.non_finite = NonFinitePolicy::kZero;
  options.clip_norm = 100;
  ApplyDense(0, {kInfinity, 2});
  ApplyDense(1, {4, 2});
  ApplySparse(0, {0}, {std::nanf("")});
  ApplySparse(1, {0}, {2});
  const Step result = Run(options);
  ASSERT_TRUE(result.ok());
  EXPECT_TRUE(result->is_applied);
  ASSERT_EQ(result->non_finite.size(), 2U);
  EXPECT_EQ(result->global_norm, 3);  // of (2, 2) and 1
  EXPECT_EQ(ValueOf(*dense_), (Floats{-2, -2}));
  EXPECT_EQ(ValueOf(*table_), (Floats{-1, 0, 0}));
}

// Whatever the first variables' gradients are, nothing of them may be seen.
TEST_F(FusedStepTest, AGuardThatFindsSomethingLateHasChangedNothing) {
  const Floats ones(100'000, 1);
  const auto first = MakeVariable("first", ones, {100'000});
  const auto moments = MakeVariable("first/accum", ones, {100'000});
  const auto gradients = *DenseAccumulator::Create({.name = "f", .dtype = DType::kFloat32, .shape = {}}, services_);
  for (const NonFinitePolicy policy : {NonFinitePolicy::kError, NonFinitePolicy::kSkip, NonFinitePolicy::kZero}) {
    FusedStepOptions options = DenseAndSparse();
    options.updates.insert(options.updates.begin(), {.variable = first,
                                                     .slots = {moments},
                                                     .optimizer = kernels::Momentum{.lr = 1, .momentum = 0},
                                                     .accumulator = gradients,
                                                     .num_required = 1});
    options.non_finite = policy;
    EXPECT_TRUE(gradients->Apply(1 << 20, 0, Vector(ones).view()).ok());
    ApplyDense(0, {1, 1});
    ApplyDense(1, {kInfinity, 1});
    ApplySparse(0, {0}, {1});
    ApplySparse(1, {0}, {1});
    const auto lease = first->Read();
    const Step result = Run(options);
    EXPECT_EQ(test::Elements<float>(lease->tensor()), ones);
    if (policy == NonFinitePolicy::kZero) {
      EXPECT_TRUE(result->is_applied);
      EXPECT_EQ(ValueOf(*first), Floats(100'000, 0));
      EXPECT_EQ(ValueOf(*dense_), (Floats{-0.5F, -1}));
    } else {
      EXPECT_EQ(result.ok(), policy == NonFinitePolicy::kSkip);
      EXPECT_EQ(ValueOf(*first), ones);
      EXPECT_EQ(first->version(), 1);
      EXPECT_EQ(moments->version(), 1);
      EXPECT_EQ(ValueOf(*dense_), (Floats{0, 0}));
      EXPECT_EQ(ValueOf(*table_), (Floats{0, 0, 0}));
    }
  }
}

TEST_F(FusedStepTest, AGuardThatFindsNothingGivesTheBitsOfNone) {
  std::mt19937_64 random(test::Seed());
  Floats gradient(70'000);
  for (float& element : gradient) element = static_cast<float>(test::Integer(random, -1000, 1000)) / 7;
  std::vector<Floats> results;
  for (const NonFinitePolicy policy : {NonFinitePolicy::kIgnore, NonFinitePolicy::kSkip}) {
    const Floats ones(gradient.size(), 1);
    const auto variable = MakeVariable("v", ones, {static_cast<std::int64_t>(ones.size())});
    const auto slot = MakeVariable("s", ones, {static_cast<std::int64_t>(ones.size())});
    const auto gradients = *DenseAccumulator::Create({.name = "f", .dtype = DType::kFloat32, .shape = {}}, services_);
    for (int step = 0; step < 3; ++step) {
      for (int k = 0; k < 2; ++k) EXPECT_TRUE(gradients->Apply(1 << 20, k, Vector(gradient).view()).ok());
      const Step result = Run({.updates = {{.variable = variable,
                                            .slots = {slot},
                                            .optimizer = kernels::Adagrad{.lr = 0.1},
                                            .accumulator = gradients,
                                            .num_required = 2}},
                               .clip_norm = std::nullopt,
                               .non_finite = policy});
      EXPECT_TRUE(result.ok() && result->is_applied);
    }
    EXPECT_EQ(variable->version(), 4);
    results.push_back(ValueOf(*variable));
    results.push_back(ValueOf(*slot));
  }
  EXPECT_EQ(results[0], results[2]);
  EXPECT_EQ(results[1], results[3]);
}

TEST_F(FusedStepTest, ASumThatOverflowsIsNobodysFault) {
  FusedStepOptions options = DenseAndSparse();
  options.updates.pop_back();
  options.non_finite = NonFinitePolicy::kSkip;
  const float max = std::numeric_limits<float>::max();
  ApplyDense(0, {1, max});
  ApplyDense(1, {1, max});
  const Step result = Run(options);
  ASSERT_TRUE(result.ok());
  ASSERT_EQ(result->non_finite.size(), 1U);
  EXPECT_FALSE(result->non_finite[0].contributor.has_value());
  EXPECT_EQ(result->non_finite[0].position, 1);
}

TEST_F(FusedStepTest, ADeadlineGivesBackWhatWasTaken) {
  ApplyDense(0, {2, 2});
  ApplyDense(1, {4, 4});
  const Step late = Run(DenseAndSparse(), Deadline::AfterMilliseconds(20));
  EXPECT_EQ(late.status().code(), Code::kDeadlineExceeded);
  EXPECT_EQ(dense_gradients_->NumAccumulated(), 2);
  EXPECT_EQ(dense_gradients_->GlobalStep(), 0);
  ApplySparse(0, {0}, {1});
  ApplySparse(1, {0}, {1});
  EXPECT_TRUE(Run(DenseAndSparse()).ok());
  EXPECT_EQ(ValueOf(*dense_), (Floats{-3, -3}));
  EXPECT_EQ(dense_gradients_->GlobalStep(), 1);
}

// Gradients of one round have one shape, whatever came while a step held the round.
TEST_F(FusedStepTest, WhatWasTakenDoesNotGoBackToARoundOfAnotherShape) {
  Answer<Step> answer;
  const Cancellation cancellation = StartFusedStep(DenseAndSparse(), Deadline::Infinite(), services_, answer.Callback());
  ApplyDense(0, Floats(1000, 1));
  ApplyDense(1, Floats(1000, 1));
  ApplyDense(2, {1, 2});
  cancellation.Cancel();
  EXPECT_EQ(answer.Wait().status().code(), Code::kCancelled);
  EXPECT_EQ(dense_gradients_->NumAccumulated(), 1);
  Answer<StatusOr<Tensor>> taken;
  dense_gradients_->Take(1, Deadline::Infinite(), taken.Callback());
  EXPECT_EQ(test::Elements<float>(*taken.Wait()), (Floats{1, 2}));
}

TEST_F(FusedStepTest, RowsDoNotGoBackToARoundOfAnotherWidth) {
  Answer<Step> answer;
  const Cancellation cancellation = StartFusedStep(DenseAndSparse(), Deadline::Infinite(), services_, answer.Callback());
  ApplySparse(0, {0}, {1});
  ApplySparse(1, {0}, {1});
  const test::Array<float> wide{.shape = {1, 1000}, .data = Floats(1000, 1)};
  EXPECT_TRUE(sparse_gradients_->Apply(1 << 20, 2, Vector(std::vector<std::int64_t>{0}).view(), wide.view(), std::nullopt).ok());
  cancellation.Cancel();
  EXPECT_EQ(answer.Wait().status().code(), Code::kCancelled);
  EXPECT_EQ(sparse_gradients_->NumAccumulated(), 1);
}

TEST_F(FusedStepTest, CancelEndsTheWait) {
  Answer<Step> answer;
  const Cancellation cancellation = StartFusedStep(DenseAndSparse(), Deadline::Infinite(), services_, answer.Callback());
  ApplySparse(0, {0}, {1});
  ApplySparse(1, {0}, {1});
  cancellation.Cancel();
  EXPECT_EQ(answer.Wait().status().code(), Code::kCancelled);
  EXPECT_EQ(sparse_gradients_->NumAccumulated(), 2);
  cancellation.Cancel();
}

TEST_F(FusedStepTest, ShutdownEndsTheWait) {
  Answer<Step> answer;
  StartFusedStep(DenseAndSparse(), Deadline::Infinite(), services_, answer.Callback());
  dense_gradients_->Shutdown("the session is closed");
  EXPECT_EQ(answer.Wait().status().code(), Code::kCancelled);
}

TEST_F(FusedStepTest, WhatDoesNotFitChangesNothing) {
  FusedStepOptions options = DenseAndSparse();
  for (auto& update : options.updates) update.num_required = 1;
  ApplyDense(0, {1, 1});
  ApplySparse(0, {5}, {1});  // the table has 3 rows
  const Step result = Run(options);
  EXPECT_EQ(result.status().message(), "GradientDescent: indices[0] = 5 is not in [0, 3)");
  EXPECT_EQ(ValueOf(*dense_), (Floats{0, 0}));
  EXPECT_EQ(Run({}).status().code(), Code::kInvalidArgument);
  options.updates[1].accumulator = dense_gradients_;
  EXPECT_EQ(Run(options).status().code(), Code::kInvalidArgument);
  FusedStepOptions twice = DenseAndSparse();
  twice.updates[1].variable = dense_;
  for (auto& update : twice.updates) update.num_required = 1;
  ApplyDense(0, {1, 1});
  ApplySparse(0, {0}, {1});
  EXPECT_EQ(Run(twice).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(dense_gradients_->NumAccumulated(), 1);  // nothing was taken
  FusedStepOptions clipped = DenseAndSparse();
  clipped.clip_norm = 0;
  EXPECT_EQ(Run(clipped).status().code(), Code::kInvalidArgument);
}

// No schedule loses or doubles a contribution, whether steps run into their deadlines or are cancelled.
TEST_F(FusedStepTest, ContributionsAreNeitherLostNorDoubled) {
  std::mt19937_64 random(test::Seed());
  std::int64_t applied = 0;
  for (int round = 0; round < 300; ++round) {
    FusedStepOptions options = DenseAndSparse();
    for (auto& update : options.updates) update.num_required = 1;
    Answer<Step> answer;
    const bool dense_first = test::Integer(random, 0, 1) == 1;
    if (dense_first && dense_gradients_->NumAccumulated() == 0) {
      EXPECT_TRUE(dense_gradients_->Apply(1 << 20, 0, Vector<float>({1, 1}).view()).ok());
    }
    const Cancellation cancellation =
        StartFusedStep(options, Deadline::AfterMilliseconds(test::Integer(random, 0, 1)), services_, answer.Callback());
    if (sparse_gradients_->NumAccumulated() == 0) {
      const test::Array<float> one{.shape = {1, 1}, .data = {1}};
      EXPECT_TRUE(sparse_gradients_->Apply(1 << 20, 0, Vector<std::int64_t>({0}).view(), one.view(), std::nullopt).ok());
    }
    if (test::Integer(random, 0, 3) == 0) cancellation.Cancel();
    if (answer.Wait().ok()) ++applied;
    EXPECT_EQ(ValueOf(*dense_)[0], -static_cast<float>(applied));
    EXPECT_EQ(ValueOf(*table_)[0], -static_cast<float>(applied));
  }
}

}  // namespace
}  // namespace gradsync::step
