#include "optimize/sparse_update.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "kernels/flush_denormals.h"
#include "kernels/kernels.h"

namespace gradsync::optimize {
namespace {

// Elements a thread handles at a time.
constexpr std::int64_t kGrainElements = std::int64_t{16} * 1024;

Status CheckIndices(std::string_view name, std::span<const std::int64_t> indices, std::int64_t rows) {
  for (std::size_t i = 0; i < indices.size(); ++i) {
    if (indices[i] < 0 || indices[i] >= rows) {
      return InvalidArgument(name, ": indices[", i, "] = ", indices[i], " is not in [0, ", rows, ")");
    }
  }
  return OkStatus();
}

template <typename T>
kernels::UpdateRows<T> RowsOf(const UpdateTarget& target, const SparseGradient& gradient) {
  const std::int64_t count = gradient.indices.size();
  const std::int64_t width = count == 0 ? 0 : gradient.values.size() / count;
  kernels::UpdateRows<T> rows{.gradient = gradient.values.as<T>().data(),
                              .scale = gradient.scale,
                              .variable = target.variable.as<T>().data(),
                              .indices = gradient.indices.as<std::int64_t>().data(),
                              .count = count,
                              .width = width,
                              .form = width == 1 ? kernels::UpdateForm::kRowsOfOne : kernels::UpdateForm::kRows};
  for (std::size_t i = 0; i < target.slots.size(); ++i) rows.slots[i] = target.slots[i].as<T>().data();
  return rows;
}

// Rows that no two threads share may be updated in any order.
bool IsStrictlyAscending(std::span<const std::int64_t> indices) {
  return std::ranges::adjacent_find(indices, std::greater_equal<>{}) == indices.end();
}

}  // namespace

Status CheckSparse(const Optimizer& optimizer, const UpdateTarget& target, const SparseGradient& gradient) {
  GRADSYNC_RETURN_IF_ERROR(CheckTarget(optimizer, target));
  const std::string_view name = OptimizerName(optimizer);
  const MutableTensorView& variable = target.variable;
  if (variable.shape.empty()) return InvalidArgument(name, ": expected a variable of rank 1 or more but it is a scalar");
  if (gradient.indices.dtype != DType::kInt64 || gradient.indices.shape.size() != 1) {
    return InvalidArgument(name, ": expected indices of int64 [n] but received ", gradient.indices.dtype, " ",
                           ShapeString(gradient.indices.shape));
  }
  GRADSYNC_RETURN_IF_ERROR(gradient.indices.Check(name));
  Shape expected(variable.shape.begin(), variable.shape.end());
  expected.front() = gradient.indices.size();
  if (gradient.values.dtype != variable.dtype || !SameShape(gradient.values.shape, expected)) {
    return InvalidArgument(name, ": expected gradient rows of ", variable.dtype, " ", ShapeString(expected), " but received ",
                           gradient.values.dtype, " ", ShapeString(gradient.values.shape));
  }
  GRADSYNC_RETURN_IF_ERROR(gradient.values.Check(name));
  return CheckIndices(name, gradient.indices.as<std::int64_t>(), variable.shape.front());
}

Status ApplySparse(const Optimizer& optimizer, const UpdateTarget& target, const SparseGradient& gradient, Services& services) {
  GRADSYNC_RETURN_IF_ERROR(CheckSparse(optimizer, target, gradient));
  const kernels::KernelTable& kernels = kernels::KernelsFor(services.instruction_set);
  return Dispatch(OptimizerTypes{}, target.variable.dtype, OptimizerName(optimizer), [&](auto type) {
    using T = typename decltype(type)::type;
    const kernels::UpdateRows<T> all = RowsOf<T>(target, gradient);
    const std::int64_t width = std::max<std::int64_t>(all.width, 1);
    const bool is_parallel = IsStrictlyAscending(gradient.indices.as<std::int64_t>());
    const std::int64_t grain = is_parallel ? std::max<std::int64_t>(kGrainElements / width, 1) : all.count;
    services.pool.ParallelFor(all.count, grain, [&](std::int64_t begin, std::int64_t end) {
      kernels::UpdateRows<T> some = all;
      some.gradient += begin * all.width;
      some.indices += begin;
      some.count = end - begin;
      const kernels::DenormalsOf<T> denormals;
      std::visit([&](const auto& hyper) { kernels.optimizers.of<T>().Update(some, hyper); }, optimizer);
    });
  });
}

}  // namespace gradsync::optimize
