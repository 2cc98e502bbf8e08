#include "optimize/dense_update.h"

#include <array>
#include <cstddef>

#include "core/buffer.h"
#include "kernels/flush_denormals.h"
#include "kernels/kernels.h"
#include "optimize/contributions.h"

namespace gradsync::optimize {
namespace {

// The elements from `offset` on.
template <typename T>
kernels::UpdateRows<T> RowsAt(const UpdateTarget& target, std::int64_t offset) {
  kernels::UpdateRows<T> rows{.gradient = nullptr, .variable = target.variable.as<T>().data() + offset, .width = 0};
  for (std::size_t i = 0; i < target.slots.size(); ++i) rows.slots[i] = target.slots[i].as<T>().data() + offset;
  return rows;
}

template <typename T, typename Hyper>
void UpdateRange(const Hyper& hyper, const UpdateTarget& target, const DenseGradient& gradient, std::int64_t begin, std::int64_t end,
                 const kernels::KernelTable& kernels) {
  alignas(kBufferAlignment) std::array<T, kTileElements> scratch;  // NOLINT(cppcoreguidelines-pro-type-member-init): the sum fills it
  Contributions<T> contributions(gradient, kernels);
  ForEachTile(begin, end, [&](std::int64_t offset, std::int64_t count) {
    kernels::UpdateRows<T> rows = RowsAt<T>(target, offset);
    rows.gradient = contributions.Mean(offset, count, scratch.data());
    rows.scale = gradient.scale;
    rows.width = count;
    const kernels::DenormalsOf<T> denormals;
    kernels.optimizers.of<T>().Update(rows, hyper);
  });
}

}  // namespace

Status CheckDense(const Optimizer& optimizer, const UpdateTarget& target, const DenseGradient& gradient) {
  GRADSYNC_RETURN_IF_ERROR(CheckTarget(optimizer, target));
  const MutableTensorView& variable = target.variable;
  if (gradient.contributions.empty()) return InvalidArgument(OptimizerName(optimizer), ": expected a gradient but received none");
  if (gradient.divisor < 1) {
    return InvalidArgument(OptimizerName(optimizer), ": expected a divisor of at least 1 but received ", gradient.divisor);
  }
  for (const TensorView& contribution : gradient.contributions) {
    if (contribution.dtype != variable.dtype || !SameShape(contribution.shape, variable.shape)) {
      return InvalidArgument(OptimizerName(optimizer), ": expected a gradient of ", variable.dtype, " ", ShapeString(variable.shape),
                             " as the variable but received ", contribution.dtype, " ", ShapeString(contribution.shape));
    }
    GRADSYNC_RETURN_IF_ERROR(contribution.Check(OptimizerName(optimizer)));
  }
  return OkStatus();
}

Status ApplyDense(const Optimizer& optimizer, const UpdateTarget& target, const DenseGradient& gradient, Services& services) {
  GRADSYNC_RETURN_IF_ERROR(CheckDense(optimizer, target, gradient));
  const kernels::KernelTable& kernels = kernels::KernelsFor(services.instruction_set);
  return Dispatch(OptimizerTypes{}, target.variable.dtype, OptimizerName(optimizer), [&](auto type) {
    using T = typename decltype(type)::type;
    std::visit(
        [&](const auto& hyper) {
          services.pool.ParallelFor(target.variable.size(), kGrainElements, [&](std::int64_t begin, std::int64_t end) {
            UpdateRange<T>(hyper, target, gradient, begin, end, kernels);
          });
        },
        optimizer);
  });
}

}  // namespace gradsync::optimize
