// TokenQueue: a bounded first-in first-out queue of tuples of tensors, with the semantics and messages of TensorFlow's FIFOQueue. Attempts
// that cannot go on wait in order on their side (enqueues and closes; dequeues); only the first of each side is tried.
// Thread-safe; owned by shared_ptr, held weakly by pending attempts; the Services outlive it. Callbacks run exactly once and never under a
// lock: on the thread that made them possible (an enqueue may call the callback of a waiting dequeue), or the timer's. So keep them short.
#ifndef GRADSYNC_ACCUMULATE_TOKEN_QUEUE_H_
#define GRADSYNC_ACCUMULATE_TOKEN_QUEUE_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "accumulate/token_batch.h"
#include "core/deadline.h"
#include "core/dtype.h"
#include "core/shape.h"
#include "core/status.h"
#include "core/tensor_view.h"
#include "core/thread_pool.h"

namespace gradsync::accumulate {

struct TokenQueueOptions {
  std::string name;
  std::vector<DType> dtypes;                 // at least one
  std::optional<std::vector<Shape>> shapes;  // one per dtype where given
  std::int64_t capacity = -1;                // negative: unbounded; 0 is refused

  friend bool operator==(const TokenQueueOptions&, const TokenQueueOptions&) = default;
};

class TokenQueue : public std::enable_shared_from_this<TokenQueue> {
 public:
  using Element = TokenElement;
  using EnqueueCallback = std::function<void(Status)>;
  using CloseCallback = std::function<void(Status)>;
  using DequeueCallback = std::function<void(StatusOr<Element>)>;

  static StatusOr<std::shared_ptr<TokenQueue>> Create(TokenQueueOptions options, Services& services);
  ~TokenQueue();
  TokenQueue(const TokenQueue&) = delete;
  TokenQueue& operator=(const TokenQueue&) = delete;

  // Copies the components. Waits while the queue is full. Closed: CANCELLED.
  Cancellation Enqueue(const std::vector<TensorView>& components, Deadline deadline, EnqueueCallback callback);
  // The components are batches along dimension 0; their elements enter one by one as there is room, with no other enqueue between them.
  // When it ends early, those that entered stay.
  Cancellation EnqueueMany(const std::vector<TensorView>& components, Deadline deadline, EnqueueCallback callback);
  // Waits while the queue is empty and open. Closed and empty: OUT_OF_RANGE.
  Cancellation Dequeue(Deadline deadline, DequeueCallback callback);
  // A batch of `count` elements, collected as they come, with no other dequeue between them. Needs shapes. When it ends early (closed with
  // fewer: OUT_OF_RANGE) those collected go back to the front; TensorFlow loses them when it is cancelled.
  Cancellation DequeueMany(std::int64_t count, Deadline deadline, DequeueCallback callback);
  // Without cancelling: waits for the enqueues that already wait, then takes effect. With: at once, and what waits on that side, closes
  // too, gets CANCELLED. Waiting dequeues that can no longer be met get OUT_OF_RANGE. A close that finds the queue closed is CANCELLED, but
  // fine with cancelling. So of two that wait, the second fails, as in TensorFlow.
  Cancellation Close(bool cancel_pending_enqueues, Deadline deadline, CloseCallback callback);

  [[nodiscard]] std::int64_t Size() const;
  [[nodiscard]] bool IsClosed() const;
  // Ends everything that waits with CANCELLED and refuses every later call (FAILED_PRECONDITION): the session ends. May be repeated.
  void Shutdown(const std::string& reason);
  [[nodiscard]] const TokenQueueOptions& options() const { return options_; }

 private:
  struct Attempt;
  using Callbacks = std::vector<std::function<void()>>;

  TokenQueue(TokenQueueOptions options, Services& services);
  Status CheckOpen() const;
  Status CheckSignature(const std::vector<TensorView>& components) const;
  Status CheckShapes(const std::vector<TensorView>& components, std::optional<std::int64_t> batch) const;
  void CloseNow(const CloseCallback& callback);
  Cancellation Add(std::list<Attempt>& side, Attempt attempt, Deadline deadline);
  void Flush(Callbacks& callbacks);
  void GiveBack(Attempt& attempt);
  bool TryEnqueue(Callbacks& callbacks);
  bool TryDequeue(Callbacks& callbacks);
  void End(std::uint64_t id, bool is_deadline);
  Callbacks EndAll(std::list<Attempt>& side, const Status& status);
  std::string Missed(const Attempt& attempt) const;

  const TokenQueueOptions options_;
  Services& services_;

  mutable std::mutex mutex_;
  std::deque<Element> elements_;
  std::list<Attempt> producers_;  // enqueues and closes
  std::list<Attempt> consumers_;
  std::uint64_t next_id_ = 1;
  bool is_closed_ = false;
  bool is_shut_down_ = false;
  std::string shutdown_reason_;
};

}  // namespace gradsync::accumulate

#endif  // GRADSYNC_ACCUMULATE_TOKEN_QUEUE_H_
