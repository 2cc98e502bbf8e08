// Deadline: the moment after which nobody waits any more. Timer: one thread that calls back when a deadline passes, owned by an object (a
// session), never global. Cancellation: a handle by which a caller ends its own wait.
// Timer is thread-safe. Its callbacks run on its thread, without any lock of it, and must be short; an entry that is cancelled in time
// never runs, one that is being run may still finish after Cancel returned, so a callback holds what it touches by weak_ptr.
#ifndef GRADSYNC_CORE_DEADLINE_H_
#define GRADSYNC_CORE_DEADLINE_H_

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <unordered_map>
#include <utility>

#include "core/status.h"

namespace gradsync {

class Deadline {
 public:
  using Clock = std::chrono::steady_clock;

  [[nodiscard]] static Deadline Infinite() { return Deadline(Clock::time_point::max()); }
  // Not a number counts as 0; infinity or more than about a century counts as Infinite.
  [[nodiscard]] static Deadline AfterMilliseconds(double milliseconds);

  [[nodiscard]] static Deadline At(Clock::time_point when) { return Deadline(when); }

  [[nodiscard]] bool is_infinite() const { return when_ == Clock::time_point::max(); }
  [[nodiscard]] Clock::time_point when() const { return when_; }
  [[nodiscard]] bool HasPassed() const { return !is_infinite() && Clock::now() >= when_; }

 private:
  explicit Deadline(Clock::time_point when) : when_(when) {}
  Clock::time_point when_;
};

class Timer {
 public:
  // 0 is no entry.
  using Id = std::uint64_t;
  using Callback = std::function<void()>;

  using Time = Deadline::Clock::time_point;

  // Check `status` once.
  Timer();
  // A timer by hand, without a thread: time stands at `start` until Advance. Tests of deadlines need not wait with it, nor guess.
  explicit Timer(Time start) : manual_now_(start) {}
  // Stops.
  ~Timer();
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  // RESOURCE_EXHAUSTED when the machine starts no more threads; such a timer is a stopped one.
  [[nodiscard]] const Status& status() const { return status_; }
  [[nodiscard]] Time Now() const;
  // By hand only: moves time on and calls what is due, in order of deadlines, on this thread.
  void Advance(Deadline::Clock::duration duration);
  // Calls `callback` once, after the deadline. An infinite deadline makes no entry (0), and so does a stopped timer.
  Id Schedule(Deadline deadline, Callback callback);
  // Forgets an entry; unknown ids and 0 are ignored.
  void Cancel(Id id);
  // Drops all entries without calling them and ends the thread. Not from a callback.
  void Stop();

 private:
  using Key = std::pair<Time, Id>;
  void Run();
  Callback TakeFirst();

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<Key, Callback> entries_;
  std::unordered_map<Id, Time> when_;
  Id next_id_ = 1;
  // When the thread wakes by itself; an entry cancelled meanwhile only makes it look in vain. The least while it is awake.
  Time sleeps_until_ = Time::min();
  bool is_stopped_ = false;
  std::optional<Time> manual_now_;
  Status status_;
  std::thread thread_;
};

// Ends one wait: its callback gets CANCELLED unless it has been called. May be copied, called from any thread, repeatedly, and after the
// object that waits is gone.
class Cancellation {
 public:
  Cancellation() = default;
  explicit Cancellation(std::function<void()> cancel) : cancel_(std::move(cancel)) {}
  void Cancel() const {
    if (cancel_) cancel_();
  }

 private:
  std::function<void()> cancel_;
};

}  // namespace gradsync

#endif  // GRADSYNC_CORE_DEADLINE_H_
