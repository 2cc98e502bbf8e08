// The dense conditional accumulator: TensorFlow's rules for steps, counts, order and errors, and sums that do not depend on arrival.
#include "accumulate/dense_accumulator.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <limits>
#include <memory>
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
using TakeAnswer = Answer<StatusOr<Tensor>>;

class DenseAccumulatorTest : public ::testing::Test {
 protected:
  std::shared_ptr<DenseAccumulator> Make(DenseAccumulatorOptions options) {
    auto made = DenseAccumulator::Create(std::move(options), services_);
    EXPECT_TRUE(made.ok()) << made.status().ToString();
    return *made;
  }
  std::shared_ptr<DenseAccumulator> Make(PartialShape shape = {}, Reduction reduction = Reduction::kMean) {
    return Make({.name = "w/grad", .dtype = DType::kFloat32, .shape = std::move(shape), .reduction = reduction});
  }
  static Status Apply(DenseAccumulator& accumulator, const TensorView& gradient, std::int64_t contributor = 0, std::int64_t step = 1000) {
    return accumulator.Apply(step, contributor, gradient).status();
  }
  template <typename T>
  static std::vector<T> Take(DenseAccumulator& accumulator, std::int64_t required = 1) {
    TakeAnswer answer;
    accumulator.Take(required, Deadline::Infinite(), answer.Callback());
    const StatusOr<Tensor> tensor = answer.Wait();
    EXPECT_TRUE(tensor.ok()) << tensor.status().ToString();
    return tensor.ok() ? Elements<T>(*tensor) : std::vector<T>();
  }
  static TakeAnswer Start(DenseAccumulator& accumulator, std::int64_t required, Cancellation* cancellation = nullptr,
                          Deadline deadline = Deadline::Infinite()) {
    TakeAnswer answer;
    const Cancellation made = accumulator.Take(required, deadline, answer.Callback());
    if (cancellation != nullptr) *cancellation = made;
    return answer;
  }

  Services services_{2};
};

TEST_F(DenseAccumulatorTest, TakesTheMeanOfAllAcceptedGradients) {
  const auto accumulator = Make();
  for (int i = 0; i < 10; ++i) EXPECT_OK(Apply(*accumulator, Vector<float>({static_cast<float>(i), 1}).view(), i));
  EXPECT_EQ(accumulator->NumAccumulated(), 10);
  EXPECT_EQ(Take<float>(*accumulator, 3), (std::vector<float>{4.5F, 1}));
  EXPECT_EQ(accumulator->NumAccumulated(), 0);
  EXPECT_EQ(accumulator->GlobalStep(), 1);
}

TEST_F(DenseAccumulatorTest, TakesTheSumWhenAskedTo) {
  const auto accumulator = Make({}, Reduction::kSum);
  for (int i = 0; i < 4; ++i) EXPECT_OK(Apply(*accumulator, Vector<float>({2}).view(), i));
  EXPECT_EQ(Take<float>(*accumulator), std::vector<float>{8});
}

TEST_F(DenseAccumulatorTest, TellsAContributorThatItsStepIsStaleWithoutLookingAtTheGradient) {
  const auto accumulator = Make(PartialShape(Shape{2}));
  EXPECT_OK(accumulator->SetGlobalStep(5));
  const Array<double> malformed{.shape = {7}, .data = {}};
  const StatusOr<Receipt> receipt = accumulator->Apply(4, 0, malformed.view());
  ASSERT_TRUE(receipt.ok());
  EXPECT_EQ(*receipt, (Receipt{.is_accepted = false, .local_step = 4, .global_step = 5}));
  EXPECT_EQ(accumulator->NumAccumulated(), 0);
  EXPECT_TRUE(accumulator->Apply(99, 0, Vector<float>({1, 2}).view())->is_accepted);
}

TEST_F(DenseAccumulatorTest, SettingTheStepKeepsWhatWasAcceptedAndMayGoBack) {
  const auto accumulator = Make();
  EXPECT_OK(Apply(*accumulator, Vector<float>({3}).view()));
  EXPECT_OK(accumulator->SetGlobalStep(2000));
  EXPECT_FALSE(accumulator->Apply(1000, 0, Vector<float>({9}).view())->is_accepted);
  EXPECT_OK(accumulator->SetGlobalStep(-7));
  EXPECT_TRUE(accumulator->Apply(-7, 0, Vector<float>({5}).view())->is_accepted);
  EXPECT_EQ(Take<float>(*accumulator), std::vector<float>{4});
  EXPECT_EQ(accumulator->GlobalStep(), -6);
}

TEST_F(DenseAccumulatorTest, ALargeTakeHoldsUpTheSmallOneBehindIt) {
  const auto accumulator = Make();
  TakeAnswer large = Start(*accumulator, 5);
  TakeAnswer small = Start(*accumulator, 1);
  for (int i = 0; i < 4; ++i) EXPECT_OK(Apply(*accumulator, Vector<float>({static_cast<float>(i)}).view(), i));
  EXPECT_FALSE(large.HasCome());
  EXPECT_FALSE(small.HasCome());
  EXPECT_OK(Apply(*accumulator, Vector<float>({4}).view(), 4));
  EXPECT_EQ(Elements<float>(*large.Wait()), std::vector<float>{2});
  EXPECT_FALSE(small.HasCome());
  EXPECT_OK(Apply(*accumulator, Vector<float>({7}).view()));
  EXPECT_EQ(Elements<float>(*small.Wait()), std::vector<float>{7});
}

TEST_F(DenseAccumulatorTest, CancellingALargeTakeReleasesTheSmallOneBehindIt) {
  const auto accumulator = Make();
  Cancellation cancellation;
  TakeAnswer large = Start(*accumulator, 5, &cancellation);
  TakeAnswer small = Start(*accumulator, 1);
  EXPECT_OK(Apply(*accumulator, Vector<float>({7}).view()));
  cancellation.Cancel();
  EXPECT_EQ(large.Wait().status(), Cancelled("TakeGrad operation was cancelled"));
  EXPECT_EQ(Elements<float>(*small.Wait()), std::vector<float>{7});
  cancellation.Cancel();  // has no effect any more
}

TEST_F(DenseAccumulatorTest, AMissedDeadlineNamesWhoWasThereAndConsumesNothing) {
  const auto accumulator = Make();
  EXPECT_OK(Apply(*accumulator, Vector<float>({1}).view(), 2));
  EXPECT_OK(Apply(*accumulator, Vector<float>({2}).view(), 0));
  TakeAnswer answer = Start(*accumulator, 3, nullptr, Deadline::AfterMilliseconds(5));
  EXPECT_EQ(answer.Wait().status(),
            DeadlineExceeded("TakeGrad on accumulator 'w/grad' at global step 0: expected 3 gradients but received 2 before the "
                             "deadline (contributors present: 0, 2)"));
  EXPECT_EQ(accumulator->NumAccumulated(), 2);
  EXPECT_EQ(Take<float>(*accumulator), std::vector<float>{1.5F});
}

TEST_F(DenseAccumulatorTest, ARequiredCountBelowOneIsRefusedAtOnce) {
  const auto accumulator = Make();
  TakeAnswer answer = Start(*accumulator, 0);
  ASSERT_TRUE(answer.HasCome());
  EXPECT_EQ(answer.Wait().status(), InvalidArgument("Argument num_required must be positive, but was 0"));
}

TEST_F(DenseAccumulatorTest, ShapeErrorsComeInTensorFlowsOrderAndChangeNothing) {
  const auto accumulator = Make(PartialShape(Shape{-1, 2}));
  const Array<float> wrong{.shape = {3}, .data = {1, 2, 3}};
  const Array<float> first{.shape = {1, 2}, .data = {1, 2}};
  const Array<float> other{.shape = {2, 2}, .data = {1, 2, 3, 4}};
  EXPECT_EQ(Apply(*accumulator, wrong.view()), InvalidArgument("Shape mismatch: expected [?,2], got [3]"));
  EXPECT_OK(Apply(*accumulator, first.view()));
  EXPECT_EQ(Apply(*accumulator, wrong.view()), InvalidArgument("Shape mismatch: expected [1,2], got [3]"));
  EXPECT_EQ(Apply(*accumulator, other.view()), InvalidArgument("Shape mismatch: expected [1,2], got [2,2]"));
  EXPECT_EQ(accumulator->NumAccumulated(), 1);
  EXPECT_EQ(Take<float>(*accumulator), (std::vector<float>{1, 2}));
  EXPECT_OK(Apply(*accumulator, other.view()));  // the round's shape ended with it
}

TEST_F(DenseAccumulatorTest, WhatCrashesTensorFlowIsInvalidArgument) {
  const auto accumulator = Make();
  EXPECT_EQ(Apply(*accumulator, Vector<double>({1}).view()),
            InvalidArgument("Accumulator 'w/grad': expected a gradient of dtype float32 but received float64"));
  const Array<float> lying{.shape = {4}, .data = {1, 2}};
  EXPECT_EQ(Apply(*accumulator, lying.view()).code(), Code::kInvalidArgument);
  EXPECT_EQ(accumulator->NumAccumulated(), 0);
  EXPECT_EQ(DenseAccumulator::Create({.name = "b", .dtype = DType::kBool, .shape = {}}, services_).status().code(), Code::kInvalidArgument);
}

TEST_F(DenseAccumulatorTest, EmptyAndScalarGradientsCount) {
  const auto accumulator = Make();
  const Array<float> empty{.shape = {0, 3}, .data = {}};
  EXPECT_OK(Apply(*accumulator, empty.view()));
  EXPECT_EQ(Take<float>(*accumulator), std::vector<float>{});
  const Array<float> scalar{.shape = {}, .data = {6}};
  EXPECT_OK(Apply(*accumulator, scalar.view()));
  EXPECT_EQ(Take<float>(*accumulator), std::vector<float>{6});
}

TEST_F(DenseAccumulatorTest, HalfTypesSumInFloatAndRoundOnce) {
  const auto accumulator = Make({.name = "h", .dtype = DType::kFloat16, .shape = {}, .reduction = Reduction::kSum});
  for (const float value : {2048.0F, 1.0F, 1.0F}) EXPECT_OK(Apply(*accumulator, Vector<Half>({ToHalf(value)}).view()));
  EXPECT_EQ(ToFloat(Take<Half>(*accumulator)[0]), 2050.0F);  // 2048 when rounded after every addition
  const auto brain = Make({.name = "b", .dtype = DType::kBFloat16, .shape = {}});
  for (const float value : {256.0F, 1.0F, 1.0F}) EXPECT_OK(Apply(*brain, Vector<BFloat16>({ToBFloat16(value)}).view()));
  EXPECT_EQ(ToFloat(Take<BFloat16>(*brain)[0]), 86.0F);
}

TEST_F(DenseAccumulatorTest, IntegersWrapAroundAndTheirMeanTruncates) {
  const auto sum = Make({.name = "i", .dtype = DType::kInt32, .shape = {}, .reduction = Reduction::kSum});
  for (const int value : {std::numeric_limits<int>::max(), 1}) EXPECT_OK(Apply(*sum, Vector<std::int32_t>({value}).view()));
  EXPECT_EQ(Take<std::int32_t>(*sum)[0], std::numeric_limits<int>::min());
  const auto mean = Make({.name = "j", .dtype = DType::kInt64, .shape = {}});
  for (const std::int64_t value : {-3, -4}) EXPECT_OK(Apply(*mean, Vector<std::int64_t>({value}).view()));
  EXPECT_EQ(Take<std::int64_t>(*mean)[0], -3);
}

TEST_F(DenseAccumulatorTest, ASingleGradientKeepsItsBits) {
  const auto accumulator = Make();
  EXPECT_OK(Apply(*accumulator, Vector<float>({-0.0F, std::numeric_limits<float>::infinity()}).view()));
  const std::vector<float> taken = Take<float>(*accumulator);
  EXPECT_TRUE(std::signbit(taken[0]));
  EXPECT_TRUE(std::isinf(taken[1]));
}

TEST_F(DenseAccumulatorTest, TheSameContributionsGiveTheSameBitsInAnyOrderOfArrival) {
  std::mt19937_64 random(test::Seed());
  std::normal_distribution<float> normal;
  std::vector<std::vector<float>> gradients(7, std::vector<float>(50'000));
  for (auto& gradient : gradients) std::ranges::generate(gradient, [&] { return normal(random); });
  const auto accumulator = Make();
  std::optional<std::vector<float>> expected;
  std::vector<std::size_t> order{0, 1, 2, 3, 4, 5, 6};
  for (int trial = 0; trial < 8; ++trial) {
    for (const std::size_t i : order) EXPECT_OK(Apply(*accumulator, Vector(gradients[i]).view(), static_cast<std::int64_t>(i)));
    const std::vector<float> taken = Take<float>(*accumulator, 7);
    if (!expected) expected = taken;
    ASSERT_EQ(taken, *expected) << "trial " << trial;
    std::ranges::shuffle(order, random);
  }
  std::vector<float> reference = gradients[0];
  for (std::size_t k = 1; k < 7; ++k) {
    for (std::size_t i = 0; i < reference.size(); ++i) reference[i] += gradients[k][i];
  }
  for (float& value : reference) value /= 7.0F;
  EXPECT_EQ(*expected, reference);
}

TEST_F(DenseAccumulatorTest, OneContributorsOwnGradientsKeepTheirOrder) {
  const auto accumulator = Make({}, Reduction::kSum);
  // 1e8 + 3 - 1e8 is 0 in float for one order and 3 for the other.
  EXPECT_OK(Apply(*accumulator, Vector<float>({3}).view(), 1));
  EXPECT_OK(Apply(*accumulator, Vector<float>({1e8F}).view(), 0));
  EXPECT_OK(Apply(*accumulator, Vector<float>({-1e8F}).view(), 0));
  EXPECT_EQ(Take<float>(*accumulator)[0], 3.0F);
}

TEST_F(DenseAccumulatorTest, ShutdownCancelsAllThatWaitsAndRefusesLaterCalls) {
  const auto accumulator = Make();
  TakeAnswer first = Start(*accumulator, 1);
  TakeAnswer second = Start(*accumulator, 1, nullptr, Deadline::AfterMilliseconds(60'000));
  accumulator->Shutdown("the session was closed");
  accumulator->Shutdown("again");
  EXPECT_EQ(first.Wait().status(), Cancelled("TakeGrad operation was cancelled: the session was closed"));
  EXPECT_EQ(second.Wait().status().code(), Code::kCancelled);
  const Status refused = FailedPrecondition("Accumulator 'w/grad' is closed: the session was closed");
  EXPECT_EQ(Apply(*accumulator, Vector<float>({1}).view()), refused);
  EXPECT_EQ(Start(*accumulator, 1).Wait().status(), refused);
  EXPECT_EQ(accumulator->SetGlobalStep(1), refused);
}

TEST_F(DenseAccumulatorTest, DestructionAnswersPendingTakes) {
  auto accumulator = Make();
  Cancellation cancellation;
  TakeAnswer answer = Start(*accumulator, 1, &cancellation);
  accumulator.reset();
  EXPECT_EQ(answer.Wait().status().code(), Code::kCancelled);
  cancellation.Cancel();
}

TEST_F(DenseAccumulatorTest, ACallbackMayUseTheAccumulator) {
  const auto accumulator = Make();
  Answer<Status> done;
  accumulator->Take(1, Deadline::Infinite(), [&, callback = done.Callback()](const StatusOr<Tensor>& taken) {
    EXPECT_TRUE(taken.ok());
    callback(Apply(*accumulator, Vector<float>({2}).view()));
  });
  EXPECT_OK(Apply(*accumulator, Vector<float>({1}).view()));
  EXPECT_OK(done.Wait());
  EXPECT_EQ(Take<float>(*accumulator), std::vector<float>{2});
}

// A gradient of somebody who counts how many of his leases have not ended.
class Lender {
 public:
  explicit Lender(std::int64_t size) : gradient_(Vector(std::vector<float>(static_cast<std::size_t>(size), 2))) {}
  [[nodiscard]] Lease Lend() {
    ++*lent_;
    return *Lease::Of(gradient_.view(), std::shared_ptr<const void>(nullptr, [lent = lent_](const void* /*nothing*/) { --*lent; }));
  }
  [[nodiscard]] int lent() const { return *lent_; }

 private:
  Array<float> gradient_;
  std::shared_ptr<std::atomic<int>> lent_ = std::make_shared<std::atomic<int>>(0);
};

TEST_F(DenseAccumulatorTest, LeasedAndCopiedGradientsGiveTheSameBits) {
  std::mt19937_64 random(test::Seed());
  std::normal_distribution<float> normal;
  for (const std::size_t size : {5, 5'000, 3'000'000}) {
    std::vector<Array<float>> gradients;
    for (int k = 0; k < 3; ++k) {
      gradients.push_back(Vector(std::vector<float>(size)));
      std::ranges::generate(gradients.back().data, [&] { return normal(random); });
    }
    const auto accumulator = Make();
    for (int k = 0; k < 3; ++k) EXPECT_OK(Apply(*accumulator, gradients[k].view(), k));
    const std::vector<float> expected = Take<float>(*accumulator, 3);
    for (int leased = 1; leased < 8; ++leased) {  // every choice of some of the three
      for (int k = 0; k < 3; ++k) {
        if ((leased >> k & 1) == 0) {
          EXPECT_OK(Apply(*accumulator, gradients[k].view(), k));
        } else {
          EXPECT_OK(accumulator->ApplyLeased(1000, k, *Lease::Of(gradients[k].view(), nullptr)).status());
        }
      }
      ASSERT_TRUE(Take<float>(*accumulator, 3) == expected) << size << " elements, leased " << leased;
    }
  }
}

TEST_F(DenseAccumulatorTest, ALeaseEndsBeforeTheTakeIsAnsweredOrWhenItIsRefusedStaleOrDropped) {
  Lender lender(40'000);
  const auto accumulator = Make();
  EXPECT_OK(accumulator->ApplyLeased(0, 0, lender.Lend()).status());
  EXPECT_OK(accumulator->ApplyLeased(0, 1, lender.Lend()).status());
  EXPECT_EQ(lender.lent(), 2);
  EXPECT_EQ(Take<float>(*accumulator, 2).front(), 2);
  EXPECT_EQ(lender.lent(), 0);
  EXPECT_FALSE(accumulator->ApplyLeased(0, 0, lender.Lend())->is_accepted);  // the step is 1 by now
  EXPECT_EQ(lender.lent(), 0);
  const auto shaped = Make(PartialShape(Shape{3}));
  EXPECT_EQ(shaped->ApplyLeased(0, 0, lender.Lend()).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(lender.lent(), 0);
  EXPECT_OK(accumulator->ApplyLeased(1, 0, lender.Lend()).status());
  accumulator->Shutdown("the end");
  EXPECT_EQ(lender.lent(), 0);
}

TEST_F(DenseAccumulatorTest, ElementsAtAnUnalignedAddressAreRefusedAndOnesNotAlignedToLinesAreNot) {
  const std::vector<float> data(70, 1);
  const Shape shape{64};
  const auto accumulator = Make();
  const auto at = [&](std::size_t byte) {
    return TensorView{
        .dtype = DType::kFloat32, .shape = shape, .data = reinterpret_cast<const std::byte*>(data.data()) + byte, .bytes = 256};
  };
  EXPECT_EQ(Apply(*accumulator, at(1)).code(), Code::kInvalidArgument);
  EXPECT_OK(accumulator->ApplyLeased(1000, 0, *Lease::Of(at(4), nullptr)).status());
  EXPECT_OK(accumulator->ApplyLeased(1000, 1, *Lease::Of(at(12), nullptr)).status());
  EXPECT_EQ(Take<float>(*accumulator, 2), std::vector<float>(64, 1));
}

TEST_F(DenseAccumulatorTest, HoldsNoMoreThanItsCopiesOrOneOutputAndAfterwardsABoundedSpare) {
  constexpr std::int64_t kSize = 100'000;
  constexpr std::size_t kBytes = kSize * sizeof(float);
  Lender lender(kSize);
  const auto accumulator = Make();
  for (int round = 0; round < 3; ++round) {
    for (int k = 0; k < 5; ++k) EXPECT_OK(accumulator->ApplyLeased(1000, k, lender.Lend()).status());
    EXPECT_EQ(accumulator->memory_usage().in_use, 0U);
    EXPECT_EQ(Take<float>(*accumulator, 5).front(), 2);
    EXPECT_EQ(accumulator->memory_usage().peak, kBytes);  // the output
    EXPECT_EQ(accumulator->memory_usage().in_use, 0U);    // Take destroyed the result
    EXPECT_EQ(accumulator->memory_usage().spare, kBytes);
  }
  const Lease gradient = lender.Lend();
  for (int round = 0; round < 3; ++round) {
    for (int k = 0; k < 5; ++k) EXPECT_OK(Apply(*accumulator, gradient.view(), k));
    EXPECT_EQ(accumulator->memory_usage().in_use, 5 * kBytes);
    EXPECT_EQ(Take<float>(*accumulator, 5).front(), 2);
    EXPECT_EQ(accumulator->memory_usage().peak, 5 * kBytes);  // one copy became the output
    EXPECT_EQ(accumulator->memory_usage().spare, 5 * kBytes);
  }
  accumulator->Shutdown("the end");
  EXPECT_EQ(accumulator->memory_usage().spare, 0U);
}

TEST_F(DenseAccumulatorTest, AResultMayOutliveItsAccumulator) {
  auto accumulator = Make();
  EXPECT_OK(Apply(*accumulator, Vector<float>({1, 2}).view()));
  TakeAnswer answer = Start(*accumulator, 1);
  const StatusOr<Tensor> result = answer.Wait();
  accumulator.reset();
  EXPECT_EQ(Elements<float>(*result), (std::vector<float>{1, 2}));
}

}  // namespace
}  // namespace gradsync::accumulate
