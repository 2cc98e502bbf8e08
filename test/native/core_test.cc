// The core: statuses, dtypes, half conversions, shapes, buffers, timer and thread pool.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <atomic>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <future>
#include <limits>
#include <numeric>
#include <random>
#include <thread>
#include <vector>

#include "core/buffer.h"
#include "core/deadline.h"
#include "core/dtype.h"
#include "core/half.h"
#include "core/lease.h"
#include "core/shape.h"
#include "core/status.h"
#include "core/thread_pool.h"
#include "support.h"

namespace gradsync {
namespace {

TEST(Status, PrintsItsCodeAndMessage) {
  EXPECT_EQ(InvalidArgument("got ", 3, " of ", 2).ToString(), "INVALID_ARGUMENT: got 3 of 2");
  EXPECT_EQ(OkStatus().ToString(), "OK");
  EXPECT_EQ(static_cast<int>(Code::kDataLoss), 15);
}

TEST(DType, NamesAndSizesComeFromOneList) {
  EXPECT_EQ(DTypeSize(DType::kBFloat16), 2U);
  EXPECT_EQ(DTypeSize(DType::kInt64), 8U);
  const StatusOr<DType> parsed = ParseDType("float16");
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(*parsed, DType::kFloat16);
  EXPECT_EQ(ParseDType("float").status().code(), Code::kInvalidArgument);
}

TEST(DType, DispatchRefusesWhatTheKernelDoesNotName) {
  const Status status = Dispatch(GradientTypes{}, DType::kBool, "TakeGrad", [](auto) {});
  EXPECT_EQ(status.message(), "TakeGrad: expected a dtype among float16, bfloat16, float32, float64, int32, int64 but received bool");
}

double HalfValue(std::uint16_t bits) {
  const int exponent = (bits >> 10) & 31;
  const int fraction = bits & 1023;
  const double magnitude = exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
  return (bits & 0x8000) != 0 ? -magnitude : magnitude;
}

TEST(Half, EveryFiniteValueConvertsExactlyBothWays) {
  for (int i = 0; i < 65536; ++i) {
    const auto bits = static_cast<std::uint16_t>(i);
    if ((bits & 0x7c00) == 0x7c00) continue;
    ASSERT_EQ(ToFloat(Half{bits}), static_cast<float>(HalfValue(bits))) << bits;
    ASSERT_EQ(ToHalf(ToFloat(Half{bits})).bits, bits);
  }
}

TEST(Half, RoundsToNearestEvenBetweenNeighbours) {
  for (std::uint16_t bits = 0; bits < 0x7bff; ++bits) {
    const double low = HalfValue(bits);
    const double high = HalfValue(static_cast<std::uint16_t>(bits + 1));
    const auto middle = static_cast<float>((low + high) / 2);  // exact
    const auto even = static_cast<std::uint16_t>(bits + (bits & 1));
    ASSERT_EQ(ToHalf(middle).bits, even) << bits;
    ASSERT_EQ(ToHalf(std::nextafterf(middle, -1.0F)).bits, bits);
    ASSERT_EQ(ToHalf(std::nextafterf(middle, 1e9F)).bits, bits + 1);
    ASSERT_EQ(ToHalf(-middle).bits, even | 0x8000);
  }
}

TEST(Half, InfinityOverflowAndNanKeepTheirKind) {
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(ToHalf(infinity).bits, 0x7c00);
  EXPECT_EQ(ToHalf(-65520.0F).bits, 0xfc00);
  EXPECT_EQ(ToHalf(65519.99F).bits, 0x7bff);
  EXPECT_EQ(ToFloat(Half{0xfc00}), -infinity);
  EXPECT_TRUE(std::isnan(ToFloat(Half{0x7e01})));
  EXPECT_TRUE(std::isnan(ToFloat(ToHalf(std::nanf("")))));
}

TEST(BFloat16, RoundsToNearestEvenAndKeepsNan) {
  for (std::uint32_t bits = 0; bits < 0x7f80; ++bits) {
    ASSERT_EQ(ToBFloat16(std::bit_cast<float>(bits << 16)).bits, bits);
    const auto middle = std::bit_cast<float>((bits << 16) | 0x8000U);
    ASSERT_EQ(ToBFloat16(middle).bits, bits + (bits & 1U));
    ASSERT_EQ(ToBFloat16(std::bit_cast<float>((bits << 16) | 0x8001U)).bits, bits + 1);
  }
  EXPECT_TRUE(std::isnan(ToFloat(ToBFloat16(std::bit_cast<float>(0x7f800001U)))));
}

TEST(Shape, CountsElementsAndRefusesOverflow) {
  EXPECT_EQ(*NumElements(Shape{2, 3, 4}), 24);
  EXPECT_EQ(*NumElements(Shape{}), 1);
  EXPECT_EQ(*NumElements(Shape{1LL << 40, 0, 3}), 0);
  EXPECT_EQ(NumElements(Shape{1LL << 32, 1LL << 32}).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(NumElements(Shape{2, -1}).status().code(), Code::kInvalidArgument);
}

TEST(Shape, AnUnknownDimensionAcceptsAnySize) {
  const PartialShape partial(Shape{-1, 2});
  EXPECT_EQ(partial.ToString(), "[?,2]");
  EXPECT_TRUE(partial.IsCompatibleWith(Shape{7, 2}));
  EXPECT_FALSE(partial.IsCompatibleWith(Shape{7, 3}));
  EXPECT_FALSE(partial.IsCompatibleWith(Shape{2}));
  EXPECT_TRUE(PartialShape().IsCompatibleWith(Shape{1, 2, 3}));
}

TEST(Buffer, IsAlignedAndReusedWhenItFits) {
  StatusOr<Tensor> tensor = Tensor::Allocate(DType::kFloat32, Shape{3, 5});
  ASSERT_TRUE(tensor.ok());
  const auto* data = tensor->view().data;
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(data) % kBufferAlignment, 0U);
  EXPECT_EQ(tensor->bytes(), 60U);
  StatusOr<Tensor> again = Tensor::AllocateFrom((*std::move(tensor)).TakeBuffer(), DType::kInt32, Shape{15});
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->view().data, data);
}

TEST(Buffer, IsReusedForLessButNotForLessThanHalf) {
  Buffer buffer = *Buffer::Allocate(100);
  const auto* data = buffer.data();
  buffer = *Buffer::AllocateFrom(std::move(buffer), 60);
  EXPECT_EQ(buffer.data(), data);
  EXPECT_EQ(buffer.size(), 60U);
  EXPECT_EQ(buffer.capacity(), 100U);
  buffer = *Buffer::AllocateFrom(std::move(buffer), 49);
  EXPECT_EQ(buffer.capacity(), 49U);
  EXPECT_EQ(Buffer::AllocateFrom(std::move(buffer), 50)->size(), 50U);
}

TEST(Lease, OfAnothersMemoryKeepsHimUntilItIsDropped) {
  const auto owner = std::make_shared<std::vector<float>>(std::vector<float>{1, 2, 3});
  const Shape shape{3};
  const TensorView view{.dtype = DType::kFloat32, .shape = shape, .data = owner->data(), .bytes = 12};
  Lease lease = *Lease::Of(view, owner);
  EXPECT_FALSE(lease.is_own());
  EXPECT_EQ(lease.as<float>().data(), owner->data());
  EXPECT_EQ(lease.shape(), shape);
  EXPECT_EQ(owner.use_count(), 2);
  Tensor* own = *lease.MakeOwn();
  EXPECT_EQ(owner.use_count(), 1);
  own->as<float>()[0] = 9;
  EXPECT_EQ(owner->front(), 1);
  EXPECT_EQ(lease.as<float>()[0], 9);
  EXPECT_EQ(std::move(lease).TakeBuffer().size(), 12U);
  const TensorView wrong{.dtype = DType::kFloat32, .shape = shape, .data = owner->data(), .bytes = 8};
  EXPECT_EQ(Lease::Of(wrong, owner).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(owner.use_count(), 1);
}

TEST(Buffer, AnImpossibleSizeIsResourceExhausted) {
  EXPECT_EQ(Buffer::Allocate(std::numeric_limits<std::size_t>::max() - 8).status().code(), Code::kResourceExhausted);
  EXPECT_EQ(Tensor::Allocate(DType::kFloat64, Shape{1LL << 62}).status().code(), Code::kResourceExhausted);
}

TEST(TensorView, MustHoldWhatItsShapeSays) {
  const std::vector<float> data(5);
  const Shape shape{2, 3};
  const TensorView view{.dtype = DType::kFloat32, .shape = shape, .data = data.data(), .bytes = 20};
  EXPECT_EQ(view.Check("gradient").message(), "gradient: expected 6 elements of float32 for shape [2,3] but received 20 bytes");
}

TEST(Deadline, MillisecondsFromNothingToForever) {
  EXPECT_TRUE(Deadline::AfterMilliseconds(std::numeric_limits<double>::infinity()).is_infinite());
  EXPECT_TRUE(Deadline::AfterMilliseconds(0).HasPassed());
  EXPECT_TRUE(Deadline::AfterMilliseconds(-5).HasPassed());
  EXPECT_TRUE(Deadline::AfterMilliseconds(std::nan("")).HasPassed());
  EXPECT_FALSE(Deadline::AfterMilliseconds(1e6).HasPassed());
  EXPECT_FALSE(Deadline::Infinite().HasPassed());
}

TEST(Timer, CallsInOrderOfDeadlinesAndForgetsWhatIsCancelled) {
  Timer timer;
  std::mutex mutex;
  std::vector<int> called;
  const auto note = [&](int i) {
    return [&, i] {
      const std::lock_guard lock(mutex);
      called.push_back(i);
    };
  };
  test::Answer<Status> last;
  timer.Schedule(Deadline::AfterMilliseconds(20), note(2));
  timer.Schedule(Deadline::AfterMilliseconds(5), note(1));
  const Timer::Id cancelled = timer.Schedule(Deadline::AfterMilliseconds(10), note(9));
  EXPECT_EQ(timer.Schedule(Deadline::Infinite(), note(8)), 0U);
  timer.Schedule(Deadline::AfterMilliseconds(30), [done = last.Callback()] { done(OkStatus()); });
  timer.Cancel(cancelled);
  EXPECT_OK(last.Wait());
  const std::lock_guard lock(mutex);
  EXPECT_EQ(called, (std::vector<int>{1, 2}));
}

TEST(Timer, WakesForEarlierDeadlinesThanItSleepsTowards) {
  std::promise<void> early;
  Timer timer;
  // One that is cancelled, one far off: the thread sleeps towards either, and must wake for the third all the same.
  timer.Cancel(timer.Schedule(Deadline::AfterMilliseconds(60'000), [] {}));
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  static_cast<void>(timer.Schedule(Deadline::AfterMilliseconds(120'000), [] {}));
  static_cast<void>(timer.Schedule(Deadline::AfterMilliseconds(5), [&early] { early.set_value(); }));
  EXPECT_EQ(early.get_future().wait_for(std::chrono::seconds(20)), std::future_status::ready);
}

TEST(Timer, StoppingDropsWhatIsPending) {
  std::atomic<bool> was_called = false;
  Timer timer;
  timer.Schedule(Deadline::AfterMilliseconds(60'000), [&] { was_called = true; });
  timer.Stop();
  EXPECT_EQ(timer.Schedule(Deadline::AfterMilliseconds(0), [&] { was_called = true; }), 0U);
  EXPECT_FALSE(was_called);
}

TEST(ThreadPool, RunsEverythingSubmittedBeforeItStops) {
  std::atomic<int> count = 0;
  {
    ThreadPool pool(3);
    for (int i = 0; i < 1000; ++i) pool.Submit([&] { ++count; });
  }
  EXPECT_EQ(count, 1000);
}

TEST(ThreadPoolDeathTest, TooManyThreadsForTheMachineAreAStatusAndNoAbort) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers need more memory than the limit of this test";
#else
  const auto start = [] {
    const rlimit limit{.rlim_cur = rlim_t{512} << 20, .rlim_max = rlim_t{512} << 20};  // stacks of 256 threads need more
    if (setrlimit(RLIMIT_AS, &limit) != 0) std::_Exit(1);
    const ThreadPool pool(256);
    std::_Exit(pool.status().code() == Code::kResourceExhausted ? 0 : 2);
  };
  EXPECT_EXIT(start(), ::testing::ExitedWithCode(0), "");
#endif
}

TEST(ThreadPool, ParallelForCoversEveryElementOnceAlsoFromItsOwnTasks) {
  ThreadPool pool(2);
  test::Answer<Status> done;
  std::vector<int> touched(10'007);
  pool.Submit([&] {
    pool.ParallelFor(static_cast<std::int64_t>(touched.size()), 100, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) ++touched[static_cast<std::size_t>(i)];
    });
    done.Callback()(OkStatus());
  });
  EXPECT_OK(done.Wait());
  EXPECT_EQ(touched, std::vector<int>(touched.size(), 1));
}

}  // namespace
}  // namespace gradsync
