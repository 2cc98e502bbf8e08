// Promises that settle from the addon's own threads. One Mailbox per environment (main thread or worker): native callbacks post results
// into it from any thread; they are delivered on the environment's thread, one by one, in the order of posting. While something is pending
// the environment's event loop stays alive, and so does the session; when nothing is, neither is held. An environment may end at any moment
// (worker.terminate, process exit): then its waits are cancelled, so that no round is given to the dead, and whatever is posted later is
// dropped. Post is thread-safe; everything else runs on the environment's thread.
#ifndef GRADSYNC_NODE_ASYNC_TASK_H_
#define GRADSYNC_NODE_ASYNC_TASK_H_

#include <napi.h>

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <type_traits>
#include <unordered_map>
#include <utility>

#include "core/deadline.h"
#include "core/status.h"
#include "node/convert.h"

namespace gradsync::node {

class Mailbox : public std::enable_shared_from_this<Mailbox> {
 public:
  // Makes the value a promise resolves to. Copyable, called at most once, on the environment's thread.
  using Make = std::function<Napi::Value(Napi::Env)>;
  using Id = std::uintptr_t;

  static std::shared_ptr<Mailbox> Open(Napi::Env env);
  Mailbox() = default;
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  // A new promise, pending until a result is posted under its id. `keep` lives until then.
  struct Entry {
    Id id;
    Napi::Promise promise;
  };
  Entry Register(Napi::Env env, std::shared_ptr<void> keep);
  // How to end the wait that was registered.
  void SetCancellation(Id id, Cancellation cancellation);
  void Cancel(Id id);
  // From any thread, once per id.
  void Post(Id id, StatusOr<Make> result);
  // Blocks the environment's thread until one of its `waiting` promises is settled, at most until the deadline (or for 20 ms). Returns at
  // once when fewer are pending: one of them has been settled, and what follows it has yet to run. The thread looks for a moment before it
  // sleeps, and no event loop turns in between: the shortest way from a result to whoever waits for it.
  void AwaitSettlement(Napi::Env env, std::size_t waiting, Deadline deadline);

 private:
  struct Pending {
    Napi::Promise::Deferred deferred;
    std::shared_ptr<void> keep;
    Cancellation cancellation;
  };
  struct Letter {
    Id id;
    StatusOr<Make> result;
  };
  static void OnWake(napi_env env, napi_value callback, void* context, void* data);
  static void OnExit(void* mailbox);
  void Deliver(Napi::Env env);
  void Settle(Napi::Env env, Letter letter);
  void Close();

  // Of the environment's thread.
  std::unordered_map<Id, Pending> pending_;
  Id next_id_ = 1;

  std::atomic<bool> has_letters_{false};  // may be read without the lock
  std::mutex mutex_;                      // guards what follows
  std::condition_variable posted_;
  std::deque<Letter> letters_;
  bool is_awaited_ = false;                  // the environment's thread looks for letters itself
  napi_threadsafe_function wake_ = nullptr;  // null once closed
};

// Starts a wait and gives JavaScript's {promise, cancel}. `start(callback)` begins it and returns its Cancellation; the callback takes a
// StatusOr<T>, may be called from any thread and does not keep the session alive (`keep`, held until the promise settles, does).
template <typename T, typename Start>
Napi::Object StartPending(Napi::Env env, const std::shared_ptr<Mailbox>& mailbox, std::shared_ptr<void> keep, Start&& start);

// {promise, cancel, id} of an entry of the environment's mailbox; `cancel` is a method, which finds the entry by `id`.
Napi::Object PendingObject(Napi::Env env, const Mailbox::Entry& entry);

// What a wait without a value gives.
struct Nothing {};
inline Napi::Value ToJs(Napi::Env env, Nothing /*nothing*/) { return env.Undefined(); }

template <typename T, typename Start>
Napi::Object StartPending(Napi::Env env, const std::shared_ptr<Mailbox>& mailbox, std::shared_ptr<void> keep, Start&& start) {
  const Mailbox::Entry entry = mailbox->Register(env, std::move(keep));
  const auto deliver = [mailbox, id = entry.id](StatusOr<T> result) {
    if (!result.ok()) return mailbox->Post(id, result.status());
    // A std::function must be copyable; the value need not be.
    auto value = std::make_shared<T>(*std::move(result));
    mailbox->Post(id, Mailbox::Make([value](Napi::Env to) -> Napi::Value { return ToJs(to, std::move(*value)); }));
  };
  mailbox->SetCancellation(entry.id, start(deliver));
  return PendingObject(env, entry);
}

}  // namespace gradsync::node

#endif  // GRADSYNC_NODE_ASYNC_TASK_H_
