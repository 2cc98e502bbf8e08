// Fused updates: any optimizer, target and gradient. What is refused has changed nothing.
#include <array>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "any_optimizer.h"
#include "fuzz_input.h"
#include "optimize/dense_update.h"
#include "optimize/sparse_update.h"

namespace gradsync::fuzz {
namespace {

using optimize::Optimizer;

// The bytes of all memories, to see that nothing changed.
std::vector<std::byte> BytesOf(const MutableTensorView& variable, const std::vector<MutableTensorView>& slots) {
  std::vector<std::byte> bytes;
  const auto add = [&](const MutableTensorView& view) {
    const auto* data = static_cast<const std::byte*>(view.data);
    bytes.insert(bytes.end(), data, data + view.bytes);
  };
  add(variable);
  for (const MutableTensorView& slot : slots) add(slot);
  return bytes;
}

Status ApplyAnyDense(FuzzInput& input, const Optimizer& optimizer, const optimize::UpdateTarget& target, Services& services) {
  const MutableTensorView& variable = target.variable;
  std::vector<TensorView> contributions;
  for (int i = input.Rarely(10) ? 0 : input.Integer(1, 3); i > 0; --i) {
    contributions.push_back(input.View(input.MostlyDType(variable.dtype), input.MostlyShape(variable.shape)));
  }
  return ApplyDense(optimizer, target, {.contributions = contributions, .divisor = input.Number(), .scale = input.Double()}, services);
}

Status ApplyAnySparse(FuzzInput& input, const Optimizer& optimizer, const optimize::UpdateTarget& target, Services& services) {
  const MutableTensorView& variable = target.variable;
  const TensorView indices = input.Indices();
  Shape shape(indices.shape.begin(), indices.shape.end());
  if (!variable.shape.empty()) shape.insert(shape.end(), variable.shape.begin() + 1, variable.shape.end());
  const TensorView values = input.View(input.MostlyDType(variable.dtype), input.MostlyShape(shape));
  return ApplySparse(optimizer, target, {.indices = indices, .values = values, .scale = input.Double()}, services);
}

}  // namespace

void Run(FuzzInput& input, Services& services) {
  const Optimizer optimizer = AnyOptimizer(input);
  const DType dtype = input.MostlyDType(input.Flag() ? DType::kFloat32 : DType::kFloat64);
  const Shape shape = input.AnyShape();
  const MutableTensorView variable = input.Mutable(dtype, shape);
  std::vector<MutableTensorView> slots(input.Rarely(10) ? static_cast<std::size_t>(input.Integer(0, 4)) : optimize::SlotCount(optimizer));
  for (MutableTensorView& slot : slots) slot = input.Mutable(input.MostlyDType(dtype), input.MostlyShape(shape));
  const optimize::UpdateTarget target{.variable = variable, .slots = slots};
  for (int i = 0; i < kMaxCalls && input.HasMore(); ++i) {
    const std::vector<std::byte> before = BytesOf(variable, slots);
    const Status status =
        input.Flag() ? ApplyAnyDense(input, optimizer, target, services) : ApplyAnySparse(input, optimizer, target, services);
    FUZZ_CHECK(status.ok() || BytesOf(variable, slots) == before);
  }
}

}  // namespace gradsync::fuzz
