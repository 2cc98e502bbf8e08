// Token queues: any arguments in any order. No element is lost or made up; every attempt is answered once.
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "accumulate/token_queue.h"
#include "fuzz_input.h"

namespace gradsync::fuzz {
namespace {

using accumulate::TokenQueue;
using accumulate::TokenQueueOptions;

struct Count {
  std::int64_t asked = 0;
  std::int64_t answered = 0;
  std::int64_t entered = 0;
  std::int64_t left = 0;
  bool is_exact = true;
};

TokenQueueOptions AnyOptions(FuzzInput& input) {
  TokenQueueOptions options{.name = "fuzz", .dtypes = {}, .shapes = {}, .capacity = input.Number()};
  options.dtypes.resize(static_cast<std::size_t>(input.Integer(0, 3)));
  for (DType& dtype : options.dtypes) dtype = input.AnyDType();
  if (input.Flag()) {
    options.shapes.emplace(static_cast<std::size_t>(input.Rarely(6) ? input.Integer(0, 3) : static_cast<int>(options.dtypes.size())));
    for (Shape& shape : *options.shapes) shape = input.AnyShape();
  }
  return options;
}

std::vector<TensorView> AnyElement(FuzzInput& input, const TokenQueueOptions& options) {
  std::vector<TensorView> components;
  for (std::size_t i = 0; i < options.dtypes.size(); ++i) {
    const Shape usual = options.shapes && i < options.shapes->size() ? (*options.shapes)[i] : Shape{};
    components.push_back(input.View(input.MostlyDType(options.dtypes[i]), input.MostlyShape(usual)));
  }
  if (input.Rarely(12)) components.push_back(input.View(input.AnyDType(), input.AnyShape()));
  return components;
}

void Enqueue(FuzzInput& input, TokenQueue& queue, Count& count, std::vector<Cancellation>& waits) {
  ++count.asked;
  waits.push_back(queue.Enqueue(AnyElement(input, queue.options()), Deadline::Infinite(), [&count](const Status& status) {
    ++count.answered;
    count.entered += status.ok() ? 1 : 0;
  }));
}

void Dequeue(TokenQueue& queue, Count& count, std::vector<Cancellation>& waits) {
  ++count.asked;
  waits.push_back(queue.Dequeue(Deadline::Infinite(), [&](const StatusOr<TokenQueue::Element>& element) {
    ++count.answered;
    if (!element.ok()) return;
    ++count.left;
    FUZZ_CHECK(element->size() == queue.options().dtypes.size());
    for (const Tensor& component : *element) FUZZ_CHECK(component.view().Check("component").ok());
  }));
}

// Batches enter and leave in part, so elements cannot be counted by answers any more.
void CallMany(FuzzInput& input, TokenQueue& queue, Count& count, std::vector<Cancellation>& waits) {
  ++count.asked;
  count.is_exact = false;
  if (input.Flag()) {
    std::vector<TensorView> batch;
    const std::int64_t size = input.Integer(0, 4);
    for (std::size_t i = 0; i < queue.options().dtypes.size(); ++i) {
      Shape shape{size};
      if (queue.options().shapes) shape.insert(shape.end(), (*queue.options().shapes)[i].begin(), (*queue.options().shapes)[i].end());
      batch.push_back(input.View(input.MostlyDType(queue.options().dtypes[i]), input.MostlyShape(shape)));
    }
    waits.push_back(queue.EnqueueMany(batch, Deadline::Infinite(), [&count](const Status&) { ++count.answered; }));
    return;
  }
  waits.push_back(queue.DequeueMany(input.Number(), Deadline::Infinite(), [&count](const StatusOr<TokenQueue::Element>& batch) {
    ++count.answered;
    if (!batch.ok()) return;
    for (const Tensor& component : *batch) FUZZ_CHECK(component.view().Check("component").ok());
  }));
}

void Close(FuzzInput& input, TokenQueue& queue, Count& count, std::vector<Cancellation>& waits) {
  ++count.asked;
  waits.push_back(queue.Close(input.Flag(), Deadline::Infinite(), [&count](const Status&) { ++count.answered; }));
}

}  // namespace

void Run(FuzzInput& input, Services& services) {
  const TokenQueueOptions options = AnyOptions(input);
  const auto created = TokenQueue::Create(options, services);
  if (!created.ok()) return;
  TokenQueue& queue = **created;
  Count count;
  std::vector<Cancellation> waits;
  for (int i = 0; i < kMaxCalls && input.HasMore(); ++i) {
    const int call = input.Integer(0, 11);
    if (call < 5) {
      Enqueue(input, queue, count, waits);
    } else if (call < 8) {
      Dequeue(queue, count, waits);
    } else if (call < 9) {
      if (!waits.empty()) waits[static_cast<std::size_t>(input.Integer(0, static_cast<int>(waits.size()) - 1))].Cancel();
    } else if (call < 10) {
      Close(input, queue, count, waits);
    } else {
      CallMany(input, queue, count, waits);
    }
    FUZZ_CHECK(!count.is_exact || queue.Size() == count.entered - count.left);
    FUZZ_CHECK(!count.is_exact || options.capacity < 0 || queue.Size() <= options.capacity);
    input.Clear();
  }
  queue.Shutdown("the end");
  FUZZ_CHECK(count.answered == count.asked);
}

}  // namespace gradsync::fuzz
