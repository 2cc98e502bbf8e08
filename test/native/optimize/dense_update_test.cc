// Dense updates: values whose results are exact, the same bits on every instruction set, thread count and alignment, the sum and mean fused
// in, and what is refused. Equality with TensorFlow, bit by bit, is tested through JavaScript (test/addon/optimize.test.ts).
#include "optimize/dense_update.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "kernels/kernels.h"
#include "update_support.h"

namespace gradsync::optimize {
namespace {

using Floats = std::vector<float>;
using FloatState = State<float>;

class DenseUpdate : public ::testing::Test {
 protected:
  Services services_{2};
};

TEST_F(DenseUpdate, GradientDescentSubtractsAlphaTimesGradient) {
  FloatState state{{3}, {1, 2, 3}, {}};
  EXPECT_OK(state.Dense(kernels::GradientDescent{.alpha = 0.5}, {{2, 4, 6}}, services_));
  EXPECT_EQ(state.variable, (Floats{0, 0, 0}));
}

TEST_F(DenseUpdate, MeanAndScaleComeBeforeTheStep) {
  FloatState state{{2}, {0, 0}, {}};
  // (1 + 2 + 6) / 3 * 0.5 and (3 + 3 + 0) / 3 * 0.5
  EXPECT_OK(state.Dense(kernels::GradientDescent{.alpha = 1}, {{1, 3}, {2, 3}, {6, 0}}, services_, 3, 0.5));
  EXPECT_EQ(state.variable, (Floats{-1.5F, -1}));
}

TEST_F(DenseUpdate, MomentumKeepsTheSumOfGradients) {
  FloatState state{{2}, {8, 8}, {{2, 4}}};
  EXPECT_OK(state.Dense(kernels::Momentum{.lr = 0.5, .momentum = 0.5}, {{1, 2}}, services_));
  EXPECT_EQ(state.slots[0], (Floats{2, 4}));
  EXPECT_EQ(state.variable, (Floats{7, 6}));
}

TEST_F(DenseUpdate, NesterovLooksAhead) {
  FloatState state{{1}, {8}, {{2}}};
  // accum = 2 * 0.5 + 1 = 2; variable -= 1 * 0.5 + 2 * 0.5 * 0.5
  EXPECT_OK(state.Dense(kernels::Momentum{.lr = 0.5, .momentum = 0.5, .nesterov = true}, {{1}}, services_));
  EXPECT_EQ(state.variable, (Floats{7}));
}

TEST_F(DenseUpdate, AdamOfExactValues) {
  // alpha = 1 * sqrt(1 - 0.75) / (1 - 0.5) = 1; m = 4 * 0.5 = 2; v = 16 * 0.25 = 4; variable -= 2 * 1 / (2 + 2)
  const kernels::Adam adam{.beta1_power = 0.5, .beta2_power = 0.75, .lr = 1, .beta1 = 0.5, .beta2 = 0.75, .epsilon = 2};
  FloatState state{{1}, {1}, {{0}, {0}}};
  EXPECT_OK(state.Dense(adam, {{4}}, services_));
  EXPECT_EQ(state.slots, (std::vector<Floats>{{2}, {4}}));
  EXPECT_EQ(state.variable, (Floats{0.5F}));
  // AdamW first takes a quarter of the variable.
  kernels::Adam adam_w = adam;
  adam_w.weight_decay = 0.25;
  FloatState decayed{{1}, {1}, {{0}, {0}}};
  EXPECT_OK(decayed.Dense(adam_w, {{4}}, services_));
  EXPECT_EQ(decayed.variable, (Floats{0.25F}));
}

TEST_F(DenseUpdate, AmsgradKeepsTheLargestSecondMoment) {
  const kernels::AdamWithAmsgrad hyper{.beta1_power = 0.5, .beta2_power = 0.75, .lr = 1, .beta1 = 0.5, .beta2 = 0.75, .epsilon = 2};
  FloatState state{{2}, {1, 1}, {{0, 0}, {0, 0}, {36, 1}}};
  EXPECT_OK(state.Dense(hyper, {{4, 4}}, services_));
  EXPECT_EQ(state.slots[2], (Floats{36, 4}));
  EXPECT_EQ(state.variable, (Floats{0.75F, 0.5F}));
}

TEST_F(DenseUpdate, AdagradDividesByTheRootOfTheSquares) {
  FloatState state{{2}, {1, 1}, {{7, 0}}};
  EXPECT_OK(state.Dense(kernels::Adagrad{.lr = 2}, {{3, 4}}, services_));
  EXPECT_EQ(state.slots[0], (Floats{16, 16}));
  EXPECT_EQ(state.variable, (Floats{-0.5F, -1}));
  EXPECT_OK(state.Dense(kernels::AdagradV2{.lr = 1, .epsilon = 4, .update_slots = false}, {{8, 8}}, services_));
  EXPECT_EQ(state.slots[0], (Floats{16, 16}));
  EXPECT_EQ(state.variable, (Floats{-1.5F, -2}));
}

TEST_F(DenseUpdate, FtrlDropsWhatLiesBelowTheThreshold) {
  const kernels::Ftrl ftrl{.lr = 1, .l1 = 2};
  FloatState state{{2}, {0, 0}, {{7, 7}, {0, 0}}};
  // accum = 16; linear = 3 and -1; variable = (2 * sign - linear) / 4 where |linear| > 2
  EXPECT_OK(state.Dense(ftrl, {{3, 0}}, services_));
  EXPECT_EQ(state.slots[0], (Floats{16, 7}));
  EXPECT_EQ(state.slots[1], (Floats{3, 0}));
  EXPECT_EQ(state.variable, (Floats{-0.25F, 0}));
}

TEST_F(DenseUpdate, DenormalsCountAsZero) {
  FloatState state{{2}, {1e-40F, 1}, {}};
  EXPECT_OK(state.Dense(kernels::GradientDescent{.alpha = 1}, {{0, 1e-40F}}, services_));
  EXPECT_EQ(state.variable, (Floats{0, 1}));
  // And only there: the thread's mode is what it was.
  volatile float denormal = 1e-40F;
  EXPECT_GT(denormal * 0.5F, 0.0F);
}

// Tiles, tails and the rest of a vector: every length gives what one element at a time gives.
TEST_F(DenseUpdate, EveryLengthGivesTheBitsOfSingleElements) {
  std::mt19937_64 random(test::Seed());
  for (const Optimizer& optimizer : AllOptimizers()) {
    for (const std::int64_t size : {0, 1, 2, 3, 7, 15, 16, 17, 31, 33, 1023, 1025}) {
      FloatState whole = RandomState<float>(random, optimizer, {size});
      FloatState single = whole;
      const Floats gradient = RandomValues<float>(random, whole.variable.size(), false);
      EXPECT_OK(whole.Dense(optimizer, {gradient}, services_));
      for (std::size_t i = 0; i < single.variable.size(); ++i) {
        FloatState one{{1}, {single.variable[i]}, {}};
        for (const Floats& slot : single.slots) one.slots.push_back({slot[i]});
        EXPECT_OK(one.Dense(optimizer, {{gradient[i]}}, services_));
        single.variable[i] = one.variable[0];
        for (std::size_t s = 0; s < one.slots.size(); ++s) single.slots[s][i] = one.slots[s][0];
      }
      EXPECT_EQ(whole, single) << OptimizerName(optimizer) << " of " << size;
    }
  }
}

template <typename T>
void ExpectSameBitsEverywhere(const Optimizer& optimizer, std::int64_t size, std::size_t contributions, std::mt19937_64& random) {
  const State<T> before = RandomState<T>(random, optimizer, {size});
  std::vector<std::vector<T>> gradients;
  for (std::size_t k = 0; k < contributions; ++k) gradients.push_back(RandomValues<T>(random, before.variable.size(), false));
  State<T> expected = before;
  Services baseline(1, InstructionSet::kBaseline);
  EXPECT_OK(expected.Dense(optimizer, gradients, baseline, 3, 0.75));
  for (const InstructionSet set : AvailableInstructionSets()) {
    for (const std::size_t threads : {1, 3}) {
      Services services(threads, set);
      State<T> state = before;
      EXPECT_OK(state.Dense(optimizer, gradients, services, 3, 0.75));
      EXPECT_EQ(state, expected) << OptimizerName(optimizer) << " of " << size << ", " << InstructionSetName(set);
    }
  }
}

TEST_F(DenseUpdate, EveryInstructionSetAndThreadCountGivesTheSameBits) {
  std::mt19937_64 random(test::Seed());
  for (const Optimizer& optimizer : AllOptimizers()) {
    ExpectSameBitsEverywhere<float>(optimizer, 1237, 3, random);
    ExpectSameBitsEverywhere<double>(optimizer, 519, 5, random);
    ExpectSameBitsEverywhere<Half>(optimizer, 1037, 4, random);
    ExpectSameBitsEverywhere<BFloat16>(optimizer, 1037, 4, random);
  }
  ExpectSameBitsEverywhere<float>(AllOptimizers().back(), 200'003, 2, random);
}

// 2048 + 1 is 2048 in half: contributions are summed in float, each operation of the update is rounded.
TEST_F(DenseUpdate, HalvesAreSummedInFloatAndUpdatedInHalf) {
  const auto halves = [](std::vector<float> values) {
    std::vector<Half> all;
    for (const float value : values) all.push_back(ToHalf(value));
    return all;
  };
  State<Half> state{{3}, halves({2048, 2048, 0}), {}};
  EXPECT_OK(state.Dense(kernels::GradientDescent{.alpha = 1}, {halves({2048, 1, 1}), halves({1, 0, 0}), halves({1, 0, 0})}, services_));
  EXPECT_EQ(state.variable, halves({-2, 2047, -1}));
  // 1 - 2049 is -2048 in half.
  State<Half> sum{{1}, halves({1}), {halves({2048})}};
  EXPECT_OK(sum.Dense(kernels::Momentum{.lr = 1, .momentum = 1}, {halves({1})}, services_));
  EXPECT_EQ(sum.slots[0], halves({2048}));
  EXPECT_EQ(sum.variable, halves({-2047}));
}

TEST_F(DenseUpdate, FusedGivesTheBitsOfSumThenMeanThenStep) {
  std::mt19937_64 random(test::Seed());
  const auto& sum = kernels::KernelsFor(services_.instruction_set).of<float>().sum;
  for (const Optimizer& optimizer : AllOptimizers()) {
    FloatState fused = RandomState<float>(random, optimizer, {3000});
    FloatState stepwise = fused;
    std::vector<Floats> gradients;
    for (int k = 0; k < 5; ++k) gradients.push_back(RandomValues<float>(random, 3000, false));
    std::vector<const float*> inputs;
    for (const Floats& gradient : gradients) inputs.push_back(gradient.data());
    Floats mean(3000);
    sum({.inputs = inputs.data(), .count = inputs.size(), .begin = 0, .end = 3000, .out = mean.data()}, 5);
    EXPECT_OK(fused.Dense(optimizer, gradients, services_, 5));
    EXPECT_OK(stepwise.Dense(optimizer, {mean}, services_));
    EXPECT_EQ(fused, stepwise) << OptimizerName(optimizer);
  }
}

TEST_F(DenseUpdate, WhatIsRefusedChangesNothing) {
  const kernels::Momentum momentum{.lr = 1};
  FloatState state{{4}, {1, 2, 3, 4}, {{1, 1, 1, 1}}};
  const FloatState before = state;
  const Floats gradient = {1, 1, 1, 1};
  EXPECT_EQ(state.Dense(momentum, {{1, 1}}, services_).code(), Code::kInvalidArgument);
  EXPECT_EQ(state.Dense(momentum, {gradient, {1}}, services_).code(), Code::kInvalidArgument);
  EXPECT_EQ(state.Dense(momentum, {}, services_).code(), Code::kInvalidArgument);
  EXPECT_EQ(state.Dense(kernels::Adam{}, {gradient}, services_).code(), Code::kInvalidArgument);
  // The same number of elements in another shape is another variable's slot.
  Floats slot = {1, 1, 1, 1};
  const Shape square = {2, 2};
  const MutableTensorView other{.dtype = DType::kFloat32, .shape = square, .data = slot.data(), .bytes = 16};
  const Status status = CheckTarget(momentum, {.variable = state.ViewOf(state.variable), .slots = std::span(&other, 1)});
  EXPECT_EQ(status.message(), "Momentum: expected slot 0 to be float32 [4] as the variable but received float32 [2,2]");
  EXPECT_EQ(state, before);
  State<std::int32_t> integers{{1}, {1}, {}};
  EXPECT_EQ(integers.Dense(kernels::GradientDescent{}, {{1}}, services_).code(), Code::kInvalidArgument);
}

// Found by fuzzing: shapes agree, bytes do not; and what a gradient cannot be divided by.
TEST_F(DenseUpdate, RefusesMemoryThatDoesNotHoldWhatItsShapeSays) {
  FloatState state{{4}, {1, 2, 3, 4}, {}};
  const FloatState before = state;
  const Floats gradient = {1, 1};
  const TensorView too_short{.dtype = DType::kFloat32, .shape = state.shape, .data = gradient.data(), .bytes = 8};
  const Status status = ApplyDense(kernels::GradientDescent{.alpha = 1}, {.variable = state.ViewOf(state.variable), .slots = {}},
                                   {.contributions = std::span(&too_short, 1)}, services_);
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  for (const std::int64_t divisor : {std::int64_t{0}, std::numeric_limits<std::int64_t>::min()}) {
    EXPECT_EQ(state.Dense(kernels::GradientDescent{.alpha = 1}, {{1, 1, 1, 1}}, services_, divisor).code(), Code::kInvalidArgument);
  }
  EXPECT_EQ(state, before);
}

}  // namespace
}  // namespace gradsync::optimize
