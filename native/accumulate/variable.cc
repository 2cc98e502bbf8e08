#include "accumulate/variable.h"

#include <array>
#include <cstring>

#include "accumulate/variable_update.h"

namespace gradsync::accumulate {

void VariableLease::Acquire() {
  if (version_ != nullptr) version_->leases.fetch_add(1, std::memory_order_relaxed);
}

// Release order: what was read happens before whatever the writer does that sees the count at 0.
void VariableLease::Release() {
  if (version_ == nullptr) return;
  version_->leases.fetch_sub(1, std::memory_order_release);
  version_.reset();
}

Variable::Variable(VariableOptions options) : options_(std::move(options)) {}

// Under mutex_.
Status Variable::CheckUsable() const {
  if (shutdown_reason_) return FailedPrecondition("Variable '", options_.name, "' is closed: ", *shutdown_reason_);
  return OkStatus();
}

std::optional<Shape> Variable::shape() const {
  const std::lock_guard lock(mutex_);
  if (current_ == nullptr) return std::nullopt;
  return current_->tensor.shape();
}

StatusOr<VariableLease> Variable::Read() const {
  const std::lock_guard lock(mutex_);
  GRADSYNC_RETURN_IF_ERROR(CheckUsable());
  if (current_ == nullptr) return FailedPrecondition("Attempting to use uninitialized value ", options_.name);
  return VariableLease(current_);
}

void Variable::Publish(std::shared_ptr<VariableVersion> next) {
  next->number = version_.load(std::memory_order_relaxed) + 1;
  const bool is_same_size = current_ != nullptr && current_->tensor.bytes() == next->tensor.bytes();
  if (current_ != next) retired_ = is_same_size ? std::exchange(current_, next) : nullptr;
  current_ = std::move(next);
  version_.store(current_->number, std::memory_order_release);
}

Buffer Variable::TakeSpare() {
  if (retired_ == nullptr || retired_->leases.load(std::memory_order_acquire) != 0) return {};
  return std::move(std::exchange(retired_, nullptr)->tensor).TakeBuffer();
}

Status Variable::Assign(const TensorView& value) {
  if (value.dtype != options_.dtype) {
    return InvalidArgument("Variable '", options_.name, "': expected a value of dtype ", options_.dtype, " but received ", value.dtype);
  }
  GRADSYNC_RETURN_IF_ERROR(value.Check(StrCat("Variable '", options_.name, "'")));
  if (!options_.shape.IsCompatibleWith(value.shape)) {
    return InvalidArgument("Variable '", options_.name, "': expected a value of shape ", options_.shape.ToString(), " but received ",
                           ShapeString(value.shape));
  }
  const std::lock_guard writer(writer_mutex_);
  Buffer spare;
  {
    const std::lock_guard lock(mutex_);
    GRADSYNC_RETURN_IF_ERROR(CheckUsable());
    const bool is_free = current_ != nullptr && current_->leases.load(std::memory_order_acquire) == 0;
    if (is_free && SameShape(current_->tensor.shape(), value.shape)) {
      if (value.bytes > 0) std::memcpy(current_->tensor.mutable_view().data, value.data, value.bytes);
      Publish(current_);
      return OkStatus();
    }
    spare = TakeSpare();
  }
  GRADSYNC_ASSIGN_OR_RETURN(Tensor copy, Tensor::Copy(value, std::move(spare)));
  auto next = std::make_shared<VariableVersion>(std::move(copy));
  const std::lock_guard lock(mutex_);
  GRADSYNC_RETURN_IF_ERROR(CheckUsable());
  Publish(std::move(next));
  return OkStatus();
}

Status Variable::AssignAdd(const TensorView& value) { return Accumulate(value, Arithmetic::kAdd); }
Status Variable::AssignSub(const TensorView& value) { return Accumulate(value, Arithmetic::kSub); }

Status Variable::Accumulate(const TensorView& value, Arithmetic arithmetic) {
  GRADSYNC_RETURN_IF_ERROR(value.Check(StrCat("Variable '", options_.name, "'")));
  GRADSYNC_ASSIGN_OR_RETURN(VariableUpdate update, VariableUpdate::Begin({this}));
  const MutableTensorView to = update.tensor(0);
  if (value.dtype != to.dtype || !SameShape(value.shape, to.shape)) {
    return InvalidArgument("Variable '", options_.name, "': expected a value of ", to.dtype, " ", ShapeString(to.shape), " but received ",
                           value.dtype, " ", ShapeString(value.shape));
  }
  GRADSYNC_RETURN_IF_ERROR(UpdateElements(to, value, arithmetic));
  update.Commit();
  return OkStatus();
}

StatusOr<std::int64_t> Variable::CopyTo(const MutableTensorView& out, std::int64_t known) const {
  GRADSYNC_ASSIGN_OR_RETURN(const VariableLease lease, Read());
  if (lease.version() == known) return known;
  const Tensor& tensor = lease.tensor();
  if (out.dtype != tensor.dtype() || out.bytes != tensor.bytes()) {
    return InvalidArgument("Variable '", options_.name, "': expected room for ", tensor.size(), " elements of ", tensor.dtype(),
                           " but received ", out.size(), " of ", out.dtype);
  }
  if (out.bytes > 0) std::memcpy(out.data, tensor.view().data, out.bytes);
  return lease.version();
}

StatusOr<std::int64_t> Variable::Gather(const TensorView& indices, const MutableTensorView& out) const {
  const std::string what = StrCat("Gather from variable '", options_.name, "'");
  GRADSYNC_ASSIGN_OR_RETURN(const VariableLease lease, Read());
  const TensorView table = lease.tensor().view();
  if (table.shape.empty()) return InvalidArgument(what, ": expected a variable of rank 1 or more but it is a scalar");
  GRADSYNC_RETURN_IF_ERROR(CheckIndices(indices, table.shape[0], what));
  const auto rows = static_cast<std::uint64_t>(indices.size());
  const std::uint64_t expected = rows == 0 || table.shape[0] == 0 ? 0 : table.bytes / static_cast<std::uint64_t>(table.shape[0]) * rows;
  if (out.dtype != table.dtype || out.bytes != expected) {
    return InvalidArgument(what, ": expected room for ", rows, " rows, ", expected, " bytes of ", table.dtype, ", but received ", out.bytes,
                           " bytes of ", out.dtype);
  }
  GatherRows(table, indices, out);
  return lease.version();
}

Status Variable::ScatterAdd(const TensorView& indices, const TensorView& rows) { return Scatter(indices, rows, Arithmetic::kAdd); }
Status Variable::ScatterSub(const TensorView& indices, const TensorView& rows) { return Scatter(indices, rows, Arithmetic::kSub); }
Status Variable::ScatterUpdate(const TensorView& indices, const TensorView& rows) { return Scatter(indices, rows, Arithmetic::kReplace); }

Status Variable::Scatter(const TensorView& indices, const TensorView& rows, Arithmetic arithmetic) {
  const std::string what = StrCat("Scatter to variable '", options_.name, "'");
  GRADSYNC_RETURN_IF_ERROR(rows.Check(StrCat(what, ": rows")));
  GRADSYNC_ASSIGN_OR_RETURN(VariableUpdate update, VariableUpdate::Begin({this}));
  const MutableTensorView table = update.tensor(0);
  if (table.shape.empty()) return InvalidArgument(what, ": expected a variable of rank 1 or more but it is a scalar");
  GRADSYNC_RETURN_IF_ERROR(CheckIndices(indices, table.shape[0], what));
  Shape expected(indices.shape.begin(), indices.shape.end());
  expected.insert(expected.end(), table.shape.begin() + 1, table.shape.end());
  if (rows.dtype != table.dtype || !SameShape(rows.shape, expected)) {
    return InvalidArgument(what, ": expected rows of ", table.dtype, " ", ShapeString(expected), " but received ", rows.dtype, " ",
                           ShapeString(rows.shape));
  }
  GRADSYNC_RETURN_IF_ERROR(ScatterRows(table, indices, rows, arithmetic));
  update.Commit();
  return OkStatus();
}

void Variable::Shutdown(const std::string& reason) {
  const std::lock_guard writer(writer_mutex_);
  const std::lock_guard lock(mutex_);
  if (!shutdown_reason_) shutdown_reason_ = reason;
  current_ = nullptr;
  retired_ = nullptr;
}

}  // namespace gradsync::accumulate
