// Variables: versions, leases, assignment, rows, and updates of several together.
#include "accumulate/variable.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "accumulate/variable_update.h"
#include "support.h"

namespace gradsync::accumulate {
namespace {

using test::Array;
using test::Elements;
using test::Vector;

std::shared_ptr<Variable> Make(PartialShape shape = {}, DType dtype = DType::kFloat32) {
  return std::make_shared<Variable>(VariableOptions{.name = "w", .dtype = dtype, .shape = std::move(shape)});
}

std::shared_ptr<Variable> Table() {  // rows [0,1] [2,3] [4,5]
  auto variable = Make(PartialShape(Shape{3, 2}));
  const Array<float> value{.shape = {3, 2}, .data = {0, 1, 2, 3, 4, 5}};
  EXPECT_OK(variable->Assign(value.view()));
  return variable;
}

std::vector<float> Value(const Variable& variable) {
  const StatusOr<VariableLease> lease = variable.Read();
  EXPECT_TRUE(lease.ok()) << lease.status().ToString();
  return lease.ok() ? Elements<float>(lease->tensor()) : std::vector<float>();
}

const void* Address(const Variable& variable) { return variable.Read()->tensor().view().data; }

TEST(Variable, IsUninitializedUntilAssigned) {
  const auto variable = Make();
  EXPECT_FALSE(variable->is_initialized());
  EXPECT_EQ(variable->shape(), std::nullopt);
  const Status expected = FailedPrecondition("Attempting to use uninitialized value w");
  EXPECT_EQ(variable->Read().status(), expected);
  EXPECT_EQ(variable->AssignAdd(Vector<float>({1}).view()), expected);
  EXPECT_OK(variable->Assign(Vector<float>({1, 2}).view()));
  EXPECT_EQ(variable->version(), 1);
  EXPECT_EQ(variable->shape(), Shape{2});
}

TEST(Variable, EveryChangeMakesTheNextVersion) {
  const auto variable = Make();
  EXPECT_OK(variable->Assign(Vector<float>({1, 2}).view()));
  EXPECT_OK(variable->AssignAdd(Vector<float>({10, 20}).view()));
  EXPECT_OK(variable->AssignSub(Vector<float>({1, 1}).view()));
  EXPECT_EQ(Value(*variable), (std::vector<float>{10, 21}));
  EXPECT_EQ(variable->version(), 3);
}

TEST(Variable, ALeaseKeepsItsVersionWhileOthersAreMade) {
  const auto variable = Make();
  EXPECT_OK(variable->Assign(Vector<float>({1}).view()));
  const StatusOr<VariableLease> lease = variable->Read();
  ASSERT_TRUE(lease.ok());
  EXPECT_OK(variable->AssignAdd(Vector<float>({1}).view()));
  EXPECT_OK(variable->Assign(Vector<float>({7}).view()));
  EXPECT_EQ(lease->version(), 1);
  EXPECT_EQ(lease->tensor().as<float>()[0], 1.0F);
  EXPECT_EQ(Value(*variable), std::vector<float>{7});
}

TEST(Variable, UpdatesInPlaceOnlyWhenNobodyLeases) {
  const auto variable = Make();
  EXPECT_OK(variable->Assign(Vector<float>({1}).view()));
  const void* const before = Address(*variable);
  EXPECT_OK(variable->AssignAdd(Vector<float>({1}).view()));
  EXPECT_EQ(Address(*variable), before);
  {
    const StatusOr<VariableLease> lease = variable->Read();
    EXPECT_OK(variable->AssignAdd(Vector<float>({1}).view()));
    EXPECT_NE(Address(*variable), before);
  }
  const StatusOr<VariableLease> lease = variable->Read();
  EXPECT_OK(variable->AssignAdd(Vector<float>({1}).view()));
  EXPECT_EQ(Address(*variable), before);  // the memory of the version retired before
  EXPECT_EQ(Value(*variable), std::vector<float>{4});
}

TEST(Variable, AnAssignedLeaseOfItselfIsNotTorn) {
  const auto variable = Table();
  const StatusOr<VariableLease> lease = variable->Read();
  EXPECT_OK(variable->AssignAdd(lease->tensor().view()));
  EXPECT_EQ(Value(*variable), (std::vector<float>{0, 2, 4, 6, 8, 10}));
}

TEST(Variable, ShapeMayChangeAsFarAsTheDeclarationAllows) {
  const auto fixed = Make(PartialShape(Shape{2}));
  EXPECT_EQ(fixed->Assign(Vector<float>({1}).view()), InvalidArgument("Variable 'w': expected a value of shape [2] but received [1]"));
  const auto open = Make();
  EXPECT_OK(open->Assign(Vector<float>({1}).view()));
  const Array<float> matrix{.shape = {2, 2}, .data = {1, 2, 3, 4}};
  EXPECT_OK(open->Assign(matrix.view()));
  EXPECT_EQ(open->shape(), (Shape{2, 2}));
  const Array<float> flat{.shape = {4}, .data = {5, 6, 7, 8}};
  EXPECT_OK(open->Assign(flat.view()));
  EXPECT_EQ(open->shape(), Shape{4});
}

TEST(Variable, WrongDTypesAndShapesChangeNothing) {
  const auto variable = Table();
  EXPECT_EQ(variable->Assign(Vector<double>({1}).view()).code(), Code::kInvalidArgument);
  EXPECT_EQ(variable->AssignAdd(Vector<float>({1}).view()),
            InvalidArgument("Variable 'w': expected a value of float32 [3,2] but received float32 [1]"));
  EXPECT_EQ(variable->AssignSub(Array<std::int32_t>{.shape = {3, 2}, .data = std::vector<std::int32_t>(6)}.view()).code(),
            Code::kInvalidArgument);
  EXPECT_EQ(variable->version(), 1);
}

TEST(Variable, CopiesOnlyWhatTheReaderDoesNotKnow) {
  const auto variable = Make();
  EXPECT_OK(variable->Assign(Vector<float>({1, 2}).view()));
  Array<float> out{.shape = {2}, .data = {0, 0}};
  EXPECT_EQ(*variable->CopyTo(out.mutable_view(), 0), 1);
  EXPECT_EQ(out.data, (std::vector<float>{1, 2}));
  out.data = {8, 9};
  EXPECT_EQ(*variable->CopyTo(out.mutable_view(), 1), 1);
  EXPECT_EQ(out.data, (std::vector<float>{8, 9}));
  Array<float> small{.shape = {1}, .data = {0}};
  EXPECT_EQ(variable->CopyTo(small.mutable_view(), 0).status(),
            InvalidArgument("Variable 'w': expected room for 2 elements of float32 but received 1 of float32"));
}

TEST(Variable, GathersRowsInTheOrderOfTheIndices) {
  const auto variable = Table();
  Array<float> out{.shape = {3, 2}, .data = std::vector<float>(6)};
  EXPECT_EQ(*variable->Gather(Vector<std::int32_t>({2, 0, 2}).view(), out.mutable_view()), 1);
  EXPECT_EQ(out.data, (std::vector<float>{4, 5, 0, 1, 4, 5}));
  EXPECT_EQ(variable->Gather(Vector<std::int64_t>({0, 1, 3}).view(), out.mutable_view()).status(),
            InvalidArgument("Gather from variable 'w': indices[2] = 3 is not in [0, 3)"));
  EXPECT_EQ(variable->Gather(Vector<std::int64_t>({0}).view(), out.mutable_view()).status().code(), Code::kInvalidArgument);
  const auto scalar = Make();
  EXPECT_OK(scalar->Assign(Array<float>{.shape = {}, .data = {1}}.view()));
  EXPECT_EQ(scalar->Gather(Vector<std::int64_t>({}).view(), out.mutable_view()).status().code(), Code::kInvalidArgument);
}

TEST(Variable, ScattersRowsOneAfterTheOther) {
  const auto variable = Table();
  const Array<float> rows{.shape = {3, 2}, .data = {10, 20, 30, 40, 50, 60}};
  EXPECT_OK(variable->ScatterAdd(Vector<std::int64_t>({1, 0, 1}).view(), rows.view()));
  EXPECT_EQ(Value(*variable), (std::vector<float>{30, 41, 62, 83, 4, 5}));
  EXPECT_OK(variable->ScatterSub(Vector<std::int32_t>({1, 0, 1}).view(), rows.view()));
  EXPECT_EQ(Value(*variable), (std::vector<float>{0, 1, 2, 3, 4, 5}));
  EXPECT_OK(variable->ScatterUpdate(Vector<std::int64_t>({2, 0, 2}).view(), rows.view()));
  EXPECT_EQ(Value(*variable), (std::vector<float>{30, 40, 2, 3, 50, 60}));
}

TEST(Variable, ABadIndexAnywhereChangesNothing) {
  const auto variable = Table();
  const Array<float> rows{.shape = {2, 2}, .data = {1, 1, 1, 1}};
  EXPECT_EQ(variable->ScatterAdd(Vector<std::int64_t>({0, -1}).view(), rows.view()),
            InvalidArgument("Scatter to variable 'w': indices[1] = -1 is not in [0, 3)"));
  EXPECT_EQ(variable->ScatterAdd(Vector<std::int64_t>({0}).view(), rows.view()),
            InvalidArgument("Scatter to variable 'w': expected rows of float32 [1,2] but received float32 [2,2]"));
  EXPECT_EQ(Value(*variable), (std::vector<float>{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(variable->version(), 1);
}

TEST(Variable, HalfIntegerAndBoolValuesHaveTheirOwnRules) {
  const auto half = Make({}, DType::kFloat16);
  EXPECT_OK(half->Assign(Vector<Half>({ToHalf(1.0F)}).view()));
  EXPECT_OK(half->AssignAdd(Vector<Half>({ToHalf(0.5F)}).view()));
  EXPECT_EQ(ToFloat(half->Read()->tensor().as<Half>()[0]), 1.5F);
  const auto byte = Make({}, DType::kUint8);
  EXPECT_OK(byte->Assign(Vector<std::uint8_t>({250}).view()));
  EXPECT_OK(byte->AssignAdd(Vector<std::uint8_t>({10}).view()));
  EXPECT_EQ(byte->Read()->tensor().as<std::uint8_t>()[0], 4);
  const auto flag = Make({}, DType::kBool);
  const bool yes[] = {true};
  const Shape one{1};
  const TensorView view{.dtype = DType::kBool, .shape = one, .data = yes, .bytes = 1};
  EXPECT_OK(flag->Assign(view));
  EXPECT_EQ(flag->AssignAdd(view).code(), Code::kInvalidArgument);
}

TEST(Variable, ShutdownRefusesCallsButLeasesStay) {
  const auto variable = Table();
  const StatusOr<VariableLease> lease = variable->Read();
  variable->Shutdown("the session was closed");
  EXPECT_EQ(variable->Read().status(), FailedPrecondition("Variable 'w' is closed: the session was closed"));
  EXPECT_EQ(variable->Assign(Array<float>{.shape = {3, 2}, .data = std::vector<float>(6)}.view()).code(), Code::kFailedPrecondition);
  EXPECT_EQ(lease->tensor().as<float>()[5], 5.0F);
}

TEST(VariableUpdate, RefusesTheSameVariableTwiceAndUninitializedOnes) {
  const auto a = Table();
  const auto b = Make();
  EXPECT_EQ(VariableUpdate::Begin({a.get(), a.get()}).status(),
            InvalidArgument("expected different variables in one update but received 'w' twice"));
  EXPECT_EQ(VariableUpdate::Begin({a.get(), b.get()}).status().code(), Code::kFailedPrecondition);
  EXPECT_OK(a->AssignAdd(a->Read()->tensor().view()));  // no lock was left behind
}

TEST(VariableUpdate, WithoutCommitNoVersionAppears) {
  const auto a = Table();
  { ASSERT_TRUE(VariableUpdate::Begin({a.get()}).ok()); }
  EXPECT_EQ(a->version(), 1);
}

// Threads update overlapping groups in different orders while readers check that no version is torn: all elements of one are equal.
TEST(VariableUpdate, ManyThreadsNeitherTearVersionsNorDeadlock) {
  constexpr int kRounds = 1500;
  constexpr std::int64_t kSize = 257;
  std::vector<std::shared_ptr<Variable>> variables;
  for (int i = 0; i < 3; ++i) {
    variables.push_back(Make());
    ASSERT_OK(variables.back()->Assign(Vector(std::vector<float>(kSize)).view()));
  }
  const auto update = [&](std::vector<Variable*> group) {
    for (int i = 0; i < kRounds; ++i) {
      auto next = VariableUpdate::Begin(group);
      ASSERT_TRUE(next.ok());
      for (std::size_t k = 0; k < group.size(); ++k) {
        for (float& element : next->tensor(k).as<float>()) element += 1.0F;
      }
      next->Commit();
    }
  };
  std::atomic<bool> is_over = false;
  const auto read = [&](const Variable& variable) {
    std::int64_t last = 0;
    Array<float> out{.shape = {kSize}, .data = std::vector<float>(kSize)};
    while (!is_over) {
      const auto version = variable.CopyTo(out.mutable_view(), 0);
      ASSERT_TRUE(version.ok());
      ASSERT_GE(*version, last);
      last = *version;
      ASSERT_EQ(out.data, std::vector<float>(kSize, static_cast<float>(last - 1)));
    }
  };
  Variable* const a = variables[0].get();
  Variable* const b = variables[1].get();
  Variable* const c = variables[2].get();
  std::vector<std::thread> readers;
  readers.reserve(variables.size());
  for (const auto& variable : variables) readers.emplace_back([&] { read(*variable); });
  std::vector<std::thread> writers;
  for (const std::vector<Variable*>& group : {std::vector{a, b}, std::vector{b, a}, std::vector{c, b, a}}) {
    writers.emplace_back([&, group] { update(group); });
  }
  for (auto& writer : writers) writer.join();
  is_over = true;
  for (auto& reader : readers) reader.join();
  EXPECT_EQ(Value(*a), std::vector<float>(kSize, 3 * kRounds));
  EXPECT_EQ(Value(*c), std::vector<float>(kSize, kRounds));
}

}  // namespace
}  // namespace gradsync::accumulate
