// 100,000 random schedules of applies, takes, cancels, deadlines, steps and closing in any interleaving against a model of TensorFlow's
// rules, in one thread; and some in several threads against conservation laws. GRADSYNC_SEED=n repeats a run.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <thread>
#include <vector>

#include "accumulate/dense_accumulator.h"
#include "accumulate/sparse_accumulator.h"
#include "accumulate/token_queue.h"
#include "core/thread_pool.h"
#include "support.h"

namespace gradsync::accumulate {
namespace {

using test::Answer;
using test::Array;
using test::Integer;
using test::Vector;
using TakeAnswer = Answer<StatusOr<Tensor>>;

// What tensorflow.cc would do, in one thread: a counter, a step, a sum, a FIFO of takes.
class AccumulatorModel {
 public:
  struct Take {
    int required;
    std::optional<double> expected;  // once it is completed
    bool is_cancelled = false;
    bool is_expired = false;  // that is why it is
  };

  bool Apply(std::int64_t step, double value) {
    if (step < global_step) return false;
    sum_ += value;
    ++count;
    Flush();
    return true;
  }
  std::size_t AddTake(int required) {
    takes.push_back({.required = required, .expected = std::nullopt});
    Flush();
    return takes.size() - 1;
  }
  void Cancel(std::size_t take, bool is_expired = false) {
    if (takes[take].expected || takes[take].is_cancelled) return;
    takes[take].is_cancelled = true;
    takes[take].is_expired = is_expired;
    Flush();
  }

  std::int64_t global_step = 0;
  int count = 0;
  std::deque<Take> takes;

 private:
  void Flush() {
    for (Take& take : takes) {
      if (take.expected || take.is_cancelled) continue;
      if (count < take.required) return;
      take.expected = sum_;
      sum_ = 0;
      count = 0;
      ++global_step;
    }
  }
  double sum_ = 0;
};

// The deadlines of takes, on a clock turned by hand; no two are at the same time.
class Deadlines {
 public:
  explicit Deadlines(Services& services) : services_(services) {}

  // Of the next take.
  Deadline Draw(std::mt19937_64& random) {
    const auto take = static_cast<std::size_t>(drawn_++);
    if (Integer(random, 0, 1) == 0) return Deadline::Infinite();
    const auto when = services_.timer.Now() + std::chrono::milliseconds(Integer(random, 1, 9)) + std::chrono::microseconds(take);
    takes_.emplace(when, take);
    return Deadline::At(when);
  }
  void Advance(std::mt19937_64& random, AccumulatorModel& model) {
    services_.timer.Advance(std::chrono::milliseconds(Integer(random, 1, 6)));
    for (; !takes_.empty() && takes_.begin()->first <= services_.timer.Now(); takes_.erase(takes_.begin())) {
      model.Cancel(takes_.begin()->second, true);
    }
  }

 private:
  Services& services_;
  std::map<Timer::Time, std::size_t> takes_;
  std::int64_t drawn_ = 0;
};

void ExpectAnswer(TakeAnswer& answer, const AccumulatorModel::Take& take) {
  const StatusOr<Tensor> taken = answer.Wait();
  ASSERT_EQ(taken.ok(), take.expected.has_value());
  if (taken.ok()) {
    ASSERT_EQ(taken->as<double>()[0], *take.expected);
  } else {
    ASSERT_EQ(taken.status().code(), take.is_expired ? Code::kDeadlineExceeded : Code::kCancelled);
  }
}

void RunSchedule(std::mt19937_64& random, Services& services) {
  const auto accumulator = *DenseAccumulator::Create(
      {.name = "s", .dtype = DType::kFloat64, .shape = PartialShape(Shape{1}), .reduction = Reduction::kSum}, services);
  AccumulatorModel model;
  std::vector<TakeAnswer> answers;
  std::vector<Cancellation> cancellations;
  Deadlines deadlines(services);
  const int events = Integer(random, 1, 30);
  for (int i = 0; i < events; ++i) {
    switch (Integer(random, 0, 8)) {
      case 0:
      case 1:
      case 2: {  // take
        const int required = Integer(random, 1, 4);
        answers.emplace_back();
        cancellations.push_back(accumulator->Take(required, deadlines.Draw(random), answers.back().Callback()));
        model.AddTake(required);
        break;
      }
      case 3:  // cancel
        if (!cancellations.empty()) {
          const auto which = static_cast<std::size_t>(Integer(random, 0, static_cast<int>(cancellations.size()) - 1));
          cancellations[which].Cancel();
          model.Cancel(which);
        }
        break;
      case 4:  // set the step
        model.global_step = Integer(random, -2, 6);
        ASSERT_OK(accumulator->SetGlobalStep(model.global_step));
        break;
      case 5:  // time passes
        deadlines.Advance(random, model);
        break;
      default: {
        const std::int64_t step = Integer(random, -2, 8);
        const double value = Integer(random, -1000, 1000);
        const auto receipt = accumulator->Apply(step, Integer(random, 0, 3), Vector<double>({value}).view());
        ASSERT_TRUE(receipt.ok());
        ASSERT_EQ(receipt->is_accepted, model.Apply(step, value));
      }
    }
    ASSERT_EQ(accumulator->NumAccumulated(), model.count);
    ASSERT_EQ(accumulator->GlobalStep(), model.global_step);
  }
  accumulator->Shutdown("the end");
  for (std::size_t i = 0; i < answers.size(); ++i) {
    SCOPED_TRACE(::testing::Message() << "take " << i);
    ExpectAnswer(answers[i], model.takes[i]);
  }
}

TEST(Schedules, AnAccumulatorFollowsTheModel) {
  std::mt19937_64 random(test::Seed());
  Services services(1, Timer::Time{});
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  constexpr int kSchedules = 2'500;
#else
  constexpr int kSchedules = 100'000;
#endif
  for (int i = 0; i < kSchedules && !::testing::Test::HasFatalFailure(); ++i) {
    SCOPED_TRACE(::testing::Message() << "schedule " << i << " of seed " << test::Seed());
    RunSchedule(random, services);
  }
}

// Contributors on threads of their own, takers that cancel and miss deadlines: every accepted gradient is in exactly one result or left
// over.
TEST(Schedules, NoGradientIsLostOrCountedTwiceUnderConcurrency) {
  std::mt19937_64 random(test::Seed());
  Services services(2);
  for (int trial = 0; trial < 60; ++trial) {
    SCOPED_TRACE(::testing::Message() << "trial " << trial << " of seed " << test::Seed());
    const std::int64_t size = trial % 2 == 0 ? 3 : 5000;  // reduced by the applier, or by the pool
    const auto accumulator =
        *DenseAccumulator::Create({.name = "c", .dtype = DType::kInt64, .shape = {}, .reduction = Reduction::kSum}, services);
    std::atomic<std::int64_t> accepted = 0;
    std::vector<std::thread> threads;
    for (std::int64_t contributor = 0; contributor < 3; ++contributor) {
      threads.emplace_back([&, contributor] {
        for (std::int64_t i = 1; i <= 40; ++i) {
          const std::vector<std::int64_t> gradient(static_cast<std::size_t>(size), i * (contributor + 1));
          const auto receipt = accumulator->Apply(1'000'000, contributor, Vector(gradient).view());
          if (receipt.ok() && receipt->is_accepted) accepted += gradient[0];
        }
      });
    }
    std::vector<TakeAnswer> answers(40);
    std::vector<Cancellation> cancellations;
    for (auto& answer : answers) {
      const Deadline deadline = Integer(random, 0, 3) == 0 ? Deadline::AfterMilliseconds(0.2) : Deadline::Infinite();
      const Cancellation cancellation = accumulator->Take(Integer(random, 1, 4), deadline, answer.Callback());
      if (Integer(random, 0, 3) == 0) cancellation.Cancel();
      cancellations.push_back(cancellation);
    }
    for (auto& thread : threads) thread.join();
    for (const Cancellation& cancellation : cancellations) cancellation.Cancel();  // nothing stands before the last take
    TakeAnswer rest;
    const bool has_rest = accumulator->NumAccumulated() > 0;
    if (has_rest) accumulator->Take(1, Deadline::Infinite(), rest.Callback());
    accumulator->Shutdown("the end");
    if (has_rest) answers.push_back(rest);
    std::int64_t total = 0;
    for (auto& answer : answers) {
      const StatusOr<Tensor> taken = answer.Wait();
      if (!taken.ok()) continue;
      const auto elements = taken->as<std::int64_t>();
      ASSERT_EQ(std::ranges::count(elements, elements[0]), size);
      total += elements[0];
    }
    ASSERT_EQ(total, accepted);
  }
}

// One round of sparse gradients, applied by threads in whatever order, gives the bits of the same round applied in order.
TEST(Schedules, ASparseRoundHasTheSameBitsWhateverTheInterleaving) {
  std::mt19937_64 random(test::Seed());
  std::normal_distribution<float> normal;
  Services services(2);
  for (const SparseForm form : {SparseForm::kCombined, SparseForm::kConcatenated, SparseForm::kTensorFlow}) {
    const auto accumulator =
        *SparseAccumulator::Create({.name = "p", .dtype = DType::kFloat32, .shape = {}, .form = form, .mean = {}}, services);
    std::vector<std::pair<Array<std::int64_t>, Array<float>>> gradients(4);
    for (auto& [indices, values] : gradients) {
      indices = {.shape = {700}, .data = std::vector<std::int64_t>(700)};
      values = {.shape = {700, 9}, .data = std::vector<float>(6300)};
      for (auto& index : indices.data) index = Integer(random, 0, 99);
      for (auto& value : values.data) value = normal(random);
    }
    const auto apply = [&](std::size_t i) {
      return accumulator->Apply(1 << 20, static_cast<std::int64_t>(i), gradients[i].first.view(), gradients[i].second.view(), std::nullopt)
          .status();
    };
    const auto take = [&] {
      Answer<StatusOr<SparseSlices>> answer;
      accumulator->Take(4, Deadline::Infinite(), answer.Callback());
      const auto slices = answer.Wait();
      return std::pair(test::Elements<std::int64_t>(slices->indices), test::Elements<float>(slices->values));
    };
    for (std::size_t i = 0; i < gradients.size(); ++i) ASSERT_OK(apply(i));
    const auto expected = take();
    for (int trial = 0; trial < 20; ++trial) {
      std::vector<std::thread> threads;
      for (std::size_t i = 0; i < gradients.size(); ++i) threads.emplace_back([&, i] { EXPECT_OK(apply(i)); });
      for (auto& thread : threads) thread.join();
      ASSERT_EQ(take(), expected);
    }
  }
}

TEST(Schedules, AQueueGivesEveryElementOnceInEachProducersOrder) {
  std::mt19937_64 random(test::Seed());
  Services services(1);
  for (int trial = 0; trial < 40; ++trial) {
    SCOPED_TRACE(::testing::Message() << "trial " << trial << " of seed " << test::Seed());
    const auto queue =
        *TokenQueue::Create({.name = "q", .dtypes = {DType::kInt64}, .shapes = {}, .capacity = Integer(random, 1, 4)}, services);
    std::vector<std::thread> producers;
    for (std::int64_t producer = 0; producer < 3; ++producer) {
      producers.emplace_back([&, producer] {
        for (std::int64_t i = 0; i < 30; ++i) {
          Answer<Status> done;
          queue->Enqueue({Vector<std::int64_t>({producer, i}).view()}, Deadline::Infinite(), done.Callback());
          EXPECT_OK(done.Wait());
        }
      });
    }
    std::map<std::int64_t, std::int64_t> next;
    for (int received = 0; received < 90;) {
      Answer<StatusOr<TokenQueue::Element>> answer;
      const Deadline deadline = Integer(random, 0, 4) == 0 ? Deadline::AfterMilliseconds(0.1) : Deadline::Infinite();
      const Cancellation cancellation = queue->Dequeue(deadline, answer.Callback());
      if (Integer(random, 0, 4) == 0) cancellation.Cancel();
      const auto element = answer.Wait();
      if (!element.ok()) continue;
      const auto token = (*element)[0].as<std::int64_t>();
      ASSERT_EQ(next[token[0]]++, token[1]);
      ++received;
    }
    for (auto& producer : producers) producer.join();
    ASSERT_EQ(queue->Size(), 0);
  }
}

// Objects and their services end while takes, deadlines and reductions are under way: every callback is called, nothing leaks or hangs.
TEST(Schedules, EndingInTheMiddleAnswersEveryone) {
  std::mt19937_64 random(test::Seed());
  for (int trial = 0; trial < 200; ++trial) {
    std::vector<TakeAnswer> answers(6);
    {
      Services services(2);
      auto accumulator = *DenseAccumulator::Create({.name = "e", .dtype = DType::kFloat32, .shape = {}}, services);
      for (auto& answer : answers) accumulator->Take(2, Deadline::AfterMilliseconds(Integer(random, 0, 2)), answer.Callback());
      const std::vector<float> gradient(static_cast<std::size_t>(Integer(random, 1, 8000)));
      std::thread applier([&] {
        for (int i = 0; i < 7; ++i) (void)accumulator->Apply(1000, i, Vector(gradient).view());
      });
      if (trial % 2 == 0) accumulator->Shutdown("the end");
      applier.join();
      accumulator.reset();
    }
    for (const auto& answer : answers) ASSERT_TRUE(answer.HasCome());
  }
}

}  // namespace
}  // namespace gradsync::accumulate
