// Lease: elements of a tensor that somebody may read but not change, until he drops the lease: either his own, or those of an owner who
// promised to keep them alive and unchanged until his `keep` is released. So a gradient waits in an accumulator without being copied.
// Move-only; thread-safe as far as any constant is. `keep` is released on whatever thread drops the lease.
#ifndef GRADSYNC_CORE_LEASE_H_
#define GRADSYNC_CORE_LEASE_H_

#include <cstddef>
#include <memory>
#include <span>
#include <type_traits>
#include <utility>

#include "core/buffer.h"
#include "core/dtype.h"
#include "core/shape.h"
#include "core/status.h"
#include "core/tensor_view.h"

namespace gradsync {

class Lease {
 public:
  Lease() = default;
  // Elements of one's own.
  explicit Lease(Tensor tensor) : own_(std::move(tensor)) {}
  // Another's. INVALID_ARGUMENT when the view's shape and bytes disagree; `keep` is released then.
  [[nodiscard]] static StatusOr<Lease> Of(const TensorView& view, std::shared_ptr<const void> keep) {
    GRADSYNC_RETURN_IF_ERROR(view.Check("leased tensor"));
    Lease lease;
    lease.shape_.assign(view.shape.begin(), view.shape.end());
    lease.dtype_ = view.dtype;
    lease.data_ = view.data;
    lease.bytes_ = view.bytes;
    lease.keep_ = std::move(keep);
    lease.is_own_ = false;
    return lease;
  }

  [[nodiscard]] bool is_own() const { return is_own_; }
  [[nodiscard]] DType dtype() const { return is_own_ ? own_.dtype() : dtype_; }
  [[nodiscard]] const Shape& shape() const { return is_own_ ? own_.shape() : shape_; }
  [[nodiscard]] std::size_t bytes() const { return is_own_ ? own_.bytes() : bytes_; }
  [[nodiscard]] TensorView view() const {
    return is_own_ ? own_.view() : TensorView{.dtype = dtype_, .shape = shape_, .data = data_, .bytes = bytes_};
  }
  template <typename T>
  [[nodiscard]] std::span<const T> as() const {
    return view().as<T>();
  }
  // Its elements to change: another's are copied first, and his lease ends.
  [[nodiscard]] StatusOr<Tensor*> MakeOwn() {
    if (!is_own_) {
      GRADSYNC_ASSIGN_OR_RETURN(Tensor copy, Tensor::Copy(view()));
      *this = Lease(std::move(copy));
    }
    return &own_;
  }
  // Its memory, where it is its own, for another use; the lease ends.
  [[nodiscard]] Buffer TakeBuffer() && {
    keep_.reset();
    return is_own_ ? std::move(own_).TakeBuffer() : Buffer();
  }

 private:
  Tensor own_;
  Shape shape_;
  DType dtype_ = DType::kFloat32;
  const void* data_ = nullptr;
  std::size_t bytes_ = 0;
  std::shared_ptr<const void> keep_;
  bool is_own_ = true;
};
static_assert(!std::is_copy_constructible_v<Lease> && std::is_nothrow_move_constructible_v<Lease>);

}  // namespace gradsync

#endif  // GRADSYNC_CORE_LEASE_H_
