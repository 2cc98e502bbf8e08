// ScaleTensor: multiplies a gradient in place, for contributions that come late and count less (quorum.h). In the element type; half types
// in float, rounded once. A pure function on memory the caller owns.
#ifndef GRADSYNC_ACCUMULATE_SCALE_TENSOR_H_
#define GRADSYNC_ACCUMULATE_SCALE_TENSOR_H_

#include <type_traits>

#include "core/buffer.h"
#include "core/dtype.h"
#include "core/half.h"
#include "core/status.h"

namespace gradsync::accumulate {

using ScalableTypes = DTypeSet<DType::kFloat16, DType::kBFloat16, DType::kFloat32, DType::kFloat64>;

// INVALID_ARGUMENT for a dtype that is not floating.
[[nodiscard]] inline Status ScaleTensor(Tensor& tensor, double factor) {
  return Dispatch(ScalableTypes{}, tensor.dtype(), "scaling of a gradient", [&](auto type) {
    using T = typename decltype(type)::type;
    for (T& element : tensor.as<T>()) {
      if constexpr (std::is_floating_point_v<T>) {
        element *= static_cast<T>(factor);
      } else {
        element = FromFloat<T>(ToFloat(element) * static_cast<float>(factor));
      }
    }
  });
}

}  // namespace gradsync::accumulate

#endif  // GRADSYNC_ACCUMULATE_SCALE_TENSOR_H_
