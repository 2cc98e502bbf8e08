#include "node/wrap_session.h"

#include <optional>
#include <string>
#include <utility>

#include "node/wrap_communicator.h"
#include "node/wrap_dense_accumulator.h"
#include "node/wrap_member_rounds.h"
#include "node/wrap_sparse_accumulator.h"
#include "node/wrap_token_queue.h"
#include "node/wrap_variable.h"

namespace gradsync::node {

using accumulate::DenseAccumulatorOptions;
using accumulate::SparseAccumulatorOptions;
using accumulate::TokenQueueOptions;
using accumulate::VariableOptions;

namespace {

// Optional in JavaScript: the key without it.
struct QueueName {
  std::optional<std::string> name;
};

struct RankOptions {
  std::int64_t rank = 0;
};

}  // namespace

Napi::FunctionReference WrapSession::Define(Napi::Env env) {
  return Napi::Persistent(DefineClass(
      env, "NativeSession",
      {InstanceAccessor<&WrapSession::Id>("id"), InstanceMethod<&WrapSession::Close>("close"),
       InstanceMethod<&WrapSession::Allocate>("allocate"), InstanceAccessor<&WrapSession::MemoryUsage>("memory"),
       InstanceMethod<&WrapSession::GetVariable>("variable"), InstanceMethod<&WrapSession::GetDenseAccumulator>("denseAccumulator"),
       InstanceMethod<&WrapSession::GetSparseAccumulator>("sparseAccumulator"), InstanceMethod<&WrapSession::GetTokenQueue>("tokenQueue"),
       InstanceMethod<&WrapSession::GetDenseRounds>("denseRounds"), InstanceMethod<&WrapSession::GetSparseRounds>("sparseRounds"),
       InstanceMethod<&WrapSession::GetCommunicator>("communicator"), InstanceMethod<&WrapSession::FusedStep>("fusedStep")}));
}

Napi::Value WrapSession::Create(const Info& info) {
  const Arguments arguments(info, "createSession");
  const auto options = arguments.Options(0, "options", Field{"name", &SessionOptions::name}, Field{"threads", &SessionOptions::threads},
                                         Field{"instructionSet", &SessionOptions::instruction_set});
  const auto& default_set = AddonData::Of(info.Env()).instruction_set;
  const std::shared_ptr<Session> session = ValueOrThrow(info.Env(), Session::Create(options, default_set));
  return Make(AddonData::Of(info.Env()).session, {session, session});
}

Napi::Value WrapSession::Attach(const Info& info) {
  const Arguments arguments(info, "attachSession");
  const auto id = arguments.Get<std::string>(0, "id");
  const std::shared_ptr<Session> session = ValueOrThrow(info.Env(), Session::Find(id));
  return Make(AddonData::Of(info.Env()).session, {session, session});
}

Napi::Value WrapSession::Id(const Info& info) { return Napi::String::New(info.Env(), native().id()); }

void WrapSession::Close(const Info& info) {
  const Arguments arguments(info, "NativeSession.close");
  native().Close(arguments.Get<std::string>(0, "reason"));
}

Napi::Value WrapSession::Allocate(const Info& info) {
  const Arguments arguments(info, "NativeSession.allocate");
  const auto dtype = arguments.Get<DType>(0, "dtype");
  StatusOr<Tensor> tensor = native().Allocate(dtype, arguments.Get<Shape>(1, "shape"));
  arguments.Check(tensor.status());
  const AddonData& data = AddonData::Of(info.Env());
  const std::size_t bytes = tensor->bytes();
  if (bytes == 0 || !data.has_external_memory) return TypedArrayOn(Napi::ArrayBuffer::New(info.Env(), bytes), dtype);
  return TypedArrayOn(data.lendable->MakeArrayBuffer(info.Env(), (*std::move(tensor)).TakeBuffer()), dtype);
}

Napi::Value WrapSession::MemoryUsage(const Info& info) {
  const Memory::Usage usage = native().memory_usage();
  Napi::Object object = Napi::Object::New(info.Env());
  object.Set("inUse", Napi::Number::New(info.Env(), static_cast<double>(usage.in_use)));
  object.Set("peak", Napi::Number::New(info.Env(), static_cast<double>(usage.peak)));
  return object;
}

Napi::Value WrapSession::GetVariable(const Info& info) {
  const Arguments arguments(info, "NativeSession.variable");
  const auto key = arguments.Get<std::string>(0, "key");
  auto options = arguments.Options(1, "spec", Field{"dtype", &VariableOptions::dtype}, Field{"shape", &VariableOptions::shape});
  options.name = key;
  auto variable = native().GetVariable(std::move(options));
  arguments.Check(variable.status());
  return WrapVariable::Make(AddonData::Of(info.Env()).variable, {shared(), *std::move(variable)});
}

// The options of an accumulator: key and spec.
DenseAccumulatorOptions ReadDense(const Arguments& arguments) {
  const auto key = arguments.Get<std::string>(0, "key");
  auto options =
      arguments.Options(1, "spec", Field{"dtype", &DenseAccumulatorOptions::dtype}, Field{"shape", &DenseAccumulatorOptions::shape},
                        Field{"reduction", &DenseAccumulatorOptions::reduction});
  options.name = key;
  return options;
}

Napi::Value WrapSession::GetDenseAccumulator(const Info& info) {
  const Arguments arguments(info, "NativeSession.denseAccumulator");
  DenseAccumulatorOptions options = ReadDense(arguments);
  auto accumulator = native().GetDenseAccumulator(std::move(options));
  arguments.Check(accumulator.status());
  return WrapDenseAccumulator::Make(AddonData::Of(info.Env()).dense_accumulator, {shared(), *std::move(accumulator)});
}

SparseAccumulatorOptions ReadSparse(const Arguments& arguments) {
  const auto key = arguments.Get<std::string>(0, "key");
  auto options =
      arguments.Options(1, "spec", Field{"dtype", &SparseAccumulatorOptions::dtype}, Field{"shape", &SparseAccumulatorOptions::shape},
                        Field{"reduction", &SparseAccumulatorOptions::reduction}, Field{"form", &SparseAccumulatorOptions::form},
                        Field{"mean", &SparseAccumulatorOptions::mean});
  options.name = key;
  return options;
}

Napi::Value WrapSession::GetSparseAccumulator(const Info& info) {
  const Arguments arguments(info, "NativeSession.sparseAccumulator");
  SparseAccumulatorOptions options = ReadSparse(arguments);
  auto accumulator = native().GetSparseAccumulator(std::move(options));
  arguments.Check(accumulator.status());
  return WrapSparseAccumulator::Make(AddonData::Of(info.Env()).sparse_accumulator, {shared(), *std::move(accumulator)});
}

Napi::Value WrapSession::GetDenseRounds(const Info& info) {
  const Arguments arguments(info, "NativeSession.denseRounds");
  DenseAccumulatorOptions gradient = ReadDense(arguments);
  auto rounds = native().GetDenseRounds({.gradient = std::move(gradient), .rounds = ReadMemberRounds(arguments, 1, "spec")});
  arguments.Check(rounds.status());
  return WrapDenseRounds::Make(AddonData::Of(info.Env()).dense_rounds, {shared(), *std::move(rounds)});
}

Napi::Value WrapSession::GetSparseRounds(const Info& info) {
  const Arguments arguments(info, "NativeSession.sparseRounds");
  SparseAccumulatorOptions gradient = ReadSparse(arguments);
  auto rounds = native().GetSparseRounds({.gradient = std::move(gradient), .rounds = ReadMemberRounds(arguments, 1, "spec")});
  arguments.Check(rounds.status());
  return WrapSparseRounds::Make(AddonData::Of(info.Env()).sparse_rounds, {shared(), *std::move(rounds)});
}

Napi::Value WrapSession::GetTokenQueue(const Info& info) {
  const Arguments arguments(info, "NativeSession.tokenQueue");
  const auto key = arguments.Get<std::string>(0, "key");
  auto options = arguments.Options(1, "spec", Field{"dtypes", &TokenQueueOptions::dtypes}, Field{"shapes", &TokenQueueOptions::shapes},
                                   Field{"capacity", &TokenQueueOptions::capacity});
  options.name = arguments.Options(1, "spec", Field{"name", &QueueName::name}).name.value_or(key);
  auto queue = native().GetTokenQueue(key, std::move(options));
  arguments.Check(queue.status());
  return WrapTokenQueue::Make(AddonData::Of(info.Env()).token_queue, {shared(), *std::move(queue)});
}

Napi::Value WrapSession::GetCommunicator(const Info& info) {
  const Arguments arguments(info, "NativeSession.communicator");
  const auto key = arguments.Get<std::string>(0, "key");
  auto options = arguments.Options(1, "spec", Field{"size", &collective::LocalGroupOptions::size});
  const auto rank = arguments.Options(1, "spec", Field{"rank", &RankOptions::rank}).rank;
  options.name = key;
  auto group = native().GetLocalGroup(std::move(options));
  arguments.Check(group.status());
  auto communicator = (*group)->Join(rank);
  arguments.Check(communicator.status());
  return WrapCommunicator::Make(AddonData::Of(info.Env()).communicator, {shared(), *std::move(communicator)});
}

}  // namespace gradsync::node
