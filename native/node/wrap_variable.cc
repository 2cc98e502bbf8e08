#include "node/wrap_variable.h"

#include <optional>
#include <utility>
#include <vector>

namespace gradsync::node {

using accumulate::Variable;

Napi::FunctionReference WrapVariable::Define(Napi::Env env) {
  return Napi::Persistent(
      DefineClass(env, "NativeVariable",
                  {InstanceAccessor<&WrapVariable::Version>("version"), InstanceAccessor<&WrapVariable::IsInitialized>("isInitialized"),
                   InstanceAccessor<&WrapVariable::ShapeOf>("shape"), InstanceMethod<&WrapVariable::Assign>("assign"),
                   InstanceMethod<&WrapVariable::AssignAdd>("assignAdd"), InstanceMethod<&WrapVariable::AssignSub>("assignSub"),
                   InstanceMethod<&WrapVariable::CopyTo>("copyTo"), InstanceMethod<&WrapVariable::Read>("read"),
                   InstanceMethod<&WrapVariable::Gather>("gather"), InstanceMethod<&WrapVariable::ScatterAdd>("scatterAdd"),
                   InstanceMethod<&WrapVariable::ScatterSub>("scatterSub"), InstanceMethod<&WrapVariable::ScatterUpdate>("scatterUpdate"),
                   InstanceMethod<&WrapVariable::ApplyDense>("applyDense"), InstanceMethod<&WrapVariable::ApplySparse>("applySparse")}));
}

Napi::Value WrapVariable::Version(const Info& info) { return Napi::Number::New(info.Env(), static_cast<double>(native().version())); }

Napi::Value WrapVariable::IsInitialized(const Info& info) { return Napi::Boolean::New(info.Env(), native().is_initialized()); }

Napi::Value WrapVariable::ShapeOf(const Info& info) {
  const std::optional<Shape> shape = native().shape();
  return shape.has_value() ? Napi::Value(ToJs(info.Env(), *shape)) : info.Env().Null();
}

void WrapVariable::Assign(const Info& info) {
  const Arguments arguments(info, "NativeVariable.assign");
  const auto shape = arguments.Get<Shape>(1, "shape");
  Shape dims;
  TensorView value = arguments.Array(0, "value", native().options().dtype, &dims);
  value.shape = shape;
  arguments.Check(native().Assign(value));
}

TensorView WrapVariable::LikeCurrent(const Arguments& arguments, std::size_t index, std::string_view name, Shape* dims) const {
  TensorView value = arguments.Array(index, name, native().options().dtype, dims);
  std::optional<Shape> shape = native().shape();
  // Another number of elements keeps its own shape, for the message.
  if (shape.has_value() && NumElements(*shape).ok() && *NumElements(*shape) == value.size()) {
    *dims = *std::move(shape);
    value.shape = *dims;
  }
  return value;
}

void WrapVariable::Update(const Arguments& arguments, Change change) {
  Shape dims;
  arguments.Check((native().*change)(LikeCurrent(arguments, 0, "value", &dims)));
}

void WrapVariable::AssignAdd(const Info& info) { Update(Arguments(info, "NativeVariable.assignAdd"), &Variable::AssignAdd); }

void WrapVariable::AssignSub(const Info& info) { Update(Arguments(info, "NativeVariable.assignSub"), &Variable::AssignSub); }

Napi::Value WrapVariable::CopyTo(const Info& info) {
  const Arguments arguments(info, "NativeVariable.copyTo");
  Shape dims;
  const MutableTensorView out = arguments.MutableArray(0, "out", native().options().dtype, &dims);
  const auto known = arguments.Get<std::int64_t>(1, "known");
  const StatusOr<std::int64_t> version = native().CopyTo(out, known);
  arguments.Check(version.status());
  return Napi::Number::New(info.Env(), static_cast<double>(*version));
}

Napi::Value WrapVariable::Read(const Info& info) {
  const Arguments arguments(info, "NativeVariable.read");
  const StatusOr<accumulate::VariableLease> lease = native().Read();
  arguments.Check(lease.status());
  StatusOr<Tensor> copy = Tensor::Copy(lease->tensor().view());
  arguments.Check(copy.status());
  return ToJs(info.Env(), *std::move(copy));
}

Napi::Value WrapVariable::Gather(const Info& info) {
  const Arguments arguments(info, "NativeVariable.gather");
  const std::vector<std::int64_t> indices = arguments.Indices(0, "indices");
  Shape index_dims;
  Shape dims;
  const MutableTensorView out = arguments.MutableArray(1, "out", native().options().dtype, &dims);
  const StatusOr<std::int64_t> version = native().Gather(IndexView(indices, &index_dims), out);
  arguments.Check(version.status());
  return Napi::Number::New(info.Env(), static_cast<double>(*version));
}

TensorView WrapVariable::RowsLikeCurrent(const Arguments& arguments, std::size_t index, std::string_view name, std::size_t count,
                                         Shape* dims) const {
  TensorView rows = arguments.Array(index, name, native().options().dtype, dims);
  // [count, ...]: rows of the variable; another number of elements keeps its own shape, for the message.
  std::optional<Shape> shape = native().shape();
  if (shape.has_value() && !shape->empty()) {
    shape->front() = static_cast<std::int64_t>(count);
    const StatusOr<std::int64_t> elements = NumElements(*shape);
    if (elements.ok() && *elements == rows.size()) *dims = *std::move(shape);
    rows.shape = *dims;
  }
  return rows;
}

void WrapVariable::UpdateRows(const Arguments& arguments, Scatter scatter) {
  const std::vector<std::int64_t> indices = arguments.Indices(0, "indices");
  Shape index_dims;
  Shape dims;
  const TensorView rows = RowsLikeCurrent(arguments, 1, "rows", indices.size(), &dims);
  arguments.Check((native().*scatter)(IndexView(indices, &index_dims), rows));
}

void WrapVariable::ScatterAdd(const Info& info) { UpdateRows(Arguments(info, "NativeVariable.scatterAdd"), &Variable::ScatterAdd); }

void WrapVariable::ScatterSub(const Info& info) { UpdateRows(Arguments(info, "NativeVariable.scatterSub"), &Variable::ScatterSub); }

void WrapVariable::ScatterUpdate(const Info& info) {
  UpdateRows(Arguments(info, "NativeVariable.scatterUpdate"), &Variable::ScatterUpdate);
}

}  // namespace gradsync::node
