#include "collective/exchange.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <thread>
#include <utility>

#include "collective/call.h"
#include "collective/spin.h"

namespace gradsync::collective {
namespace {

// How long a rank waits without sleeping: about what it costs to sleep and be woken, several times over. It only looks for a moment and
// then yields between looks, for the one it waits for may want the same core.
constexpr auto kSpinTime = std::chrono::microseconds(3);
constexpr auto kYieldTime = std::chrono::microseconds(97);
constexpr int kPausesPerLook = 32;

// Below this, handing work to another thread costs more than doing it.
constexpr std::size_t kInlineBytes = std::size_t{16} * 1024;

}  // namespace

void Exchange::Start(Services& services, bool is_patient) {
  std::vector<Part> parts;
  parts.reserve(slots.size());
  std::vector<const Call*> by_rank;
  by_rank.reserve(slots.size());
  std::size_t bytes = 0;
  for (Slot& slot : slots) {
    parts.push_back({slot.call, &slot.outcome});
    by_rank.push_back(slot.call);
    bytes += BytesOf(*slot.call);
    has_callbacks_ = has_callbacks_ || static_cast<bool>(slot.callback);
  }
  services_ = &services;
  work_failure_ = CheckMemory(by_rank);
  if (!work_failure_.ok()) return Finish();
  work_ = MakeWork(std::move(parts), context_);
  BeginStage(0);
  const bool is_small = bytes <= kInlineBytes;
  if (is_patient || is_small) {
    if (has_callbacks_ && !is_small) SubmitHelpers(services, context_.cores - 1);
    Help();
  } else {
    SubmitHelpers(services, context_.cores);
  }
}

void Exchange::SubmitHelpers(Services& services, std::int64_t count) {
  const std::int64_t helpers = std::min(count, static_cast<std::int64_t>(services.pool.size()));
  for (std::int64_t i = 0; i < std::max<std::int64_t>(helpers, count > 0 ? 1 : 0); ++i) {
    services.pool.Submit([self = shared_from_this()] { self->Help(); });
  }
}

void Exchange::BeginStage(int stage) {
  for (; stage < work_->stages(); ++stage) {
    const StatusOr<std::int64_t> pieces = work_->Begin(stage);
    if (!pieces.ok()) {
      Fail(0, pieces.status());
      break;
    }
    if (*pieces == 0) continue;
    stages_[static_cast<std::size_t>(stage)].pieces = *pieces;
    const std::int64_t helpers = std::min(context_.cores, *pieces) - 1;
    return SetState(kStage + static_cast<std::uint32_t>(stage), static_cast<std::size_t>(helpers));
  }
  Finish();
}

void Exchange::Help() {
  // More threads than cores would only take turns, and the one that holds the last piece would wait for its turn.
  if (workers_.fetch_add(1, std::memory_order_acq_rel) < context_.cores) {
    std::uint32_t state = state_.load(std::memory_order_acquire);
    while (state >= kStage && state != kEnded) {
      RunPieces(static_cast<int>(state - kStage));
      const std::uint32_t now = state_.load(std::memory_order_acquire);
      if (now == state) break;  // the others do the rest
      state = now;
    }
  }
  workers_.fetch_sub(1, std::memory_order_acq_rel);
}

void Exchange::RunPieces(int stage) {
  Stage& running = stages_[static_cast<std::size_t>(stage)];
  for (std::int64_t piece = running.next.fetch_add(1); piece < running.pieces; piece = running.next.fetch_add(1)) {
    Status status = work_->Run(stage, piece);
    if (!status.ok()) Fail(piece, std::move(status));
    if (running.done.fetch_add(1, std::memory_order_acq_rel) + 1 < running.pieces) continue;
    // The last piece of the stage: everybody else's are done too.
    bool has_failed = false;
    {
      const std::lock_guard lock(mutex_);
      has_failed = !work_failure_.ok();
    }
    return has_failed ? Finish() : BeginStage(stage + 1);
  }
}

// Of several failures the one of the lowest piece is reported, whoever came first.
void Exchange::Fail(std::int64_t piece, Status status) {
  const std::lock_guard lock(mutex_);
  if (!work_failure_.ok() && failed_piece_ <= piece) return;
  failed_piece_ = piece;
  work_failure_ = std::move(status);
}

void Exchange::Finish() {
  if (!work_failure_.ok()) {
    const std::string what = DescribeCall(*slots[0].call);
    for (Slot& slot : slots) slot.failure = Status(work_failure_.code(), StrCat(what, ": ", work_failure_.message()));
  }
  if (work_ != nullptr) {
    std::size_t bytes = work_->ScratchBytes();
    for (const Slot& slot : slots) bytes += slot.outcome.indices.bytes() + slot.outcome.values.bytes();
    context_.memory->RaiseSpareLimit(bytes);
  }
  work_.reset();
  const bool has_callbacks = has_callbacks_;  // once it has ended, ranks take their results and go
  SetState(kEnded, slots.size());
  if (has_callbacks) Deliver(*services_);
}

void Exchange::Deliver(Services& services) {
  for (Slot& slot : slots) {
    if (!slot.callback) continue;
    services.timer.Cancel(slot.timer);
    const Communicator::Callback callback = std::exchange(slot.callback, nullptr);
    if (slot.failure.ok()) {
      callback(std::move(slot.outcome));
    } else {
      callback(slot.failure);
    }
  }
}

StatusOr<Outcome> Exchange::Take(std::size_t rank) {
  Slot& slot = slots[rank];
  if (!slot.failure.ok()) return slot.failure;
  return std::move(slot.outcome);
}

bool Exchange::Await(Deadline deadline) {
  while (true) {
    const std::uint32_t state = state_.load(std::memory_order_acquire);
    if (state == kEnded) return true;
    if (state != kOpen) Help();
    // What runs is not given up.
    if (!AwaitChange(state, state == kOpen ? deadline : Deadline::Infinite())) return false;
  }
}

// Wakes at most so many of those who sleep.
void Exchange::SetState(std::uint32_t state, std::size_t wake) {
  // Sequentially consistent, as the count of sleepers: either they see the state or they are seen.
  state_.store(state);
  if (wake == 0 || sleepers_.load() == 0) return;
  { const std::lock_guard lock(mutex_); }
  if (wake >= slots.size()) return changed_.notify_all();
  for (std::size_t i = 0; i < wake; ++i) changed_.notify_one();
}

bool Exchange::AwaitChange(std::uint32_t seen, Deadline deadline) {
  if (Spin(seen, deadline)) return true;
  std::unique_lock lock(mutex_);
  sleepers_.fetch_add(1);
  const auto has_changed = [&] { return state_.load() != seen; };
  bool is_in_time = true;
  if (deadline.is_infinite()) {
    changed_.wait(lock, has_changed);
  } else {
    is_in_time = changed_.wait_until(lock, deadline.when(), has_changed);
  }
  sleepers_.fetch_sub(1);
  return is_in_time;
}

// True: the state has changed. False: it is time to sleep.
bool Exchange::Spin(std::uint32_t seen, Deadline deadline) const {
  const bool is_crowded = static_cast<std::int64_t>(slots.size()) > context_.cores;
  const auto begin = Deadline::Clock::now();
  const auto yield_from = is_crowded ? begin : begin + kSpinTime;
  const auto sleep_from = std::min(yield_from + kYieldTime, deadline.when());
  for (auto now = begin; now < sleep_from; now = Deadline::Clock::now()) {
    if (now >= yield_from) std::this_thread::yield();
    for (int i = 0; i < (now >= yield_from ? 1 : kPausesPerLook); ++i) {
      if (state_.load(std::memory_order_acquire) != seen) return true;
      Pause();
    }
  }
  return false;
}

}  // namespace gradsync::collective
