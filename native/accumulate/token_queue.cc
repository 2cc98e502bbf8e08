#include "accumulate/token_queue.h"

#include <algorithm>
#include <memory>
#include <utility>

namespace gradsync::accumulate {

enum class AttemptKind { kEnqueue, kClose, kDequeue };

// Something waiting for its turn.
struct TokenQueue::Attempt {
  AttemptKind kind;
  std::uint64_t id = 0;
  Timer::Id timer = 0;
  std::deque<Element> to_enqueue = {};
  std::int64_t requested = 1;           // elements to dequeue,
  std::vector<Element> dequeued = {};   // of which these have come
  std::function<void(Status)> on_done;  // of an enqueue and a close; of a dequeue that fails
  std::function<void(std::vector<Element>)> on_dequeued = {};

  // Makes the call that ends the attempt, for after the lock.
  [[nodiscard]] std::function<void()> Answer(Status status) {
    return [callback = std::move(on_done), status = std::move(status)] { callback(status); };
  }
  [[nodiscard]] const char* Verb() const {
    return kind == AttemptKind::kDequeue ? "Dequeue" : kind == AttemptKind::kClose ? "Close" : "Enqueue";
  }
};

namespace {

void CallAll(const std::vector<std::function<void()>>& callbacks) {
  for (const auto& callback : callbacks) callback();
}

std::string TypeList(const std::vector<DType>& dtypes) {
  std::string names;
  for (const DType dtype : dtypes) names += StrCat(names.empty() ? "" : ", ", dtype);
  return names;
}

Status Closed(const std::string& name) { return Cancelled("FIFOQueue '", name, "' is closed."); }

}  // namespace

StatusOr<std::shared_ptr<TokenQueue>> TokenQueue::Create(TokenQueueOptions options, Services& services) {
  if (options.dtypes.empty())
    return InvalidArgument("FIFOQueue '", options.name, "': expected at least one component type but received none");
  if (options.shapes && options.shapes->size() != options.dtypes.size()) {
    return InvalidArgument("FIFOQueue '", options.name, "': expected one shape for each of ", options.dtypes.size(),
                           " component types but received ", options.shapes->size());
  }
  if (options.capacity == 0) {
    return InvalidArgument("FIFOQueue '", options.name, "': expected a capacity of at least 1, or -1 for unbounded, but received 0");
  }
  return std::shared_ptr<TokenQueue>(new TokenQueue(std::move(options), services));
}

TokenQueue::TokenQueue(TokenQueueOptions options, Services& services) : options_(std::move(options)), services_(services) {}

TokenQueue::~TokenQueue() { Shutdown("the queue was destroyed"); }

Status TokenQueue::CheckOpen() const {
  if (is_shut_down_) return FailedPrecondition("FIFOQueue '", options_.name, "' is shut down: ", shutdown_reason_);
  return OkStatus();
}

Status TokenQueue::CheckSignature(const std::vector<TensorView>& components) const {
  std::vector<DType> dtypes;
  dtypes.reserve(components.size());
  for (const TensorView& component : components) dtypes.push_back(component.dtype);
  if (dtypes == options_.dtypes) return OkStatus();
  return InvalidArgument("Signature mismatch, have: ", TypeList(dtypes), " expected: ", TypeList(options_.dtypes));
}

// Whether the components are an element, or a batch of so many.
Status TokenQueue::CheckShapes(const std::vector<TensorView>& components, std::optional<std::int64_t> batch) const {
  for (std::size_t i = 0; i < components.size(); ++i) {
    if (options_.shapes) {
      Shape expected = (*options_.shapes)[i];
      if (batch) expected.insert(expected.begin(), *batch);
      if (!SameShape(expected, components[i].shape)) {
        return InvalidArgument("Shape mismatch in tuple component ", i, ". Expected ", ShapeString(expected), ", got ",
                               ShapeString(components[i].shape));
      }
    }
    GRADSYNC_RETURN_IF_ERROR(components[i].Check(StrCat("component ", i)));
  }
  return OkStatus();
}

Cancellation TokenQueue::Enqueue(const std::vector<TensorView>& components, Deadline deadline, EnqueueCallback callback) {
  const auto copy = [&]() -> StatusOr<Element> {
    GRADSYNC_RETURN_IF_ERROR(CheckSignature(components));
    GRADSYNC_RETURN_IF_ERROR(CheckShapes(components, std::nullopt));
    Element element;
    for (const TensorView& component : components) {
      GRADSYNC_ASSIGN_OR_RETURN(Tensor tensor, Tensor::Copy(component));
      element.push_back(std::move(tensor));
    }
    return element;
  };
  StatusOr<Element> element = copy();
  if (!element.ok()) {
    callback(element.status());
    return {};
  }
  Attempt attempt{.kind = AttemptKind::kEnqueue, .on_done = std::move(callback)};
  attempt.to_enqueue.push_back(*std::move(element));
  return Add(producers_, std::move(attempt), deadline);
}

Cancellation TokenQueue::EnqueueMany(const std::vector<TensorView>& components, Deadline deadline, EnqueueCallback callback) {
  const auto split = [&]() -> StatusOr<std::deque<Element>> {
    GRADSYNC_RETURN_IF_ERROR(CheckSignature(components));
    if (!components[0].shape.empty()) GRADSYNC_RETURN_IF_ERROR(CheckShapes(components, components[0].shape[0]));
    return SplitBatch(components);
  };
  StatusOr<std::deque<Element>> elements = split();
  if (!elements.ok() || elements->empty()) {
    callback(elements.status());
    return {};
  }
  Attempt attempt{.kind = AttemptKind::kEnqueue, .to_enqueue = *std::move(elements), .on_done = std::move(callback)};
  return Add(producers_, std::move(attempt), deadline);
}

Cancellation TokenQueue::Dequeue(Deadline deadline, DequeueCallback callback) {
  auto on_dequeued = [callback](std::vector<Element> elements) { callback(std::move(elements.front())); };
  return Add(consumers_, {.kind = AttemptKind::kDequeue, .on_done = std::move(callback), .on_dequeued = std::move(on_dequeued)}, deadline);
}

Cancellation TokenQueue::DequeueMany(std::int64_t count, Deadline deadline, DequeueCallback callback) {
  Status status;
  if (!options_.shapes) {
    status = InvalidArgument("FIFOQueue's DequeueMany and DequeueUpTo require the components to have specified shapes.");
  } else if (count < 0) {
    status = InvalidArgument("DequeueManyOp requested ", count, " < 0 elements");
  }
  if (!status.ok() || count == 0) {
    callback(status.ok() ? StackBatch({}, options_.dtypes, *options_.shapes) : StatusOr<Element>(status));
    return {};
  }
  auto on_dequeued = [callback, options = options_](const std::vector<Element>& elements) {
    callback(StackBatch(elements, options.dtypes, *options.shapes));
  };
  Attempt attempt{.kind = AttemptKind::kDequeue, .requested = count, .on_done = std::move(callback), .on_dequeued = std::move(on_dequeued)};
  return Add(consumers_, std::move(attempt), deadline);
}

Cancellation TokenQueue::Add(std::list<Attempt>& side, Attempt attempt, Deadline deadline) {
  Callbacks callbacks;
  std::uint64_t id = 0;
  {
    const std::lock_guard lock(mutex_);
    if (Status status = CheckOpen(); !status.ok()) {
      callbacks.push_back(attempt.Answer(std::move(status)));
    } else {
      id = attempt.id = next_id_++;
      attempt.timer = services_.timer.Schedule(deadline, [self = weak_from_this(), id] {
        if (const auto queue = self.lock()) queue->End(id, true);
      });
      side.push_back(std::move(attempt));
      Flush(callbacks);
    }
  }
  CallAll(callbacks);
  if (id == 0) return {};
  return Cancellation([self = weak_from_this(), id] {
    if (const auto queue = self.lock()) queue->End(id, false);
  });
}

Cancellation TokenQueue::Close(bool cancel_pending_enqueues, Deadline deadline, CloseCallback callback) {
  if (!cancel_pending_enqueues) return Add(producers_, {.kind = AttemptKind::kClose, .on_done = std::move(callback)}, deadline);
  CloseNow(callback);
  return {};
}

void TokenQueue::CloseNow(const CloseCallback& callback) {
  Callbacks callbacks;
  Status status;
  {
    const std::lock_guard lock(mutex_);
    status = CheckOpen();
    if (status.ok()) {
      is_closed_ = true;
      callbacks = EndAll(producers_, Cancelled("Enqueue operation was cancelled"));
      Flush(callbacks);
    }
  }
  CallAll(callbacks);
  callback(status);
}

std::int64_t TokenQueue::Size() const {
  const std::lock_guard lock(mutex_);
  return static_cast<std::int64_t>(elements_.size());
}

bool TokenQueue::IsClosed() const {
  const std::lock_guard lock(mutex_);
  return is_closed_ || is_shut_down_;
}

void TokenQueue::Shutdown(const std::string& reason) {
  Callbacks callbacks;
  {
    const std::lock_guard lock(mutex_);
    if (is_shut_down_) return;
    is_shut_down_ = true;
    shutdown_reason_ = reason;
    callbacks = EndAll(producers_, Cancelled("Enqueue operation was cancelled: ", reason));
    for (auto& callback : EndAll(consumers_, Cancelled("Dequeue operation was cancelled: ", reason)))
      callbacks.push_back(std::move(callback));
    elements_.clear();
  }
  CallAll(callbacks);
}

// Empties one side; what it returns is to be called after the lock.
TokenQueue::Callbacks TokenQueue::EndAll(std::list<Attempt>& side, const Status& status) {
  Callbacks callbacks;
  for (Attempt& attempt : side) {
    services_.timer.Cancel(attempt.timer);
    callbacks.push_back(attempt.Answer(status));
  }
  side.clear();
  return callbacks;
}

// Lets heads of both sides go on while any can. Under the lock.
void TokenQueue::Flush(Callbacks& callbacks) {
  bool has_progress = true;
  while (has_progress) {
    has_progress = false;
    while (!producers_.empty() && TryEnqueue(callbacks)) has_progress = true;
    while (!consumers_.empty() && TryDequeue(callbacks)) has_progress = true;
  }
}

bool TokenQueue::TryEnqueue(Callbacks& callbacks) {
  Attempt& head = producers_.front();
  const auto is_full = [this] { return options_.capacity > 0 && static_cast<std::int64_t>(elements_.size()) >= options_.capacity; };
  if (head.kind == AttemptKind::kClose) {
    callbacks.push_back(head.Answer(is_closed_ ? Cancelled("Queue '", options_.name, "' is already closed.") : OkStatus()));
    is_closed_ = true;
  } else if (is_closed_) {
    callbacks.push_back(head.Answer(Closed(options_.name)));
  } else {
    while (!head.to_enqueue.empty() && !is_full()) {
      elements_.push_back(std::move(head.to_enqueue.front()));
      head.to_enqueue.pop_front();
    }
    if (!head.to_enqueue.empty()) return false;
    callbacks.push_back(head.Answer(OkStatus()));
  }
  services_.timer.Cancel(head.timer);
  producers_.pop_front();
  return true;
}

// True also when it only collected some: that makes room.
bool TokenQueue::TryDequeue(Callbacks& callbacks) {
  Attempt& head = consumers_.front();
  const auto missing = [&head] { return head.requested - static_cast<std::int64_t>(head.dequeued.size()); };
  const std::size_t before = head.dequeued.size();
  while (missing() > 0 && !elements_.empty()) {
    head.dequeued.push_back(std::move(elements_.front()));
    elements_.pop_front();
  }
  if (missing() > 0 && !is_closed_) return head.dequeued.size() > before;
  if (missing() > 0) {
    GiveBack(head);
    callbacks.push_back(head.Answer(OutOfRange("FIFOQueue '", options_.name, "' is closed and has insufficient elements (requested ",
                                               head.requested, ", current size ", elements_.size(), ")")));
  } else {
    // Shared because a std::function must be copyable and an element is not.
    auto dequeued = std::make_shared<std::vector<Element>>(std::move(head.dequeued));
    callbacks.push_back([callback = std::move(head.on_dequeued), dequeued] { callback(std::move(*dequeued)); });
  }
  services_.timer.Cancel(head.timer);
  consumers_.pop_front();
  return true;
}

// What a dequeue had collected, to the front again, in order. Under the lock.
void TokenQueue::GiveBack(Attempt& attempt) {
  while (!attempt.dequeued.empty()) {
    elements_.push_front(std::move(attempt.dequeued.back()));
    attempt.dequeued.pop_back();
  }
}

// An attempt gives up. Those behind it may go on without it.
void TokenQueue::End(std::uint64_t id, bool is_deadline) {
  Callbacks callbacks;
  {
    const std::lock_guard lock(mutex_);
    for (std::list<Attempt>* side : {&producers_, &consumers_}) {
      const auto found = std::ranges::find(*side, id, &Attempt::id);
      if (found == side->end()) continue;
      services_.timer.Cancel(found->timer);
      GiveBack(*found);
      callbacks.push_back(
          found->Answer(is_deadline ? DeadlineExceeded(Missed(*found)) : Cancelled(found->Verb(), " operation was cancelled")));
      side->erase(found);
      break;
    }
    Flush(callbacks);
  }
  CallAll(callbacks);
}

// Under the lock.
std::string TokenQueue::Missed(const Attempt& attempt) const {
  return StrCat(attempt.Verb(), " on FIFOQueue '", options_.name, "' did not happen before the deadline: the queue holds ",
                elements_.size(), " elements of ", options_.capacity < 0 ? std::string("unbounded") : std::to_string(options_.capacity),
                ", with ", producers_.size(), " producers and ", consumers_.size(), " consumers waiting");
}

}  // namespace gradsync::accumulate
