// The kernels of kernels.h for every element type. A sum of few inputs stays in registers from the first load to the store. Any other fold
// works tile by tile: the tile stays in the first-level cache while groups of inputs are added to it. Either way memory is streamed once,
// N reads and one write. The loops over tiles are plain and left to the compiler to vectorize.
#include "kernels/cpu/elements.h"

#include <cstring>
#include <utility>

#include "kernels/cpu/arithmetic.h"
#include "kernels/cpu/lines.h"

namespace gradsync::kernels::GRADSYNC_KERNELS_NAMESPACE {
namespace {

// Small enough to stay in the first-level cache beside the inputs that stream through it.
constexpr std::int64_t kTileElements = 1024;
// Few inputs take few passes over a tile: a smaller one lets reads and writes of memory alternate more evenly, which is faster by a tenth.
constexpr std::int64_t kSmallTileElements = 128;
// Inputs added to a tile in one pass.
constexpr std::size_t kGroup = 4;
// So many inputs at most are summed side by side, a line of each, in registers: about as many streams as the processor fetches ahead.
constexpr std::size_t kMostStreams = 8;
// Lines summed at once, in registers even of the baseline.
constexpr int kBlockLines = 2;

struct Multiply {
  template <typename W>
  GRADSYNC_ALWAYS_INLINE static W Apply(W a, W b) {
    if constexpr (std::is_integral_v<W>) {
      return static_cast<W>(static_cast<std::make_unsigned_t<W>>(a) * static_cast<std::make_unsigned_t<W>>(b));
    } else {
      return a * b;
    }
  }
};
// A NaN compares with nothing, itself neither: in `a` the second test keeps it, in `b` both fail and it is chosen.
struct Min {
  template <typename W>
  GRADSYNC_ALWAYS_INLINE static W Apply(W a, W b) {
    return ((a < b) | (a != a)) ? a : b;  // NOLINT(misc-redundant-expression)
  }
};
struct Max {
  template <typename W>
  GRADSYNC_ALWAYS_INLINE static W Apply(W a, W b) {
    return ((a > b) | (a != a)) ? a : b;  // NOLINT(misc-redundant-expression)
  }
};

// One pass: `kInputs` inputs, the first of which begins the tile when kIsFirst.
template <typename Operation, Rounding kRounding, std::size_t kInputs, bool kIsFirst, typename T>
void FoldGroup(const T* const* inputs, std::int64_t offset, std::int64_t count, Wide<T>* __restrict tile) {
  const T* rows[kInputs];
  for (std::size_t k = 0; k < kInputs; ++k) rows[k] = inputs[k] + offset;
  for (std::int64_t i = 0; i < count; ++i) {
    Wide<T> value = kIsFirst ? Widen(rows[0][i]) : tile[i];
    for (std::size_t k = kIsFirst ? 1 : 0; k < kInputs; ++k) {
      value = Round<T, kRounding>(Operation::Apply(value, Widen(rows[k][i])));
    }
    tile[i] = value;
  }
}

template <typename Operation, Rounding kRounding, bool kIsFirst, typename T>
std::size_t FoldUpToGroup(const T* const* inputs, std::size_t left, std::int64_t offset, std::int64_t count, Wide<T>* tile) {
  switch (left) {
    case 1:
      FoldGroup<Operation, kRounding, 1, kIsFirst>(inputs, offset, count, tile);
      return 1;
    case 2:
      FoldGroup<Operation, kRounding, 2, kIsFirst>(inputs, offset, count, tile);
      return 2;
    case 3:
      FoldGroup<Operation, kRounding, 3, kIsFirst>(inputs, offset, count, tile);
      return 3;
    default:
      FoldGroup<Operation, kRounding, kGroup, kIsFirst>(inputs, offset, count, tile);
      return kGroup;
  }
}

template <typename Operation, Rounding kRounding, typename T>
void FoldTile(const Fold<T>& fold, std::int64_t offset, std::int64_t count, Wide<T>* tile) {
  std::size_t done = FoldUpToGroup<Operation, kRounding, true>(fold.inputs, fold.count, offset, count, tile);
  while (done < fold.count) {
    done += FoldUpToGroup<Operation, kRounding, false>(fold.inputs + done, fold.count - done, offset, count, tile);
  }
}

// Copies to `out` past the caches, but for what lies before the first and after the last whole line.
void Stream(std::byte* out, const std::byte* from, std::size_t bytes) {
  const std::size_t misaligned = reinterpret_cast<std::uintptr_t>(out) % kLineBytes;
  std::size_t head = misaligned == 0 ? 0 : kLineBytes - misaligned;
  if (head > bytes) head = bytes;
  std::memcpy(out, from, head);
  std::size_t done = head;
  for (; done + kLineBytes <= bytes; done += kLineBytes) StreamLine(out + done, from + done);
  std::memcpy(out + done, from + done, bytes - done);
}

template <typename T>
void StoreElements(const T* from, std::int64_t count, Store store, T* out) {
  const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(T);
  if (store == Store::kStreaming) {
    Stream(reinterpret_cast<std::byte*>(out), reinterpret_cast<const std::byte*>(from), bytes);
  } else if (out != from) {
    std::memcpy(out, from, bytes);
  }
}

template <typename T>
void StoreTile(const Wide<T>* tile, std::int64_t count, Store store, T* out) {
  if constexpr (kIsHalfType<T>) {
    alignas(kLineBytes) T narrow[kTileElements];
    for (std::int64_t i = 0; i < count; ++i) narrow[i] = Narrow<T>(tile[i]);
    StoreElements(narrow, count, store, out);
  } else {
    StoreElements(tile, count, store, out);
  }
}

// Elements [begin, end), tile by tile.
template <typename Operation, Rounding kRounding, typename T>
void FoldTiles(const Fold<T>& fold, std::int64_t begin, std::int64_t end, std::int64_t divisor) {
  alignas(kLineBytes) Wide<T> tile[kTileElements];
  const std::int64_t tile_elements = fold.count > 2 * kGroup ? kTileElements : kSmallTileElements;
  for (std::int64_t offset = begin; offset < end; offset += tile_elements) {
    const std::int64_t left = end - offset;
    const std::int64_t count = left < tile_elements ? left : tile_elements;
    if (fold.count == 1 && divisor == 1) {
      StoreElements(fold.inputs[0] + offset, count, fold.store, fold.out + offset);
      continue;
    }
    FoldTile<Operation, kRounding>(fold, offset, count, tile);
    if (divisor != 1) DivideTile<T, kRounding>(count, divisor, tile);
    StoreTile<T>(tile, count, fold.store, fold.out + offset);
  }
}

// From where on the output lies in whole lines, at most the fold's end.
template <typename T>
std::int64_t FirstWholeLine(const Fold<T>& fold) {
  const std::size_t misaligned = reinterpret_cast<std::uintptr_t>(fold.out + fold.begin) % kLineBytes;
  if (misaligned % sizeof(T) != 0) return fold.end;
  const std::int64_t first = fold.begin + static_cast<std::int64_t>((misaligned == 0 ? 0 : kLineBytes - misaligned) / sizeof(T));
  return first < fold.end ? first : fold.end;
}

// Whole lines of elements from `begin` on, of kInputs inputs at once; gives where it ended, less than a block before the fold's end. A
// number of inputs that the compiler knows keeps their addresses in registers: a fifth faster.
template <std::size_t kInputs, int kLines, typename T>
std::int64_t SumLinesOf(const Fold<T>& fold, std::int64_t begin, std::int64_t divisor) {
  constexpr std::int64_t kBlock = kLines * kLineElements<T>;
  const T* rows[kInputs];
  for (std::size_t k = 0; k < kInputs; ++k) rows[k] = fold.inputs[k];
  T* const out = fold.out;
  const Store store = fold.store;
  for (; begin + kBlock <= fold.end; begin += kBlock) {
    Lines<T, kLines> sum(rows[0] + begin);
#pragma GCC unroll 8
    for (std::size_t k = 1; k < kInputs; ++k) sum.Add(rows[k] + begin);
    sum.Divide(divisor);
    sum.Store(out + begin, store);
  }
  return begin;
}

// Of 1 to kMostStreams inputs.
template <int kLines, typename T, std::size_t... kCounts>
std::int64_t SumLines(const Fold<T>& fold, std::int64_t begin, std::int64_t divisor, std::index_sequence<kCounts...> /*less one*/) {
  (void)((fold.count == kCounts + 1 && (begin = SumLinesOf<kCounts + 1, kLines>(fold, begin, divisor), true)) || ...);
  return begin;
}

template <typename Operation, Rounding kRounding, typename T>
void RunFold(const Fold<T>& fold, std::int64_t divisor) {
  std::int64_t begin = fold.begin;
  if constexpr (kHasLines<T> && std::is_same_v<Operation, Add>) {
    if (fold.count <= kMostStreams) {
      begin = FirstWholeLine(fold);
      FoldTiles<Operation, kRounding>(fold, fold.begin, begin, divisor);
      begin = SumLines<kBlockLines>(fold, begin, divisor, std::make_index_sequence<kMostStreams>());
      begin = SumLines<1>(fold, begin, divisor, std::make_index_sequence<kMostStreams>());
    }
  }
  FoldTiles<Operation, kRounding>(fold, begin, fold.end, divisor);
  if (fold.store == Store::kStreaming) StreamFence();
}

template <typename Operation, typename T>
void RunFold(const Fold<T>& fold) {
  RunFold<Operation, Rounding::kOnce>(fold, 1);
}

template <typename T>
void Scale(const T* in, std::int64_t count, Wide<T> factor, T* out) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = Narrow<T>(Multiply::Apply(Widen(in[i]), factor));
}

template <typename T>
constexpr ElementKernels<T> MakeKernels() {
  return {
      .sum = RunFold<Add, Rounding::kOnce, T>,
      .sum_rounding_each = RunFold < Add,
      kIsHalfType<T> ? Rounding::kEach : Rounding::kOnce,
      T >
      , .product = RunFold<Multiply, T>, .min = RunFold<Min, T>, .max = RunFold<Max, T>, .scale = Scale<T>,
  };
}

}  // namespace

constinit const ElementKernels<Half> kFloat16Elements = MakeKernels<Half>();
constinit const ElementKernels<BFloat16> kBFloat16Elements = MakeKernels<BFloat16>();
constinit const ElementKernels<float> kFloat32Elements = MakeKernels<float>();
constinit const ElementKernels<double> kFloat64Elements = MakeKernels<double>();
constinit const ElementKernels<std::int32_t> kInt32Elements = MakeKernels<std::int32_t>();
constinit const ElementKernels<std::int64_t> kInt64Elements = MakeKernels<std::int64_t>();

}  // namespace gradsync::kernels::GRADSYNC_KERNELS_NAMESPACE
