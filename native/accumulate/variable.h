// Variable: a tensor that many threads read while it is updated. Every change makes a new version; a reader leases one version, which never
// changes under it. An update happens in place when nobody leases the current version, else in a copy. VariableUpdate (variable_update.h)
// changes several variables together (a parameter and its optimizer's slots).
// Thread-safe. Writers of one variable take turns; readers wait only for an update in place. Owned by shared_ptr; a VariableLease keeps its
// version alive by itself, also after the variable is gone. Reads of an uninitialized variable are FAILED_PRECONDITION.
#ifndef GRADSYNC_ACCUMULATE_VARIABLE_H_
#define GRADSYNC_ACCUMULATE_VARIABLE_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "accumulate/row_update.h"
#include "core/buffer.h"
#include "core/dtype.h"
#include "core/shape.h"
#include "core/status.h"
#include "core/tensor_view.h"

namespace gradsync::accumulate {

struct VariableOptions {
  std::string name;
  DType dtype = DType::kFloat32;
  PartialShape shape;

  friend bool operator==(const VariableOptions&, const VariableOptions&) = default;
};

// One value of a variable. `leases` counts readers; the writer may touch `tensor` only when it is 0 and no new lease can start.
struct VariableVersion {
  explicit VariableVersion(Tensor value) : tensor(std::move(value)) {}

  std::int64_t number = 0;
  Tensor tensor;
  std::atomic<std::int64_t> leases{0};
};

// Holds one version for reading. Copies hold it too. Release early: an update beside a lease costs a copy of the whole tensor.
class VariableLease {
 public:
  VariableLease() = default;
  explicit VariableLease(std::shared_ptr<VariableVersion> version) : version_(std::move(version)) { Acquire(); }
  ~VariableLease() { Release(); }
  VariableLease(const VariableLease& other) : version_(other.version_) { Acquire(); }
  VariableLease(VariableLease&& other) noexcept : version_(std::exchange(other.version_, nullptr)) {}
  VariableLease& operator=(VariableLease other) noexcept {
    std::swap(version_, other.version_);
    return *this;
  }

  [[nodiscard]] std::int64_t version() const { return version_->number; }
  [[nodiscard]] const Tensor& tensor() const { return version_->tensor; }
  void Release();

 private:
  void Acquire();
  std::shared_ptr<VariableVersion> version_;
};

class Variable {
 public:
  explicit Variable(VariableOptions options);
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

  // 0 until initialized, then grows by one with every change.
  [[nodiscard]] std::int64_t version() const { return version_.load(std::memory_order_acquire); }
  [[nodiscard]] bool is_initialized() const { return version() > 0; }
  // Of the current version.
  [[nodiscard]] std::optional<Shape> shape() const;
  [[nodiscard]] StatusOr<VariableLease> Read() const;

  // The shape may differ from the current one as far as the declared shape allows.
  Status Assign(const TensorView& value);
  // Same shape as the current version. Integers wrap around; half types compute in float.
  Status AssignAdd(const TensorView& value);
  Status AssignSub(const TensorView& value);

  // Copies the current version into `out` (dtype and number of bytes must fit) unless it is `known`; returns the version `out` now holds.
  StatusOr<std::int64_t> CopyTo(const MutableTensorView& out, std::int64_t known) const;
  // Rows along dimension 0, for int32 or int64 indices of any shape, one after the other into `out`; returns the version read.
  StatusOr<std::int64_t> Gather(const TensorView& indices, const MutableTensorView& out) const;
  // `rows` has one row per index. Repeats are applied one after the other. All indices are checked before anything changes.
  Status ScatterAdd(const TensorView& indices, const TensorView& rows);
  Status ScatterSub(const TensorView& indices, const TensorView& rows);
  Status ScatterUpdate(const TensorView& indices, const TensorView& rows);

  // From now on every call is FAILED_PRECONDITION; leases stay valid. The session ends.
  void Shutdown(const std::string& reason);
  [[nodiscard]] const VariableOptions& options() const { return options_; }
  [[nodiscard]] const std::string& name() const { return options_.name; }

 private:
  friend class VariableUpdate;

  Status Accumulate(const TensorView& value, Arithmetic arithmetic);
  Status Scatter(const TensorView& indices, const TensorView& rows, Arithmetic arithmetic);
  Status CheckUsable() const;
  // Makes `next` the current version. Under mutex_.
  void Publish(std::shared_ptr<VariableVersion> next);
  // The memory of the retired version if nobody reads it any more. Under mutex_.
  Buffer TakeSpare();

  const VariableOptions options_;
  std::atomic<std::int64_t> version_{0};

  // Lock order: writer_mutex_ of all variables of an update by address, then mutex_ of each by address. A reader holds one mutex_ only.
  std::mutex writer_mutex_;
  mutable std::mutex mutex_;                  // guards what follows; only the holder of writer_mutex_ changes current_
  std::shared_ptr<VariableVersion> current_;  // null until initialized
  std::shared_ptr<VariableVersion> retired_;  // the version before, for its memory
  std::optional<std::string> shutdown_reason_;
};

}  // namespace gradsync::accumulate

#endif  // GRADSYNC_ACCUMULATE_VARIABLE_H_
