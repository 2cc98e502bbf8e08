#include "node/wrap_sparse_accumulator.h"

#include <optional>
#include <utility>

#include "node/wrap_accumulator.h"

namespace gradsync::node {

Napi::FunctionReference WrapSparseAccumulator::Define(Napi::Env env) {
  return Napi::Persistent(DefineClass(
      env, "NativeSparseAccumulator",
      {InstanceMethod<&WrapSparseAccumulator::Apply>("apply"), InstanceMethod<&WrapSparseAccumulator::ApplyLeased>("applyLeased"),
       InstanceMethod<&WrapSparseAccumulator::Take>("take"), InstanceMethod<&WrapSparseAccumulator::SetGlobalStep>("setGlobalStep"),
       InstanceAccessor<&WrapSparseAccumulator::NumAccumulated>("numAccumulated")}));
}

Napi::Value WrapSparseAccumulator::Apply(const Info& info) {
  return ApplySparse(info, "NativeSparseAccumulator.apply", native(), Handover::kCopy);
}

Napi::Value WrapSparseAccumulator::ApplyLeased(const Info& info) {
  return ApplySparse(info, "NativeSparseAccumulator.applyLeased", native(), Handover::kLease);
}

Napi::Value ApplySparse(const Napi::CallbackInfo& info, const char* call, accumulate::SparseAccumulator& accumulator, Handover handover) {
  const Arguments arguments(info, call);
  const auto local_step = arguments.Get<std::int64_t>(0, "localStep");
  const auto contributor = arguments.Get<std::int64_t>(1, "contributor");
  const auto values_shape = arguments.Get<Shape>(4, "valuesShape");
  const auto dense_shape = arguments.Get<std::optional<Shape>>(5, "denseShape");
  Shape index_dims;
  const TensorView indices = arguments.IndexArray(2, "indices", &index_dims);
  Shape dims;
  TensorView values = arguments.Array(3, "values", accumulator.options().dtype, &dims);
  values.shape = values_shape;
  std::optional<Lease> lease = LeaseFor(handover, arguments, "values", values,
                                        {.accumulator = accumulator.options().name, .contributor = contributor, .step = local_step});
  const StatusOr<accumulate::Receipt> receipt =
      lease ? accumulator.ApplyLeased(local_step, contributor, indices, *std::move(lease), dense_shape)
            : accumulator.Apply(local_step, contributor, indices, values, dense_shape);
  arguments.Check(receipt.status());
  return ToJs(info.Env(), *receipt);
}

Napi::Value WrapSparseAccumulator::Take(const Info& info) { return TakeFrom<accumulate::SparseSlices>(*this, info); }

Napi::Value WrapSparseAccumulator::NumAccumulated(const Info& info) { return NumAccumulatedOf(*this, info); }

void WrapSparseAccumulator::SetGlobalStep(const Info& info) { SetGlobalStepOf(*this, info); }

}  // namespace gradsync::node
