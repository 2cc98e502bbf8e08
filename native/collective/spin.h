// Waiting for moments that are shorter than it takes to put a thread to sleep and wake it. Stateless; thread-safe.
#ifndef GRADSYNC_COLLECTIVE_SPIN_H_
#define GRADSYNC_COLLECTIVE_SPIN_H_

#include <mutex>

namespace gradsync::collective {

// Tells the processor that this thread does nothing but look.
inline void Pause() {
#if defined(__x86_64__) || defined(_M_X64)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Takes a mutex that is never held for long: ranks call in the same moment again and again, and a mutex that sleeps at once would make each
// of these meetings cost a system call or two.
[[nodiscard]] inline std::unique_lock<std::mutex> LockSoon(std::mutex& mutex) {
  constexpr int kLooks = 200;
  std::unique_lock lock(mutex, std::try_to_lock);
  for (int look = 0; look < kLooks && !lock.owns_lock(); ++look) {
    Pause();
    (void)lock.try_lock();
  }
  if (!lock.owns_lock()) lock.lock();
  return lock;
}

}  // namespace gradsync::collective

#endif  // GRADSYNC_COLLECTIVE_SPIN_H_
