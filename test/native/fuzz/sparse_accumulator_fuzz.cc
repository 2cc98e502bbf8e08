// Sparse accumulators in all forms: any arguments in any order. A combined result is sorted and unique; every take is answered once.
#include <cstdint>
#include <memory>
#include <optional>

#include "accumulate/sparse_accumulator.h"
#include "fuzz_input.h"

namespace gradsync::fuzz {
namespace {

using accumulate::Reduction;
using accumulate::SparseAccumulator;
using accumulate::SparseAccumulatorOptions;
using accumulate::SparseForm;
using accumulate::SparseMean;
using accumulate::SparseSlices;

SparseAccumulatorOptions AnyOptions(FuzzInput& input) {
  SparseAccumulatorOptions options{.name = "fuzz",
                                   .dtype = input.MostlyDType(DType::kFloat32),
                                   .shape = input.AnyPartialShape(),
                                   .reduction = input.Flag() ? Reduction::kMean : Reduction::kSum,
                                   .form = static_cast<SparseForm>(input.Integer(0, 2)),
                                   .mean = {}};
  if (input.Flag()) options.mean = input.Flag() ? SparseMean::kContributors : SparseMean::kTouched;
  return options;
}

void CheckSlices(const SparseSlices& slices, SparseForm form) {
  const auto indices = slices.indices.as<std::int64_t>();
  FUZZ_CHECK(slices.indices.view().Check("indices").ok() && slices.values.view().Check("values").ok());
  FUZZ_CHECK(slices.values.shape().front() == static_cast<std::int64_t>(indices.size()));
  if (form != SparseForm::kCombined) return;
  for (std::size_t i = 1; i < indices.size(); ++i) FUZZ_CHECK(indices[i - 1] < indices[i]);
}

void Apply(FuzzInput& input, SparseAccumulator& accumulator, const Shape& row) {
  const TensorView indices = input.Indices();
  Shape shape(indices.shape.begin(), indices.shape.end());
  shape.insert(shape.end(), row.begin(), row.end());
  const TensorView values = input.View(input.MostlyDType(accumulator.options().dtype), input.MostlyShape(shape));
  const std::optional<Shape> dense_shape = input.Rarely(4) ? std::optional(input.AnyShape()) : std::nullopt;
  const std::int64_t step = input.Flag() ? accumulator.GlobalStep() : input.Number();
  const std::int64_t contributor = input.Number();
  if (input.Flag()) {
    static_cast<void>(accumulator.Apply(step, contributor, indices, values, dense_shape));
    return;
  }
  // The lease keeps a copy alive until it is dropped, and not longer: AddressSanitizer watches.
  auto copy = Tensor::Copy(values);
  if (!copy.ok()) return;
  const auto keep = std::make_shared<Tensor>(*std::move(copy));
  auto lease = Lease::Of(keep->view(), keep);
  FUZZ_CHECK(lease.ok());
  static_cast<void>(accumulator.ApplyLeased(step, contributor, indices, *std::move(lease), dense_shape));
}

}  // namespace

void Run(FuzzInput& input, Services& services) {
  const SparseAccumulatorOptions options = AnyOptions(input);
  const auto created = SparseAccumulator::Create(options, services);
  if (!created.ok()) return;
  SparseAccumulator& accumulator = **created;
  Shape row = input.AnyShape();
  if (!row.empty()) row.erase(row.begin());
  int asked = 0;
  const auto answered = std::make_shared<int>(0);
  for (int i = 0; i < kMaxCalls && input.HasMore(); ++i) {
    const int call = input.Integer(0, 9);
    if (call < 6) {
      Apply(input, accumulator, row);
    } else if (call < 9) {
      ++asked;
      accumulator.Take(input.Number(), Deadline::Infinite(), [&](const StatusOr<SparseSlices>& taken) {
        ++*answered;
        if (taken.ok()) CheckSlices(*taken, options.form);
      });
    } else {
      static_cast<void>(accumulator.SetGlobalStep(input.Number()));
    }
    input.Clear();
  }
  accumulator.Shutdown("the end");
  FUZZ_CHECK(*answered == asked);
}

}  // namespace gradsync::fuzz
