// The half of convert.h that makes JavaScript values of native ones.
#include <string>
#include <utility>

#include "node/convert.h"
#include "node/external_memory.h"

namespace gradsync::node {
namespace {

Napi::Value ArrayOf(Napi::Env env, Tensor tensor) {
  const DType dtype = tensor.dtype();
  return TypedArrayOn(ArrayBufferOf(env, std::move(tensor).TakeBuffer()), dtype);
}

}  // namespace

Napi::Array ToJs(Napi::Env env, const Shape& shape) {
  Napi::Array array = Napi::Array::New(env, shape.size());
  for (std::size_t i = 0; i < shape.size(); ++i) {
    array.Set(static_cast<std::uint32_t>(i), Napi::Number::New(env, static_cast<double>(shape[i])));
  }
  return array;
}

Napi::Object ToJs(Napi::Env env, Tensor tensor) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("dtype", Napi::String::New(env, std::string(DTypeName(tensor.dtype()))));
  object.Set("shape", ToJs(env, tensor.shape()));
  object.Set("data", ArrayOf(env, std::move(tensor)));
  return object;
}

Napi::Object ToJs(Napi::Env env, accumulate::SparseSlices slices) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("indices", ArrayOf(env, std::move(slices.indices)));
  object.Set("values", ToJs(env, std::move(slices.values)));
  Napi::BigInt64Array shape = Napi::BigInt64Array::New(env, slices.shape.size(), napi_bigint64_array);
  for (std::size_t i = 0; i < slices.shape.size(); ++i) shape[i] = slices.shape[i];
  object.Set("shape", shape);
  return object;
}

Napi::Array ToJs(Napi::Env env, std::vector<Tensor> tensors) {
  Napi::Array array = Napi::Array::New(env, tensors.size());
  for (std::size_t i = 0; i < tensors.size(); ++i) array.Set(static_cast<std::uint32_t>(i), ToJs(env, std::move(tensors[i])));
  return array;
}

// The steps are told wherever they differ from what the contributor may expect: dropped, or in a later round than its own.
Napi::Object ToJs(Napi::Env env, const accumulate::Receipt& receipt) {
  Napi::Object object = Napi::Object::New(env);
  const char* status = !receipt.is_accepted ? "stale" : receipt.factor ? "scaled" : "accepted";
  object.Set("status", Napi::String::New(env, status));
  if (!receipt.is_accepted || receipt.local_step < receipt.global_step) {
    object.Set("localStep", Napi::BigInt::New(env, receipt.local_step));
    object.Set("globalStep", Napi::BigInt::New(env, receipt.global_step));
  }
  if (receipt.factor) object.Set("factor", Napi::Number::New(env, *receipt.factor));
  return object;
}

Napi::Object ToJs(Napi::Env env, const accumulate::Ticket& ticket) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("step", Napi::Number::New(env, static_cast<double>(ticket.step)));
  object.Set("applied", Napi::Number::New(env, static_cast<double>(ticket.applied)));
  object.Set("lag", Napi::Number::New(env, static_cast<double>(ticket.lag)));
  return object;
}

Napi::Object ToJs(Napi::Env env, const accumulate::LagRecord& lags) {
  Napi::Object object = Napi::Object::New(env);
  Napi::Object counts = Napi::Object::New(env);
  for (const auto& [lag, reads] : lags.counts) counts.Set(static_cast<std::uint32_t>(lag), static_cast<double>(reads));
  object.Set("reads", Napi::Number::New(env, static_cast<double>(lags.reads)));
  object.Set("max", Napi::Number::New(env, static_cast<double>(lags.max)));
  object.Set("counts", counts);
  return object;
}

Napi::Object ToJs(Napi::Env env, const accumulate::Contribution& contribution) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("contributor", Napi::Number::New(env, static_cast<double>(contribution.contributor)));
  object.Set("step", Napi::Number::New(env, static_cast<double>(contribution.step)));
  object.Set("lag", Napi::Number::New(env, static_cast<double>(contribution.lag)));
  object.Set("factor", Napi::Number::New(env, contribution.factor));
  return object;
}

Napi::Object ToJs(Napi::Env env, const step::FusedStepResult& result) {
  Napi::Array found = Napi::Array::New(env, result.non_finite.size());
  for (std::size_t i = 0; i < result.non_finite.size(); ++i) {
    const step::NonFinite& one = result.non_finite[i];
    Napi::Object object = Napi::Object::New(env);
    object.Set("variable", Napi::String::New(env, one.variable));
    object.Set("contributor", one.contributor ? Napi::Number::New(env, static_cast<double>(*one.contributor)) : env.Null());
    object.Set("position", Napi::Number::New(env, static_cast<double>(one.position)));
    found.Set(static_cast<std::uint32_t>(i), object);
  }
  Napi::Object object = Napi::Object::New(env);
  object.Set("isApplied", Napi::Boolean::New(env, result.is_applied));
  object.Set("globalNorm", result.global_norm ? Napi::Number::New(env, *result.global_norm) : env.Null());
  object.Set("scale", Napi::Number::New(env, result.scale));
  object.Set("nonFinite", found);
  return object;
}

}  // namespace gradsync::node
