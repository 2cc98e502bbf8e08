// SortedSlices: the slices (index, row) of several lists brought into order of index, then of list, then of position in the list, so that
// equal indices lie side by side and form a segment. It is the first half of every sparse aggregate; SegmentSum (segment_sum.h) is the
// second. Holds 8 bytes per slice (16 where index and position together need more than 64 bits; twice that while sorting) and no row. The
// order, and so all that is made of it, does not depend on the number of threads. Immutable once made: many readers.
//
//   std::vector<IndexList> lists;                                                      // one per contributor
//   GRADSYNC_ASSIGN_OR_RETURN(const SortedSlices sorted, SortedSlices::Sort(lists, &pool));
//   ... allocate sorted.segments() indices and rows ...
//   GRADSYNC_RETURN_IF_ERROR(SegmentSum(sorted, rows, options, &pool));
#ifndef GRADSYNC_KERNELS_SORTED_SLICES_H_
#define GRADSYNC_KERNELS_SORTED_SLICES_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/buffer.h"
#include "core/memory.h"
#include "core/status.h"
#include "core/thread_pool.h"

namespace gradsync::kernels {

// Indices of one contributor with what is known of them; made by `IndexList::Of`, which reads them once. A view: the owner keeps the
// memory unchanged until they are sorted.
struct IndexList {
  std::span<const std::int64_t> indices;
  std::int64_t least = 0;  // of no indices: 0
  std::int64_t most = 0;
  bool is_ascending = true;           // no index is less than the one before
  bool is_strictly_ascending = true;  // nor equal to it

  [[nodiscard]] static IndexList Of(std::span<const std::int64_t> indices);
};

// One slice as a number: from the highest bit the index less the least one, the list, the position in the list.
using NarrowKey = std::uint64_t;
struct WideKey {
  std::uint64_t index;
  std::uint64_t slice;  // list and position
};

// How a key is made up.
struct KeyLayout {
  std::int64_t least_index = 0;
  int position_bits = 0;
  int slice_bits = 0;  // of list and position together
  int index_bits = 0;

  [[nodiscard]] bool is_wide() const { return slice_bits + index_bits > 64; }

  [[nodiscard]] std::uint64_t RelativeIndex(NarrowKey key) const { return key >> slice_bits; }
  [[nodiscard]] static std::uint64_t RelativeIndex(const WideKey& key) { return key.index; }
  template <typename Key>
  [[nodiscard]] std::int64_t Index(const Key& key) const {
    return static_cast<std::int64_t>(static_cast<std::uint64_t>(least_index) + RelativeIndex(key));
  }
  [[nodiscard]] std::size_t List(NarrowKey key) const { return (key & LowBits(slice_bits)) >> position_bits; }
  [[nodiscard]] std::size_t List(const WideKey& key) const { return List(key.slice); }
  [[nodiscard]] std::size_t Position(NarrowKey key) const { return key & LowBits(position_bits); }
  [[nodiscard]] std::size_t Position(const WideKey& key) const { return Position(key.slice); }

 private:
  static constexpr std::uint64_t LowBits(int bits) { return (std::uint64_t{1} << bits) - 1; }
};

// A run of keys that one thread sums. The segments that begin in it are numbered from `first_segment`; the last may end behind it.
struct KeyChunk {
  std::size_t begin;
  std::size_t end;
  std::int64_t first_segment;
};

class SortedSlices {
 public:
  // Any lists: repeats, any order, negative indices, none at all. Nothing of `lists` is kept. Without a pool the calling thread does all,
  // without a memory keys are allocated anew. RESOURCE_EXHAUSTED beyond 2^32 - 1 slices.
  [[nodiscard]] static StatusOr<SortedSlices> Sort(std::span<const IndexList> lists, ThreadPool* pool, Memory* memory = nullptr);

  // Slices, and distinct indices among them.
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] std::int64_t segments() const { return segments_; }
  [[nodiscard]] const KeyLayout& layout() const { return layout_; }
  [[nodiscard]] std::span<const KeyChunk> chunks() const { return chunks_; }

  // Calls `visit` with the keys in order: a span of NarrowKey or of WideKey.
  template <typename Visit>
  void VisitKeys(Visit&& visit) const {
    if (layout_.is_wide()) {
      visit(std::span(reinterpret_cast<const WideKey*>(keys_.data()), size_));
    } else {
      visit(std::span(reinterpret_cast<const NarrowKey*>(keys_.data()), size_));
    }
  }

 private:
  SortedSlices() = default;
  template <typename Key>
  Status SortKeys(std::span<const IndexList> lists, ThreadPool* pool, Memory* memory);
  template <typename Key>
  void CountSegments(std::span<const Key> keys, ThreadPool* pool);

  KeyLayout layout_;
  std::size_t size_ = 0;
  std::int64_t segments_ = 0;
  Buffer keys_;
  std::vector<KeyChunk> chunks_;
};
static_assert(!std::is_copy_constructible_v<SortedSlices> && std::is_nothrow_move_constructible_v<SortedSlices>);

}  // namespace gradsync::kernels

#endif  // GRADSYNC_KERNELS_SORTED_SLICES_H_
