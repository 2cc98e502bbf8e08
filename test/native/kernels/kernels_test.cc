// Every kernel of every instruction set this machine has: right results, and the same bits as the baseline on odd sizes and addresses.
#include "kernels/kernels.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "core/dtype.h"
#include "support.h"

namespace gradsync::kernels {
namespace {

template <typename T>
T FromInt(std::int64_t value) {
  if constexpr (kIsHalfType<T>) {
    return FromFloat<T>(static_cast<float>(value));
  } else {
    return static_cast<T>(value);
  }
}

// Any bits there are: also NaN, infinities, subnormals and the least integer.
template <typename T>
T Arbitrary(std::mt19937_64& random) {
  const std::uint64_t bits = random();
  T value;
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

// Values of usual size, whose sums round.
template <typename T>
T Usual(std::mt19937_64& random) {
  std::normal_distribution<float> normal;
  if constexpr (kIsHalfType<T>) {
    return FromFloat<T>(normal(random));
  } else {
    return static_cast<T>(1000 * normal(random));
  }
}

template <typename T>
bool IsNan(T value) {
  if constexpr (kIsHalfType<T>) {
    return std::isnan(ToFloat(value));
  } else {
    return value != value;  // NOLINT(misc-redundant-expression)
  }
}

// The same bits, or both NaN: which of two NaNs an addition keeps depends on the order the compiler gives its operands.
template <typename T>
::testing::AssertionResult SameBits(const std::vector<T>& a, const std::vector<T>& b) {
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (std::memcmp(&a[i], &b[i], sizeof(T)) != 0 && !(IsNan(a[i]) && IsNan(b[i]))) {
      return ::testing::AssertionFailure() << "element " << i << " of " << a.size();
    }
  }
  return ::testing::AssertionSuccess();
}

template <typename T>
class KernelsTest : public ::testing::Test {
 protected:
  // All kernels on `inputs`, one after another; the outputs begin `shift` elements behind an aligned address.
  static std::vector<T> RunAll(InstructionSet set, const std::vector<std::vector<T>>& inputs, std::size_t shift) {
    const ElementKernels<T>& kernels = KernelsFor(set).of<T>();
    std::vector<const T*> rows;
    for (const auto& input : inputs) rows.push_back(input.data() + shift);
    const auto size = static_cast<std::int64_t>(inputs[0].size() - shift);
    Buffer buffer = *Buffer::Allocate((inputs[0].size() + 64) * sizeof(T));
    T* const out = reinterpret_cast<T*>(buffer.data()) + shift;
    std::vector<T> all;
    const auto run = [&](auto&& kernel) {
      for (const Store store : {Store::kCached, Store::kStreaming}) {
        std::memset(buffer.data(), 0, buffer.size());
        kernel(Fold<T>{.inputs = rows.data(), .count = rows.size(), .begin = 0, .end = size, .out = out, .store = store});
        all.insert(all.end(), out, out + size + 1);  // one more: nothing is written behind the end
      }
    };
    for (const std::int64_t divisor : {std::int64_t{1}, static_cast<std::int64_t>(rows.size()) + 2}) {
      run([&](const Fold<T>& fold) { kernels.sum(fold, divisor); });
      run([&](const Fold<T>& fold) { kernels.sum_rounding_each(fold, divisor); });
    }
    run(kernels.product);
    run(kernels.min);
    run(kernels.max);
    kernels.scale(rows[0], size, static_cast<Wide<T>>(3), out);
    all.insert(all.end(), out, out + size);
    return all;
  }

  template <typename Make>
  static void CompareWithBaseline(Make&& make) {
    std::mt19937_64 random(test::Seed());
    for (const std::size_t size : {1, 7, 63, 1023, 1024, 2500}) {
      for (const std::size_t count : {1, 2, 3, 4, 5, 8, 11}) {
        std::vector<std::vector<T>> inputs(count, std::vector<T>(size));
        for (auto& input : inputs) std::ranges::generate(input, [&] { return make(random); });
        const std::size_t shift = size > 3 ? size % 4 : 0;
        const std::vector<T> expected = RunAll(InstructionSet::kBaseline, inputs, shift);
        for (const InstructionSet set : AvailableInstructionSets()) {
          EXPECT_TRUE(SameBits(RunAll(set, inputs, shift), expected))
              << InstructionSetName(set) << ", " << count << " inputs of " << size << " elements";
        }
      }
    }
  }
};

using GradientElements = ::testing::Types<Half, BFloat16, float, double, std::int32_t, std::int64_t>;
class ElementNames {
 public:
  template <typename T>
  static std::string GetName(int /*index*/) {
    return std::string(DTypeName(kDTypeOf<T>));
  }
};
TYPED_TEST_SUITE(KernelsTest, GradientElements, ElementNames);

TYPED_TEST(KernelsTest, EverySetGivesTheBitsOfTheBaselineOnUsualValues) { this->CompareWithBaseline(Usual<TypeParam>); }

TYPED_TEST(KernelsTest, EverySetGivesTheBitsOfTheBaselineOnArbitraryBits) { this->CompareWithBaseline(Arbitrary<TypeParam>); }

TYPED_TEST(KernelsTest, ResultsAreThoseOfTheFormulas) {
  using T = TypeParam;
  const std::vector<std::vector<T>> inputs = {
      {FromInt<T>(-7), FromInt<T>(2)}, {FromInt<T>(3), FromInt<T>(9)}, {FromInt<T>(1), FromInt<T>(-5)}};
  const std::vector<const T*> rows = {inputs[0].data(), inputs[1].data(), inputs[2].data()};
  for (const InstructionSet set : AvailableInstructionSets()) {
    SCOPED_TRACE(InstructionSetName(set));
    const ElementKernels<T>& kernels = KernelsFor(set).template of<T>();
    std::vector<T> out(2);
    const Fold<T> fold{.inputs = rows.data(), .count = 3, .begin = 0, .end = 2, .out = out.data()};
    const auto expect = [&](std::int64_t first, std::int64_t second) {
      EXPECT_EQ(out, (std::vector<T>{FromInt<T>(first), FromInt<T>(second)}));
    };
    kernels.sum(fold, 1);
    expect(-3, 6);
    kernels.sum(fold, 3);
    expect(-1, 2);
    kernels.product(fold);
    expect(-21, -90);
    kernels.min(fold);
    expect(-7, -5);
    kernels.max(fold);
    expect(3, 9);
    kernels.scale(rows[0], 2, static_cast<Wide<T>>(-2), out.data());
    expect(14, -4);
    kernels.sum({.inputs = rows.data(), .count = 3, .begin = 1, .end = 2, .out = out.data()}, 1);
    expect(14, 6);
  }
}

TYPED_TEST(KernelsTest, TheOutputMayBeAnyInput) {
  using T = TypeParam;
  for (const InstructionSet set : AvailableInstructionSets()) {
    for (std::size_t target = 0; target < 6; ++target) {
      std::vector<std::vector<T>> inputs(6, std::vector<T>(3000, FromInt<T>(2)));
      std::vector<const T*> rows;
      for (const auto& input : inputs) rows.push_back(input.data());
      KernelsFor(set).template of<T>().sum({.inputs = rows.data(), .count = 6, .begin = 0, .end = 3000, .out = inputs[target].data()}, 1);
      EXPECT_EQ(inputs[target], std::vector<T>(3000, FromInt<T>(12))) << InstructionSetName(set) << ", input " << target;
    }
  }
}

TEST(KernelsTest, ANotANumberIsTheLeastAndTheGreatest) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<std::vector<float>> inputs = {{nan, 1, 1}, {1, nan, 2}, {2, 2, nan}};
  const std::vector<const float*> rows = {inputs[0].data(), inputs[1].data(), inputs[2].data()};
  for (const InstructionSet set : AvailableInstructionSets()) {
    for (const auto kernel : {KernelsFor(set).of<float>().min, KernelsFor(set).of<float>().max}) {
      std::vector<float> out(3);
      kernel({.inputs = rows.data(), .count = 3, .begin = 0, .end = 3, .out = out.data()});
      for (const float value : out) EXPECT_TRUE(std::isnan(value)) << InstructionSetName(set);
    }
  }
}

TEST(KernelsTest, HalfTypesRoundOnceOrAfterEveryAddition) {
  const std::vector<Half> values = {ToHalf(2048), ToHalf(1), ToHalf(1)};
  const std::vector<const Half*> rows = {&values[0], &values[1], &values[2]};
  for (const InstructionSet set : AvailableInstructionSets()) {
    Half out{};
    const Fold<Half> fold{.inputs = rows.data(), .count = 3, .begin = 0, .end = 1, .out = &out};
    KernelsFor(set).of<Half>().sum(fold, 1);
    EXPECT_EQ(ToFloat(out), 2050.0F);
    KernelsFor(set).of<Half>().sum_rounding_each(fold, 1);
    EXPECT_EQ(ToFloat(out), 2048.0F);
  }
}

TEST(KernelsTest, OneInputKeepsItsBits) {
  const std::vector<std::uint16_t> bits = {0x7e01, 0xfc00, 0x8000, 0x0001};  // a NaN with a payload, -infinity, -0, the least subnormal
  std::vector<Half> values;
  for (const std::uint16_t pattern : bits) values.push_back(Half{pattern});
  const Half* const row = values.data();
  for (const InstructionSet set : AvailableInstructionSets()) {
    std::vector<Half> out(4);
    KernelsFor(set).of<Half>().sum({.inputs = &row, .count = 1, .begin = 0, .end = 4, .out = out.data()}, 1);
    EXPECT_EQ(out, values);
  }
}

TEST(InstructionSetTest, NamesAreThoseOfTheSetsTheMachineHas) {
  for (const InstructionSet set : AvailableInstructionSets()) EXPECT_EQ(*ParseInstructionSet(InstructionSetName(set)), set);
  EXPECT_EQ(AvailableInstructionSets().front(), InstructionSet::kBaseline);
  const StatusOr<InstructionSet> unknown = ParseInstructionSet("mmx");
  EXPECT_EQ(unknown.status().code(), Code::kInvalidArgument);
  EXPECT_NE(unknown.status().message().find("baseline"), std::string::npos);
}

}  // namespace
}  // namespace gradsync::kernels
