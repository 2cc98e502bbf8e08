// FuzzInput: a fuzzer's bytes read as arguments of calls: numbers, dtypes, shapes, tensors. Every tensor has memory of exactly the bytes
// its view claims, so that AddressSanitizer sees each access outside. What it made lives until Clear. Used by one thread.
#ifndef GRADSYNC_TEST_NATIVE_FUZZ_FUZZ_INPUT_H_
#define GRADSYNC_TEST_NATIVE_FUZZ_FUZZ_INPUT_H_

#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <iterator>
#include <memory>
#include <utility>
#include <vector>

#include "core/dtype.h"
#include "core/shape.h"
#include "core/tensor_view.h"
#include "core/thread_pool.h"

// A target's own claims; a failed one is a finding as good as a crash.
#define FUZZ_CHECK(condition)                                                     \
  if (!(condition)) {                                                             \
    std::cerr << __FILE__ << ":" << __LINE__ << ": expected " #condition << '\n'; \
    std::abort();                                                                 \
  }                                                                               \
  static_assert(true)

namespace gradsync::fuzz {

// More would only be slow.
inline constexpr std::size_t kMaxTensorBytes = 4096;
// Calls per input.
inline constexpr int kMaxCalls = 40;

class FuzzInput {
 public:
  FuzzInput(const std::uint8_t* data, std::size_t size) : provider_(data, size) {}

  [[nodiscard]] bool HasMore() { return provider_.remaining_bytes() > 0; }
  int Integer(int low, int high) { return provider_.ConsumeIntegralInRange(low, high); }
  bool Flag() { return provider_.ConsumeBool(); }
  // True once in `n`.
  bool Rarely(int n) { return Integer(0, n - 1) == n - 1; }

  // Mostly small, sometimes any.
  std::int64_t Number() { return Rarely(6) ? provider_.ConsumeIntegral<std::int64_t>() : Integer(-2, 6); }
  // Any double, NaN and infinities among them.
  double Double() {
    const auto bits = provider_.ConsumeIntegral<std::uint64_t>();
    double value = 0;
    std::memcpy(&value, &bits, sizeof(value));
    return Rarely(3) ? value : Integer(-4, 40) / 16.0;
  }

  DType AnyDType() {
#define GRADSYNC_FUZZ_DTYPE(id, name, number, type) DType::id,
    static constexpr DType kAll[] = {GRADSYNC_DTYPES(GRADSYNC_FUZZ_DTYPE)};
#undef GRADSYNC_FUZZ_DTYPE
    return kAll[static_cast<std::size_t>(Integer(0, static_cast<int>(std::size(kAll)) - 1))];
  }
  // `usual`, or any.
  DType MostlyDType(DType usual) { return Rarely(12) ? AnyDType() : usual; }

  Shape AnyShape() {
    Shape shape(static_cast<std::size_t>(Integer(0, 3)));
    for (std::int64_t& dim : shape) dim = Rarely(10) ? Number() : Integer(0, 5);
    return shape;
  }
  Shape MostlyShape(Dims usual) { return Rarely(6) ? AnyShape() : Shape(usual.begin(), usual.end()); }
  PartialShape AnyPartialShape() {
    if (Rarely(4)) return {};
    Shape shape = AnyShape();
    for (std::int64_t& dim : shape) dim = Rarely(3) ? kUnknownDim : dim;
    return PartialShape(std::move(shape));
  }

  // Mostly of as many bytes as dtype and shape need.
  MutableTensorView Mutable(DType dtype, Shape shape) {
    const StatusOr<std::int64_t> count = NumElements(shape);
    const bool is_small = count.ok() && static_cast<std::size_t>(*count) <= kMaxTensorBytes / DTypeSize(dtype);
    const std::size_t bytes =
        is_small && !Rarely(12) ? static_cast<std::size_t>(*count) * DTypeSize(dtype) : static_cast<std::size_t>(Integer(0, 64));
    Owned& owned = owned_.emplace_back(Owned{std::make_unique<Shape>(std::move(shape)), std::make_unique<std::byte[]>(bytes)});
    const std::vector<std::uint8_t> seed = provider_.ConsumeBytes<std::uint8_t>(std::min<std::size_t>(bytes, 16));
    // A few bytes of input make all of a tensor's.
    for (std::size_t i = 0; i < bytes && !seed.empty(); ++i) owned.bytes[i] = static_cast<std::byte>(seed[i % seed.size()] + i / 16);
    return {.dtype = dtype, .shape = *owned.shape, .data = owned.bytes.get(), .bytes = bytes};
  }
  TensorView View(DType dtype, Shape shape) { return Mutable(dtype, std::move(shape)).AsConst(); }

  // int32 or int64, mostly a vector of small numbers.
  TensorView Indices() {
    const DType dtype = Rarely(12) ? AnyDType() : Flag() ? DType::kInt64 : DType::kInt32;
    const MutableTensorView view = Mutable(dtype, Rarely(10) ? AnyShape() : Shape{Integer(0, 8)});
    if (dtype == DType::kInt64) {
      for (std::int64_t& index : view.as<std::int64_t>()) index = Number();
    } else if (dtype == DType::kInt32) {
      for (std::int32_t& index : view.as<std::int32_t>()) index = static_cast<std::int32_t>(Number());
    }
    return view.AsConst();
  }

  // Frees all tensors.
  void Clear() { owned_.clear(); }

 private:
  struct Owned {
    std::unique_ptr<Shape> shape;
    std::unique_ptr<std::byte[]> bytes;
  };
  FuzzedDataProvider provider_;
  std::vector<Owned> owned_;
};

// What each target defines: one run. The services have one thread, which small batches never use (whoever completes them reduces them, so
// answers come on this thread), the kernels of any instruction set the machine has, and a timer by hand.
void Run(FuzzInput& input, Services& services);

}  // namespace gradsync::fuzz

#endif  // GRADSYNC_TEST_NATIVE_FUZZ_FUZZ_INPUT_H_
