// NativeTokenQueue of src/addon/native.ts, a thin wrapper around accumulate::TokenQueue; see wrap.h for ownership and threads.
#ifndef GRADSYNC_NODE_WRAP_TOKEN_QUEUE_H_
#define GRADSYNC_NODE_WRAP_TOKEN_QUEUE_H_

#include <napi.h>

#include <string_view>

#include "accumulate/token_queue.h"
#include "node/wrap.h"

namespace gradsync::node {

class WrapTokenQueue : public Wrap<WrapTokenQueue, accumulate::TokenQueue> {
 public:
  static constexpr std::string_view kClass = "NativeTokenQueue";
  static constexpr napi_type_tag kTag = {0x67726164'73796e63, 4};
  using Wrap::Wrap;

  static Napi::FunctionReference Define(Napi::Env env);

 private:
  using Info = Napi::CallbackInfo;
  template <typename Call>
  Napi::Value EnqueueWith(const Info& info, const char* name, const char* what, Call&& call);
  Napi::Value Enqueue(const Info& info);
  Napi::Value EnqueueMany(const Info& info);
  Napi::Value Dequeue(const Info& info);
  Napi::Value DequeueMany(const Info& info);
  Napi::Value Size(const Info& info);
  Napi::Value IsClosed(const Info& info);
  Napi::Value Close(const Info& info);
};

}  // namespace gradsync::node

#endif  // GRADSYNC_NODE_WRAP_TOKEN_QUEUE_H_
