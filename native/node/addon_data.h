// What one environment keeps: its mailbox, the default instruction set and the constructors of the wrapper classes. Owned by the
// environment (instance data), used on its thread only, gone with it.
#ifndef GRADSYNC_NODE_ADDON_DATA_H_
#define GRADSYNC_NODE_ADDON_DATA_H_

#include <napi.h>

#include <memory>

#include "core/instruction_set.h"
#include "core/status.h"
#include "node/async_task.h"
#include "node/external_memory.h"

namespace gradsync::node {

struct AddonData {
  std::shared_ptr<Mailbox> mailbox;
  // What sessions use unless they say otherwise: the best there is, or what the environment variable GRADSYNC_INSTRUCTION_SET named when
  // the addon was loaded.
  StatusOr<InstructionSet> instruction_set = BestInstructionSet();
  // Where that is not so, results are copied and nothing can be lent.
  bool has_external_memory = true;
  std::shared_ptr<LendableMemory> lendable = std::make_shared<LendableMemory>();
  Napi::FunctionReference cancel_pending;  // made when first needed
  Napi::FunctionReference session;
  Napi::FunctionReference variable;
  Napi::FunctionReference dense_accumulator;
  Napi::FunctionReference sparse_accumulator;
  Napi::FunctionReference token_queue;
  Napi::FunctionReference communicator;
  Napi::FunctionReference dense_rounds;
  Napi::FunctionReference sparse_rounds;

  static AddonData& Of(Napi::Env env) { return *env.GetInstanceData<AddonData>(); }
};

}  // namespace gradsync::node

#endif  // GRADSYNC_NODE_ADDON_DATA_H_
