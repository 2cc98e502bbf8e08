// TensorView: bytes of a tensor that somebody else owns, with dtype and shape. It is how arguments enter the native code without a copy;
// the owner keeps memory and dimensions alive and unchanged for the duration of the call. A view from outside must pass `Check` once.
#ifndef GRADSYNC_CORE_TENSOR_VIEW_H_
#define GRADSYNC_CORE_TENSOR_VIEW_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "core/dtype.h"
#include "core/shape.h"
#include "core/status.h"

namespace gradsync {

struct TensorView {
  DType dtype = DType::kFloat32;
  Dims shape;
  const void* data = nullptr;
  std::size_t bytes = 0;

  // Elements that `bytes` holds; equals the product of the shape once checked.
  [[nodiscard]] std::int64_t size() const { return static_cast<std::int64_t>(bytes / DTypeSize(dtype)); }
  // The elements as T. The dtype must be T's.
  template <typename T>
  [[nodiscard]] std::span<const T> as() const {
    assert(kDTypeOf<T> == dtype);
    return {static_cast<const T*>(data), bytes / sizeof(T)};
  }
  // INVALID_ARGUMENT unless the shape is valid and needs exactly `bytes`. `what` names the argument in the message.
  [[nodiscard]] Status Check(std::string_view what) const;
};

// The same for a place to write to.
struct MutableTensorView {
  DType dtype = DType::kFloat32;
  Dims shape;
  void* data = nullptr;
  std::size_t bytes = 0;

  [[nodiscard]] std::int64_t size() const { return static_cast<std::int64_t>(bytes / DTypeSize(dtype)); }
  template <typename T>
  [[nodiscard]] std::span<T> as() const {
    assert(kDTypeOf<T> == dtype);
    return {static_cast<T*>(data), bytes / sizeof(T)};
  }
  [[nodiscard]] TensorView AsConst() const { return {.dtype = dtype, .shape = shape, .data = data, .bytes = bytes}; }
};

}  // namespace gradsync

#endif  // GRADSYNC_CORE_TENSOR_VIEW_H_
