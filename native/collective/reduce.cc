#include "collective/reduce.h"

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <vector>

namespace gradsync::collective {
namespace {

constexpr std::int64_t kTileBytes = std::int64_t{8} * 1024;

template <typename T>
void Fold(const kernels::ElementKernels<T>& kernels, Reduction reduction, const kernels::Fold<T>& fold) {
  switch (reduction) {
    case Reduction::kSum:
      return kernels.sum(fold, 1);
    case Reduction::kMean:
      return kernels.sum(fold, static_cast<std::int64_t>(fold.count));
    case Reduction::kMin:
      return kernels.min(fold);
    case Reduction::kMax:
      return kernels.max(fold);
    case Reduction::kProduct:
      return kernels.product(fold);
  }
}

}  // namespace

Status Reduce(const kernels::KernelTable& kernels, DType dtype, Reduction reduction, const ReduceRange& range) {
  return Dispatch(GradientTypes{}, dtype, "reduction", [&]<typename T>(std::type_identity<T> /*type*/) {
    std::vector<const T*> inputs;
    inputs.reserve(range.from.size());
    for (const std::byte* const input : range.from) inputs.push_back(reinterpret_cast<const T*>(input));
    constexpr std::int64_t kTile = kTileBytes / static_cast<std::int64_t>(sizeof(T));
    T* const first = reinterpret_cast<T*>(range.to[0]);
    for (std::int64_t begin = range.begin; begin < range.end; begin += kTile) {
      const std::int64_t end = std::min(begin + kTile, range.end);
      Fold<T>(kernels.of<T>(), reduction, {.inputs = inputs.data(), .count = inputs.size(), .begin = begin, .end = end, .out = first});
      for (std::byte* const to : range.to.subspan(1)) {
        std::memcpy(reinterpret_cast<T*>(to) + begin, first + begin, static_cast<std::size_t>(end - begin) * sizeof(T));
      }
    }
  });
}

}  // namespace gradsync::collective
