#include "node/wrap_communicator.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "node/collective_job.h"
#include "node/tensor_argument.h"

namespace gradsync::node {

using collective::Call;
using collective::Collective;

namespace {

// CollectiveOptions of src/addon/native.ts.
struct Options {
  std::string key;
  Deadline deadline_ms = Deadline::Infinite();
  std::optional<std::int64_t> sequence;
};

struct Splits {
  std::optional<std::vector<std::int64_t>> splits;
};

// One call from its arguments to its promise.
class Caller {
 public:
  Caller(const WrapCommunicator& wrapper, const Napi::CallbackInfo& info, const char* method, Collective collective)
      : arguments_(info, WrapCommunicator::kClass, method), job_(std::make_shared<CollectiveJob>(wrapper.session(), wrapper.shared())) {
    job_->call.collective = collective;
  }

  [[nodiscard]] const Arguments& arguments() const { return arguments_; }
  [[nodiscard]] Call& call() { return job_->call; }

  // What all options have, in argument `index`.
  void ReadOptions(std::size_t index) {
    auto options = arguments_.Options(index, "options", Field{"key", &Options::key}, Field{"deadlineMs", &Options::deadline_ms},
                                      Field{"sequence", &Options::sequence});
    call().key = std::move(options.key);
    call().sequence = options.sequence;
    deadline_ = options.deadline_ms;
  }
  void ReadReduction(std::size_t index) {
    call().reduction = arguments_.Options(index, "options", Field{"reduction", &Call::reduction}).reduction;
  }
  void ReadTensor(std::size_t index) { tensor_ = arguments_.Get<TensorArgument>(index, "tensor"); }

  // After everything was read: looks at the memory and starts.
  Napi::Value Start() {
    if (tensor_.has_value()) arguments_.Check("tensor", job_->Pin(*std::move(tensor_)));
    return CollectiveJob::Start(arguments_.Env(), job_, deadline_);
  }
  [[nodiscard]] CollectiveJob& job() { return *job_; }

 private:
  const Arguments arguments_;
  const std::shared_ptr<CollectiveJob> job_;
  Deadline deadline_ = Deadline::Infinite();
  std::optional<TensorArgument> tensor_;
};

}  // namespace

Napi::FunctionReference WrapCommunicator::Define(Napi::Env env) {
  return Napi::Persistent(DefineClass(
      env, "NativeCommunicator",
      {InstanceAccessor<&WrapCommunicator::Rank>("rank"), InstanceAccessor<&WrapCommunicator::Size>("size"),
       InstanceMethod<&WrapCommunicator::AllReduce>("allReduce"), InstanceMethod<&WrapCommunicator::AllGather>("allGather"),
       InstanceMethod<&WrapCommunicator::ReduceScatter>("reduceScatter"), InstanceMethod<&WrapCommunicator::Broadcast>("broadcast"),
       InstanceMethod<&WrapCommunicator::Barrier>("barrier"), InstanceMethod<&WrapCommunicator::AllToAll>("allToAll"),
       InstanceMethod<&WrapCommunicator::SparseAllReduce>("sparseAllReduce"), InstanceMethod<&WrapCommunicator::Subgroup>("subgroup"),
       InstanceMethod<&WrapCommunicator::Leave>("leave")}));
}

Napi::Value WrapCommunicator::Rank(const Info& info) { return Napi::Number::New(info.Env(), static_cast<double>(native().rank())); }

Napi::Value WrapCommunicator::Size(const Info& info) { return Napi::Number::New(info.Env(), static_cast<double>(native().size())); }

Napi::Value WrapCommunicator::AllReduce(const Info& info) {
  Caller caller(*this, info, "allReduce", Collective::kAllReduce);
  caller.ReadTensor(0);
  caller.ReadOptions(1);
  caller.ReadReduction(1);
  return caller.Start();
}

Napi::Value WrapCommunicator::AllGather(const Info& info) {
  Caller caller(*this, info, "allGather", Collective::kAllGather);
  caller.ReadTensor(0);
  caller.ReadOptions(1);
  return caller.Start();
}

Napi::Value WrapCommunicator::ReduceScatter(const Info& info) {
  Caller caller(*this, info, "reduceScatter", Collective::kReduceScatter);
  caller.ReadTensor(0);
  caller.ReadOptions(1);
  caller.ReadReduction(1);
  return caller.Start();
}

Napi::Value WrapCommunicator::Broadcast(const Info& info) {
  Caller caller(*this, info, "broadcast", Collective::kBroadcast);
  caller.ReadTensor(0);
  caller.ReadOptions(1);
  caller.call().root = caller.arguments().Options(1, "options", Field{"root", &Call::root}).root;
  return caller.Start();
}

Napi::Value WrapCommunicator::Barrier(const Info& info) {
  Caller caller(*this, info, "barrier", Collective::kBarrier);
  caller.ReadOptions(0);
  return caller.Start();
}

Napi::Value WrapCommunicator::AllToAll(const Info& info) {
  Caller caller(*this, info, "allToAll", Collective::kAllToAll);
  caller.ReadTensor(0);
  caller.ReadOptions(1);
  auto splits = caller.arguments().Options(1, "options", Field{"splits", &Splits::splits}).splits;
  caller.call().splits = std::move(splits).value_or(std::vector<std::int64_t>());
  return caller.Start();
}

Napi::Value WrapCommunicator::SparseAllReduce(const Info& info) {
  Caller caller(*this, info, "sparseAllReduce", Collective::kSparseAllReduce);
  caller.ReadTensor(1);
  caller.ReadOptions(2);
  caller.ReadReduction(2);
  const Call options =
      caller.arguments().Options(2, "options", Field{"tableRows", &Call::table_rows}, Field{"algorithm", &Call::algorithm});
  caller.call().table_rows = options.table_rows;
  caller.call().algorithm = options.algorithm;
  caller.job().SetIndices(caller.arguments().Indices(0, "indices"));
  return caller.Start();
}

Napi::Value WrapCommunicator::Subgroup(const Info& info) {
  const Arguments arguments(info, "NativeCommunicator.subgroup");
  auto communicator = native().Subgroup(arguments.Get<std::vector<std::int64_t>>(0, "ranks"));
  arguments.Check(communicator.status());
  return Make(AddonData::Of(info.Env()).communicator, {session(), *std::move(communicator)});
}

void WrapCommunicator::Leave(const Info& info) {
  const Arguments arguments(info, "NativeCommunicator.leave");
  native().Leave(arguments.Get<std::string>(0, "reason"));
}

}  // namespace gradsync::node
