#include "kernels/sorted_slices.h"

#include <algorithm>
#include <array>
#include <bit>
#include <functional>
#include <limits>
#include <memory>
#include <tuple>

namespace gradsync::kernels {
namespace {

// Keys that one thread moves at a time: many beside the cost of handing over and of counting digits.
constexpr std::size_t kSortChunk = std::size_t{32} * 1024;
// Rows are much larger than keys, so threads sum shorter chunks.
constexpr std::size_t kSumChunk = std::size_t{2} * 1024;
// Ascending lists are cut into ranges of about 8 Ki keys, which, twice, fit the second-level cache; a sample for each 512.
constexpr std::size_t kSampleStep = 512;
constexpr std::size_t kSamplesPerRange = 16;
// More digits than this and their counts and places no longer fit the first-level cache.
constexpr int kMaxDigitBits = 10;

int BitWidth(std::uint64_t value) { return static_cast<int>(std::bit_width(value)); }

// Calls `body(chunk, begin, end)` for every `width` of [0, count), on threads of the pool where there is one.
void ForEachChunk(ThreadPool* pool, std::size_t count, std::size_t width,
                  const std::function<void(std::size_t, std::size_t, std::size_t)>& body) {
  const auto chunks = static_cast<std::int64_t>((count + width - 1) / width);
  const auto run = [&](std::int64_t first, std::int64_t last) {
    for (auto chunk = static_cast<std::size_t>(first); chunk < static_cast<std::size_t>(last); ++chunk) {
      body(chunk, chunk * width, std::min((chunk + 1) * width, count));
    }
  };
  if (pool == nullptr) {
    run(0, chunks);
  } else {
    pool->ParallelFor(chunks, 1, run);
  }
}

template <typename Key>
Key MakeKey(const KeyLayout& layout, std::uint64_t relative_index, std::uint64_t list, std::uint64_t position) {
  const std::uint64_t slice = (list << layout.position_bits) | position;
  if constexpr (std::is_same_v<Key, WideKey>) {
    return {.index = relative_index, .slice = slice};
  } else {
    return (relative_index << layout.slice_bits) | slice;
  }
}

// Some consecutive indices of a list, from position `first` on.
struct ListPart {
  std::span<const std::int64_t> indices;
  std::size_t first = 0;
};

// The keys of a part of every list, one after the other, made when they are read.
template <typename Key>
class UnsortedKeys {
 public:
  UnsortedKeys(std::vector<ListPart> parts, const KeyLayout& layout) : parts_(std::move(parts)), layout_(layout) {
    offsets_.reserve(parts_.size());
    for (const ListPart& part : parts_) offsets_.push_back(std::exchange(size_, size_ + part.indices.size()));
  }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] std::span<const ListPart> parts() const { return parts_; }

  // Calls `visit(key)` for the keys of places [begin, end).
  template <typename Visit>
  void ForEach(std::size_t begin, std::size_t end, Visit&& visit) const {
    const KeyLayout layout = layout_;
    const auto least = static_cast<std::uint64_t>(layout.least_index);
    auto list = static_cast<std::size_t>(std::ranges::upper_bound(offsets_, begin) - offsets_.begin()) - 1;
    for (; begin < end; ++list) {
      const std::size_t first = begin - offsets_[list];
      const ListPart& part = parts_[list];
      const auto indices = part.indices.subspan(first, std::min(end - begin, part.indices.size() - first));
      for (std::size_t i = 0; i < indices.size(); ++i) {
        visit(MakeKey<Key>(layout, static_cast<std::uint64_t>(indices[i]) - least, list, part.first + first + i));
      }
      begin += indices.size();
    }
  }

 private:
  const std::vector<ListPart> parts_;
  const KeyLayout& layout_;
  std::size_t size_ = 0;
  std::vector<std::size_t> offsets_;  // the place of each part's first key
};

template <typename Key>
class SomeKeys {
 public:
  explicit SomeKeys(const Key* keys) : keys_(keys) {}
  template <typename Visit>
  void ForEach(std::size_t begin, std::size_t end, Visit&& visit) const {
    for (std::size_t i = begin; i < end; ++i) visit(keys_[i]);
  }

 private:
  const Key* keys_;
};

// Radix sort by index, least significant digit first. Every pass keeps the order of equal digits, so slices of one index stay in order of
// list and position. In a pass each chunk counts its digits, the counts become the places where its keys go, and all chunks move at once.
// Of a single chunk the digits of all passes are counted in one go, since there they do not depend on the order of the keys.
template <typename Key>
class RadixSort {
 public:
  // Of keys whose relative indices are `least` or up to 2^`bits` - 1 more.
  RadixSort(const KeyLayout& layout, std::uint64_t least, int bits, std::size_t size, ThreadPool* pool)
      : layout_(layout),
        least_(least),
        size_(size),
        pool_(pool),
        passes_(std::max(1, (bits + kMaxDigitBits - 1) / kMaxDigitBits)),
        digit_bits_((bits + passes_ - 1) / passes_),
        is_one_chunk_(size <= kSortChunk) {
    places_.resize((is_one_chunk_ ? static_cast<std::size_t>(passes_) : (size + kSortChunk - 1) / kSortChunk) << digit_bits_);
  }

  // Sorts into `keys`; `other` is as large, and not needed (null) when there is but one pass.
  void Run(const UnsortedKeys<Key>& unsorted, Key* keys, Key* other) {
    if (passes_ % 2 == 0) std::swap(keys, other);
    if (is_one_chunk_) CountAllDigits(unsorted);
    Pass(unsorted, keys, 0);
    for (int pass = 1; pass < passes_; ++pass) {
      Pass(SomeKeys(keys), other, pass);
      std::swap(keys, other);
    }
  }
  [[nodiscard]] int passes() const { return passes_; }

 private:
  template <typename Source>
  void Pass(const Source& from, Key* to, int pass) {
    if (!is_one_chunk_) CountDigits(from, pass);
    ForEachChunk(pool_, size_, kSortChunk, [&](std::size_t chunk, std::size_t begin, std::size_t end) {
      std::uint32_t* const places = PlacesOf(is_one_chunk_ ? static_cast<std::size_t>(pass) : chunk);
      from.ForEach(begin, end, [places, to, digit = DigitOf(pass)](const Key& key) { to[places[digit(key)]++] = key; });
    });
  }

  template <typename Source>
  void CountDigits(const Source& from, int pass) {
    std::ranges::fill(places_, 0);
    ForEachChunk(pool_, size_, kSortChunk, [&](std::size_t chunk, std::size_t begin, std::size_t end) {
      from.ForEach(begin, end, [counts = PlacesOf(chunk), digit = DigitOf(pass)](const Key& key) { ++counts[digit(key)]; });
    });
    CountsToPlaces(places_);
  }

  void CountAllDigits(const UnsortedKeys<Key>& unsorted) {
    std::ranges::fill(places_, 0);
    unsorted.ForEach(0, size_, [all = places_.data(), digit = DigitOf(0), bits = digit_bits_, passes = passes_](const Key& key) {
      std::uint64_t rest = digit.Rest(key);
      std::uint32_t* counts = all;
      for (int pass = 0; pass < passes; ++pass, rest >>= bits, counts += digit.mask + 1) ++counts[rest & digit.mask];
    });
    for (int pass = 0; pass < passes_; ++pass) CountsToPlaces({PlacesOf(static_cast<std::size_t>(pass)), std::size_t{1} << digit_bits_});
  }

  // Keys of one digit go where those of lower digits end, and among these where those of earlier chunks end. `places`: of all chunks.
  void CountsToPlaces(std::span<std::uint32_t> places) const {
    const std::size_t digits = std::size_t{1} << digit_bits_;
    std::array<std::uint32_t, std::size_t{1} << kMaxDigitBits> next{};
    for (std::size_t i = 0; i < places.size(); ++i) next[i & (digits - 1)] += places[i];
    std::uint32_t place = 0;
    for (std::size_t digit = 0; digit < digits; ++digit) place += std::exchange(next[digit], place);
    for (std::size_t i = 0; i < places.size(); ++i) {
      const std::uint32_t count = places[i];
      places[i] = std::exchange(next[i & (digits - 1)], next[i & (digits - 1)] + count);
    }
  }

  // The digit that a pass sorts by.
  struct Digit {
    KeyLayout layout;
    std::uint64_t least;
    int shift;
    std::size_t mask;

    [[nodiscard]] std::uint64_t Rest(const Key& key) const { return layout.RelativeIndex(key) - least; }
    [[nodiscard]] std::size_t operator()(const Key& key) const { return (Rest(key) >> shift) & mask; }
  };
  [[nodiscard]] Digit DigitOf(int pass) const {
    return {.layout = layout_, .least = least_, .shift = pass * digit_bits_, .mask = (std::size_t{1} << digit_bits_) - 1};
  }
  // Of a chunk; where there is but one, of a pass.
  [[nodiscard]] std::uint32_t* PlacesOf(std::size_t row) { return places_.data() + (row << digit_bits_); }

  const KeyLayout& layout_;
  const std::uint64_t least_;
  const std::size_t size_;
  ThreadPool* const pool_;
  const int passes_;
  const int digit_bits_;
  const bool is_one_chunk_;
  std::vector<std::uint32_t> places_;  // per row and digit
};

// Whether the lists one after the other are in order already.
bool AreAscending(std::span<const IndexList> lists) {
  const IndexList* previous = nullptr;
  for (const IndexList& list : lists) {
    if (list.indices.empty()) continue;
    if (!list.is_ascending || (previous != nullptr && previous->most > list.least)) return false;
    previous = &list;
  }
  return true;
}

KeyLayout LayoutFor(std::span<const IndexList> lists) {
  std::int64_t least = std::numeric_limits<std::int64_t>::max();
  std::int64_t most = std::numeric_limits<std::int64_t>::min();
  std::size_t longest = 0;
  for (const IndexList& list : lists) {
    if (list.indices.empty()) continue;
    least = std::min(least, list.least);
    most = std::max(most, list.most);
    longest = std::max(longest, list.indices.size());
  }
  const int position_bits = BitWidth(longest - 1);
  return {.least_index = least,
          .position_bits = position_bits,
          .slice_bits = position_bits + BitWidth(lists.size() - 1),
          .index_bits = BitWidth(static_cast<std::uint64_t>(most) - static_cast<std::uint64_t>(least))};
}

std::vector<ListPart> WholeLists(std::span<const IndexList> lists) {
  std::vector<ListPart> parts;
  parts.reserve(lists.size());
  for (const IndexList& list : lists) parts.push_back({.indices = list.indices});
  return parts;
}

// Indices, ascending, that cut ascending lists into ranges of about kSampleStep * kSamplesPerRange slices, found among samples of each.
std::vector<std::int64_t> CutsOf(std::span<const IndexList> lists) {
  std::vector<std::int64_t> samples;
  for (const IndexList& list : lists) {
    for (std::size_t i = kSampleStep - 1; i < list.indices.size(); i += kSampleStep) samples.push_back(list.indices[i]);
  }
  std::ranges::sort(samples);
  std::vector<std::int64_t> cuts;
  for (std::size_t i = kSamplesPerRange; i < samples.size(); i += kSamplesPerRange) {
    if (cuts.empty() || samples[i] > cuts.back()) cuts.push_back(samples[i]);
  }
  return cuts;
}

// The parts of ascending lists whose indices are in [least, end); null: unbounded.
std::vector<ListPart> PartsOf(std::span<const IndexList> lists, const std::int64_t* least, const std::int64_t* end) {
  std::vector<ListPart> parts;
  parts.reserve(lists.size());
  for (const IndexList& list : lists) {
    const auto from = least == nullptr ? list.indices.begin() : std::ranges::lower_bound(list.indices, *least);
    const auto to = end == nullptr ? list.indices.end() : std::lower_bound(from, list.indices.end(), *end);
    parts.push_back({.indices = {from, to}, .first = static_cast<std::size_t>(from - list.indices.begin())});
  }
  return parts;
}

// Sorts keys of ascending lists: cut by index into ranges that fit a cache, each of which one thread sorts by itself.
template <typename Key>
void SortRanges(std::span<const IndexList> lists, const KeyLayout& layout, Key* keys, ThreadPool* pool) {
  const std::vector<std::int64_t> cuts = CutsOf(lists);
  ForEachChunk(pool, cuts.size() + 1, 1, [&](std::size_t range, std::size_t /*begin*/, std::size_t /*end*/) {
    const UnsortedKeys<Key> unsorted(PartsOf(lists, range == 0 ? nullptr : &cuts[range - 1], range == cuts.size() ? nullptr : &cuts[range]),
                                     layout);
    std::size_t place = 0;
    std::int64_t least = std::numeric_limits<std::int64_t>::max();
    std::int64_t most = std::numeric_limits<std::int64_t>::min();
    for (const ListPart& part : unsorted.parts()) {
      place += part.first;
      if (part.indices.empty()) continue;
      least = std::min(least, part.indices.front());
      most = std::max(most, part.indices.back());
    }
    if (unsorted.size() == 0) return;
    const auto relative = [&](std::int64_t index) {
      return static_cast<std::uint64_t>(index) - static_cast<std::uint64_t>(layout.least_index);
    };
    RadixSort<Key> sort(layout, relative(least), BitWidth(relative(most) - relative(least)), unsorted.size(), nullptr);
    const auto scratch = std::make_unique_for_overwrite<Key[]>(unsorted.size());
    sort.Run(unsorted, keys + place, scratch.get());
  });
}

// Segments begin at the first key and at every key whose index differs from the one before.
template <typename Key>
std::int64_t CountHeads(KeyLayout layout, std::span<const Key> keys, std::size_t begin, std::size_t end) {
  std::int64_t heads = begin == 0 ? 1 : 0;
  for (std::size_t i = std::max<std::size_t>(begin, 1); i < end; ++i) {
    heads += layout.RelativeIndex(keys[i]) != layout.RelativeIndex(keys[i - 1]) ? 1 : 0;
  }
  return heads;
}

// Whether `precedes(index before, index)` holds throughout. Gives up at the first block where it does not; within a block there are no
// branches, which random indices would make mispredict.
template <typename Precedes>
bool AreOrdered(std::span<const std::int64_t> indices, Precedes precedes) {
  constexpr std::size_t kBlock = 512;
  for (std::size_t begin = 1; begin < indices.size(); begin += kBlock) {
    const std::size_t end = std::min(begin + kBlock, indices.size());
    unsigned violations = 0;
    for (std::size_t i = begin; i < end; ++i) violations |= static_cast<unsigned>(!precedes(indices[i - 1], indices[i]));
    if (violations != 0) return false;
  }
  return true;
}

// Several of each, so that one comparison need not wait for the one before.
std::pair<std::int64_t, std::int64_t> LeastAndMost(std::span<const std::int64_t> indices) {
  constexpr std::size_t kLanes = 4;
  std::array<std::int64_t, kLanes> least;
  std::array<std::int64_t, kLanes> most;
  least.fill(indices.front());
  most.fill(indices.front());
  const auto add = [&](std::size_t lane, std::int64_t index) {
    least[lane] = index < least[lane] ? index : least[lane];
    most[lane] = index > most[lane] ? index : most[lane];
  };
  std::size_t i = 0;
  for (; i + kLanes <= indices.size(); i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) add(lane, indices[i + lane]);
  }
  for (; i < indices.size(); ++i) add(0, indices[i]);
  return {std::ranges::min(least), std::ranges::max(most)};
}

}  // namespace

IndexList IndexList::Of(std::span<const std::int64_t> indices) {
  if (indices.empty()) return {};
  IndexList list{.indices = indices, .least = indices.front(), .most = indices.back()};
  list.is_strictly_ascending = AreOrdered(indices, std::less<>());
  list.is_ascending = list.is_strictly_ascending || AreOrdered(indices, std::less_equal<>());
  if (!list.is_ascending) std::tie(list.least, list.most) = LeastAndMost(indices);
  return list;
}

template <typename Key>
Status SortedSlices::SortKeys(std::span<const IndexList> lists, ThreadPool* pool, Memory* memory) {
  const auto allocate = [&] { return memory != nullptr ? memory->Allocate(size_ * sizeof(Key)) : Buffer::Allocate(size_ * sizeof(Key)); };
  GRADSYNC_ASSIGN_OR_RETURN(keys_, allocate());
  auto* const keys = reinterpret_cast<Key*>(keys_.data());
  const UnsortedKeys<Key> unsorted(WholeLists(lists), layout_);
  if (AreAscending(lists)) {
    ForEachChunk(pool, size_, kSortChunk, [&](std::size_t /*chunk*/, std::size_t begin, std::size_t end) {
      unsorted.ForEach(begin, end, [&, to = keys + begin](const Key& key) mutable { *to++ = key; });
    });
    return OkStatus();
  }
  if (std::ranges::all_of(lists, &IndexList::is_ascending)) {
    SortRanges(lists, layout_, keys, pool);
    return OkStatus();
  }
  Buffer other;
  RadixSort<Key> sort(layout_, 0, layout_.index_bits, size_, pool);
  if (sort.passes() > 1) {
    GRADSYNC_ASSIGN_OR_RETURN(other, allocate());
  }
  sort.Run(unsorted, keys, reinterpret_cast<Key*>(other.data()));
  return OkStatus();
}

template <typename Key>
void SortedSlices::CountSegments(std::span<const Key> keys, ThreadPool* pool) {
  chunks_.resize((size_ + kSumChunk - 1) / kSumChunk);
  ForEachChunk(pool, size_, kSortChunk, [&](std::size_t /*chunk*/, std::size_t first, std::size_t last) {
    for (std::size_t begin = first; begin < last; begin += kSumChunk) {
      const std::size_t end = std::min(begin + kSumChunk, last);
      chunks_[begin / kSumChunk] = {.begin = begin, .end = end, .first_segment = CountHeads(layout_, keys, begin, end)};
    }
  });
  for (KeyChunk& chunk : chunks_) segments_ += std::exchange(chunk.first_segment, segments_);
}

StatusOr<SortedSlices> SortedSlices::Sort(std::span<const IndexList> lists, ThreadPool* pool, Memory* memory) {
  SortedSlices sorted;
  for (const IndexList& list : lists) sorted.size_ += list.indices.size();
  if (sorted.size_ == 0) return sorted;
  if (sorted.size_ > std::numeric_limits<std::uint32_t>::max()) {
    return ResourceExhausted("cannot sort ", sorted.size_, " slices at once; the limit is ", std::numeric_limits<std::uint32_t>::max());
  }
  sorted.layout_ = LayoutFor(lists);
  if (sorted.layout_.is_wide()) {
    GRADSYNC_RETURN_IF_ERROR(sorted.SortKeys<WideKey>(lists, pool, memory));
  } else {
    GRADSYNC_RETURN_IF_ERROR(sorted.SortKeys<NarrowKey>(lists, pool, memory));
  }
  sorted.VisitKeys([&](auto keys) { sorted.CountSegments(keys, pool); });
  return sorted;
}

}  // namespace gradsync::kernels
