// Memory: where one object, an accumulator say, gets its buffers from. It counts what is in use and keeps what is given back for the next
// that asks for as much, up to a limit: the first touch of fresh pages costs more than a sum. A buffer goes back by being destroyed, by
// whom and wherever that be; it keeps its Memory alive. Owned by shared_ptr; thread-safe.
#ifndef GRADSYNC_CORE_MEMORY_H_
#define GRADSYNC_CORE_MEMORY_H_

#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>

#include "core/buffer.h"
#include "core/status.h"

namespace gradsync {

class Memory : public std::enable_shared_from_this<Memory> {
  struct Token {};  // only Create can name it

 public:
  // Bytes of the buffers' memory.
  struct Usage {
    std::size_t in_use = 0;  // in buffers that somebody holds
    std::size_t peak = 0;    // the most that ever was, or was since ResetPeak
    std::size_t spare = 0;   // kept for those who ask next
  };

  explicit Memory(Token /*token*/) {}
  [[nodiscard]] static std::shared_ptr<Memory> Create() { return std::make_shared<Memory>(Token{}); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  // Uninitialized; spare memory where that has room and is not more than half waste. RESOURCE_EXHAUSTED when there is no more.
  [[nodiscard]] StatusOr<Buffer> Allocate(std::size_t bytes);
  // Keeps no more than that, from now on; the oldest go first. 0 at the beginning.
  void LimitSpare(std::size_t bytes);
  // The same unless it keeps more than that already.
  void RaiseSpareLimit(std::size_t bytes);
  [[nodiscard]] Usage usage() const;
  void ResetPeak();

 private:
  friend class Buffer;
  void GiveBack(Buffer buffer);
  Buffer TakeSpare(std::size_t bytes);
  std::deque<Buffer> RemoveExcess();

  mutable std::mutex mutex_;
  Usage usage_;
  std::size_t spare_limit_ = 0;
  std::deque<Buffer> spares_;  // the oldest first; they belong to no Memory
};

}  // namespace gradsync

#endif  // GRADSYNC_CORE_MEMORY_H_
