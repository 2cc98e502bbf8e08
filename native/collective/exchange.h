// Exchange: one collective under way: who has called, what is done with it, and how those who wait learn of the end. It is open until the
// last rank calls or it fails, both under the mutex of its LocalGroup, which guards the slots so long; then it runs without any lock, on
// the threads of ranks that wait and of the pool, and ends. A failure of an open exchange ends it at once.
// Waiting: a rank spins first, since its partners are about to call, then yields, then sleeps; where there are more ranks than cores it
// yields at once, so that nobody waits on a core that another rank needs. Thread-safe; owned by shared_ptr by all who take part.
#ifndef GRADSYNC_COLLECTIVE_EXCHANGE_H_
#define GRADSYNC_COLLECTIVE_EXCHANGE_H_

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "collective/communicator.h"
#include "collective/work.h"
#include "core/deadline.h"
#include "core/status.h"
#include "core/thread_pool.h"

namespace gradsync::collective {

class Exchange : public std::enable_shared_from_this<Exchange> {
 public:
  // What one rank brought, and what it gets.
  struct Slot {
    bool has_called = false;
    const Call* call = nullptr;  // the caller's, or `owned`
    Call owned{};
    Communicator::Callback callback{};  // empty: its thread waits
    Timer::Id timer = 0;
    Status failure{};
    Outcome outcome{};
  };

  Exchange(std::size_t ranks, const WorkContext& context) : slots(ranks), context_(context) {}

  // Under the mutex of the group, while the exchange is open.
  std::vector<Slot> slots;
  std::size_t calls = 0;
  // Why it failed, for those who come late.
  Status failure;

  [[nodiscard]] bool IsOpen() const { return state_.load(std::memory_order_acquire) == kOpen; }
  [[nodiscard]] bool HasEnded() const { return state_.load(std::memory_order_acquire) == kEnded; }
  // Ends an open exchange; the slots say how. Whoever failed it calls `Deliver` once it has let go of the mutex.
  void EndOpen() { SetState(kEnded, slots.size()); }
  // All have called: nothing can end it any more but its work.
  void Close() { state_.store(kStarting, std::memory_order_release); }

  // After Close, without the mutex: starts the work. The calling thread takes part unless it must not be held up (`is_patient` false) and
  // there is much to do.
  void Start(Services& services, bool is_patient);
  // Works or waits until the exchange has ended: true. False: it is still open and the deadline has passed.
  bool Await(Deadline deadline);
  // Calls back the ranks that do not wait. Once, after the end.
  void Deliver(Services& services);
  // The result of a rank that waited. Once, after the end.
  StatusOr<Outcome> Take(std::size_t rank);

 private:
  // kOpen, kStarting, then kStage + the stage that is running, then kEnded.
  static constexpr std::uint32_t kOpen = 0;
  static constexpr std::uint32_t kStarting = 1;
  static constexpr std::uint32_t kStage = 2;
  static constexpr std::uint32_t kEnded = kStage + kMaxStages;
  struct Stage {
    std::int64_t pieces = 0;
    std::atomic<std::int64_t> next{0};
    std::atomic<std::int64_t> done{0};
  };

  void BeginStage(int stage);
  void Help();
  void RunPieces(int stage);
  void Fail(std::int64_t piece, Status status);
  void Finish();
  void SetState(std::uint32_t state, std::size_t wake);
  bool AwaitChange(std::uint32_t seen, Deadline deadline);
  bool Spin(std::uint32_t seen, Deadline deadline) const;
  void SubmitHelpers(Services& services, std::int64_t count);

  const WorkContext context_;
  std::unique_ptr<Work> work_;
  Services* services_ = nullptr;
  bool has_callbacks_ = false;
  std::array<Stage, kMaxStages> stages_;
  std::atomic<std::int64_t> workers_{0};
  std::atomic<std::uint32_t> state_{kOpen};
  std::atomic<int> sleepers_{0};
  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::int64_t failed_piece_ = 0;
  Status work_failure_;
};

}  // namespace gradsync::collective

#endif  // GRADSYNC_COLLECTIVE_EXCHANGE_H_
