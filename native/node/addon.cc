// The addon's entry point, called once per environment that loads it (main thread and every worker): defines what src/addon/native.ts
// declares.
#include <napi.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "accumulate/row_update.h"
#include "core/instruction_set.h"
#include "node/addon_data.h"
#include "node/async_task.h"
#include "node/convert.h"
#include "node/error.h"
#include "node/wait_options.h"
#include "node/wrap_communicator.h"
#include "node/wrap_dense_accumulator.h"
#include "node/wrap_member_rounds.h"
#include "node/wrap_session.h"
#include "node/wrap_sparse_accumulator.h"
#include "node/wrap_token_queue.h"
#include "node/wrap_variable.h"

namespace gradsync::node {
namespace {

Napi::Value Capabilities(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Napi::Object out = Napi::Object::New(env);
  // This build has none of the optional backends; saying so is better than falling back silently.
  for (const char* name : {"cuda", "nccl", "gloo"}) out.Set(name, Napi::Boolean::New(env, false));
  const StatusOr<InstructionSet>& set = AddonData::Of(env).instruction_set;
  out.Set("instructionSet", Napi::String::New(env, std::string(InstructionSetName(ValueOrThrow(env, set)))));
  out.Set("externalMemory", Napi::Boolean::New(env, AddonData::Of(env).has_external_memory));
  Napi::Array sets = Napi::Array::New(env);
  for (const InstructionSet available : AvailableInstructionSets()) {
    sets.Set(sets.Length(), Napi::String::New(env, std::string(InstructionSetName(available))));
  }
  out.Set("instructionSets", sets);
  out.Freeze();
  return out;
}

void AwaitSettlement(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "awaitSettlement");
  const auto waiting = arguments.Get<std::int64_t>(0, "waiting");
  const Deadline deadline = ReadDeadline(arguments, 1);
  if (waiting > 0) AddonData::Of(info.Env()).mailbox->AwaitSettlement(info.Env(), static_cast<std::size_t>(waiting), deadline);
}

void AddRows(const Napi::CallbackInfo& info) {
  const Arguments arguments(info, "addRows");
  const auto dtype = arguments.Get<DType>(0, "dtype");
  const auto width = arguments.Get<std::int64_t>(1, "width");
  Shape table_dims;
  Shape index_dims;
  Shape dims;
  const std::vector<std::int64_t> copied = arguments.Indices(3, "indices");
  const TensorView indices = IndexView(copied, &index_dims);
  const TensorView rows = arguments.Array(4, "rows", dtype, &dims);
  const MutableTensorView table = arguments.MutableArray(2, "table", dtype, &table_dims);
  const bool fits = width > 0 && table.size() % width == 0 && rows.size() / width == indices.size() && rows.size() % width == 0;
  if (!fits) {
    arguments.Check(InvalidArgument("expected a table of rows of ", width, " elements, at least one, and as many such rows as indices (",
                                    indices.size(), ") but received ", table.size(), " and ", rows.size(), " elements"));
  }
  table_dims = {table.size() / width, width};
  arguments.Check(accumulate::CheckIndices(indices, table.size() / width, "table"));
  const MutableTensorView shaped{.dtype = dtype, .shape = table_dims, .data = table.data, .bytes = table.bytes};
  arguments.Check(accumulate::ScatterRows(shaped, indices, rows, accumulate::Arithmetic::kAdd));
}

// An empty variable is as none. A name that is none is refused by whoever asks for the set, not here, where it would fail the loading.
StatusOr<InstructionSet> ReadInstructionSet() {
  const char* const name = std::getenv("GRADSYNC_INSTRUCTION_SET");
  if (name == nullptr || *name == '\0') return BestInstructionSet();
  StatusOr<InstructionSet> set = ParseInstructionSet(name);
  if (!set.ok()) return Status(set.status().code(), StrCat("GRADSYNC_INSTRUCTION_SET: ", set.status().message()));
  return set;
}

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  auto data = std::make_unique<AddonData>();
  data->mailbox = Mailbox::Open(env);
  data->instruction_set = ReadInstructionSet();
  data->has_external_memory = FindExternalMemory(env);
  data->session = WrapSession::Define(env);
  data->variable = WrapVariable::Define(env);
  data->dense_accumulator = WrapDenseAccumulator::Define(env);
  data->sparse_accumulator = WrapSparseAccumulator::Define(env);
  data->token_queue = WrapTokenQueue::Define(env);
  data->communicator = WrapCommunicator::Define(env);
  data->dense_rounds = WrapDenseRounds::Define(env);
  data->sparse_rounds = WrapSparseRounds::Define(env);
  env.SetInstanceData(data.release());
  exports.Set("version", Napi::String::New(env, GRADSYNC_VERSION));
  exports.Set("capabilities", Napi::Function::New<Capabilities>(env, "capabilities"));
  exports.Set("awaitSettlement", Napi::Function::New<AwaitSettlement>(env, "awaitSettlement"));
  exports.Set("addRows", Napi::Function::New<AddRows>(env, "addRows"));
  exports.Set("createSession", Napi::Function::New<WrapSession::Create>(env, "createSession"));
  exports.Set("attachSession", Napi::Function::New<WrapSession::Attach>(env, "attachSession"));
  return exports;
}

}  // namespace

NODE_API_MODULE(gradsync, Init)

}  // namespace gradsync::node
