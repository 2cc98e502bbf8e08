// Dense accumulators: any arguments in any order. What was accepted is counted, no more and no less; every take is answered once.
#include <cstdint>
#include <memory>
#include <utility>

#include "accumulate/dense_accumulator.h"
#include "fuzz_input.h"

namespace gradsync::fuzz {

using accumulate::DenseAccumulator;
using accumulate::DenseAccumulatorOptions;
using accumulate::Receipt;
using accumulate::Reduction;

namespace {

StatusOr<Receipt> Apply(FuzzInput& input, DenseAccumulator& accumulator, const Shape& usual) {
  const TensorView gradient = input.View(input.MostlyDType(accumulator.options().dtype), input.MostlyShape(usual));
  const std::int64_t step = input.Flag() ? accumulator.GlobalStep() : input.Number();
  const std::int64_t contributor = input.Number();
  if (input.Flag()) return accumulator.Apply(step, contributor, gradient);
  // The lease keeps a copy alive until it is dropped, and not longer: AddressSanitizer watches.
  GRADSYNC_ASSIGN_OR_RETURN(Tensor copy, Tensor::Copy(gradient));
  const auto keep = std::make_shared<Tensor>(std::move(copy));
  GRADSYNC_ASSIGN_OR_RETURN(Lease lease, Lease::Of(keep->view(), keep));
  return accumulator.ApplyLeased(step, contributor, std::move(lease));
}

}  // namespace

void Run(FuzzInput& input, Services& services) {
  const DenseAccumulatorOptions options{.name = "fuzz",
                                        .dtype = input.MostlyDType(DType::kFloat32),
                                        .shape = input.AnyPartialShape(),
                                        .reduction = input.Flag() ? Reduction::kMean : Reduction::kSum};
  const auto created = DenseAccumulator::Create(options, services);
  if (!created.ok()) return;
  DenseAccumulator& accumulator = **created;
  const Shape usual = input.AnyShape();
  int asked = 0;
  const auto answered = std::make_shared<int>(0);
  for (int i = 0; i < kMaxCalls && input.HasMore(); ++i) {
    const int call = input.Integer(0, 9);
    if (call < 6) {
      const std::int64_t before = accumulator.NumAccumulated();
      const auto receipt = Apply(input, accumulator, usual);
      const std::int64_t after = accumulator.NumAccumulated();
      // A take that waited may have emptied the round.
      FUZZ_CHECK(after == before + (receipt.ok() && receipt->is_accepted ? 1 : 0) || after == 0);
    } else if (call < 9) {
      ++asked;
      accumulator.Take(input.Number(), Deadline::Infinite(), [answered](const StatusOr<Tensor>& taken) {
        ++*answered;
        FUZZ_CHECK(!taken.ok() || taken->view().Check("taken").ok());
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
