// Gradients: the round of one variable as it was taken, unreduced, and what it aggregates to: dense contributions stay rows, which the
// update sums as it goes; sparse ones are reduced to slices by `Prepare`. Owns the batch until `Recycle`, or `Return` (before `Prepare`).
// Under a guard that counts non-finite elements as 0, sparse contributions are searched before they are reduced; dense ones are not read
// for it: their sum of squares says whether there are any. Used by one thread.
#ifndef GRADSYNC_STEP_GRADIENTS_H_
#define GRADSYNC_STEP_GRADIENTS_H_

#include <cstdint>
#include <optional>
#include <type_traits>
#include <variant>
#include <vector>

#include "accumulate/dense_accumulator.h"
#include "accumulate/sparse_accumulator.h"
#include "core/status.h"
#include "core/tensor_view.h"
#include "core/thread_pool.h"
#include "optimize/optimizer.h"
#include "step/fused_step.h"

namespace gradsync::step {

class DenseGradients {
 public:
  DenseGradients(accumulate::DenseAccumulator& accumulator, accumulate::DenseAccumulator::Gradients batch)
      : accumulator_(&accumulator), batch_(std::move(batch)) {
    FindViews();
  }

  ~DenseGradients() = default;
  DenseGradients(DenseGradients&&) noexcept = default;
  DenseGradients& operator=(DenseGradients&&) noexcept = default;
  DenseGradients(const DenseGradients&) = delete;
  DenseGradients& operator=(const DenseGradients&) = delete;

  // Nothing to do: the update sums.
  Status Prepare(NonFinitePolicy /*policy*/, const std::string& /*variable*/, std::vector<NonFinite>* /*found*/) { return OkStatus(); }
  // Of the aggregate.
  [[nodiscard]] bool IsFinite(Services& services) const;
  [[nodiscard]] StatusOr<double> SumOfSquares(Services& services) const;
  // Adds the first bad element of every contribution that has one, else that of their sum.
  void AddNonFinite(const std::string& variable, Services& services, std::vector<NonFinite>* found) const;
  Status ZeroNonFinite();
  [[nodiscard]] Status Check(const optimize::Optimizer& optimizer, const optimize::UpdateTarget& target) const;
  Status Apply(const optimize::Optimizer& optimizer, const optimize::UpdateTarget& target, double scale, Services& services) const;
  void Recycle() { accumulator_->Recycle(std::move(batch_)); }
  void Return() { accumulator_->Return(std::move(batch_)); }

 private:
  void FindViews();
  [[nodiscard]] std::int64_t divisor() const;

  accumulate::DenseAccumulator* accumulator_;
  accumulate::DenseAccumulator::Gradients batch_;
  std::vector<TensorView> views_;
};
static_assert(!std::is_copy_constructible_v<DenseGradients> && std::is_nothrow_move_constructible_v<DenseGradients>);

class SparseGradients {
 public:
  SparseGradients(accumulate::SparseAccumulator& accumulator, accumulate::SparseAccumulator::Gradients batch)
      : accumulator_(&accumulator), batch_(std::move(batch)) {}
  ~SparseGradients() = default;
  SparseGradients(SparseGradients&&) noexcept = default;
  SparseGradients& operator=(SparseGradients&&) noexcept = default;
  SparseGradients(const SparseGradients&) = delete;
  SparseGradients& operator=(const SparseGradients&) = delete;

  Status Prepare(NonFinitePolicy policy, const std::string& variable, std::vector<NonFinite>* found);
  [[nodiscard]] bool IsFinite(Services& services) const;
  [[nodiscard]] StatusOr<double> SumOfSquares(Services& services) const;
  void AddNonFinite(const std::string& variable, Services& services, std::vector<NonFinite>* found) const;
  Status ZeroNonFinite() { return OkStatus(); }  // Prepare did
  [[nodiscard]] Status Check(const optimize::Optimizer& optimizer, const optimize::UpdateTarget& target) const;
  Status Apply(const optimize::Optimizer& optimizer, const optimize::UpdateTarget& target, double scale, Services& services) const;
  void Recycle() {}  // what is dropped goes back by itself
  void Return() { accumulator_->Return(std::move(batch_)); }

 private:
  accumulate::SparseAccumulator* accumulator_;
  accumulate::SparseAccumulator::Gradients batch_;
  accumulate::SparseSlices slices_;
};
static_assert(!std::is_copy_constructible_v<SparseGradients> && std::is_nothrow_move_constructible_v<SparseGradients>);

using Gradients = std::variant<DenseGradients, SparseGradients>;

}  // namespace gradsync::step

#endif  // GRADSYNC_STEP_GRADIENTS_H_
