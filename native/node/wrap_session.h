// NativeSession of src/addon/native.ts, a thin wrapper around Session; see wrap.h for ownership and threads.
#ifndef GRADSYNC_NODE_WRAP_SESSION_H_
#define GRADSYNC_NODE_WRAP_SESSION_H_

#include <napi.h>

#include <string_view>

#include "node/session.h"
#include "node/wrap.h"

namespace gradsync::node {

class WrapSession : public Wrap<WrapSession, Session> {
 public:
  static constexpr std::string_view kClass = "NativeSession";
  static constexpr napi_type_tag kTag = {0x67726164'73796e63, 5};
  using Wrap::Wrap;

  static Napi::FunctionReference Define(Napi::Env env);
  // The functions createSession and attachSession of the addon.
  static Napi::Value Create(const Napi::CallbackInfo& info);
  static Napi::Value Attach(const Napi::CallbackInfo& info);

 private:
  using Info = Napi::CallbackInfo;
  Napi::Value Id(const Info& info);
  void Close(const Info& info);
  Napi::Value Allocate(const Info& info);
  Napi::Value MemoryUsage(const Info& info);
  Napi::Value GetVariable(const Info& info);
  Napi::Value GetDenseAccumulator(const Info& info);
  Napi::Value GetSparseAccumulator(const Info& info);
  Napi::Value GetDenseRounds(const Info& info);
  Napi::Value GetSparseRounds(const Info& info);
  Napi::Value GetTokenQueue(const Info& info);
  Napi::Value GetCommunicator(const Info& info);
  Napi::Value FusedStep(const Info& info);  // in wrap_fused_step.cc
};

}  // namespace gradsync::node

#endif  // GRADSYNC_NODE_WRAP_SESSION_H_
