// What the wrappers of dense and sparse accumulators share: take, numAccumulated and setGlobalStep, as functions of the wrapper.
// See wrap.h for ownership and threads.
#ifndef GRADSYNC_NODE_WRAP_ACCUMULATOR_H_
#define GRADSYNC_NODE_WRAP_ACCUMULATOR_H_

#include <napi.h>

#include <cstdint>
#include <utility>

#include "node/async_task.h"
#include "node/wait_options.h"
#include "node/wrap.h"

namespace gradsync::node {

// `Taken` is what a take gives: Tensor or SparseSlices.
template <typename Taken, typename Wrapper>
Napi::Value TakeFrom(const Wrapper& wrapper, const Napi::CallbackInfo& info) {
  const Arguments arguments(info, Wrapper::kClass, "take");
  const auto required = arguments.Get<std::int64_t>(0, "numRequired");
  const Deadline deadline = ReadDeadline(arguments, 1);
  return StartPending<Taken>(info.Env(), AddonData::Of(info.Env()).mailbox, wrapper.session(),
                             [&](auto callback) { return wrapper.native().Take(required, deadline, std::move(callback)); });
}

template <typename Wrapper>
Napi::Value NumAccumulatedOf(const Wrapper& wrapper, const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(wrapper.native().NumAccumulated()));
}

template <typename Wrapper>
void SetGlobalStepOf(const Wrapper& wrapper, const Napi::CallbackInfo& info) {
  const Arguments arguments(info, Wrapper::kClass, "setGlobalStep");
  arguments.Check(wrapper.native().SetGlobalStep(arguments.Get<std::int64_t>(0, "step")));
}

}  // namespace gradsync::node

#endif  // GRADSYNC_NODE_WRAP_ACCUMULATOR_H_
