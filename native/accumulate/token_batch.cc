#include "accumulate/token_batch.h"

#include <cstring>
#include <utility>

namespace gradsync::accumulate {
namespace {

Status CheckBatch(const std::vector<TensorView>& batch) {
  for (std::size_t i = 0; i < batch.size(); ++i) {
    if (batch[i].shape.empty()) return InvalidArgument("expected a batch of elements for component ", i, " but received a scalar");
    if (batch[i].shape[0] != batch[0].shape[0]) {
      return InvalidArgument("All input tensors must have the same size in the 0th dimension. Component ", i, " has ", batch[i].shape[0],
                             ", and should have ", batch[0].shape[0]);
    }
    GRADSYNC_RETURN_IF_ERROR(batch[i].Check(StrCat("component ", i)));
  }
  return OkStatus();
}

}  // namespace

StatusOr<std::deque<TokenElement>> SplitBatch(const std::vector<TensorView>& batch) {
  GRADSYNC_RETURN_IF_ERROR(CheckBatch(batch));
  if (!batch.empty() && batch[0].shape[0] > kMaxBatch) {
    return ResourceExhausted("Expected at most ", kMaxBatch, " elements in a batch but received ", batch[0].shape[0],
                             "; enqueue them in several calls");
  }
  std::deque<TokenElement> elements(batch.empty() ? 0 : static_cast<std::size_t>(batch[0].shape[0]));
  for (std::size_t i = 0; i < elements.size(); ++i) {
    for (const TensorView& component : batch) {
      const std::size_t bytes = component.bytes / elements.size();
      const TensorView part{.dtype = component.dtype,
                            .shape = component.shape.subspan(1),
                            .data = static_cast<const std::byte*>(component.data) + i * bytes,
                            .bytes = bytes};
      GRADSYNC_ASSIGN_OR_RETURN(Tensor tensor, Tensor::Copy(part));
      elements[i].push_back(std::move(tensor));
    }
  }
  return elements;
}

StatusOr<TokenElement> StackBatch(const std::vector<TokenElement>& elements, const std::vector<DType>& dtypes,
                                  const std::vector<Shape>& shapes) {
  TokenElement batch;
  for (std::size_t component = 0; component < dtypes.size(); ++component) {
    Shape shape = shapes[component];
    shape.insert(shape.begin(), static_cast<std::int64_t>(elements.size()));
    GRADSYNC_ASSIGN_OR_RETURN(Tensor tensor, Tensor::Allocate(dtypes[component], std::move(shape)));
    auto* out = static_cast<std::byte*>(tensor.mutable_view().data);
    for (const TokenElement& element : elements) {
      const TensorView part = element[component].view();
      if (part.bytes > 0) std::memcpy(out, part.data, part.bytes);
      out += part.bytes;
    }
    batch.push_back(std::move(tensor));
  }
  return batch;
}

}  // namespace gradsync::accumulate
