// Segment sums: the rows of a segment are added block by block, the block's sum staying in registers, so each row is read once and each
// output row written once. Rows lie anywhere: those to come are prefetched while one is added.
#include "kernels/cpu/segments.h"

#include <cstring>

#include "kernels/cpu/arithmetic.h"
#include "kernels/cpu/lines.h"

namespace gradsync::kernels::GRADSYNC_KERNELS_NAMESPACE {
namespace {

// Four lines: as many sums as even the baseline's registers hold.
constexpr int kBlockLines = 4;
// How far before its use a row is fetched: enough to cover the latency of memory, little beside the first-level cache.
constexpr std::int64_t kPrefetchBytes = 8 * 1024;
constexpr std::int64_t kMaxPrefetchRows = 32;

// The rows of one segment, and all that are known to come after them.
template <typename T>
struct Segment {
  const T* const* rows;
  std::uint32_t count;
  const T* const* last;  // of the rows of all segments
  std::int64_t ahead;    // rows from one that is added to the one that is fetched

  // Fetches `lines` of the row `ahead` of the k-th.
  GRADSYNC_ALWAYS_INLINE void Prefetch(std::uint32_t k, std::int64_t offset, std::int64_t lines) const {
    const T* const* const row = last - (rows + k) > ahead ? rows + k + ahead : last;
    for (std::int64_t line = 0; line < lines; ++line) __builtin_prefetch(*row + offset + line * kLineElements<T>, /*rw=*/0, /*locality=*/0);
  }
};

// Elements [offset, offset + count) of the segment's sum.
template <typename T, Rounding kRounding>
GRADSYNC_ALWAYS_INLINE void SumElements(const Segment<T>& segment, std::int64_t offset, std::int64_t count, Wide<T>* __restrict sum) {
  for (std::int64_t i = 0; i < count; ++i) sum[i] = Widen(segment.rows[0][offset + i]);
  segment.Prefetch(0, offset, (count + kLineElements<T> - 1) / kLineElements<T>);
  for (std::uint32_t k = 1; k < segment.count; ++k) {
    segment.Prefetch(k, offset, (count + kLineElements<T> - 1) / kLineElements<T>);
    const T* const row = segment.rows[k] + offset;
    for (std::int64_t i = 0; i < count; ++i) sum[i] = Round<T, kRounding>(Add::Apply(sum[i], Widen(row[i])));
  }
}

template <typename T>
GRADSYNC_ALWAYS_INLINE void StoreBlock(const T* block, std::int64_t count, Store store, T* out) {
  const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(T);
  if (store == Store::kCached) {
    std::memcpy(out, block, bytes);
    return;
  }
  const auto* from = reinterpret_cast<const std::byte*>(block);
  auto* to = reinterpret_cast<std::byte*>(out);
  for (std::size_t done = 0; done < bytes; done += kLineBytes) StreamLine(to + done, from + done);
}

template <typename T, Rounding kRounding>
GRADSYNC_ALWAYS_INLINE void DivideAndStore(Wide<T>* sum, std::int64_t count, std::uint32_t divisor, Store store, T* out) {
  if (divisor != 1) DivideTile<T, kRounding>(count, divisor, sum);
  if constexpr (kIsHalfType<T>) {
    alignas(kLineBytes) T narrow[kBlockLines * kLineElements<T>];
    for (std::int64_t i = 0; i < count; ++i) narrow[i] = Narrow<T>(sum[i]);
    StoreBlock(narrow, count, store, out);
  } else {
    StoreBlock(sum, count, store, out);
  }
}

// `kLines` whole lines of the segment's sum, from `offset` on.
template <typename T, Rounding kRounding, int kLines>
GRADSYNC_ALWAYS_INLINE void SumLines(const Segment<T>& segment, std::int64_t offset, std::uint32_t divisor, Store store, T* out) {
  if constexpr (kHasLines<T>) {
    Lines<T, kLines> sum(segment.rows[0] + offset);
    segment.Prefetch(0, offset, kLines);
    for (std::uint32_t k = 1; k < segment.count; ++k) {
      segment.Prefetch(k, offset, kLines);
      sum.Add(segment.rows[k] + offset);
    }
    sum.Divide(divisor);
    sum.Store(out + offset, store);
  } else {
    alignas(kLineBytes) Wide<T> sum[kLines * kLineElements<T>];
    SumElements<T, kRounding>(segment, offset, kLines * kLineElements<T>, sum);
    DivideAndStore<T, kRounding>(sum, kLines * kLineElements<T>, divisor, store, out + offset);
  }
}

template <typename T, Rounding kRounding>
void SumSegment(const Segment<T>& segment, std::int64_t width, std::uint32_t divisor, Store store, T* out) {
  constexpr std::int64_t kBlock = kBlockLines * kLineElements<T>;
  std::int64_t offset = 0;
  for (; offset + kBlock <= width; offset += kBlock) SumLines<T, kRounding, kBlockLines>(segment, offset, divisor, store, out);
  for (; offset + kLineElements<T> <= width; offset += kLineElements<T>) SumLines<T, kRounding, 1>(segment, offset, divisor, store, out);
  if (offset == width) return;
  Wide<T> sum[kLineElements<T>];
  SumElements<T, kRounding>(segment, offset, width - offset, sum);
  DivideAndStore<T, kRounding>(sum, width - offset, divisor, store, out + offset);
}

template <typename T, Rounding kRounding>
void SumSegments(const SegmentedRows<T>& all) {
  if (all.segments == 0 || all.width == 0) return;
  const std::int64_t row_bytes = all.width * static_cast<std::int64_t>(sizeof(T));
  const std::int64_t fetched = kPrefetchBytes / row_bytes;
  Segment<T> segment{.rows = all.rows,
                     .count = 0,
                     .last = all.rows + (all.row_count - 1),
                     .ahead = fetched < 1                  ? 1
                              : fetched > kMaxPrefetchRows ? kMaxPrefetchRows
                                                           : fetched};
  for (std::size_t s = 0; s < all.segments; ++s) {
    T* const out = all.out + static_cast<std::int64_t>(s) * all.width;
    segment.count = all.counts[s];
    if (kIsHalfType<T> && segment.count == 1 && all.divisors[s] == 1) {  // widening and narrowing would quiet a signaling NaN
      std::memcpy(out, segment.rows[0], static_cast<std::size_t>(row_bytes));
    } else {
      SumSegment<T, kRounding>(segment, all.width, all.divisors[s], all.store, out);
    }
    segment.rows += segment.count;
  }
  if (all.store == Store::kStreaming) StreamFence();
}

template <typename T>
constexpr SegmentKernels<T> MakeKernels() {
  return {
      .sum = SumSegments<T, Rounding::kOnce>, .sum_rounding_each = SumSegments < T, kIsHalfType<T> ? Rounding::kEach : Rounding::kOnce > };
}

}  // namespace

constinit const SegmentKernels<Half> kFloat16Segments = MakeKernels<Half>();
constinit const SegmentKernels<BFloat16> kBFloat16Segments = MakeKernels<BFloat16>();
constinit const SegmentKernels<float> kFloat32Segments = MakeKernels<float>();
constinit const SegmentKernels<double> kFloat64Segments = MakeKernels<double>();
constinit const SegmentKernels<std::int32_t> kInt32Segments = MakeKernels<std::int32_t>();
constinit const SegmentKernels<std::int64_t> kInt64Segments = MakeKernels<std::int64_t>();

}  // namespace gradsync::kernels::GRADSYNC_KERNELS_NAMESPACE
