#include "accumulate/sparse_accumulator.h"

#include <algorithm>
#include <span>
#include <utility>
#include <vector>

namespace gradsync::accumulate {
namespace {

using kernels::IndexList;

std::int64_t DimOr(Dims dims, std::size_t i, std::int64_t otherwise) { return i < dims.size() ? dims[i] : otherwise; }

// Steps 1 to 3 of TensorFlow's order: do indices and values belong together? Then that the views hold what their shapes say.
Status CheckSlices(const SparseAccumulatorOptions& options, const TensorView& indices, const TensorView& values) {
  if (values.dtype != options.dtype) {
    return InvalidArgument("Accumulator '", options.name, "': expected gradient values of dtype ", options.dtype, " but received ",
                           values.dtype);
  }
  if (indices.dtype != DType::kInt64 && indices.dtype != DType::kInt32) {
    return InvalidArgument("Accumulator '", options.name, "': expected indices of dtype int32 or int64 but received ", indices.dtype);
  }
  if (indices.shape.size() != 1) {
    return InvalidArgument("Input indices should be vector but received shape: ", ShapeString(indices.shape));
  }
  if (values.shape.empty()) return InvalidArgument("Values cannot be 0-dimensional.");
  if (values.shape[0] != indices.shape[0]) {
    return InvalidArgument("Expected ", indices.shape[0], " non-empty input values, got ", values.shape[0]);
  }
  GRADSYNC_RETURN_IF_ERROR(indices.Check("gradient_indices"));
  return values.Check("gradient_values");
}

// Step 4: the gradient's dense shape against the declared one.
Status CheckDenseShape(Dims declared, const Shape& dense_shape) {
  if (declared.size() > dense_shape.size()) {
    return InvalidArgument("Shape mismatch: expected shape rank at least ", declared.size(), ", got ", dense_shape.size());
  }
  for (std::size_t i = 0; i < declared.size(); ++i) {
    if (declared[i] >= 0 && declared[i] != dense_shape[i]) {
      return InvalidArgument("Shape mismatch: expected shape dim ", i, " to be ", declared[i], ", got ", dense_shape[i]);
    }
  }
  return OkStatus();
}

// Step 5, and what TensorFlow lets through: negative indices, and those beyond a dense shape that only the gradient knows. What is known of
// the list decides; only to name the first offender it is searched.
Status CheckIndices(const IndexList& list, std::int64_t declared_limit, std::int64_t limit, bool allows_negative) {
  const auto fits = [&](std::int64_t least, std::int64_t most) {
    return (allows_negative || least >= 0) && (declared_limit < 0 || most < declared_limit) && (limit < 0 || most < limit);
  };
  if (list.indices.empty() || fits(list.least, list.most)) return OkStatus();
  const auto offender = std::ranges::find_if(list.indices, [&](std::int64_t index) { return !fits(index, index); });
  const auto i = offender - list.indices.begin();
  const std::int64_t index = *offender;
  if (declared_limit >= 0 && index >= declared_limit) {
    return InvalidArgument("Shape mismatch: index of slice ", i, " exceeded limits of shape; index is ", index, " exceeded ",
                           declared_limit);
  }
  if (limit >= 0 && index >= limit) return InvalidArgument("gradient_indices[", i, "] = ", index, " is not in [0, ", limit, ")");
  const std::int64_t bound = limit >= 0 ? limit : declared_limit;
  return InvalidArgument("gradient_indices[", i, "] = ", index, " is negative; expected an index",
                         bound >= 0 ? StrCat(" in [0, ", bound, ")") : std::string(" of at least 0"));
}

// Steps 6 and 7: the rows against the round's, or against the declared shape when they are the round's first.
Status CheckInnerShape(Dims declared, Dims values, const SparseGradient* first) {
  const Dims expected = first != nullptr ? Dims(first->values.shape()) : declared;
  if (first != nullptr && values.size() != expected.size()) {
    return InvalidArgument("Shape mismatch: expected values rank ", expected.size(), ", got ", values.size());
  }
  if (values.size() < expected.size()) {
    return InvalidArgument("Shape mismatch: expected values rank at least ", expected.size(), ", got ", values.size());
  }
  for (std::size_t i = 1; i < expected.size(); ++i) {
    if (expected[i] >= 0 && expected[i] != values[i]) {
      return InvalidArgument("Shape mismatch: expected values dim ", i, " to be ", expected[i], ", got ", values[i]);
    }
  }
  return OkStatus();
}

StatusOr<Tensor> CopyIndices(const TensorView& indices, Memory& memory) {
  if (indices.dtype == DType::kInt64) return Tensor::Copy(indices, memory);
  GRADSYNC_ASSIGN_OR_RETURN(Tensor copy, Tensor::Allocate(DType::kInt64, Shape(indices.shape.begin(), indices.shape.end()), memory));
  std::ranges::copy(indices.as<std::int32_t>(), copy.as<std::int64_t>().begin());
  return copy;
}

// All that does not depend on the round, so that it need not be done under its lock: checks the gradient and copies its indices, which may
// lie in memory that others change; so the copy is what is checked. The values are still to come.
StatusOr<SparseGradient> Prepare(const SparseAccumulatorOptions& options, const TensorView& indices, const TensorView& values,
                                 const std::optional<Shape>& dense_shape, Memory& memory) {
  GRADSYNC_RETURN_IF_ERROR(CheckSlices(options, indices, values));
  const Dims declared = options.shape.dims();
  if (dense_shape) GRADSYNC_RETURN_IF_ERROR(CheckDenseShape(declared, *dense_shape));
  SparseGradient gradient;
  GRADSYNC_ASSIGN_OR_RETURN(gradient.indices, CopyIndices(indices, memory));
  gradient.list = IndexList::Of(gradient.indices.as<std::int64_t>());
  const bool is_tensorflow = options.form == SparseForm::kTensorFlow;
  const std::int64_t limit = dense_shape && !is_tensorflow ? DimOr(*dense_shape, 0, kUnknownDim) : kUnknownDim;
  GRADSYNC_RETURN_IF_ERROR(CheckIndices(gradient.list, DimOr(declared, 0, kUnknownDim), limit, is_tensorflow));
  return gradient;
}

// Bytes of the copies.
std::size_t OwnBytes(SparseGradients gradients) {
  std::size_t bytes = 0;
  for (const SparseGradient* gradient : gradients)
    bytes += gradient->indices.bytes() + (gradient->values.is_own() ? gradient->values.bytes() : 0);
  return bytes;
}

std::vector<SparseGradient*> PointersTo(Batch<SparseGradient>& batch) {
  std::vector<SparseGradient*> gradients;
  gradients.reserve(batch.slots.size());
  for (Slot<SparseGradient>& slot : batch.slots) gradients.push_back(&slot.payload);
  return gradients;
}

StatusOr<SparseSlices> ReduceTo(const SparseAccumulatorOptions& options, SparseGradients gradients, SparseWorkplace workplace) {
  const SparseScale scale{.is_mean = options.reduction == Reduction::kMean, .mean = options.EffectiveMean()};
  const auto form = [&]() -> StatusOr<SparseSlices> {
    switch (options.form) {
      case SparseForm::kCombined:
        return Combine(gradients, scale, workplace);
      case SparseForm::kConcatenated:
        return Concatenate(gradients, scale, workplace);
      case SparseForm::kTensorFlow:
        return MergeLikeTensorFlow(gradients, scale, workplace);
    }
    return Internal("Accumulator '", options.name, "': unknown form");
  };
  const std::size_t needed = OwnBytes(gradients) + SortBytes(gradients);
  GRADSYNC_ASSIGN_OR_RETURN(SparseSlices slices, form());
  slices.shape = slices.values.shape();
  slices.shape[0] = DimOr(options.shape.dims(), 0, kUnknownDim);
  // For as much as this round needed.
  workplace.memory.LimitSpare(needed + slices.indices.bytes() + slices.values.bytes());
  return slices;
}

}  // namespace

SparseMean SparseAccumulatorOptions::EffectiveMean() const {
  return mean.value_or(form == SparseForm::kTensorFlow ? SparseMean::kTouched : SparseMean::kContributors);
}

StatusOr<std::shared_ptr<SparseAccumulator>> SparseAccumulator::Create(SparseAccumulatorOptions options, Services& services,
                                                                       std::unique_ptr<CompletionRule> rule) {
  if (!Contains(GradientTypes{}, options.dtype)) {
    return InvalidArgument("Accumulator '", options.name, "': expected a dtype among ", NamesOf(GradientTypes{}), " but received ",
                           options.dtype);
  }
  if (options.form == SparseForm::kConcatenated && options.EffectiveMean() == SparseMean::kTouched) {
    return InvalidArgument("Accumulator '", options.name,
                           "': expected the mean over contributors for the form concatenated but received touched; use the form combined");
  }
  return std::shared_ptr<SparseAccumulator>(new SparseAccumulator(std::move(options), services, std::move(rule)));
}

SparseAccumulator::SparseAccumulator(SparseAccumulatorOptions options, Services& services, std::unique_ptr<CompletionRule> rule)
    : options_(std::move(options)),
      services_(services),
      memory_(Memory::Create()),
      round_(std::make_shared<SparseRound>(
          options_.name, services,
          [options = options_, &services, memory = memory_](Batch<SparseGradient> batch) {
            return ReduceTo(options, PointersTo(batch), {.services = services, .memory = *memory});
          },
          std::move(rule))) {}

StatusOr<SparseSlices> SparseAccumulator::Reduce(Gradients& gradients) {
  return ReduceTo(options_, PointersTo(gradients), {.services = services_, .memory = *memory_});
}

SparseAccumulator::~SparseAccumulator() { Shutdown("the accumulator was destroyed"); }

void SparseAccumulator::Shutdown(const std::string& reason) {
  round_->Shutdown(reason);
  memory_->LimitSpare(0);
}

StatusOr<Receipt> SparseAccumulator::Apply(std::int64_t local_step, std::int64_t contributor, const TensorView& indices,
                                           const TensorView& values, const std::optional<Shape>& dense_shape) {
  return ApplyValues(local_step, contributor, indices, values, dense_shape, [&]() -> StatusOr<Lease> {
    GRADSYNC_ASSIGN_OR_RETURN(Tensor copy, Tensor::Copy(values, *memory_));
    return Lease(std::move(copy));
  });
}

StatusOr<Receipt> SparseAccumulator::ApplyLeased(std::int64_t local_step, std::int64_t contributor, const TensorView& indices, Lease values,
                                                 const std::optional<Shape>& dense_shape) {
  // A copy of the dimensions: the lease is moved from while they are still looked at.
  const Shape shape = values.shape();
  TensorView view = values.view();
  view.shape = shape;
  return ApplyValues(local_step, contributor, indices, view, dense_shape, [&]() -> StatusOr<Lease> { return std::move(values); });
}

StatusOr<Receipt> SparseAccumulator::ApplyValues(std::int64_t local_step, std::int64_t contributor, const TensorView& indices,
                                                 const TensorView& values, const std::optional<Shape>& dense_shape,
                                                 const std::function<StatusOr<Lease>()>& hold) {
  StatusOr<SparseGradient> prepared = Prepare(options_, indices, values, dense_shape, *memory_);
  const Status valid = prepared.status();
  return round_->Apply(
      local_step, contributor,
      [&](const SparseGradient* first) { return valid.ok() ? CheckInnerShape(options_.shape.dims(), values.shape, first) : valid; },
      [&]() -> StatusOr<SparseGradient> {
        GRADSYNC_ASSIGN_OR_RETURN(prepared->values, hold());
        return *std::move(prepared);
      });
}

Cancellation SparseAccumulator::Take(std::int64_t num_required, Deadline deadline, TakeCallback callback) {
  return round_->Take(num_required, deadline, std::move(callback));
}

}  // namespace gradsync::accumulate
