// ThreadPool: a fixed number of threads that run submitted tasks in the order of submission. A thread that runs out of tasks looks out for
// more for some microseconds before it sleeps, giving way to others all the while: waking it takes longer than a small task. Owned by a
// session, never global. Services: what a session lends to its objects (timer, pool, choice of kernels); the session outlives them, or they
// were shut down before it ends. Thread-safe. A task must not wait for another task, except through ParallelFor, whose caller works too.
#ifndef GRADSYNC_CORE_THREAD_POOL_H_
#define GRADSYNC_CORE_THREAD_POOL_H_

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "core/deadline.h"
#include "core/instruction_set.h"
#include "core/status.h"

namespace gradsync {

class ThreadPool {
 public:
  using Task = std::function<void()>;

  // At least one thread. Check `status` once.
  explicit ThreadPool(std::size_t threads);
  // Stops.
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // RESOURCE_EXHAUSTED when the machine does not start so many threads; such a pool is a stopped one, of none.
  [[nodiscard]] const Status& status() const { return status_; }
  [[nodiscard]] std::size_t size() const { return size_; }
  // Runs the task on a thread of the pool; once stopped, on the calling thread at once, so that no task is ever lost.
  void Submit(Task task);
  // Calls `body(begin, end)` for ranges of at most `grain` that cover [0, count) exactly once, here and on threads of the pool; returns
  // when all are done. The ranges do not depend on the number of threads.
  void ParallelFor(std::int64_t count, std::int64_t grain, const std::function<void(std::int64_t, std::int64_t)>& body);
  // Runs what was submitted, then ends the threads. Not from a task.
  void Stop();

 private:
  void Run();
  void LookOut(std::unique_lock<std::mutex>& lock);

  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::deque<Task> tasks_;
  bool is_stopped_ = false;
  std::size_t looking_out_ = 0;           // threads that do
  std::atomic<bool> is_changed_ = false;  // tells them, without the lock, that there are tasks or the pool was stopped

  const std::size_t size_;
  const std::size_t max_looking_out_;
  Status status_;
  std::vector<std::thread> threads_;
};

// The threads of one session. Declared so that the timer, which may submit tasks, stops before the pool.
class Services {
 public:
  // The set must be available.
  explicit Services(std::size_t threads, InstructionSet set = BestInstructionSet()) : instruction_set(set), pool(threads) {}
  // With a timer by hand.
  Services(std::size_t threads, Timer::Time start, InstructionSet set = BestInstructionSet())
      : instruction_set(set), timer(start), pool(threads) {}
  ~Services() {
    timer.Stop();
    pool.Stop();
  }
  Services(const Services&) = delete;
  Services& operator=(const Services&) = delete;

  [[nodiscard]] const Status& status() const { return timer.status().ok() ? pool.status() : timer.status(); }

  const InstructionSet instruction_set;
  Timer timer;
  ThreadPool pool;
};

}  // namespace gradsync

#endif  // GRADSYNC_CORE_THREAD_POOL_H_
