// What all wrapper classes share: a JavaScript object that holds one native object and its session by shared_ptr. Collecting the wrapper
// frees neither while another thread, or a wait, holds them. Objects are made by Wrap::Make only: `new` from JavaScript is refused, and a
// type tag tells the classes apart, so that no foreign object is ever taken for one of ours. On the thread of the environment only.
#ifndef GRADSYNC_NODE_WRAP_H_
#define GRADSYNC_NODE_WRAP_H_

#include <napi.h>

#include <memory>
#include <string_view>
#include <utility>

#include "node/addon_data.h"
#include "node/convert.h"
#include "node/error.h"
#include "node/session.h"

namespace gradsync::node {

// `Derived` has `static constexpr std::string_view kClass` and `static constexpr napi_type_tag kTag`.
template <typename Derived, typename Native>
class Wrap : public Napi::ObjectWrap<Derived> {
 public:
  struct Handle {
    std::shared_ptr<Session> session;
    std::shared_ptr<Native> native;
  };

  static Napi::Object Make(const Napi::FunctionReference& constructor, Handle handle) {
    const Napi::Env env = constructor.Env();
    return constructor.New({Napi::External<Handle>::New(env, &handle)});
  }

  explicit Wrap(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Derived>(info) {
    if (!info[0].IsExternal()) {
      ThrowStatus(info.Env(), FailedPrecondition(Derived::kClass, ": expected a session to make it but received a call of `new`"));
    }
    handle_ = *info[0].template As<Napi::External<Handle>>().Data();
    info.This().template As<Napi::Object>().TypeTag(&Derived::kTag);
  }

  // The wrapper that a value is; null for anything else.
  static Derived* FromValue(const Napi::Value& value) {
    if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&Derived::kTag)) return nullptr;
    return Napi::ObjectWrap<Derived>::Unwrap(value.As<Napi::Object>());
  }

  [[nodiscard]] Native& native() const { return *handle_.native; }
  [[nodiscard]] const std::shared_ptr<Native>& shared() const { return handle_.native; }
  [[nodiscard]] const std::shared_ptr<Session>& session() const { return handle_.session; }

 private:
  // The object goes before the session, which owns the threads it uses.
  Handle handle_;
};

}  // namespace gradsync::node

#endif  // GRADSYNC_NODE_WRAP_H_
