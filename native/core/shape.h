// Shape (all dimensions known) and PartialShape (rank or dimensions may be unknown), with TensorFlow's way of printing them: [2,3], [?,2],
// <unknown>. Plain values; copy freely.
#ifndef GRADSYNC_CORE_SHAPE_H_
#define GRADSYNC_CORE_SHAPE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <ostream>
#include <span>
#include <string>
#include <vector>

#include "core/status.h"

namespace gradsync {

using Shape = std::vector<std::int64_t>;
using Dims = std::span<const std::int64_t>;

inline constexpr std::int64_t kUnknownDim = -1;

// Elements of a tensor of that shape; INVALID_ARGUMENT for a negative dimension or a product beyond 2^62.
[[nodiscard]] StatusOr<std::int64_t> NumElements(Dims dims);

// "[2,3]"; an unknown dimension prints as "?".
[[nodiscard]] std::string ShapeString(Dims dims);

[[nodiscard]] bool SameShape(Dims a, Dims b);

// What a declaration says about a shape: nothing (unknown rank), or a rank with dimensions of which each may be unknown.
class PartialShape {
 public:
  PartialShape() = default;  // unknown rank
  explicit PartialShape(Shape dims) : dims_(std::move(dims)) {}

  [[nodiscard]] bool has_rank() const { return dims_.has_value(); }
  // Empty where the rank is unknown.
  [[nodiscard]] Dims dims() const { return dims_ ? Dims(*dims_) : Dims(); }
  [[nodiscard]] bool IsCompatibleWith(Dims shape) const;
  [[nodiscard]] std::string ToString() const { return dims_ ? ShapeString(*dims_) : "<unknown>"; }

  friend bool operator==(const PartialShape&, const PartialShape&) = default;

 private:
  std::optional<Shape> dims_;
};

}  // namespace gradsync

#endif  // GRADSYNC_CORE_SHAPE_H_
