#include "node/async_task.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <exception>

#include "collective/spin.h"
#include "node/addon_data.h"
#include "node/error.h"

namespace gradsync::node {
namespace {

// A few times what putting a thread to sleep and waking it costs: workers that are in step seldom wait for longer.
constexpr std::chrono::microseconds kLooking{200};
// A thread that blocks answers nobody.
constexpr std::chrono::milliseconds kLongestWait{20};

}  // namespace

std::shared_ptr<Mailbox> Mailbox::Open(Napi::Env env) {
  auto mailbox = std::make_shared<Mailbox>();
  // The thread-safe function owns one reference and gives it back in its finalizer, the last that runs of it.
  auto owner = std::make_unique<std::shared_ptr<Mailbox>>(mailbox);
  const auto finalize = [](napi_env /*env*/, void* data, void* /*hint*/) {
    const std::unique_ptr<std::shared_ptr<Mailbox>> last(static_cast<std::shared_ptr<Mailbox>*>(data));
  };
  const Napi::String name = Napi::String::New(env, "gradsync");
  const napi_status status =
      napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, owner.get(), finalize, mailbox.get(), OnWake, &mailbox->wake_);
  if (status != napi_ok) ThrowStatus(env, Internal("could not create a thread-safe function"));
  static_cast<void>(owner.release());
  napi_unref_threadsafe_function(env, mailbox->wake_);
  // Hooks run in reverse order, so this one runs before the thread-safe function's own and nobody calls it afterwards.
  napi_add_env_cleanup_hook(env, OnExit, mailbox.get());
  return mailbox;
}

Mailbox::Entry Mailbox::Register(Napi::Env env, std::shared_ptr<void> keep) {
  if (wake_ == nullptr) ThrowStatus(env, Cancelled("the environment is ending"));
  const Napi::Promise::Deferred deferred = Napi::Promise::Deferred::New(env);
  if (pending_.empty()) napi_ref_threadsafe_function(env, wake_);
  const Id id = next_id_++;
  pending_.emplace(id, Pending{deferred, std::move(keep), Cancellation()});
  return {id, deferred.Promise()};
}

void Mailbox::SetCancellation(Id id, Cancellation cancellation) {
  const auto found = pending_.find(id);
  if (found != pending_.end()) found->second.cancellation = std::move(cancellation);
}

void Mailbox::Cancel(Id id) {
  const auto found = pending_.find(id);
  if (found == pending_.end()) return;
  const Cancellation cancellation = found->second.cancellation;
  cancellation.Cancel();
}

void Mailbox::Post(Id id, StatusOr<Make> result) {
  const std::lock_guard lock(mutex_);
  if (wake_ == nullptr) return;
  letters_.push_back({id, std::move(result)});
  has_letters_.store(true, std::memory_order_release);
  if (is_awaited_) {
    posted_.notify_one();
    return;
  }
  // One call delivers all letters that lie there by then.
  if (letters_.size() == 1) napi_call_threadsafe_function(wake_, nullptr, napi_tsfn_nonblocking);
}

void Mailbox::AwaitSettlement(Napi::Env env, std::size_t waiting, Deadline deadline) {
  if (pending_.empty() || pending_.size() < waiting) return;
  using Clock = Deadline::Clock;
  const Clock::time_point begin = Clock::now();
  const Clock::time_point end = std::min(deadline.when(), begin + kLongestWait);
  {
    const std::lock_guard lock(mutex_);
    is_awaited_ = true;
  }
  const Clock::time_point looks_until = std::min(end, begin + kLooking);
  while (!has_letters_.load(std::memory_order_acquire) && Clock::now() < looks_until) collective::Pause();
  bool has_letters = false;
  {
    std::unique_lock lock(mutex_);
    has_letters = posted_.wait_until(lock, end, [this] { return !letters_.empty(); });
    is_awaited_ = false;
  }
  if (has_letters) Deliver(env);
}

void Mailbox::OnWake(napi_env env, napi_value /*callback*/, void* context, void* /*data*/) {
  // Without an environment the function is being torn down: OnExit has cleared everything.
  if (env == nullptr) return;
  const std::shared_ptr<Mailbox> mailbox = static_cast<Mailbox*>(context)->shared_from_this();
  mailbox->Deliver(env);
}

void Mailbox::Deliver(Napi::Env env) {
  std::deque<Letter> letters;
  {
    const std::lock_guard lock(mutex_);
    letters.swap(letters_);
    has_letters_.store(false, std::memory_order_relaxed);
  }
  for (Letter& letter : letters) {
    const Napi::HandleScope scope(env);
    Settle(env, std::move(letter));
  }
  if (pending_.empty() && wake_ != nullptr) napi_unref_threadsafe_function(env, wake_);
}

void Mailbox::Settle(Napi::Env env, Letter letter) {
  const auto found = pending_.find(letter.id);
  if (found == pending_.end()) return;
  // Out of the table first: what follows may run JavaScript or end a session.
  const Pending pending = std::move(found->second);
  pending_.erase(found);
  try {
    try {
      if (letter.result.ok()) {
        pending.deferred.Resolve((*letter.result)(env));
      } else {
        pending.deferred.Reject(ToError(env, letter.result.status()).Value());
      }
    } catch (const Napi::Error& error) {
      pending.deferred.Reject(error.Value());
    } catch (const std::exception& error) {
      pending.deferred.Reject(ToError(env, Status(Code::kResourceExhausted, error.what())).Value());
    }
  } catch (const Napi::Error& /*error*/) {
    // The environment is being terminated and runs no JavaScript any more: nobody waits for this promise.
  }
}

void Mailbox::OnExit(void* mailbox) { static_cast<Mailbox*>(mailbox)->shared_from_this()->Close(); }

void Mailbox::Close() {
  {
    const std::lock_guard lock(mutex_);
    letters_.clear();
    // Its last user says goodbye; no call may follow.
    napi_release_threadsafe_function(wake_, napi_tsfn_abort);
    wake_ = nullptr;
  }
  const std::unordered_map<Id, Pending> pending = std::exchange(pending_, {});
  for (const auto& [id, entry] : pending) entry.cancellation.Cancel();
}

namespace {

// As a method of a pending object: `this` is the object.
Napi::Value CancelPending(const Napi::CallbackInfo& info) {
  const Napi::Value self = info.This();
  const Napi::Value id = self.IsObject() ? self.As<Napi::Object>().Get("id") : info.Env().Undefined();
  if (!id.IsNumber()) ThrowStatus(info.Env(), InvalidArgument("cancel: expected to be called as a method of what is pending"));
  AddonData::Of(info.Env()).mailbox->Cancel(static_cast<Mailbox::Id>(id.As<Napi::Number>().Int64Value()));
  return info.Env().Undefined();
}

}  // namespace

// One function serves all: making one for each, with what the collector then has to do, is about a third of the cost of a promise.
Napi::Object PendingObject(Napi::Env env, const Mailbox::Entry& entry) {
  AddonData& data = AddonData::Of(env);
  if (data.cancel_pending.IsEmpty()) data.cancel_pending = Napi::Persistent(Napi::Function::New<CancelPending>(env, "cancel"));
  Napi::Object object = Napi::Object::New(env);
  object.Set("promise", entry.promise);
  object.Set("cancel", data.cancel_pending.Value());
  object.Set("id", Napi::Number::New(env, static_cast<double>(entry.id)));
  return object;
}

}  // namespace gradsync::node
