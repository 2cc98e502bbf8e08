#include "core/deadline.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <system_error>

namespace gradsync {

Deadline Deadline::AfterMilliseconds(double milliseconds) {
  constexpr double kCentury = 100.0 * 365 * 24 * 3600 * 1000;
  if (milliseconds >= kCentury) return Infinite();
  const double bounded = std::isnan(milliseconds) ? 0.0 : std::max(milliseconds, 0.0);
  return Deadline(Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double, std::milli>(bounded)));
}

Timer::Timer() {
  try {
    thread_ = std::thread([this] { Run(); });
  } catch (const std::system_error& error) {
    is_stopped_ = true;
    status_ = ResourceExhausted("could not start the thread of a timer: ", error.what());
  }
}

Timer::~Timer() { Stop(); }

Timer::Time Timer::Now() const {
  const std::lock_guard lock(mutex_);
  return manual_now_.value_or(Deadline::Clock::now());
}

void Timer::Advance(Deadline::Clock::duration duration) {
  std::unique_lock lock(mutex_);
  assert(manual_now_.has_value());
  const Time end = *manual_now_ + duration;
  while (!entries_.empty() && entries_.begin()->first.first <= end) {
    manual_now_ = std::max(*manual_now_, entries_.begin()->first.first);
    {
      const Callback callback = TakeFirst();
      lock.unlock();
      callback();
    }
    lock.lock();
  }
  manual_now_ = end;
}

// Under the lock.
Timer::Callback Timer::TakeFirst() {
  const auto first = entries_.begin();
  Callback callback = std::move(first->second);
  when_.erase(first->first.second);
  entries_.erase(first);
  return callback;
}

Timer::Id Timer::Schedule(Deadline deadline, Callback callback) {
  if (deadline.is_infinite()) return 0;
  const std::lock_guard lock(mutex_);
  if (is_stopped_) return 0;
  const Id id = next_id_++;
  entries_.emplace(Key{deadline.when(), id}, std::move(callback));
  when_.emplace(id, deadline.when());
  // A step's waits come and go with deadlines that only grow: the thread sleeps through them all.
  if (deadline.when() < sleeps_until_) changed_.notify_one();
  return id;
}

void Timer::Cancel(Id id) {
  Callback dropped;  // destroyed after the lock: it may own objects with locks of their own
  const std::lock_guard lock(mutex_);
  const auto found = when_.find(id);
  if (found == when_.end()) return;
  const auto entry = entries_.find(Key{found->second, id});
  dropped = std::move(entry->second);
  entries_.erase(entry);
  when_.erase(found);
}

void Timer::Stop() {
  std::map<Key, Callback> dropped;
  {
    const std::lock_guard lock(mutex_);
    is_stopped_ = true;
    dropped.swap(entries_);
    when_.clear();
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Timer::Run() {
  std::unique_lock lock(mutex_);
  while (!is_stopped_) {
    if (entries_.empty()) {
      sleeps_until_ = Time::max();
      changed_.wait(lock);
      continue;
    }
    if (const Time when = entries_.begin()->first.first; Deadline::Clock::now() < when) {
      sleeps_until_ = when;
      changed_.wait_until(lock, when);
      continue;
    }
    sleeps_until_ = Time::min();
    {
      const Callback callback = TakeFirst();
      lock.unlock();
      callback();
    }  // what the callback owned is destroyed without the lock
    lock.lock();
  }
}

}  // namespace gradsync
