// Contributions: the gradients of a round as rows of elements, summed tile by tile. Views; used by one thread at a time per tile.
#ifndef GRADSYNC_OPTIMIZE_CONTRIBUTIONS_H_
#define GRADSYNC_OPTIMIZE_CONTRIBUTIONS_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels/kernels.h"
#include "optimize/dense_update.h"

namespace gradsync::optimize {

// Elements a thread handles at a time: large beside the cost of handing over, small beside a big gradient.
inline constexpr std::int64_t kGrainElements = std::int64_t{64} * 1024;
// Elements of a tile: the memory it takes, with that of variable and slots beside it, stays in the first-level cache.
inline constexpr std::int64_t kTileElements = 1024;

// Calls visit(offset, count) for the tiles of [begin, end).
template <typename Visit>
void ForEachTile(std::int64_t begin, std::int64_t end, Visit&& visit) {
  for (std::int64_t offset = begin; offset < end; offset += kTileElements) visit(offset, std::min(kTileElements, end - offset));
}

template <typename T>
class Contributions {
 public:
  Contributions(const DenseGradient& gradient, const kernels::KernelTable& kernels)
      : sum_(kernels.of<T>().sum), divisor_(gradient.divisor), shifted_(gradient.contributions.size()) {
    for (const TensorView& contribution : gradient.contributions) rows_.push_back(contribution.as<T>().data());
  }

  // Elements [offset, offset + count) of sum / divisor: in `scratch`, or where they lie already.
  const T* Mean(std::int64_t offset, std::int64_t count, T* scratch) {
    if (rows_.size() == 1 && divisor_ == 1) return rows_.front() + offset;
    for (std::size_t k = 0; k < rows_.size(); ++k) shifted_[k] = rows_[k] + offset;
    sum_({.inputs = shifted_.data(), .count = shifted_.size(), .begin = 0, .end = count, .out = scratch}, divisor_);
    return scratch;
  }

 private:
  void (*const sum_)(const kernels::Fold<T>& fold, std::int64_t divisor);
  const std::int64_t divisor_;
  std::vector<const T*> rows_;
  std::vector<const T*> shifted_;  // to the tile
};

}  // namespace gradsync::optimize

#endif  // GRADSYNC_OPTIMIZE_CONTRIBUTIONS_H_
