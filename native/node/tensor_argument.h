// TensorArgument: NativeTensor of src/addon/native.ts as an argument, {dtype, shape, data}. Reading it may run JavaScript; its memory is
// looked at afterwards, by View. On the thread of the environment only.
#ifndef GRADSYNC_NODE_TENSOR_ARGUMENT_H_
#define GRADSYNC_NODE_TENSOR_ARGUMENT_H_

#include <napi.h>

#include "core/dtype.h"
#include "core/shape.h"
#include "core/status.h"
#include "core/tensor_view.h"
#include "node/convert.h"

namespace gradsync::node {

struct TensorArgument {
  DType dtype = DType::kFloat32;
  Shape shape{};
  Napi::Value data{};

  // A view of JavaScript's memory for that use, not checked against the shape. Runs no JavaScript.
  [[nodiscard]] StatusOr<MutableTensorView> ViewFor(LoanKind use) const {
    GRADSYNC_ASSIGN_OR_RETURN(const ArrayBytes bytes, BytesFor(use, data));
    if (bytes.type != ArrayTypeOf(dtype)) return Expected(StrCat("a ", ArrayNameOf(dtype), " for ", dtype), data);
    return MutableTensorView{.dtype = dtype, .shape = shape, .data = bytes.data, .bytes = bytes.bytes};
  }
  [[nodiscard]] StatusOr<TensorView> View() const {
    GRADSYNC_ASSIGN_OR_RETURN(const MutableTensorView view, ViewFor(LoanKind::kRead));
    return view.AsConst();
  }
};

inline Status Convert(const Napi::Value& value, TensorArgument* out) {
  if (!value.IsObject()) return Expected("a tensor {dtype, shape, data}", value);
  const auto tensor = value.As<Napi::Object>();
  GRADSYNC_RETURN_IF_ERROR(Convert(tensor.Get("dtype"), &out->dtype));
  GRADSYNC_RETURN_IF_ERROR(Convert(tensor.Get("shape"), &out->shape));
  out->data = tensor.Get("data");
  return OkStatus();
}

}  // namespace gradsync::node

#endif  // GRADSYNC_NODE_TENSOR_ARGUMENT_H_
