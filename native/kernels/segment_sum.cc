#include "kernels/segment_sum.h"

#include <algorithm>
#include <cstddef>
#include <vector>

#include "kernels/kernels.h"

namespace gradsync::kernels {
namespace {

// Results beyond this do not stay in the caches anyway, so they are written past them.
constexpr std::size_t kStreamingBytes = std::size_t{4} * 1024 * 1024;
constexpr std::size_t kLineBytes = 64;

// The segments that begin in one chunk, as the kernels want them. The vectors keep their memory, and may be longer than what they hold.
template <typename T>
struct ChunkRows {
  std::vector<const T*> rows;
  std::vector<std::uint32_t> counts;
  std::vector<std::uint32_t> divisors;

  void Reserve(std::size_t size) {
    if (rows.size() >= size) return;
    rows.resize(size);
    counts.resize(size);
    divisors.resize(size);
  }
};

// [a, b, c] -> [a, b - a, c - b]
void DifferencesOf(std::uint32_t* sums, std::size_t count) {
  for (std::size_t i = count; i-- > 1;) sums[i] -= sums[i - 1];
}

template <typename T>
class Summation {
 public:
  Summation(const SortedSlices& sorted, std::span<const void* const> rows, const SegmentSumOptions& options, std::int64_t* out_indices,
            T* out)
      : layout_(sorted.layout()), rows_(rows), options_(options), out_indices_(out_indices), out_(out) {
    const KernelTable& kernels = KernelsFor(options.instruction_set);
    const SegmentKernels<T>& segments = kernels.segments.of<T>();
    sum_ = options.half_sum == HalfSum::kWide ? segments.sum : segments.sum_rounding_each;
    const std::size_t row_bytes = static_cast<std::size_t>(options.width) * sizeof(T);
    const bool has_whole_lines = row_bytes % kLineBytes == 0 && reinterpret_cast<std::uintptr_t>(out) % kLineBytes == 0;
    const bool is_large = static_cast<std::size_t>(sorted.segments()) * row_bytes >= kStreamingBytes;
    store_ = has_whole_lines && is_large ? Store::kStreaming : Store::kCached;
  }

  template <typename Key>
  void SumChunk(std::span<const Key> keys, const KeyChunk& chunk, ChunkRows<T>& scratch) const {
    // The chunk before sums the segment that goes on here, this one the segment that goes on behind it.
    std::size_t begin = chunk.begin;
    while (begin < chunk.end && begin > 0 && IsSame(keys[begin - 1], keys[begin])) ++begin;
    if (begin == chunk.end) return;
    std::size_t end = chunk.end;
    while (end < keys.size() && IsSame(keys[end - 1], keys[end])) ++end;
    scratch.Reserve(end - begin);
    const std::size_t segments = ListSegments(keys.subspan(begin, end - begin), out_indices_ + chunk.first_segment, scratch);
    sum_({.rows = scratch.rows.data(),
          .row_count = end - begin,
          .counts = scratch.counts.data(),
          .divisors = scratch.divisors.data(),
          .segments = segments,
          .width = options_.width,
          .out = out_ + chunk.first_segment * options_.width,
          .store = store_});
  }

 private:
  template <typename Key>
  [[nodiscard]] bool IsSame(const Key& a, const Key& b) const {
    return layout_.RelativeIndex(a) == layout_.RelativeIndex(b);
  }

  // Lists the segments of keys that begin with one, and their indices; gives their number. Without branches, which keys would make
  // mispredict: every key writes where its segment ends so far.
  template <typename Key>
  std::size_t ListSegments(std::span<const Key> keys, std::int64_t* indices, ChunkRows<T>& scratch) const {
    // Of this function alone, so that no write can change them.
    const KeyLayout layout = layout_;
    const std::int64_t width = options_.width;
    const void* const* const lists_rows = rows_.data();
    const T** const rows = scratch.rows.data();
    std::uint32_t* const ends = scratch.counts.data();
    std::uint32_t* const list_ends = scratch.divisors.data();
    std::size_t last = 0;  // segment
    std::uint32_t lists = 0;
    std::uint64_t previous_index = layout.RelativeIndex(keys[0]);
    std::size_t previous_list = rows_.size();
    for (std::size_t i = 0; i < keys.size(); ++i) {
      const std::uint64_t index = layout.RelativeIndex(keys[i]);
      const std::size_t list = layout.List(keys[i]);
      const std::uint32_t begins_segment = index != previous_index ? 1 : 0;
      const std::uint32_t begins_list = list != previous_list ? 1 : 0;
      last += begins_segment;
      lists += begins_segment | begins_list;
      previous_index = index;
      previous_list = list;
      rows[i] = static_cast<const T*>(lists_rows[list]) + static_cast<std::int64_t>(layout.Position(keys[i])) * width;
      ends[last] = static_cast<std::uint32_t>(i + 1);
      list_ends[last] = lists;
      indices[last] = layout.Index(keys[i]);
    }
    DifferencesOf(scratch.counts.data(), last + 1);
    if (options_.divisor == 0) {
      DifferencesOf(scratch.divisors.data(), last + 1);
    } else {
      std::fill_n(scratch.divisors.data(), last + 1, options_.divisor);
    }
    return last + 1;
  }

  const KeyLayout layout_;
  const std::span<const void* const> rows_;
  const SegmentSumOptions& options_;
  std::int64_t* const out_indices_;
  T* const out_;
  void (*sum_)(const SegmentedRows<T>&);
  Store store_;
};

}  // namespace

Status SegmentSum(const SortedSlices& sorted, std::span<const void* const> rows, const SegmentSumOptions& options,
                  std::int64_t* out_indices, void* out_rows, ThreadPool* pool) {
  return Dispatch(GradientTypes{}, options.dtype, "SegmentSum", [&](auto type) {
    using T = typename decltype(type)::type;
    const Summation<T> summation(sorted, rows, options, out_indices, static_cast<T*>(out_rows));
    sorted.VisitKeys([&](auto keys) {
      const auto sum = [&](std::int64_t begin, std::int64_t end) {
        ChunkRows<T> scratch;
        for (std::int64_t c = begin; c < end; ++c) summation.SumChunk(keys, sorted.chunks()[static_cast<std::size_t>(c)], scratch);
      };
      const auto chunks = static_cast<std::int64_t>(sorted.chunks().size());
      if (pool == nullptr) {
        sum(0, chunks);
      } else {
        pool->ParallelFor(chunks, 1, sum);
      }
    });
  });
}

}  // namespace gradsync::kernels
