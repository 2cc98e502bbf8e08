#include "accumulate/row_update.h"

#include <cstddef>
#include <cstring>
#include <span>
#include <type_traits>

#include "core/half.h"

namespace gradsync::accumulate {
namespace {

// Integers add and subtract as unsigned: they wrap around instead of being undefined.
template <Arithmetic kArithmetic, typename T>
T Wrapping(T a, T b) {
  if constexpr (std::is_integral_v<T>) {
    using Unsigned = std::make_unsigned_t<T>;
    const auto x = static_cast<Unsigned>(a);
    const auto y = static_cast<Unsigned>(b);
    return static_cast<T>(kArithmetic == Arithmetic::kAdd ? x + y : x - y);
  } else {
    return kArithmetic == Arithmetic::kAdd ? a + b : a - b;
  }
}

template <Arithmetic kArithmetic, typename T>
T Apply(T a, T b) {
  if constexpr (kIsHalfType<T>) {
    return FromFloat<T>(kArithmetic == Arithmetic::kAdd ? ToFloat(a) + ToFloat(b) : ToFloat(a) - ToFloat(b));
  } else {
    return Wrapping<kArithmetic>(a, b);
  }
}

template <Arithmetic kArithmetic, typename T>
void UpdateRange(T* __restrict to, const T* __restrict from, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = Apply<kArithmetic>(to[i], from[i]);
}

void CopyBytes(void* to, const void* from, std::size_t bytes) {
  if (bytes > 0) std::memcpy(to, from, bytes);
}

std::size_t RowBytes(const TensorView& table) { return table.shape[0] == 0 ? 0 : table.bytes / static_cast<std::size_t>(table.shape[0]); }

// Calls visit(i, index) for every index, whichever of the two types it has.
template <typename Visit>
void ForEachIndex(const TensorView& indices, Visit&& visit) {
  const auto all = [&](auto list) {
    for (std::size_t i = 0; i < list.size(); ++i) visit(i, static_cast<std::size_t>(list[i]));
  };
  if (indices.dtype == DType::kInt32) {
    all(indices.as<std::int32_t>());
  } else {
    all(indices.as<std::int64_t>());
  }
}

template <typename Index>
Status CheckRange(std::span<const Index> indices, std::int64_t limit, std::string_view what) {
  for (std::size_t i = 0; i < indices.size(); ++i) {
    if (indices[i] < 0 || static_cast<std::int64_t>(indices[i]) >= limit) {
      return InvalidArgument(what, ": indices[", i, "] = ", indices[i], " is not in [0, ", limit, ")");
    }
  }
  return OkStatus();
}

template <Arithmetic kArithmetic, typename T>
void ScatterTyped(const MutableTensorView& table, const TensorView& indices, const TensorView& rows) {
  const std::size_t width = RowBytes(table.AsConst()) / sizeof(T);
  T* const to = static_cast<T*>(table.data);
  const T* const from = static_cast<const T*>(rows.data);
  ForEachIndex(indices, [&](std::size_t i, std::size_t index) {
    UpdateRange<kArithmetic>(to + index * width, from + i * width, static_cast<std::int64_t>(width));
  });
}

}  // namespace

Status UpdateElements(const MutableTensorView& to, const TensorView& from, Arithmetic arithmetic) {
  if (arithmetic == Arithmetic::kReplace) {
    CopyBytes(to.data, from.data, from.bytes);
    return OkStatus();
  }
  return Dispatch(NumberTypes{}, to.dtype, "addition", [&](auto type) {
    using T = typename decltype(type)::type;
    if (arithmetic == Arithmetic::kAdd) {
      UpdateRange<Arithmetic::kAdd>(to.as<T>().data(), from.as<T>().data(), to.size());
    } else {
      UpdateRange<Arithmetic::kSub>(to.as<T>().data(), from.as<T>().data(), to.size());
    }
  });
}

Status CheckIndices(const TensorView& indices, std::int64_t limit, std::string_view what) {
  GRADSYNC_RETURN_IF_ERROR(indices.Check(StrCat(what, ": indices")));
  if (indices.dtype == DType::kInt32) return CheckRange(indices.as<std::int32_t>(), limit, what);
  if (indices.dtype == DType::kInt64) return CheckRange(indices.as<std::int64_t>(), limit, what);
  return InvalidArgument(what, ": expected indices of dtype int32 or int64 but received ", indices.dtype);
}

void GatherRows(const TensorView& table, const TensorView& indices, const MutableTensorView& out) {
  const std::size_t width = RowBytes(table);
  const auto* from = static_cast<const std::byte*>(table.data);
  auto* to = static_cast<std::byte*>(out.data);
  ForEachIndex(indices, [&](std::size_t i, std::size_t index) { CopyBytes(to + i * width, from + index * width, width); });
}

Status ScatterRows(const MutableTensorView& table, const TensorView& indices, const TensorView& rows, Arithmetic arithmetic) {
  if (arithmetic == Arithmetic::kReplace) {
    const std::size_t width = RowBytes(table.AsConst());
    auto* to = static_cast<std::byte*>(table.data);
    const auto* from = static_cast<const std::byte*>(rows.data);
    ForEachIndex(indices, [&](std::size_t i, std::size_t index) { CopyBytes(to + index * width, from + i * width, width); });
    return OkStatus();
  }
  return Dispatch(NumberTypes{}, table.dtype, "scatter", [&](auto type) {
    using T = typename decltype(type)::type;
    if (arithmetic == Arithmetic::kAdd) {
      ScatterTyped<Arithmetic::kAdd, T>(table, indices, rows);
    } else {
      ScatterTyped<Arithmetic::kSub, T>(table, indices, rows);
    }
  });
}

}  // namespace gradsync::accumulate
