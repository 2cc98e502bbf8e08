// NativeDenseAccumulator of src/addon/native.ts, a thin wrapper around accumulate::DenseAccumulator; see wrap.h for ownership and threads.
#ifndef GRADSYNC_NODE_WRAP_DENSE_ACCUMULATOR_H_
#define GRADSYNC_NODE_WRAP_DENSE_ACCUMULATOR_H_

#include <napi.h>

#include <string_view>

#include "accumulate/dense_accumulator.h"
#include "node/handover.h"
#include "node/wrap.h"

namespace gradsync::node {

// (step, contributor, gradient, shape) -> Receipt
Napi::Value ApplyDense(const Napi::CallbackInfo& info, const char* call, accumulate::DenseAccumulator& accumulator, Handover handover);

class WrapDenseAccumulator : public Wrap<WrapDenseAccumulator, accumulate::DenseAccumulator> {
 public:
  static constexpr std::string_view kClass = "NativeDenseAccumulator";
  static constexpr napi_type_tag kTag = {0x67726164'73796e63, 2};
  using Wrap::Wrap;

  static Napi::FunctionReference Define(Napi::Env env);

 private:
  using Info = Napi::CallbackInfo;
  Napi::Value Apply(const Info& info);
  Napi::Value ApplyLeased(const Info& info);
  Napi::Value Take(const Info& info);
  Napi::Value NumAccumulated(const Info& info);
  void SetGlobalStep(const Info& info);
};

}  // namespace gradsync::node

#endif  // GRADSYNC_NODE_WRAP_DENSE_ACCUMULATOR_H_
