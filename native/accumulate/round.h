// Round: the primitive under all aggregation. Contributions are held in slots keyed by (step, contributor) and not summed as they arrive; a
// CompletionRule says which round each enters and when the current round is complete; then all of it leaves with the first waiting take as
// one Batch, ordered by contributor and, within one, by arrival. So the same contributions give the same bits whatever order they came in.
// Thread-safe. Owned by shared_ptr: pending takes hold it weakly, a reduction under way holds it strongly. Takes are strictly first in,
// first out: a take that needs much holds up those behind it. Callbacks run exactly once and never under a lock: on a thread of the pool;
// when the batch is tiny (kInlineBytes), on the thread that completed the round (an apply, a take, a cancel); a refusal on the caller's
// thread, DEADLINE_EXCEEDED on the timer's, CANCELLED on that of Cancel or Shutdown. Results of different rounds may come in any order.
#ifndef GRADSYNC_ACCUMULATE_ROUND_H_
#define GRADSYNC_ACCUMULATE_ROUND_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "accumulate/completion_rule.h"
#include "core/deadline.h"
#include "core/status.h"
#include "core/thread_pool.h"

namespace gradsync::accumulate {

// Batches of fewer bytes are reduced by whoever completed the round: that takes some tens of microseconds, less than waking a thread on a
// machine whose cores are all busy training.
inline constexpr std::size_t kInlineBytes = std::size_t{512} * 1024;

enum class Reduction { kMean, kSum };

template <typename Payload>
struct Slot {
  Contribution contribution;
  Payload payload;
};

// What one completed round held, in the order of reduction.
template <typename Payload>
struct Batch {
  std::int64_t step;  // the rule's, when it was completed
  std::vector<Slot<Payload>> slots;
  std::size_t bytes;  // of all payloads
};

// A completed round: its step, who is in it, in the order of reduction, and what they make together.
template <typename Result>
struct TakenRound {
  std::int64_t step;
  std::vector<Contribution> contributions;
  Result result;
};

// The part of a Round that does not depend on what it holds.
class RoundControl {
 public:
  virtual ~RoundControl() = default;
  // Runs `change`, which changes or reads the rule, under the lock; then answers whoever can be answered since. FAILED_PRECONDITION, and
  // `change` not run, after Shutdown.
  virtual Status Update(const std::function<void()>& change) = 0;
};

// `Payload` is movable, has `std::size_t bytes() const`, `bool Fits(const Payload& other) const`, which says whether both may be in one
// round, and `Status Scale(double factor)`, which multiplies it (a copy, where its memory is lent by a caller); `Result` is what a take
// gives.
template <typename Payload, typename Result>
class Round : public RoundControl, public std::enable_shared_from_this<Round<Payload, Result>> {
 public:
  using Callback = std::function<void(StatusOr<Result>)>;
  using RoundCallback = std::function<void(StatusOr<TakenRound<Result>>)>;
  using BatchCallback = std::function<void(StatusOr<Batch<Payload>>)>;
  // Runs without a lock, at most once per batch; batches of consecutive rounds may be reduced at the same time.
  using Reduce = std::function<StatusOr<Result>(Batch<Payload>)>;
  // Says whether a contribution fits; `first` is the round's first accepted one, or null. Runs under the lock: constant time, please.
  using Check = std::function<Status(const Payload* first)>;
  using Make = std::function<StatusOr<Payload>()>;

  // `name` is the accumulator's in messages. `services` outlive the round.
  Round(std::string name, Services& services, Reduce reduce, std::unique_ptr<CompletionRule> rule = std::make_unique<FirstN>())
      : name_(std::move(name)), services_(services), reduce_(std::move(reduce)), rule_(std::move(rule)) {}
  ~Round() override { Shutdown("it was destroyed"); }
  Round(const Round&) = delete;
  Round& operator=(const Round&) = delete;

  // Never blocks. Stale: dropped and told. Otherwise `check`, then `make` (outside the lock: it copies), then both tests again, since the
  // round may have ended meanwhile. An error changes nothing. The rule says what is stale and who may contribute.
  StatusOr<Receipt> Apply(std::int64_t step, std::int64_t contributor, const Check& check, const Make& make);
  // Asks for the reduction of the current round, once it is complete; FirstN: once there are `required`.
  Cancellation Take(std::int64_t required, Deadline deadline, Callback callback);
  // The same with the round's step and contributors.
  Cancellation TakeRound(std::int64_t required, Deadline deadline, RoundCallback callback);
  // The same before the reduction, late contributions scaled already: for whoever does more with them than reduce.
  Cancellation TakeBatch(std::int64_t required, Deadline deadline, BatchCallback callback);
  // As though the batch had not been taken, but for contributions that were told to be stale since. Dropped where contributions that came
  // since do not fit beside it (another shape). A rule that counts its rounds itself abandons the round instead (CompletionRule::Reopen).
  void Return(Batch<Payload> batch);
  Status Update(const std::function<void()>& change) override;

  // Contributions in the current round.
  [[nodiscard]] std::int64_t NumAccumulated() const;
  [[nodiscard]] std::int64_t GlobalStep() const;
  // Unconditional, backwards too; keeps what was accepted.
  Status SetGlobalStep(std::int64_t step);
  // Ends all takes with CANCELLED and refuses every later call (FAILED_PRECONDITION). May be repeated.
  void Shutdown(const std::string& reason);

 private:
  using Slots = std::vector<Slot<Payload>>;
  struct Waiter {
    std::uint64_t id;
    std::int64_t required;
    Timer::Id timer;
    BatchCallback callback;
  };
  // A take that is about to be answered.
  struct Completion {
    Waiter waiter;
    Batch<Payload> batch;
  };
  // What is to be done once the lock is gone.
  struct Answers {
    std::vector<Completion> completions;
    std::vector<std::pair<Waiter, Status>> failures;
    CompletionRule::Calls calls;
  };

  Status CheckOpen() const;
  StatusOr<Verdict> Judge(std::int64_t step, std::int64_t contributor, const Check& check) const;
  Answers Flush();
  Batch<Payload> CloseRound();
  void Finish(Answers answers);
  void Answer(Completion completion);
  static Status Scale(Batch<Payload>& batch);
  StatusOr<TakenRound<Result>> ReduceOrAbandon(Batch<Payload> batch);
  StatusOr<TakenRound<Result>> ReduceOrFail(Batch<Payload> batch) const;
  void End(std::uint64_t id, bool is_deadline);
  Status MissedDeadline(const Waiter& waiter) const;

  const std::string name_;
  Services& services_;
  const Reduce reduce_;

  mutable std::mutex mutex_;  // guards what follows
  const std::unique_ptr<CompletionRule> rule_;
  std::map<std::int64_t, Slots> open_;  // the slots of each round, in order of arrival
  std::deque<Waiter> waiters_;
  std::uint64_t next_id_ = 1;
  bool is_shut_down_ = false;
  std::string shutdown_reason_;
};

}  // namespace gradsync::accumulate

#include "accumulate/round_impl.h"

#endif  // GRADSYNC_ACCUMULATE_ROUND_H_
