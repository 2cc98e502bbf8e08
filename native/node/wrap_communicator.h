// NativeCommunicator of src/addon/native.ts, a thin wrapper around collective::Communicator; see wrap.h for ownership and threads.
#ifndef GRADSYNC_NODE_WRAP_COMMUNICATOR_H_
#define GRADSYNC_NODE_WRAP_COMMUNICATOR_H_

#include <napi.h>

#include <string_view>

#include "collective/communicator.h"
#include "node/wrap.h"

namespace gradsync::node {

class WrapCommunicator : public Wrap<WrapCommunicator, collective::Communicator> {
 public:
  static constexpr std::string_view kClass = "NativeCommunicator";
  static constexpr napi_type_tag kTag = {0x67726164'73796e63, 6};
  using Wrap::Wrap;

  static Napi::FunctionReference Define(Napi::Env env);

 private:
  using Info = Napi::CallbackInfo;
  Napi::Value Rank(const Info& info);
  Napi::Value Size(const Info& info);
  Napi::Value AllReduce(const Info& info);
  Napi::Value AllGather(const Info& info);
  Napi::Value ReduceScatter(const Info& info);
  Napi::Value Broadcast(const Info& info);
  Napi::Value Barrier(const Info& info);
  Napi::Value AllToAll(const Info& info);
  Napi::Value SparseAllReduce(const Info& info);
  Napi::Value Subgroup(const Info& info);
  void Leave(const Info& info);
};

}  // namespace gradsync::node

#endif  // GRADSYNC_NODE_WRAP_COMMUNICATOR_H_
