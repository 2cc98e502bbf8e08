#include "core/shape.h"

#include <algorithm>
#include <limits>

namespace gradsync {

StatusOr<std::int64_t> NumElements(Dims dims) {
  constexpr std::int64_t kLimit = std::int64_t{1} << 62;
  std::int64_t count = 1;
  bool is_empty = false;
  for (const std::int64_t dim : dims) {
    if (dim < 0) return InvalidArgument("expected dimensions of at least 0 but received shape ", ShapeString(dims));
    if (dim == 0) {
      is_empty = true;
    } else if (count > kLimit / dim) {
      return InvalidArgument("expected fewer than 2^62 elements but received shape ", ShapeString(dims));
    } else {
      count *= dim;
    }
  }
  return is_empty ? 0 : count;
}

std::string ShapeString(Dims dims) {
  std::string text = "[";
  for (std::size_t i = 0; i < dims.size(); ++i) {
    if (i > 0) text += ',';
    text += dims[i] < 0 ? "?" : std::to_string(dims[i]);
  }
  return text + "]";
}

bool SameShape(Dims a, Dims b) { return std::ranges::equal(a, b); }

bool PartialShape::IsCompatibleWith(Dims shape) const {
  if (!dims_) return true;
  return std::ranges::equal(*dims_, shape, [](std::int64_t declared, std::int64_t actual) { return declared < 0 || declared == actual; });
}

}  // namespace gradsync
