// The token queue: order, capacity, closing, cancelling and deadlines as TensorFlow's FIFOQueue has them.
#include "accumulate/token_queue.h"

#include <gtest/gtest.h>

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
using test::Vector;
using DequeueAnswer = Answer<StatusOr<TokenQueue::Element>>;
using EnqueueAnswer = Answer<Status>;

const Status kEmpty = OutOfRange("FIFOQueue 'tokens' is closed and has insufficient elements (requested 1, current size 0)");

class TokenQueueTest : public ::testing::Test {
 protected:
  std::shared_ptr<TokenQueue> Make(std::int64_t capacity = -1) {
    return *TokenQueue::Create({.name = "tokens", .dtypes = {DType::kInt64}, .shapes = std::vector<Shape>{Shape{}}, .capacity = capacity},
                               services_);
  }
  static EnqueueAnswer Put(TokenQueue& queue, std::int64_t value, Cancellation* cancellation = nullptr,
                           Deadline deadline = Deadline::Infinite()) {
    EnqueueAnswer answer;
    const Array<std::int64_t> token{.shape = {}, .data = {value}};
    const Cancellation made = queue.Enqueue({token.view()}, deadline, answer.Callback());
    if (cancellation != nullptr) *cancellation = made;
    return answer;
  }
  static DequeueAnswer Get(TokenQueue& queue, Cancellation* cancellation = nullptr, Deadline deadline = Deadline::Infinite()) {
    DequeueAnswer answer;
    const Cancellation made = queue.Dequeue(deadline, answer.Callback());
    if (cancellation != nullptr) *cancellation = made;
    return answer;
  }
  static EnqueueAnswer Close(TokenQueue& queue, bool cancels) {
    EnqueueAnswer answer;
    queue.Close(cancels, Deadline::Infinite(), answer.Callback());
    return answer;
  }
  static EnqueueAnswer PutMany(TokenQueue& queue, std::vector<std::int64_t> values, Cancellation* cancellation = nullptr) {
    EnqueueAnswer answer;
    const Cancellation made = queue.EnqueueMany({Vector(std::move(values)).view()}, Deadline::Infinite(), answer.Callback());
    if (cancellation != nullptr) *cancellation = made;
    return answer;
  }
  static DequeueAnswer GetMany(TokenQueue& queue, std::int64_t count, Cancellation* cancellation = nullptr) {
    DequeueAnswer answer;
    const Cancellation made = queue.DequeueMany(count, Deadline::Infinite(), answer.Callback());
    if (cancellation != nullptr) *cancellation = made;
    return answer;
  }
  static std::vector<std::int64_t> Values(DequeueAnswer answer) {
    StatusOr<TokenQueue::Element> element = answer.Wait();
    EXPECT_TRUE(element.ok()) << element.status().ToString();
    return element.ok() ? test::Elements<std::int64_t>((*element)[0]) : std::vector<std::int64_t>{};
  }
  static std::int64_t Value(DequeueAnswer answer) {
    StatusOr<TokenQueue::Element> element = answer.Wait();
    EXPECT_TRUE(element.ok()) << element.status().ToString();
    return element.ok() ? (*element)[0].as<std::int64_t>()[0] : -1;
  }

  Services services_{1};
};

TEST_F(TokenQueueTest, GivesElementsInTheOrderTheyCame) {
  const auto queue = Make();
  for (int i = 0; i < 3; ++i) EXPECT_OK(Put(*queue, i).Wait());
  EXPECT_EQ(queue->Size(), 3);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Value(Get(*queue)), i);
}

TEST_F(TokenQueueTest, WaitingDequeuesAreServedInTheOrderTheyCame) {
  const auto queue = Make();
  DequeueAnswer first = Get(*queue);
  DequeueAnswer second = Get(*queue);
  EXPECT_OK(Put(*queue, 1).Wait());
  EXPECT_EQ(Value(first), 1);
  EXPECT_FALSE(second.HasCome());
  EXPECT_OK(Put(*queue, 2).Wait());
  EXPECT_EQ(Value(second), 2);
}

TEST_F(TokenQueueTest, AFullQueueMakesEnqueuesWaitInOrder) {
  const auto queue = Make(1);
  EXPECT_OK(Put(*queue, 1).Wait());
  EnqueueAnswer second = Put(*queue, 2);
  EnqueueAnswer third = Put(*queue, 3);
  EXPECT_FALSE(second.HasCome());
  EXPECT_EQ(Value(Get(*queue)), 1);
  EXPECT_OK(second.Wait());
  EXPECT_FALSE(third.HasCome());
  EXPECT_EQ(queue->Size(), 1);
}

TEST_F(TokenQueueTest, ATupleKeepsItsComponents) {
  const auto queue =
      *TokenQueue::Create({.name = "pairs", .dtypes = {DType::kFloat32, DType::kInt32}, .shapes = {}, .capacity = 4}, services_);
  EnqueueAnswer put;
  queue->Enqueue({Vector<float>({1, 2}).view(), Vector<std::int32_t>({7}).view()}, Deadline::Infinite(), put.Callback());
  EXPECT_OK(put.Wait());
  const auto element = Get(*queue).Wait();
  ASSERT_TRUE(element.ok());
  EXPECT_EQ(test::Elements<float>((*element)[0]), (std::vector<float>{1, 2}));
  EXPECT_EQ(test::Elements<std::int32_t>((*element)[1]), std::vector<std::int32_t>{7});
}

TEST_F(TokenQueueTest, RefusesOtherTypesCountsAndShapes) {
  const auto queue = Make();
  const auto put = [&](const std::vector<TensorView>& components) {
    EnqueueAnswer answer;
    queue->Enqueue(components, Deadline::Infinite(), answer.Callback());
    return answer.Wait();
  };
  EXPECT_EQ(put({Vector<float>({1}).view()}), InvalidArgument("Signature mismatch, have: float32 expected: int64"));
  EXPECT_EQ(put({}), InvalidArgument("Signature mismatch, have:  expected: int64"));
  EXPECT_EQ(put({Vector<std::int64_t>({1, 2}).view()}), InvalidArgument("Shape mismatch in tuple component 0. Expected [], got [2]"));
  EXPECT_EQ(queue->Size(), 0);
}

TEST_F(TokenQueueTest, OptionsThatCannotWorkAreRefused) {
  const auto code = [this](TokenQueueOptions options) { return TokenQueue::Create(std::move(options), services_).status().code(); };
  EXPECT_EQ(code({.name = "q", .dtypes = {}, .shapes = {}}), Code::kInvalidArgument);
  EXPECT_EQ(code({.name = "q", .dtypes = {DType::kInt64}, .shapes = {}, .capacity = 0}), Code::kInvalidArgument);
  EXPECT_EQ(code({.name = "q", .dtypes = {DType::kInt64}, .shapes = std::vector<Shape>{}}), Code::kInvalidArgument);
}

TEST_F(TokenQueueTest, AClosedQueueGivesWhatItHoldsThenOutOfRange) {
  const auto queue = Make();
  EXPECT_OK(Put(*queue, 1).Wait());
  EXPECT_OK(Close(*queue, false).Wait());
  EXPECT_TRUE(queue->IsClosed());
  EXPECT_EQ(Put(*queue, 2).Wait(), Cancelled("FIFOQueue 'tokens' is closed."));
  EXPECT_EQ(Value(Get(*queue)), 1);
  EXPECT_EQ(Get(*queue).Wait().status(), kEmpty);
}

TEST_F(TokenQueueTest, ClosingWaitsForTheEnqueuesBeforeIt) {
  const auto queue = Make(1);
  EXPECT_OK(Put(*queue, 1).Wait());
  EnqueueAnswer pending = Put(*queue, 2);
  EnqueueAnswer close = Close(*queue, false);
  EnqueueAnswer second_close = Close(*queue, false);
  EXPECT_FALSE(close.HasCome());
  EXPECT_FALSE(queue->IsClosed());
  EnqueueAnswer late = Put(*queue, 3);
  EXPECT_FALSE(late.HasCome());
  EXPECT_EQ(Value(Get(*queue)), 1);
  EXPECT_OK(pending.Wait());
  EXPECT_OK(close.Wait());
  EXPECT_EQ(second_close.Wait(), Cancelled("Queue 'tokens' is already closed."));
  EXPECT_TRUE(queue->IsClosed());
  EXPECT_EQ(late.Wait(), Cancelled("FIFOQueue 'tokens' is closed."));
}

TEST_F(TokenQueueTest, ClosingWithCancelEndsPendingEnqueues) {
  const auto queue = Make(1);
  EXPECT_OK(Put(*queue, 1).Wait());
  EnqueueAnswer pending = Put(*queue, 2);
  EnqueueAnswer close = Close(*queue, false);
  EXPECT_OK(Close(*queue, true).Wait());
  EXPECT_EQ(close.Wait(), Cancelled("Enqueue operation was cancelled"));
  EXPECT_TRUE(queue->IsClosed());
  EXPECT_EQ(pending.Wait(), Cancelled("Enqueue operation was cancelled"));
  EXPECT_EQ(Value(Get(*queue)), 1);
}

TEST_F(TokenQueueTest, ClosingReleasesDequeuesThatCannotBeMet) {
  const auto queue = Make();
  DequeueAnswer pending = Get(*queue);
  EXPECT_OK(Close(*queue, false).Wait());
  EXPECT_EQ(pending.Wait().status(), kEmpty);
}

TEST_F(TokenQueueTest, ClosingTwiceIsAnErrorUnlessItCancels) {
  const auto queue = Make();
  EXPECT_OK(Close(*queue, false).Wait());
  EXPECT_EQ(Close(*queue, false).Wait(), Cancelled("Queue 'tokens' is already closed."));
  EXPECT_OK(Close(*queue, true).Wait());
  EXPECT_OK(Close(*queue, true).Wait());
}

TEST_F(TokenQueueTest, CancellingHitsOneWaiterOnly) {
  const auto queue = Make();
  Cancellation cancellation;
  DequeueAnswer first = Get(*queue, &cancellation);
  DequeueAnswer second = Get(*queue);
  cancellation.Cancel();
  cancellation.Cancel();
  EXPECT_EQ(first.Wait().status(), Cancelled("Dequeue operation was cancelled"));
  EXPECT_OK(Put(*queue, 5).Wait());
  EXPECT_EQ(Value(second), 5);
}

TEST_F(TokenQueueTest, CancellingAnEnqueueLetsTheCloseBehindItTakeEffect) {
  const auto queue = Make(1);
  EXPECT_OK(Put(*queue, 1).Wait());
  Cancellation cancellation;
  EnqueueAnswer pending = Put(*queue, 2, &cancellation);
  EnqueueAnswer close = Close(*queue, false);
  cancellation.Cancel();
  EXPECT_OK(close.Wait());
  EXPECT_EQ(pending.Wait(), Cancelled("Enqueue operation was cancelled"));
  EXPECT_TRUE(queue->IsClosed());
}

TEST_F(TokenQueueTest, ABatchEntersAsThereIsRoomWithNothingBetween) {
  const auto queue = Make(2);
  EnqueueAnswer batch = PutMany(*queue, {1, 2, 3, 4, 5});
  EnqueueAnswer single = Put(*queue, 6);
  EXPECT_EQ(queue->Size(), 2);
  EXPECT_EQ(Values(GetMany(*queue, 3)), (std::vector<std::int64_t>{1, 2, 3}));
  EXPECT_OK(batch.Wait());
  EXPECT_FALSE(single.HasCome());
  EXPECT_EQ(Values(GetMany(*queue, 3)), (std::vector<std::int64_t>{4, 5, 6}));
  EXPECT_OK(PutMany(*queue, {}).Wait());
}

TEST_F(TokenQueueTest, ABatchIsCollectedWithNoOtherDequeueBetween) {
  const auto queue = Make();
  DequeueAnswer batch = GetMany(*queue, 3);
  DequeueAnswer single = Get(*queue);
  for (int i = 1; i <= 2; ++i) EXPECT_OK(Put(*queue, i).Wait());
  EXPECT_FALSE(batch.HasCome());
  EXPECT_EQ(queue->Size(), 0);
  EXPECT_OK(PutMany(*queue, {3, 4}).Wait());
  EXPECT_EQ(Values(batch), (std::vector<std::int64_t>{1, 2, 3}));
  EXPECT_EQ(Value(single), 4);
  EXPECT_EQ(Values(GetMany(*queue, 0)), std::vector<std::int64_t>{});
}

TEST_F(TokenQueueTest, ABatchThatCannotBeFullGoesBackToTheFront) {
  const auto queue = Make();
  Cancellation cancellation;
  DequeueAnswer cancelled = GetMany(*queue, 5, &cancellation);
  EXPECT_OK(PutMany(*queue, {1, 2}).Wait());
  cancellation.Cancel();
  EXPECT_EQ(cancelled.Wait().status().code(), Code::kCancelled);
  DequeueAnswer closed = GetMany(*queue, 4);
  EXPECT_OK(Put(*queue, 3).Wait());
  EXPECT_OK(Close(*queue, false).Wait());
  EXPECT_EQ(closed.Wait().status(), OutOfRange("FIFOQueue 'tokens' is closed and has insufficient elements (requested 4, current size 3)"));
  EXPECT_EQ(Values(GetMany(*queue, 3)), (std::vector<std::int64_t>{1, 2, 3}));
}

TEST_F(TokenQueueTest, AnEnqueueOfABatchThatEndsEarlyKeepsWhatEntered) {
  const auto queue = Make(2);
  Cancellation cancellation;
  EnqueueAnswer cancelled = PutMany(*queue, {1, 2, 3}, &cancellation);
  cancellation.Cancel();
  EXPECT_EQ(cancelled.Wait(), Cancelled("Enqueue operation was cancelled"));
  EnqueueAnswer closed = PutMany(*queue, {4, 5});
  EXPECT_OK(Close(*queue, true).Wait());
  EXPECT_EQ(closed.Wait(), Cancelled("Enqueue operation was cancelled"));
  EXPECT_EQ(Values(GetMany(*queue, 2)), (std::vector<std::int64_t>{1, 2}));
}

TEST_F(TokenQueueTest, BatchesHaveRules) {
  const auto pairs =
      *TokenQueue::Create({.name = "pairs", .dtypes = {DType::kInt64, DType::kBool}, .shapes = {}, .capacity = -1}, services_);
  const Array<std::int64_t> numbers{.shape = {2}, .data = {1, 2}};
  const Array<std::int64_t> scalar{.shape = {}, .data = {1}};
  const bool flags[] = {true, false, true};
  const Shape three{3};
  const TensorView booleans{.dtype = DType::kBool, .shape = three, .data = flags, .bytes = sizeof(flags)};
  const auto put = [&](TokenQueue& queue, const std::vector<TensorView>& components) {
    EnqueueAnswer answer;
    queue.EnqueueMany(components, Deadline::Infinite(), answer.Callback());
    return answer.Wait();
  };
  EXPECT_EQ(put(*pairs, {numbers.view(), booleans}),
            InvalidArgument("All input tensors must have the same size in the 0th dimension. Component 1 has 3, and should have 2"));
  EXPECT_EQ(put(*pairs, {scalar.view(), booleans}).code(), Code::kInvalidArgument);
  EXPECT_EQ(put(*pairs, {numbers.view()}).code(), Code::kInvalidArgument);
  const auto shapeless = *TokenQueue::Create({.name = "any", .dtypes = {DType::kInt64}, .shapes = {}, .capacity = -1}, services_);
  const Array<std::int64_t> endless{.shape = {std::int64_t{1} << 62, 0}, .data = {}};
  EXPECT_EQ(put(*shapeless, {endless.view()}).code(), Code::kResourceExhausted);
  EXPECT_EQ(GetMany(*pairs, 1).Wait().status(),
            InvalidArgument("FIFOQueue's DequeueMany and DequeueUpTo require the components to have specified shapes."));
  const auto queue = Make();
  const Array<std::int64_t> matrix{.shape = {2, 1}, .data = {1, 2}};
  EXPECT_EQ(put(*queue, {matrix.view()}), InvalidArgument("Shape mismatch in tuple component 0. Expected [2], got [2,1]"));
  EXPECT_EQ(GetMany(*queue, -1).Wait().status().code(), Code::kInvalidArgument);
}

TEST_F(TokenQueueTest, AMissedDeadlineTellsTheStateOfTheQueue) {
  const auto queue = Make(1);
  EXPECT_EQ(Get(*queue, nullptr, Deadline::AfterMilliseconds(3)).Wait().status(),
            DeadlineExceeded("Dequeue on FIFOQueue 'tokens' did not happen before the deadline: the queue holds 0 elements of 1, with 0 "
                             "producers and 1 consumers waiting"));
  EXPECT_OK(Put(*queue, 1).Wait());
  EXPECT_EQ(Put(*queue, 2, nullptr, Deadline::AfterMilliseconds(3)).Wait().code(), Code::kDeadlineExceeded);
  EXPECT_EQ(queue->Size(), 1);
}

TEST_F(TokenQueueTest, ShutdownAndDestructionAnswerAllThatWaits) {
  auto queue = Make(1);
  DequeueAnswer pending = Get(*queue);
  queue->Shutdown("the session was closed");
  EXPECT_EQ(pending.Wait().status(), Cancelled("Dequeue operation was cancelled: the session was closed"));
  EXPECT_EQ(Put(*queue, 1).Wait(), FailedPrecondition("FIFOQueue 'tokens' is shut down: the session was closed"));
  EXPECT_EQ(Close(*queue, false).Wait().code(), Code::kFailedPrecondition);
  queue = Make(1);
  EXPECT_OK(Put(*queue, 1).Wait());
  EnqueueAnswer stuck = Put(*queue, 2);
  queue.reset();
  EXPECT_EQ(stuck.Wait().code(), Code::kCancelled);
}

}  // namespace
}  // namespace gradsync::accumulate
