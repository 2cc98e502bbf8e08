// KernelTable: the inner loops of aggregation, one table per instruction set, chosen at run time:
//
//   const KernelTable& kernels = KernelsFor(services.instruction_set);
//   kernels.of<float>().sum({.inputs = inputs, .count = 4, .begin = 0, .end = size, .out = out}, /*divisor=*/4);
//
// All tables give the same bits (of two NaNs, either): every element is computed from its own inputs alone, in the order given, without
// contraction. The sources in kernels/cpu are compiled once per table. Tables are constants; kernels hold no state and own nothing:
// thread-safe for disjoint outputs.
#ifndef GRADSYNC_KERNELS_KERNELS_H_
#define GRADSYNC_KERNELS_KERNELS_H_

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "core/half.h"
#include "core/instruction_set.h"
#include "kernels/optimizers.h"

namespace gradsync::kernels {

// What arithmetic on T is done in: float for the half types, else T.
template <typename T>
using Wide = std::conditional_t<kIsHalfType<T>, float, T>;

// kStreaming writes past the caches: for outputs that are larger than them, which then cost no read before the write.
enum class Store { kCached, kStreaming };

// Elements [begin, end) of `count` inputs (at least one) become the same elements of one output. The output may be one of the inputs
// itself (kCached only); otherwise they do not overlap.
template <typename T>
struct Fold {
  const T* const* inputs;
  std::size_t count;
  std::int64_t begin;
  std::int64_t end;
  T* out;
  Store store = Store::kCached;
};

// Half types are widened to float and rounded once, at the end. Integers wrap around. One input (divided by 1) is copied bit by bit.
template <typename T>
struct ElementKernels {
  // ((inputs[0] + inputs[1]) + ...) / divisor; a divisor of 1 divides nothing; the quotient of integers is truncated.
  void (*sum)(const Fold<T>& fold, std::int64_t divisor);
  // The same with half types rounded after every operation, the divisor too, as arithmetic in the type itself would.
  void (*sum_rounding_each)(const Fold<T>& fold, std::int64_t divisor);
  void (*product)(const Fold<T>& fold);
  // A NaN among the inputs is the result.
  void (*min)(const Fold<T>& fold);
  void (*max)(const Fold<T>& fold);
  // out[i] = in[i] * factor; `out` may be `in`.
  void (*scale)(const T* in, std::int64_t count, Wide<T> factor, T* out);
};

// Rows of `width` elements that become one row each of `out`, segment by segment: rows[0] to rows[counts[0] - 1], and so on. No row
// overlaps `out`. kStreaming needs rows of `out` that are whole cache lines, aligned.
template <typename T>
struct SegmentedRows {
  const T* const* rows;
  std::size_t row_count;
  const std::uint32_t* counts;    // rows of each segment, at least one; together row_count
  const std::uint32_t* divisors;  // of each segment
  std::size_t segments;
  std::int64_t width;
  T* out;
  Store store = Store::kCached;
};

// Sums as ElementKernels do, row by row in the order given.
template <typename T>
struct SegmentKernels {
  void (*sum)(const SegmentedRows<T>& rows);
  void (*sum_rounding_each)(const SegmentedRows<T>& rows);
};

// One table of kernels for each of GradientTypes.
template <template <typename> class Kernels>
struct KernelsByType {
  const Kernels<Half>* float16;
  const Kernels<BFloat16>* bfloat16;
  const Kernels<float>* float32;
  const Kernels<double>* float64;
  const Kernels<std::int32_t>* int32;
  const Kernels<std::int64_t>* int64;

  template <typename T>
  [[nodiscard]] const Kernels<T>& of() const {
    if constexpr (std::is_same_v<T, Half>) {
      return *float16;
    } else if constexpr (std::is_same_v<T, BFloat16>) {
      return *bfloat16;
    } else if constexpr (std::is_same_v<T, float>) {
      return *float32;
    } else if constexpr (std::is_same_v<T, double>) {
      return *float64;
    } else if constexpr (std::is_same_v<T, std::int32_t>) {
      return *int32;
    } else {
      static_assert(std::is_same_v<T, std::int64_t>);
      return *int64;
    }
  }
};

// What further kernels need a table of their own goes beside these.
struct KernelTable {
  KernelsByType<ElementKernels> elements;
  KernelsByType<SegmentKernels> segments;
  OptimizersByType optimizers;

  // The kernels of elements, by type.
  template <typename T>
  [[nodiscard]] const ElementKernels<T>& of() const {
    return elements.of<T>();
  }
};

// The set must be available (core/instruction_set.h).
[[nodiscard]] const KernelTable& KernelsFor(InstructionSet set);

}  // namespace gradsync::kernels

#endif  // GRADSYNC_KERNELS_KERNELS_H_
