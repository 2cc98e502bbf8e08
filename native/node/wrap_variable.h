// NativeVariable of src/addon/native.ts: a shared, versioned variable and the fused optimizers that update it. A thin wrapper around
// accumulate::Variable; see wrap.h for ownership and threads.
#ifndef GRADSYNC_NODE_WRAP_VARIABLE_H_
#define GRADSYNC_NODE_WRAP_VARIABLE_H_

#include <napi.h>

#include <string_view>

#include "accumulate/variable.h"
#include "node/wrap.h"

namespace gradsync::node {

class WrapVariable : public Wrap<WrapVariable, accumulate::Variable> {
 public:
  static constexpr std::string_view kClass = "NativeVariable";
  static constexpr napi_type_tag kTag = {0x67726164'73796e63, 1};
  using Wrap::Wrap;

  static Napi::FunctionReference Define(Napi::Env env);

 private:
  using Info = Napi::CallbackInfo;
  Napi::Value Version(const Info& info);
  Napi::Value IsInitialized(const Info& info);
  Napi::Value ShapeOf(const Info& info);
  void Assign(const Info& info);
  void AssignAdd(const Info& info);
  void AssignSub(const Info& info);
  Napi::Value CopyTo(const Info& info);
  Napi::Value Read(const Info& info);
  Napi::Value Gather(const Info& info);
  void ScatterAdd(const Info& info);
  void ScatterSub(const Info& info);
  void ScatterUpdate(const Info& info);

  // In wrap_variable_optimize.cc.
  void ApplyDense(const Info& info);
  void ApplySparse(const Info& info);

  using Change = Status (accumulate::Variable::*)(const TensorView& value);
  using Scatter = Status (accumulate::Variable::*)(const TensorView& indices, const TensorView& rows);
  void Update(const Arguments& arguments, Change change);
  void UpdateRows(const Arguments& arguments, Scatter scatter);
  // A view of a value with the shape of the current version.
  TensorView LikeCurrent(const Arguments& arguments, std::size_t index, std::string_view name, Shape* dims) const;
  // A view of `count` rows with the inner dimensions of the current version.
  TensorView RowsLikeCurrent(const Arguments& arguments, std::size_t index, std::string_view name, std::size_t count, Shape* dims) const;
};

// The wrapper in a value, for lists of them.
inline Status Convert(const Napi::Value& value, WrapVariable** out) {
  *out = WrapVariable::FromValue(value);
  return *out != nullptr ? OkStatus() : Expected(StrCat("a ", WrapVariable::kClass), value);
}

}  // namespace gradsync::node

#endif  // GRADSYNC_NODE_WRAP_VARIABLE_H_
