// Reduce: elements of several inputs into several outputs, by dtype and reduction, with the kernels of the machine. Tile by tile: a tile is
// reduced, then copied on while it lies in the first-level cache, so memory is streamed once: N reads and M writes. Pure; thread-safe for
// disjoint ranges. Deterministic: in the order of the inputs, whatever the kernels.
#ifndef GRADSYNC_COLLECTIVE_REDUCE_H_
#define GRADSYNC_COLLECTIVE_REDUCE_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "collective/communicator.h"
#include "core/dtype.h"
#include "core/status.h"
#include "kernels/kernels.h"

namespace gradsync::collective {

// Elements [begin, end) of every input become the same elements of every output (at least one of each). Outputs may be inputs themselves.
struct ReduceRange {
  std::span<const std::byte* const> from;
  std::span<std::byte* const> to;
  std::int64_t begin;
  std::int64_t end;
};

// A mean divides by the number of inputs. `dtype` is one of GradientTypes.
Status Reduce(const kernels::KernelTable& kernels, DType dtype, Reduction reduction, const ReduceRange& range);

}  // namespace gradsync::collective

#endif  // GRADSYNC_COLLECTIVE_REDUCE_H_
