// Sparse updates: only named rows change, repeats come one after another, threads and instruction sets give the same bits, lazily touched
// optimizers equal the dense step on the gathered rows, and what is refused.
#include "optimize/sparse_update.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <numeric>
#include <vector>

#include "update_support.h"

namespace gradsync::optimize {
namespace {

using Floats = std::vector<float>;
using Rows = std::vector<std::int64_t>;
using FloatState = State<float>;

class SparseUpdate : public ::testing::Test {
 protected:
  Services services_{2};
};

Floats RowsOf(const Floats& table, const Rows& indices, std::int64_t width) {
  Floats rows;
  for (const std::int64_t index : indices) rows.insert(rows.end(), table.begin() + index * width, table.begin() + (index + 1) * width);
  return rows;
}

FloatState Gather(const FloatState& state, const Rows& indices) {
  const std::int64_t width = state.shape[1];
  FloatState rows{{static_cast<std::int64_t>(indices.size()), width}, RowsOf(state.variable, indices, width), {}};
  for (const Floats& slot : state.slots) rows.slots.push_back(RowsOf(slot, indices, width));
  return rows;
}

TEST_F(SparseUpdate, TouchesNamedRowsOnly) {
  std::mt19937_64 random(test::Seed());
  for (const Optimizer& optimizer : AllOptimizers()) {
    FloatState state = RandomState<float>(random, optimizer, {5, 3});
    const FloatState before = state;
    EXPECT_OK(state.Sparse(optimizer, {3, 1}, {1, 2, 3, 4, 5, 6}, services_));
    EXPECT_EQ(Gather(state, {0, 2, 4}), Gather(before, {0, 2, 4})) << OptimizerName(optimizer);
    EXPECT_FALSE(Gather(state, {1, 3}) == Gather(before, {1, 3})) << OptimizerName(optimizer);
  }
}

TEST_F(SparseUpdate, LazyOptimizersAreTheDenseStepOnTheRows) {
  std::mt19937_64 random(test::Seed());
  const Optimizer lazy[] = {kernels::GradientDescent{0.1}, kernels::Adam{0.9, 0.999, 0.01, 0.9, 0.999, 1e-7, false, 0.1},
                            kernels::AdamWithAmsgrad{0.9, 0.999, 0.01, 0.9, 0.999, 1e-7}, kernels::AdaMax{0.9, 0.01, 0.9, 0.999, 1e-7}};
  const Rows indices = {4, 0, 3};
  for (const Optimizer& optimizer : lazy) {
    FloatState state = RandomState<float>(random, optimizer, {5, 7});
    FloatState rows = Gather(state, indices);
    const Floats gradient = RandomValues<float>(random, 21, false);
    EXPECT_OK(state.Sparse(optimizer, indices, gradient, services_, 0.5));
    EXPECT_OK(rows.Dense(optimizer, {gradient}, services_, 1, 0.5));
    EXPECT_EQ(Gather(state, indices), rows) << OptimizerName(optimizer);
  }
}

TEST_F(SparseUpdate, RepeatedRowsAreAppliedOneAfterAnotherInOrder) {
  std::mt19937_64 random(test::Seed());
  const Rows indices = {1, 0, 1};
  const Floats gradient = {1, 2, 3, 4, 5, 6};
  for (const Optimizer& optimizer : AllOptimizers()) {
    FloatState together = RandomState<float>(random, optimizer, {2, 2});
    FloatState one_by_one = together;
    EXPECT_OK(together.Sparse(optimizer, indices, gradient, services_));
    for (std::size_t i = 0; i < indices.size(); ++i) {
      EXPECT_OK(one_by_one.Sparse(optimizer, {indices[i]}, {gradient[2 * i], gradient[2 * i + 1]}, services_));
    }
    EXPECT_EQ(together, one_by_one) << OptimizerName(optimizer);
  }
}

TEST_F(SparseUpdate, EveryInstructionSetAndThreadCountGivesTheSameBits) {
  std::mt19937_64 random(test::Seed());
  for (const Optimizer& optimizer : AllOptimizers()) {
    for (const std::int64_t width : {1, 5, 64}) {
      const std::int64_t count = width == 64 ? 700 : 40;  // 700 rows of 64 are several ranges
      const FloatState before = RandomState<float>(random, optimizer, {count, width});
      Rows indices(static_cast<std::size_t>(count));
      std::iota(indices.begin(), indices.end(), 0);
      const Floats gradient = RandomValues<float>(random, before.variable.size(), false);
      FloatState expected = before;
      Services baseline(1, InstructionSet::kBaseline);
      EXPECT_OK(expected.Sparse(optimizer, indices, gradient, baseline));
      for (const InstructionSet set : AvailableInstructionSets()) {
        Services services(3, set);
        FloatState state = before;
        EXPECT_OK(state.Sparse(optimizer, indices, gradient, services));
        EXPECT_EQ(state, expected) << OptimizerName(optimizer) << " of width " << width << ", " << InstructionSetName(set);
      }
    }
  }
}

template <typename T>
void ExpectSameHalfBitsEverywhere(const Optimizer& optimizer, std::mt19937_64& random) {
  const State<T> before = RandomState<T>(random, optimizer, {700, 33});
  Rows indices(700);
  std::iota(indices.begin(), indices.end(), 0);
  const std::vector<T> gradient = RandomValues<T>(random, before.variable.size(), false);
  State<T> expected = before;
  Services baseline(1, InstructionSet::kBaseline);
  EXPECT_OK(expected.Sparse(optimizer, indices, gradient, baseline, 0.75));
  for (const InstructionSet set : AvailableInstructionSets()) {
    Services services(3, set);
    State<T> state = before;
    EXPECT_OK(state.Sparse(optimizer, indices, gradient, services, 0.75));
    EXPECT_EQ(state, expected) << OptimizerName(optimizer) << ", " << InstructionSetName(set);
  }
}

TEST_F(SparseUpdate, HalfTypesGiveTheSameBitsEverywhere) {
  std::mt19937_64 random(test::Seed());
  for (const Optimizer& optimizer : AllOptimizers()) {
    ExpectSameHalfBitsEverywhere<Half>(optimizer, random);
    ExpectSameHalfBitsEverywhere<BFloat16>(optimizer, random);
  }
}

TEST_F(SparseUpdate, NoRowsChangeNothing) {
  const kernels::Adagrad adagrad{.lr = 1};
  FloatState state{{2, 1}, {1, 2}, {{1, 1}}};
  EXPECT_OK(state.Sparse(adagrad, {}, {}, services_));
  EXPECT_EQ(state.variable, (Floats{1, 2}));
  FloatState empty{{0, 3}, {}, {{}}};
  EXPECT_OK(empty.Sparse(adagrad, {}, {}, services_));
  FloatState narrow{{2, 0}, {}, {{}}};
  EXPECT_OK(narrow.Sparse(adagrad, {0, 1}, {}, services_));
}

TEST_F(SparseUpdate, WhatIsRefusedChangesNothing) {
  const kernels::Momentum momentum{.lr = 1};
  FloatState state{{2, 2}, {1, 2, 3, 4}, {{1, 1, 1, 1}}};
  const FloatState before = state;
  EXPECT_EQ(state.Sparse(momentum, {0, 2}, {1, 1, 1, 1}, services_).message(), "Momentum: indices[1] = 2 is not in [0, 2)");
  EXPECT_EQ(state.Sparse(momentum, {-1}, {1, 1}, services_).message(), "Momentum: indices[0] = -1 is not in [0, 2)");
  const Shape square = {2, 2};
  const Floats rows = {1, 1, 1, 1};
  const test::Array<std::int64_t> one = test::Vector<std::int64_t>({0});
  const auto slots = state.SlotViews();
  const UpdateTarget target{.variable = state.ViewOf(state.variable), .slots = slots};
  const TensorView values{.dtype = DType::kFloat32, .shape = square, .data = rows.data(), .bytes = 16};
  EXPECT_EQ(ApplySparse(momentum, target, {.indices = one.view(), .values = values}, services_).code(), Code::kInvalidArgument);
  EXPECT_EQ(ApplySparse(momentum, target, {.indices = values, .values = values}, services_).code(), Code::kInvalidArgument);
  FloatState scalar{{}, {1}, {{1}}};
  const auto scalar_slots = scalar.SlotViews();
  const UpdateTarget scalar_target{.variable = scalar.ViewOf(scalar.variable), .slots = scalar_slots};
  EXPECT_EQ(ApplySparse(momentum, scalar_target, {.indices = one.view(), .values = values}, services_).code(), Code::kInvalidArgument);
  EXPECT_EQ(state, before);
}

}  // namespace
}  // namespace gradsync::optimize
