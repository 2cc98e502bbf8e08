#include "optimize/gradient_norm.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <numeric>
#include <vector>

#include "core/buffer.h"
#include "core/half.h"
#include "kernels/kernels.h"
#include "optimize/contributions.h"
#include "optimize/optimizer.h"

namespace gradsync::optimize {
namespace {

template <typename T>
double SumOfSquaresOf(const DenseGradient& gradient, std::int64_t begin, std::int64_t end, const kernels::KernelTable& kernels) {
  alignas(kBufferAlignment) std::array<T, kTileElements> scratch;  // NOLINT(cppcoreguidelines-pro-type-member-init): the sum fills it
  Contributions<T> contributions(gradient, kernels);
  double sum = 0;
  ForEachTile(begin, end, [&](std::int64_t offset, std::int64_t count) {
    sum += kernels.optimizers.of<T>().sum_of_squares(contributions.Mean(offset, count, scratch.data()), count);
  });
  return sum;
}

template <typename T>
double ClipScaleOf(T norm, T clip_norm) {
  // Not a number when the norm is not finite; else the addend is 0.
  return clip_norm * std::min(T{1} / norm, T{1} / clip_norm) + (norm - norm);
}

}  // namespace

StatusOr<double> SumOfSquares(const DenseGradient& gradient, Services& services) {
  const TensorView& first = gradient.contributions.front();
  const kernels::KernelTable& kernels = kernels::KernelsFor(services.instruction_set);
  std::vector<double> sums(static_cast<std::size_t>((first.size() + kGrainElements - 1) / kGrainElements));
  GRADSYNC_RETURN_IF_ERROR(Dispatch(OptimizerTypes{}, first.dtype, "global norm", [&](auto type) {
    using T = typename decltype(type)::type;
    services.pool.ParallelFor(first.size(), kGrainElements, [&](std::int64_t begin, std::int64_t end) {
      sums[static_cast<std::size_t>(begin / kGrainElements)] = SumOfSquaresOf<T>(gradient, begin, end, kernels);
    });
  }));
  return std::accumulate(sums.begin(), sums.end(), 0.0);
}

bool IsAllFinite(const DenseGradient& gradient, Services& services) {
  std::atomic<bool> is_finite = true;
  const TensorView& first = gradient.contributions.front();
  const kernels::KernelTable& kernels = kernels::KernelsFor(services.instruction_set);
  static_cast<void>(Dispatch(OptimizerTypes{}, first.dtype, "non-finite guard", [&](auto type) {
    using T = typename decltype(type)::type;
    services.pool.ParallelFor(first.size(), kGrainElements, [&](std::int64_t begin, std::int64_t end) {
      alignas(kBufferAlignment) std::array<T, kTileElements> scratch;  // NOLINT(cppcoreguidelines-pro-type-member-init): the sum fills it
      Contributions<T> contributions(gradient, kernels);
      ForEachTile(begin, end, [&](std::int64_t offset, std::int64_t count) {
        if (!is_finite.load(std::memory_order_relaxed)) return;
        const T* const mean = contributions.Mean(offset, count, scratch.data());
        if (!kernels.optimizers.of<T>().all_finite(mean, count)) is_finite.store(false, std::memory_order_relaxed);
      });
    });
  }));
  return is_finite;
}

std::optional<std::int64_t> FindNonFinite(const TensorView& values) {
  std::optional<std::int64_t> position;
  static_cast<void>(Dispatch(OptimizerTypes{}, values.dtype, "non-finite guard", [&](auto type) {
    const auto elements = values.as<typename decltype(type)::type>();
    const auto found = std::ranges::find_if(elements, [](auto x) { return !IsFinite(x); });
    if (found != elements.end()) position = found - elements.begin();
  }));
  return position;
}

std::optional<std::int64_t> FindNonFinite(const DenseGradient& gradient, Services& services) {
  std::optional<std::int64_t> position;
  const TensorView& first = gradient.contributions.front();
  const kernels::KernelTable& kernels = kernels::KernelsFor(services.instruction_set);
  static_cast<void>(Dispatch(OptimizerTypes{}, first.dtype, "non-finite guard", [&](auto type) {
    using T = typename decltype(type)::type;
    alignas(kBufferAlignment) std::array<T, kTileElements> scratch;  // NOLINT(cppcoreguidelines-pro-type-member-init): the sum fills it
    Contributions<T> contributions(gradient, kernels);
    ForEachTile(0, first.size(), [&](std::int64_t offset, std::int64_t count) {
      const T* const mean = contributions.Mean(offset, count, scratch.data());
      const auto* const found = std::find_if(mean, mean + count, [](T x) { return !IsFinite(x); });
      if (!position && found != mean + count) position = offset + (found - mean);
    });
  }));
  return position;
}

void ZeroNonFinite(const MutableTensorView& values) {
  static_cast<void>(Dispatch(OptimizerTypes{}, values.dtype, "non-finite guard", [&](auto type) {
    using T = typename decltype(type)::type;
    for (T& x : values.as<T>()) x = IsFinite(x) ? x : T{};
  }));
}

StatusOr<double> ClipScale(DType dtype, double norm, double clip_norm) {
  double scale = 1;
  GRADSYNC_RETURN_IF_ERROR(Dispatch(OptimizerTypes{}, dtype, "clip by global norm", [&](auto type) {
    using T = kernels::Wide<typename decltype(type)::type>;
    scale = ClipScaleOf(static_cast<T>(norm), static_cast<T>(clip_norm));
  }));
  return scale;
}

}  // namespace gradsync::optimize
