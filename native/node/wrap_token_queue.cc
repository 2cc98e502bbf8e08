#include "node/wrap_token_queue.h"

#include <utility>
#include <vector>

#include "node/async_task.h"
#include "node/tensor_argument.h"
#include "node/wait_options.h"

namespace gradsync::node {
namespace {

// The components as views of JavaScript's memory. Runs no JavaScript.
StatusOr<std::vector<TensorView>> ViewsOf(const std::vector<TensorArgument>& components) {
  std::vector<TensorView> views;
  views.reserve(components.size());
  for (const TensorArgument& component : components) {
    GRADSYNC_ASSIGN_OR_RETURN(const TensorView view, component.View());
    views.push_back(view);
  }
  return views;
}

}  // namespace

Napi::FunctionReference WrapTokenQueue::Define(Napi::Env env) {
  return Napi::Persistent(
      DefineClass(env, "NativeTokenQueue",
                  {InstanceMethod<&WrapTokenQueue::Enqueue>("enqueue"), InstanceMethod<&WrapTokenQueue::EnqueueMany>("enqueueMany"),
                   InstanceMethod<&WrapTokenQueue::Dequeue>("dequeue"), InstanceMethod<&WrapTokenQueue::DequeueMany>("dequeueMany"),
                   InstanceMethod<&WrapTokenQueue::Close>("close"), InstanceAccessor<&WrapTokenQueue::Size>("size"),
                   InstanceAccessor<&WrapTokenQueue::IsClosed>("isClosed")}));
}

// The callback of an operation without a value, made of one that takes Nothing.
template <typename Callback>
auto WithoutValue(Callback callback) {
  return [callback](const Status& status) { callback(status.ok() ? StatusOr<Nothing>(Nothing{}) : StatusOr<Nothing>(status)); };
}

// `call` is (components, deadline, callback) -> Cancellation.
template <typename Call>
Napi::Value WrapTokenQueue::EnqueueWith(const Info& info, const char* name, const char* what, Call&& call) {
  const Arguments arguments(info, name);
  const auto components = arguments.Get<std::vector<TensorArgument>>(0, what);
  const Deadline deadline = ReadDeadline(arguments, 1);
  const StatusOr<std::vector<TensorView>> views = ViewsOf(components);
  arguments.Check(what, views.status());
  return StartPending<Nothing>(info.Env(), AddonData::Of(info.Env()).mailbox, session(),
                               [&](auto callback) { return call(*views, deadline, WithoutValue(std::move(callback))); });
}

Napi::Value WrapTokenQueue::Enqueue(const Info& info) {
  return EnqueueWith(info, "NativeTokenQueue.enqueue", "element",
                     [this](auto&&... all) { return native().Enqueue(std::forward<decltype(all)>(all)...); });
}

Napi::Value WrapTokenQueue::EnqueueMany(const Info& info) {
  return EnqueueWith(info, "NativeTokenQueue.enqueueMany", "batch",
                     [this](auto&&... all) { return native().EnqueueMany(std::forward<decltype(all)>(all)...); });
}

Napi::Value WrapTokenQueue::Dequeue(const Info& info) {
  const Arguments arguments(info, "NativeTokenQueue.dequeue");
  const Deadline deadline = ReadDeadline(arguments, 0);
  return StartPending<accumulate::TokenQueue::Element>(info.Env(), AddonData::Of(info.Env()).mailbox, session(),
                                                       [&](auto callback) { return native().Dequeue(deadline, std::move(callback)); });
}

Napi::Value WrapTokenQueue::DequeueMany(const Info& info) {
  const Arguments arguments(info, "NativeTokenQueue.dequeueMany");
  const auto count = arguments.Get<std::int64_t>(0, "count");
  const Deadline deadline = ReadDeadline(arguments, 1);
  return StartPending<accumulate::TokenQueue::Element>(info.Env(), AddonData::Of(info.Env()).mailbox, session(), [&](auto callback) {
    return native().DequeueMany(count, deadline, std::move(callback));
  });
}

Napi::Value WrapTokenQueue::Size(const Info& info) { return Napi::Number::New(info.Env(), static_cast<double>(native().Size())); }

Napi::Value WrapTokenQueue::IsClosed(const Info& info) { return Napi::Boolean::New(info.Env(), native().IsClosed()); }

Napi::Value WrapTokenQueue::Close(const Info& info) {
  const Arguments arguments(info, "NativeTokenQueue.close");
  const auto cancels = arguments.Get<bool>(0, "cancelPendingEnqueues");
  const Deadline deadline = ReadDeadline(arguments, 1);
  return StartPending<Nothing>(info.Env(), AddonData::Of(info.Env()).mailbox, session(),
                               [&](auto callback) { return native().Close(cancels, deadline, WithoutValue(std::move(callback))); });
}

}  // namespace gradsync::node
