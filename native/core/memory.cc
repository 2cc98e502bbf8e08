#include "core/memory.h"

#include <algorithm>
#include <utility>

namespace gradsync {

StatusOr<Buffer> Memory::Allocate(std::size_t bytes) {
  if (bytes == 0) return Buffer();
  GRADSYNC_ASSIGN_OR_RETURN(Buffer buffer, Buffer::AllocateFrom(TakeSpare(bytes), bytes));
  buffer.memory_ = shared_from_this();
  const std::lock_guard lock(mutex_);
  usage_.in_use += buffer.capacity();
  usage_.peak = std::max(usage_.peak, usage_.in_use);
  return buffer;
}

// The smallest that fits (see Buffer::AllocateFrom), of equals the youngest, which is the likeliest to be in a cache.
Buffer Memory::TakeSpare(std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  auto best = spares_.end();
  for (auto spare = spares_.begin(); spare != spares_.end(); ++spare) {
    if (spare->capacity() < bytes || spare->capacity() / 2 > bytes) continue;
    if (best == spares_.end() || spare->capacity() <= best->capacity()) best = spare;
  }
  if (best == spares_.end()) return {};
  Buffer buffer = std::move(*best);
  spares_.erase(best);
  usage_.spare -= buffer.capacity();
  return buffer;
}

void Memory::GiveBack(Buffer buffer) {
  std::deque<Buffer> excess;  // freed without the lock
  const std::lock_guard lock(mutex_);
  usage_.in_use -= buffer.capacity();
  usage_.spare += buffer.capacity();
  spares_.push_back(std::move(buffer));
  excess = RemoveExcess();
}

void Memory::LimitSpare(std::size_t bytes) {
  std::deque<Buffer> excess;
  const std::lock_guard lock(mutex_);
  spare_limit_ = bytes;
  excess = RemoveExcess();
}

void Memory::RaiseSpareLimit(std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  spare_limit_ = std::max(spare_limit_, bytes);
}

// Under the lock.
std::deque<Buffer> Memory::RemoveExcess() {
  std::deque<Buffer> excess;
  while (usage_.spare > spare_limit_) {
    usage_.spare -= spares_.front().capacity();
    excess.push_back(std::move(spares_.front()));
    spares_.pop_front();
  }
  return excess;
}

Memory::Usage Memory::usage() const {
  const std::lock_guard lock(mutex_);
  return usage_;
}

void Memory::ResetPeak() {
  const std::lock_guard lock(mutex_);
  usage_.peak = usage_.in_use;
}

}  // namespace gradsync
