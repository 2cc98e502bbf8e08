#include "core/buffer.h"

#include <cstdlib>
#include <cstring>
#include <limits>
#include <utility>

#include "core/memory.h"

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace gradsync {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;

}  // namespace

StatusOr<Buffer> Buffer::Allocate(std::size_t bytes) {
  if (bytes == 0) return Buffer();
  // A large buffer begins on a huge page, and asks for such pages: 512 times fewer faults and look-ups than with small ones.
  const bool is_huge = bytes >= kHugePage;
  const std::size_t alignment = is_huge ? kHugePage : kBufferAlignment;
  // aligned_alloc wants a multiple of the alignment; a size that would wrap round cannot be had anyway. What is never touched is free.
  if (bytes > std::numeric_limits<std::size_t>::max() - alignment) return ResourceExhausted("cannot allocate ", bytes, " bytes");
  auto* const data = static_cast<std::byte*>(std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment));
  if (data == nullptr) return ResourceExhausted("cannot allocate ", bytes, " bytes");
#ifdef __linux__
  // Advice: where it is not taken, small pages do.
  if (is_huge) static_cast<void>(madvise(data, bytes / kHugePage * kHugePage, MADV_HUGEPAGE));
#endif
  return Buffer(data, bytes, bytes, nullptr);
}

StatusOr<Buffer> Buffer::AllocateFrom(Buffer spare, std::size_t bytes) {
  if (spare.capacity_ < bytes || spare.capacity_ / 2 > bytes) {
    spare = {};
    return Allocate(bytes);
  }
  spare.size_ = bytes;
  return spare;
}

Buffer::Buffer(Buffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      capacity_(std::exchange(other.capacity_, 0)),
      memory_(std::move(other.memory_)) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  if (this != &other) {
    Reset();
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
    capacity_ = std::exchange(other.capacity_, 0);
    memory_ = std::move(other.memory_);
  }
  return *this;
}

void Buffer::Reset() {
  if (memory_ != nullptr) {
    memory_->GiveBack(Buffer(data_, capacity_, capacity_, nullptr));
    memory_ = nullptr;
  } else {
    std::free(data_);  // NOLINT(cppcoreguidelines-no-malloc): the counterpart of aligned_alloc
  }
  data_ = nullptr;
}

StatusOr<std::size_t> Tensor::BytesOf(DType dtype, const Shape& shape) {
  GRADSYNC_ASSIGN_OR_RETURN(const std::int64_t count, NumElements(shape));
  if (static_cast<std::uint64_t>(count) > std::numeric_limits<std::size_t>::max() / DTypeSize(dtype)) {
    return ResourceExhausted("cannot allocate a ", dtype, " tensor of shape ", ShapeString(shape));
  }
  return static_cast<std::size_t>(count) * DTypeSize(dtype);
}

StatusOr<Tensor> Tensor::Allocate(DType dtype, Shape shape) { return AllocateFrom({}, dtype, std::move(shape)); }

StatusOr<Tensor> Tensor::Allocate(DType dtype, Shape shape, Memory& memory) {
  GRADSYNC_ASSIGN_OR_RETURN(const std::size_t bytes, BytesOf(dtype, shape));
  GRADSYNC_ASSIGN_OR_RETURN(Buffer buffer, memory.Allocate(bytes));
  return Tensor(dtype, std::move(shape), std::move(buffer));
}

StatusOr<Tensor> Tensor::AllocateFrom(Buffer spare, DType dtype, Shape shape) {
  GRADSYNC_ASSIGN_OR_RETURN(const std::size_t bytes, BytesOf(dtype, shape));
  GRADSYNC_ASSIGN_OR_RETURN(Buffer buffer, Buffer::AllocateFrom(std::move(spare), bytes));
  return Tensor(dtype, std::move(shape), std::move(buffer));
}

StatusOr<Tensor> Tensor::Copy(const TensorView& view, Buffer spare) {
  GRADSYNC_RETURN_IF_ERROR(view.Check("tensor"));
  GRADSYNC_ASSIGN_OR_RETURN(Tensor tensor, AllocateFrom(std::move(spare), view.dtype, Shape(view.shape.begin(), view.shape.end())));
  if (view.bytes > 0) std::memcpy(tensor.buffer_.data(), view.data, view.bytes);
  return tensor;
}

StatusOr<Tensor> Tensor::Copy(const TensorView& view, Memory& memory) {
  GRADSYNC_ASSIGN_OR_RETURN(Buffer buffer, memory.Allocate(view.bytes));
  return Copy(view, std::move(buffer));
}

Status TensorView::Check(std::string_view what) const {
  GRADSYNC_ASSIGN_OR_RETURN(const std::int64_t count, NumElements(shape));
  const std::uint64_t width = DTypeSize(dtype);
  if (static_cast<std::uint64_t>(count) > std::numeric_limits<std::uint64_t>::max() / width || count * width != bytes) {
    return InvalidArgument(what, ": expected ", count, " elements of ", dtype, " for shape ", ShapeString(shape), " but received ", bytes,
                           " bytes");
  }
  if (bytes > 0 && data == nullptr) return InvalidArgument(what, ": expected ", bytes, " bytes but received none");
  return OkStatus();
}

}  // namespace gradsync
