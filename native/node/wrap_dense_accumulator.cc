#include "node/wrap_dense_accumulator.h"

#include <optional>
#include <utility>

#include "node/take_into.h"
#include "node/wrap_accumulator.h"

namespace gradsync::node {

Napi::FunctionReference WrapDenseAccumulator::Define(Napi::Env env) {
  return Napi::Persistent(DefineClass(
      env, "NativeDenseAccumulator",
      {InstanceMethod<&WrapDenseAccumulator::Apply>("apply"), InstanceMethod<&WrapDenseAccumulator::ApplyLeased>("applyLeased"),
       InstanceMethod<&WrapDenseAccumulator::Take>("take"), InstanceMethod<&WrapDenseAccumulator::SetGlobalStep>("setGlobalStep"),
       InstanceAccessor<&WrapDenseAccumulator::NumAccumulated>("numAccumulated")}));
}

Napi::Value WrapDenseAccumulator::Apply(const Info& info) {
  return ApplyDense(info, "NativeDenseAccumulator.apply", native(), Handover::kCopy);
}

Napi::Value WrapDenseAccumulator::ApplyLeased(const Info& info) {
  return ApplyDense(info, "NativeDenseAccumulator.applyLeased", native(), Handover::kLease);
}

Napi::Value ApplyDense(const Napi::CallbackInfo& info, const char* call, accumulate::DenseAccumulator& accumulator, Handover handover) {
  const Arguments arguments(info, call);
  const auto local_step = arguments.Get<std::int64_t>(0, "localStep");
  const auto contributor = arguments.Get<std::int64_t>(1, "contributor");
  const auto shape = arguments.Get<Shape>(3, "shape");
  Shape dims;
  TensorView gradient = arguments.Array(2, "gradient", accumulator.options().dtype, &dims);
  gradient.shape = shape;
  std::optional<Lease> lease = LeaseFor(handover, arguments, "gradient", gradient,
                                        {.accumulator = accumulator.options().name, .contributor = contributor, .step = local_step});
  const StatusOr<accumulate::Receipt> receipt =
      lease ? accumulator.ApplyLeased(local_step, contributor, *std::move(lease)) : accumulator.Apply(local_step, contributor, gradient);
  arguments.Check(receipt.status());
  return ToJs(info.Env(), *receipt);
}

Napi::Value WrapDenseAccumulator::Take(const Info& info) {
  // Anything else than an object is refused where the other options are read.
  const Napi::Value into = info[1].IsObject() ? info[1].As<Napi::Object>().Get("into") : info.Env().Undefined();
  if (into.IsUndefined()) return TakeFrom<Tensor>(*this, info);
  const Arguments arguments(info, kClass, "take");
  const auto required = arguments.Get<std::int64_t>(0, "numRequired");
  const Deadline deadline = ReadDeadline(arguments, 1);
  return TakeInto::Start(arguments, session(), native(), {.required = required, .deadline = deadline, .array = into});
}

Napi::Value WrapDenseAccumulator::NumAccumulated(const Info& info) { return NumAccumulatedOf(*this, info); }

void WrapDenseAccumulator::SetGlobalStep(const Info& info) { SetGlobalStepOf(*this, info); }

}  // namespace gradsync::node
