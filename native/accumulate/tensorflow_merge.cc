#include "accumulate/tensorflow_merge.h"

#include <cstddef>
#include <utility>

namespace gradsync::accumulate {
namespace {

// A row of the aggregate: a chain of slices.
struct Row {
  std::int64_t index;
  std::uint32_t first;
  std::uint32_t last;
  std::uint32_t count;
};

// One round of the merge: `rows` with the slices of `indices`, numbered from `base`; `next` links the slices of a row.
std::vector<Row> MergeOne(const std::vector<Row>& rows, std::span<const std::int64_t> indices, std::uint32_t base,
                          std::vector<std::uint32_t>& next) {
  std::vector<Row> merged;
  merged.reserve(rows.size() + indices.size());
  std::size_t a = 0;
  std::size_t g = 0;
  while (a < rows.size() || g < indices.size()) {
    const bool takes_old = g == indices.size() || (a < rows.size() && rows[a].index <= indices[g]);
    const bool takes_new = a == rows.size() || (g < indices.size() && indices[g] <= rows[a].index);
    const std::uint32_t slice = base + static_cast<std::uint32_t>(g);
    Row row = takes_old ? rows[a] : Row{.index = indices[g], .first = slice, .last = slice, .count = 1};
    if (takes_old && takes_new) {
      next[row.last] = slice;
      row.last = slice;
      ++row.count;
    }
    merged.push_back(row);
    a += takes_old ? 1 : 0;
    g += takes_new ? 1 : 0;
  }
  return merged;
}

}  // namespace

MergedSlices MergeIndices(std::span<const kernels::IndexList> lists) {
  std::size_t size = 0;
  for (const kernels::IndexList& list : lists) size += list.indices.size();
  std::vector<std::uint32_t> next(size);
  std::vector<Row> rows;
  std::uint32_t base = 0;
  for (const kernels::IndexList& list : lists) {
    rows = MergeOne(rows, list.indices, base, next);
    base += static_cast<std::uint32_t>(list.indices.size());
  }
  MergedSlices merged;
  merged.slices.reserve(size);
  for (const Row& row : rows) {
    merged.indices.push_back(row.index);
    merged.counts.push_back(row.count);
    std::uint32_t slice = row.first;
    for (std::uint32_t i = 0; i < row.count; ++i) merged.slices.push_back(std::exchange(slice, next[slice]));
  }
  return merged;
}

}  // namespace gradsync::accumulate
