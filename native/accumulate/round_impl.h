// The members of Round (round.h), which is a template: included by that header alone. Ownership and thread safety are said there.
#ifndef GRADSYNC_ACCUMULATE_ROUND_IMPL_H_
#define GRADSYNC_ACCUMULATE_ROUND_IMPL_H_

#include "accumulate/round.h"  // IWYU pragma: keep: makes the header stand alone

namespace gradsync::accumulate {

template <typename Payload, typename Result>
Status Round<Payload, Result>::CheckOpen() const {
  if (is_shut_down_) return FailedPrecondition("Accumulator '", name_, "' is closed: ", shutdown_reason_);
  return OkStatus();
}

// What would become of a contribution now. Under the lock.
template <typename Payload, typename Result>
StatusOr<Verdict> Round<Payload, Result>::Judge(std::int64_t step, std::int64_t contributor, const Check& check) const {
  GRADSYNC_RETURN_IF_ERROR(CheckOpen());
  GRADSYNC_ASSIGN_OR_RETURN(const Verdict verdict, rule_->Judge(step, contributor));
  if (!verdict.receipt.is_accepted) return verdict;
  const auto slots = open_.find(verdict.round);
  GRADSYNC_RETURN_IF_ERROR(check(slots == open_.end() || slots->second.empty() ? nullptr : &slots->second.front().payload));
  return verdict;
}

template <typename Payload, typename Result>
StatusOr<Receipt> Round<Payload, Result>::Apply(std::int64_t step, std::int64_t contributor, const Check& check, const Make& make) {
  {
    const std::lock_guard lock(mutex_);
    GRADSYNC_ASSIGN_OR_RETURN(const Verdict early, Judge(step, contributor, check));
    if (!early.receipt.is_accepted) {
      rule_->Record(early);
      return early.receipt;
    }
  }
  GRADSYNC_ASSIGN_OR_RETURN(Payload payload, make());
  Answers answers;
  Receipt receipt;
  {
    const std::lock_guard lock(mutex_);
    GRADSYNC_ASSIGN_OR_RETURN(const Verdict verdict, Judge(step, contributor, check));
    receipt = verdict.receipt;
    if (receipt.is_accepted) open_[verdict.round].push_back({.contribution = verdict.contribution, .payload = std::move(payload)});
    rule_->Record(verdict);
    answers = Flush();
  }
  Finish(std::move(answers));
  return receipt;
}

template <typename Payload, typename Result>
Cancellation Round<Payload, Result>::Take(std::int64_t required, Deadline deadline, Callback callback) {
  return TakeRound(required, deadline, [callback = std::move(callback)](StatusOr<TakenRound<Result>> taken) {
    callback(taken.ok() ? StatusOr<Result>(std::move(taken->result)) : StatusOr<Result>(taken.status()));
  });
}

template <typename Payload, typename Result>
Cancellation Round<Payload, Result>::TakeRound(std::int64_t required, Deadline deadline, RoundCallback callback) {
  // `this`: a batch is given by a living round.
  return TakeBatch(required, deadline, [this, callback = std::move(callback)](StatusOr<Batch<Payload>> batch) {
    callback(batch.ok() ? ReduceOrAbandon(*std::move(batch)) : StatusOr<TakenRound<Result>>(batch.status()));
  });
}

template <typename Payload, typename Result>
Cancellation Round<Payload, Result>::TakeBatch(std::int64_t required, Deadline deadline, BatchCallback callback) {
  Status status = required > 0 ? OkStatus() : InvalidArgument("Argument num_required must be positive, but was ", required);
  Answers answers;
  std::uint64_t id = 0;
  {
    const std::lock_guard lock(mutex_);
    if (status.ok()) status = CheckOpen();
    if (status.ok()) {
      id = next_id_++;
      const std::weak_ptr<Round> self = this->weak_from_this();
      const Timer::Id timer = services_.timer.Schedule(deadline, [self, id] {
        if (const auto round = self.lock()) round->End(id, true);
      });
      waiters_.push_back({.id = id, .required = required, .timer = timer, .callback = std::move(callback)});
      answers = Flush();
    }
  }
  if (!status.ok()) {
    callback(std::move(status));  // NOLINT(bugprone-use-after-move): moved only when the status is OK
    return {};
  }
  Finish(std::move(answers));
  return Cancellation([self = this->weak_from_this(), id] {
    if (const auto round = self.lock()) round->End(id, false);
  });
}

template <typename Payload, typename Result>
Status Round<Payload, Result>::Update(const std::function<void()>& change) {
  Answers answers;
  {
    const std::lock_guard lock(mutex_);
    GRADSYNC_RETURN_IF_ERROR(CheckOpen());
    change();
    answers = Flush();
  }
  Finish(std::move(answers));
  return OkStatus();
}

template <typename Payload, typename Result>
std::int64_t Round<Payload, Result>::NumAccumulated() const {
  const std::lock_guard lock(mutex_);
  const auto slots = open_.find(rule_->current());
  return slots == open_.end() ? 0 : static_cast<std::int64_t>(slots->second.size());
}

template <typename Payload, typename Result>
std::int64_t Round<Payload, Result>::GlobalStep() const {
  const std::lock_guard lock(mutex_);
  return rule_->step();
}

template <typename Payload, typename Result>
Status Round<Payload, Result>::SetGlobalStep(std::int64_t step) {
  const std::lock_guard lock(mutex_);
  GRADSYNC_RETURN_IF_ERROR(CheckOpen());
  return rule_->SetStep(step);
}

template <typename Payload, typename Result>
void Round<Payload, Result>::Shutdown(const std::string& reason) {
  std::deque<Waiter> waiters;
  std::map<std::int64_t, Slots> dropped;
  CompletionRule::Calls calls;
  {
    const std::lock_guard lock(mutex_);
    if (is_shut_down_) return;
    is_shut_down_ = true;
    shutdown_reason_ = reason;
    waiters.swap(waiters_);
    dropped.swap(open_);
    calls = rule_->EndAll(Cancelled("'", name_, "' was closed: ", reason));
  }
  for (Waiter& waiter : waiters) {
    services_.timer.Cancel(waiter.timer);
    waiter.callback(Cancelled("TakeGrad operation was cancelled: ", reason));
  }
  for (const auto& call : calls) call();
}

// Answers the waiters at the head that can be. Under the lock; what it returns is for Finish, after the lock.
template <typename Payload, typename Result>
typename Round<Payload, Result>::Answers Round<Payload, Result>::Flush() {
  Answers answers;
  while (!waiters_.empty()) {
    const StatusOr<bool> is_complete = rule_->IsComplete(waiters_.front().required);
    if (is_complete.ok() && !*is_complete) break;
    Waiter waiter = std::move(waiters_.front());
    waiters_.pop_front();
    if (is_complete.ok()) {
      answers.completions.push_back({.waiter = std::move(waiter), .batch = CloseRound()});
    } else {
      answers.failures.emplace_back(std::move(waiter), is_complete.status());
    }
  }
  answers.calls = rule_->Release();
  return answers;
}

// Takes out the current round and begins the next. Under the lock. The sort is stable, so a contributor's own order of arrival stays.
template <typename Payload, typename Result>
Batch<Payload> Round<Payload, Result>::CloseRound() {
  Batch<Payload> batch{.step = 0, .slots = std::exchange(open_[rule_->current()], {}), .bytes = 0};
  open_.erase(rule_->current());
  batch.step = rule_->Complete();
  std::ranges::stable_sort(batch.slots, {}, [](const Slot<Payload>& slot) { return slot.contribution.contributor; });
  for (const Slot<Payload>& slot : batch.slots) batch.bytes += slot.payload.bytes();
  return batch;
}

template <typename Payload, typename Result>
void Round<Payload, Result>::Finish(Answers answers) {
  for (auto& [waiter, status] : answers.failures) {
    services_.timer.Cancel(waiter.timer);
    waiter.callback(std::move(status));
  }
  for (const auto& call : answers.calls) call();
  for (Completion& completion : answers.completions) {
    services_.timer.Cancel(completion.waiter.timer);
    const bool is_tiny = completion.batch.bytes < kInlineBytes;
    // Shared because a task must be copyable; the task keeps the round, and so `reduce_`, alive.
    const auto work = std::make_shared<Completion>(std::move(completion));
    auto task = [self = this->shared_from_this(), work] { self->Answer(std::move(*work)); };
    if (is_tiny) {
      task();
    } else {
      services_.pool.Submit(std::move(task));
    }
  }
}

template <typename Payload, typename Result>
void Round<Payload, Result>::Answer(Completion completion) {
  const std::int64_t step = completion.batch.step;
  Status scaled = Scale(completion.batch);
  if (scaled.ok()) return completion.waiter.callback(std::move(completion.batch));
  static_cast<void>(Update([&] { rule_->Abandon(step); }));
  completion.waiter.callback(std::move(scaled));
}

template <typename Payload, typename Result>
Status Round<Payload, Result>::Scale(Batch<Payload>& batch) {
  for (Slot<Payload>& slot : batch.slots) {
    if (slot.contribution.factor != 1) GRADSYNC_RETURN_IF_ERROR(slot.payload.Scale(slot.contribution.factor));
  }
  return OkStatus();
}

template <typename Payload, typename Result>
StatusOr<TakenRound<Result>> Round<Payload, Result>::ReduceOrAbandon(Batch<Payload> batch) {
  const std::int64_t step = batch.step;
  StatusOr<TakenRound<Result>> taken = ReduceOrFail(std::move(batch));
  // Nobody can apply this round: those who wait for it must not wait for ever. After a shutdown nobody does.
  if (!taken.ok()) static_cast<void>(Update([&] { rule_->Abandon(step); }));
  return taken;
}

template <typename Payload, typename Result>
void Round<Payload, Result>::Return(Batch<Payload> batch) {
  // After a shutdown there is nothing to return to.
  static_cast<void>(Update([&] {
    const auto since = open_.find(rule_->current());
    const bool fits = since == open_.end() || since->second.empty() || batch.slots.front().payload.Fits(since->second.front().payload);
    if (!fits) return rule_->Abandon(batch.step);
    if (!rule_->Reopen(batch.step, static_cast<std::int64_t>(batch.slots.size()))) return;
    // Before those that came since, as they did.
    Slots& slots = open_[rule_->current()];
    slots.insert(slots.begin(), std::make_move_iterator(batch.slots.begin()), std::make_move_iterator(batch.slots.end()));
  }));
}

// Lists of rows and the like are allocated by the standard library, which throws: on a thread of the pool that would end the process.
template <typename Payload, typename Result>
StatusOr<TakenRound<Result>> Round<Payload, Result>::ReduceOrFail(Batch<Payload> batch) const {
  try {
    const std::int64_t step = batch.step;
    std::vector<Contribution> contributions;
    contributions.reserve(batch.slots.size());
    for (const Slot<Payload>& slot : batch.slots) contributions.push_back(slot.contribution);
    GRADSYNC_ASSIGN_OR_RETURN(Result result, reduce_(std::move(batch)));
    return TakenRound<Result>{.step = step, .contributions = std::move(contributions), .result = std::move(result)};
  } catch (const std::bad_alloc&) {
    return ResourceExhausted("Accumulator '", name_, "': not enough memory to reduce a round");
  }
}

// A waiter gives up. Those behind it may go on without it.
template <typename Payload, typename Result>
void Round<Payload, Result>::End(std::uint64_t id, bool is_deadline) {
  Waiter ended;
  Status status;
  Answers answers;
  {
    const std::lock_guard lock(mutex_);
    const auto found = std::ranges::find(waiters_, id, &Waiter::id);
    if (found == waiters_.end()) return;
    ended = std::move(*found);
    status = is_deadline ? MissedDeadline(ended) : Cancelled("TakeGrad operation was cancelled");
    waiters_.erase(found);
    answers = Flush();
  }
  services_.timer.Cancel(ended.timer);
  ended.callback(std::move(status));
  Finish(std::move(answers));
}

// Says who was there, so that the reader sees who was not. Under the lock.
template <typename Payload, typename Result>
Status Round<Payload, Result>::MissedDeadline(const Waiter& waiter) const {
  std::vector<std::int64_t> present;
  if (const auto slots = open_.find(rule_->current()); slots != open_.end()) {
    for (const Slot<Payload>& slot : slots->second) present.push_back(slot.contribution.contributor);
  }
  std::ranges::sort(present);
  present.erase(std::unique(present.begin(), present.end()), present.end());
  std::string names;
  for (const std::int64_t contributor : present) names += StrCat(names.empty() ? "" : ", ", contributor);
  return DeadlineExceeded("TakeGrad on accumulator '", name_, "' at global step ", rule_->step(), ": ", rule_->Missing(waiter.required),
                          " before the deadline (contributors present: ", names.empty() ? "none" : names, ")");
}

}  // namespace gradsync::accumulate

#endif  // GRADSYNC_ACCUMULATE_ROUND_IMPL_H_
