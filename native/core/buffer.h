// Buffer: owned memory, aligned to 64 bytes, move-only. Tensor: a Buffer with dtype and shape, the owned counterpart of TensorView.
// Not synchronized: one thread at a time, or many readers. Memory is uninitialized; allocation failure is RESOURCE_EXHAUSTED, never an
// abort. A buffer of a Memory (core/memory.h) goes back to it, any other to the system.
#ifndef GRADSYNC_CORE_BUFFER_H_
#define GRADSYNC_CORE_BUFFER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>
#include <utility>

#include "core/dtype.h"
#include "core/shape.h"
#include "core/status.h"
#include "core/tensor_view.h"

namespace gradsync {

inline constexpr std::size_t kBufferAlignment = 64;

class Memory;

class Buffer {
 public:
  Buffer() = default;
  [[nodiscard]] static StatusOr<Buffer> Allocate(std::size_t bytes);
  // As above, in the memory of `spare` when that has room and is not more than half waste (then no allocation happens).
  [[nodiscard]] static StatusOr<Buffer> AllocateFrom(Buffer spare, std::size_t bytes);
  ~Buffer() { Reset(); }
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  [[nodiscard]] std::byte* data() { return data_; }
  [[nodiscard]] const std::byte* data() const { return data_; }
  [[nodiscard]] std::size_t size() const { return size_; }
  // Bytes of memory behind it, at least `size`.
  [[nodiscard]] std::size_t capacity() const { return capacity_; }

 private:
  friend class Memory;
  Buffer(std::byte* data, std::size_t size, std::size_t capacity, std::shared_ptr<Memory> memory)
      : data_(data), size_(size), capacity_(capacity), memory_(std::move(memory)) {}
  void Reset();

  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
  std::shared_ptr<Memory> memory_;
};
static_assert(!std::is_copy_constructible_v<Buffer> && std::is_nothrow_move_constructible_v<Buffer>);

class Tensor {
 public:
  Tensor() = default;
  // Uninitialized elements.
  [[nodiscard]] static StatusOr<Tensor> Allocate(DType dtype, Shape shape);
  [[nodiscard]] static StatusOr<Tensor> Allocate(DType dtype, Shape shape, Memory& memory);
  // As above, in the memory of `spare` where that fits (Buffer::AllocateFrom).
  [[nodiscard]] static StatusOr<Tensor> AllocateFrom(Buffer spare, DType dtype, Shape shape);
  // Checks the view, then copies it.
  [[nodiscard]] static StatusOr<Tensor> Copy(const TensorView& view, Buffer spare = {});
  [[nodiscard]] static StatusOr<Tensor> Copy(const TensorView& view, Memory& memory);

  [[nodiscard]] DType dtype() const { return dtype_; }
  [[nodiscard]] const Shape& shape() const { return shape_; }
  [[nodiscard]] std::size_t bytes() const { return buffer_.size(); }
  [[nodiscard]] std::int64_t size() const { return static_cast<std::int64_t>(buffer_.size() / DTypeSize(dtype_)); }
  [[nodiscard]] TensorView view() const { return {.dtype = dtype_, .shape = shape_, .data = buffer_.data(), .bytes = buffer_.size()}; }
  [[nodiscard]] MutableTensorView mutable_view() {
    return {.dtype = dtype_, .shape = shape_, .data = buffer_.data(), .bytes = buffer_.size()};
  }
  template <typename T>
  [[nodiscard]] std::span<const T> as() const {
    return view().as<T>();
  }
  template <typename T>
  [[nodiscard]] std::span<T> as() {
    return mutable_view().as<T>();
  }
  // Gives the memory away; the tensor is empty afterwards.
  [[nodiscard]] Buffer TakeBuffer() && { return std::move(buffer_); }

 private:
  [[nodiscard]] static StatusOr<std::size_t> BytesOf(DType dtype, const Shape& shape);
  Tensor(DType dtype, Shape shape, Buffer buffer) : dtype_(dtype), shape_(std::move(shape)), buffer_(std::move(buffer)) {}

  DType dtype_ = DType::kFloat32;
  Shape shape_;
  Buffer buffer_;
};
static_assert(!std::is_copy_constructible_v<Tensor> && std::is_nothrow_move_constructible_v<Tensor>);

}  // namespace gradsync

#endif  // GRADSYNC_CORE_BUFFER_H_
