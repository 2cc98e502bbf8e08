#include "core/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <system_error>
#include <utility>

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace gradsync {
namespace {

// Longer than it takes to apply some small gradients, shorter than anybody would notice on an idle machine.
constexpr std::chrono::microseconds kLookOut(50);

void Pause() {
#if defined(__x86_64__) || defined(_M_X64)
  _mm_pause();
#elif defined(__aarch64__)
  __asm__ __volatile__("yield");
#endif
}

// Waits until `is_done` or for kLookOut at most; gives way to other threads now and then.
template <typename Predicate>
void Spin(Predicate&& is_done) {
  const auto end = std::chrono::steady_clock::now() + kLookOut;
  while (std::chrono::steady_clock::now() < end) {
    for (int i = 0; i < 32; ++i) {
      if (is_done()) return;
      Pause();
    }
    std::this_thread::yield();
  }
}

// Shared by the caller of one ParallelFor and its helpers; a helper that comes late finds nothing left and never touches `body`.
struct Loop {
  std::int64_t count;
  std::int64_t grain;
  std::int64_t ranges;
  const std::function<void(std::int64_t, std::int64_t)>* body;
  std::atomic<std::int64_t> next{0};
  std::atomic<std::int64_t> done{0};
  std::mutex mutex;
  std::condition_variable finished;

  [[nodiscard]] bool IsDone() const { return done.load(std::memory_order_acquire) == ranges; }

  void Work() {
    std::int64_t mine = 0;
    for (std::int64_t range = next.fetch_add(1); range < ranges; range = next.fetch_add(1)) {
      const std::int64_t begin = range * grain;
      (*body)(begin, std::min(begin + grain, count));
      ++mine;
    }
    if (mine == 0) return;
    if (done.fetch_add(mine, std::memory_order_acq_rel) + mine != ranges) return;
    const std::lock_guard lock(mutex);  // else the caller might look, then be told, then wait
    finished.notify_all();
  }

  void Wait() {
    Spin([this] { return IsDone(); });
    std::unique_lock lock(mutex);
    finished.wait(lock, [this] { return IsDone(); });
  }
};

}  // namespace

ThreadPool::ThreadPool(std::size_t threads)
    : size_(std::max<std::size_t>(threads, 1)),
      max_looking_out_(std::thread::hardware_concurrency() > 1 ? std::thread::hardware_concurrency() : 0) {
  threads_.reserve(size_);
  try {
    for (std::size_t i = 0; i < size_; ++i) threads_.emplace_back([this] { Run(); });
  } catch (const std::system_error& error) {
    status_ = ResourceExhausted("could not start ", size_, " threads, only ", threads_.size(), ": ", error.what());
    Stop();
  }
}

ThreadPool::~ThreadPool() { Stop(); }

void ThreadPool::Submit(Task task) {
  {
    const std::lock_guard lock(mutex_);
    if (!is_stopped_) {
      tasks_.push_back(std::move(task));
      is_changed_.store(true, std::memory_order_release);
      // Whoever is looking out takes one each; only what is beyond that is worth waking somebody.
      if (tasks_.size() > looking_out_) changed_.notify_one();
      return;
    }
  }
  task();
}

void ThreadPool::ParallelFor(std::int64_t count, std::int64_t grain, const std::function<void(std::int64_t, std::int64_t)>& body) {
  if (count <= 0) return;
  const std::int64_t width = std::max<std::int64_t>(grain, 1);
  const std::int64_t ranges = (count - 1) / width + 1;
  if (ranges == 1) {
    body(0, count);
    return;
  }
  const auto loop = std::make_shared<Loop>();
  loop->count = count;
  loop->grain = width;
  loop->ranges = ranges;
  loop->body = &body;
  const auto helpers = std::min<std::int64_t>(ranges, static_cast<std::int64_t>(size_)) - 1;
  for (std::int64_t i = 0; i < helpers; ++i) Submit([loop] { loop->Work(); });
  loop->Work();
  loop->Wait();
}

void ThreadPool::Stop() {
  {
    const std::lock_guard lock(mutex_);
    is_stopped_ = true;
    is_changed_.store(true, std::memory_order_release);
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

void ThreadPool::Run() {
  std::unique_lock lock(mutex_);
  while (true) {
    if (tasks_.empty() && !is_stopped_) LookOut(lock);
    changed_.wait(lock, [this] { return is_stopped_ || !tasks_.empty(); });
    if (tasks_.empty()) return;
    {
      const Task task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
    }  // what the task owned is destroyed without the lock
    lock.lock();
  }
}

// Gives the lock back while it waits.
void ThreadPool::LookOut(std::unique_lock<std::mutex>& lock) {
  if (looking_out_ >= max_looking_out_) return;
  ++looking_out_;
  is_changed_.store(false, std::memory_order_relaxed);
  lock.unlock();
  Spin([this] { return is_changed_.load(std::memory_order_acquire); });
  lock.lock();
  --looking_out_;
}

}  // namespace gradsync
