// Element types: one list that makes the enum, sizes, names, TensorFlow's numbers and the C++ type of each. A kernel names the set of
// types it supports (DTypeSet) and is instantiated for these only; `Dispatch` picks the instance once per call, never per element.
// Nothing here owns anything; all functions are pure.
#ifndef GRADSYNC_CORE_DTYPE_H_
#define GRADSYNC_CORE_DTYPE_H_

#include <cstddef>
#include <cstdint>
#include <ostream>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "core/half.h"
#include "core/status.h"

namespace gradsync {

// enumerator, name, number in TensorFlow's types.proto, C++ type
#define GRADSYNC_DTYPES(X)                \
  X(kFloat32, "float32", 1, float)        \
  X(kFloat64, "float64", 2, double)       \
  X(kInt32, "int32", 3, std::int32_t)     \
  X(kUint8, "uint8", 4, std::uint8_t)     \
  X(kInt16, "int16", 5, std::int16_t)     \
  X(kInt8, "int8", 6, std::int8_t)        \
  X(kInt64, "int64", 9, std::int64_t)     \
  X(kBool, "bool", 10, bool)              \
  X(kBFloat16, "bfloat16", 14, BFloat16)  \
  X(kUint16, "uint16", 17, std::uint16_t) \
  X(kFloat16, "float16", 19, Half)        \
  X(kUint32, "uint32", 22, std::uint32_t) \
  X(kUint64, "uint64", 23, std::uint64_t)

enum class DType : int {
#define GRADSYNC_DTYPE_ENUMERATOR(id, name, number, type) id = (number),
  GRADSYNC_DTYPES(GRADSYNC_DTYPE_ENUMERATOR)
#undef GRADSYNC_DTYPE_ENUMERATOR
};

// Type <-> dtype at compile time: DTypeTraits<DType::kInt32>::Type, kDTypeOf<float>.
template <DType dtype>
struct DTypeTraits;
template <typename T>
struct DTypeOf;
#define GRADSYNC_DTYPE_TRAITS(id, name, number, type) \
  template <>                                         \
  struct DTypeTraits<DType::id> {                     \
    using Type = type;                                \
  };                                                  \
  template <>                                         \
  struct DTypeOf<type> {                              \
    static constexpr DType kValue = DType::id;        \
  };
GRADSYNC_DTYPES(GRADSYNC_DTYPE_TRAITS)
#undef GRADSYNC_DTYPE_TRAITS
template <typename T>
inline constexpr DType kDTypeOf = DTypeOf<T>::kValue;

// Bytes per element.
[[nodiscard]] constexpr std::size_t DTypeSize(DType dtype) {
  switch (dtype) {
#define GRADSYNC_DTYPE_SIZE(id, name, number, type) \
  case DType::id:                                   \
    return sizeof(type);
    GRADSYNC_DTYPES(GRADSYNC_DTYPE_SIZE)
#undef GRADSYNC_DTYPE_SIZE
  }
  return 0;
}

[[nodiscard]] constexpr std::string_view DTypeName(DType dtype) {
  switch (dtype) {
#define GRADSYNC_DTYPE_NAME(id, name, number, type) \
  case DType::id:                                   \
    return name;
    GRADSYNC_DTYPES(GRADSYNC_DTYPE_NAME)
#undef GRADSYNC_DTYPE_NAME
  }
  return "unknown";
}

inline std::ostream& operator<<(std::ostream& out, DType dtype) { return out << DTypeName(dtype); }

// "float32" -> DType::kFloat32; INVALID_ARGUMENT naming the known types for anything else.
[[nodiscard]] inline StatusOr<DType> ParseDType(std::string_view text) {
#define GRADSYNC_DTYPE_PARSE(id, name, number, type) \
  if (text == (name)) return DType::id;
  GRADSYNC_DTYPES(GRADSYNC_DTYPE_PARSE)
#undef GRADSYNC_DTYPE_PARSE
#define GRADSYNC_DTYPE_LIST(id, name, number, type) " " name
  return InvalidArgument("expected a dtype among" GRADSYNC_DTYPES(GRADSYNC_DTYPE_LIST) " but received '", text, "'");
#undef GRADSYNC_DTYPE_LIST
}

template <DType... dtypes>
struct DTypeSet {};

// Types whose gradients can be aggregated.
using GradientTypes = DTypeSet<DType::kFloat16, DType::kBFloat16, DType::kFloat32, DType::kFloat64, DType::kInt32, DType::kInt64>;
// Types with addition: all but bool.
using NumberTypes = DTypeSet<DType::kFloat32, DType::kFloat64, DType::kInt32, DType::kUint8, DType::kInt16, DType::kInt8, DType::kInt64,
                             DType::kBFloat16, DType::kUint16, DType::kFloat16, DType::kUint32, DType::kUint64>;

template <DType... dtypes>
[[nodiscard]] constexpr bool Contains(DTypeSet<dtypes...> /*set*/, DType dtype) {
  return ((dtype == dtypes) || ...);
}

template <DType... dtypes>
[[nodiscard]] std::string NamesOf(DTypeSet<dtypes...> /*set*/) {
  std::string names;
  ((names.append(names.empty() ? "" : ", ").append(DTypeName(dtypes))), ...);
  return names;
}

// Calls `kernel(std::type_identity<T>{})` with the C++ type of `dtype`; INVALID_ARGUMENT when the set does not hold it.
// The kernel returns void or Status.
template <DType... dtypes, typename Kernel>
Status Dispatch(DTypeSet<dtypes...> set, DType dtype, std::string_view operation, Kernel&& kernel) {
  Status status;
  const auto call = [&]<DType kCandidate>() {
    if (dtype != kCandidate) return false;
    using Type = std::type_identity<typename DTypeTraits<kCandidate>::Type>;
    if constexpr (std::is_void_v<decltype(kernel(Type{}))>) {
      kernel(Type{});
    } else {
      status = kernel(Type{});
    }
    return true;
  };
  if ((call.template operator()<dtypes>() || ...)) return status;
  return InvalidArgument(operation, ": expected a dtype among ", NamesOf(set), " but received ", dtype);
}

}  // namespace gradsync

#endif  // GRADSYNC_CORE_DTYPE_H_
