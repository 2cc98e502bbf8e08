#include "accumulate/dense_accumulator.h"

#include <algorithm>
#include <cstdint>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>

#include "kernels/kernels.h"

namespace gradsync::accumulate {
namespace {

// Bytes of input that one thread sums at a time: large beside the cost of handing over, small beside a big gradient.
constexpr std::size_t kGrainBytes = std::size_t{1} << 20;
// Batches of as many bytes do not fit into caches, and neither does their result: it is written past them.
constexpr std::size_t kStreamingBytes = std::size_t{16} << 20;
// Whole lines of the caches, so that no two threads write to one.
constexpr std::int64_t kLeastGrain = 1024;

std::int64_t GrainFor(std::size_t inputs, std::size_t element_bytes) {
  const auto grain = static_cast<std::int64_t>(kGrainBytes / (inputs * element_bytes));
  return std::max(kLeastGrain, grain / kLeastGrain * kLeastGrain);
}

constexpr auto IsOwn = [](const auto& slot) { return slot.payload.lease.is_own(); };

}  // namespace

StatusOr<std::shared_ptr<DenseAccumulator>> DenseAccumulator::Create(DenseAccumulatorOptions options, Services& services,
                                                                     std::unique_ptr<CompletionRule> rule) {
  if (!Contains(GradientTypes{}, options.dtype)) {
    return InvalidArgument("Accumulator '", options.name, "': expected a dtype among ", NamesOf(GradientTypes{}), " but received ",
                           options.dtype);
  }
  return std::shared_ptr<DenseAccumulator>(new DenseAccumulator(std::move(options), services, std::move(rule)));
}

DenseAccumulator::DenseAccumulator(DenseAccumulatorOptions options, Services& services, std::unique_ptr<CompletionRule> rule)
    : options_(std::move(options)),
      services_(services),
      memory_(Memory::Create()),
      round_(std::make_shared<DenseRound>(
          options_.name, services,
          [memory = memory_, reduction = options_.reduction, &services](Batch<Gradient> batch) {
            return Sum(std::move(batch), reduction, services, *memory);
          },
          std::move(rule))) {}

void DenseAccumulator::Recycle(Gradients gradients) {
  const auto copies = static_cast<std::size_t>(std::ranges::count_if(gradients.slots, IsOwn));
  if (copies > 0) memory_->LimitSpare(copies * gradients.slots.front().payload.bytes());
  gradients.slots.clear();
}

DenseAccumulator::~DenseAccumulator() { Shutdown("the accumulator was destroyed"); }

void DenseAccumulator::Shutdown(const std::string& reason) {
  round_->Shutdown(reason);
  memory_->LimitSpare(0);
}

// The result takes the place of a copy, if there is one: then nothing is allocated. Spare memory is kept for as much as this round needed.
StatusOr<Tensor> DenseAccumulator::Sum(Batch<Gradient> batch, Reduction reduction, Services& services, Memory& memory) {
  const TensorView like = batch.slots.front().payload.lease.view();
  const auto copies = std::ranges::count_if(batch.slots, IsOwn);
  memory.LimitSpare(std::max<std::size_t>(copies, 1) * like.bytes);
  Tensor* in_place = nullptr;
  Tensor fresh;
  if (const auto first = std::ranges::find_if(batch.slots, IsOwn); first != batch.slots.end()) {
    GRADSYNC_ASSIGN_OR_RETURN(in_place, first->payload.lease.MakeOwn());
  } else {
    GRADSYNC_ASSIGN_OR_RETURN(fresh, Tensor::Allocate(like.dtype, Shape(like.shape.begin(), like.shape.end()), memory));
  }
  Tensor& result = in_place != nullptr ? *in_place : fresh;
  const bool is_streaming = in_place == nullptr && batch.bytes >= kStreamingBytes;
  GRADSYNC_RETURN_IF_ERROR(SumInto(batch, reduction, services, result.mutable_view().data, is_streaming));
  return std::move(result);
}

Status DenseAccumulator::SumInto(const Batch<Gradient>& batch, Reduction reduction, Services& services, void* to, bool is_streaming) {
  const std::int64_t divisor = reduction == Reduction::kMean ? static_cast<std::int64_t>(batch.slots.size()) : 1;
  const Lease& first = batch.slots.front().payload.lease;
  return Dispatch(GradientTypes{}, first.dtype(), "TakeGrad", [&](auto type) {
    using T = typename decltype(type)::type;
    std::vector<const T*> inputs;
    inputs.reserve(batch.slots.size());
    for (const Slot<Gradient>& slot : batch.slots) inputs.push_back(slot.payload.lease.template as<T>().data());
    T* const out = static_cast<T*>(to);
    const kernels::Store store = is_streaming ? kernels::Store::kStreaming : kernels::Store::kCached;
    const auto sum = kernels::KernelsFor(services.instruction_set).of<T>().sum;
    const auto size = static_cast<std::int64_t>(first.bytes() / sizeof(T));
    services.pool.ParallelFor(size, GrainFor(inputs.size(), sizeof(T)), [&](std::int64_t begin, std::int64_t end) {
      sum({.inputs = inputs.data(), .count = inputs.size(), .begin = begin, .end = end, .out = out, .store = store}, divisor);
    });
  });
}

// TensorFlow's order: dtype (a crash there), then the round's exact shape, then the declared one.
Status DenseAccumulator::Check(const TensorView& gradient, const Gradient* first) const {
  if (gradient.dtype != options_.dtype) {
    return InvalidArgument("Accumulator '", options_.name, "': expected a gradient of dtype ", options_.dtype, " but received ",
                           gradient.dtype);
  }
  if (first != nullptr && !SameShape(first->lease.shape(), gradient.shape)) {
    return InvalidArgument("Shape mismatch: expected ", ShapeString(first->lease.shape()), ", got ", ShapeString(gradient.shape));
  }
  if (!options_.shape.IsCompatibleWith(gradient.shape)) {
    return InvalidArgument("Shape mismatch: expected ", options_.shape.ToString(), ", got ", ShapeString(gradient.shape));
  }
  if (reinterpret_cast<std::uintptr_t>(gradient.data) % DTypeSize(gradient.dtype) != 0) {
    return InvalidArgument("Accumulator '", options_.name, "': expected elements at an aligned address but received memory that is not");
  }
  return gradient.Check("gradient");
}

StatusOr<Receipt> DenseAccumulator::Apply(std::int64_t local_step, std::int64_t contributor, const TensorView& gradient) {
  return round_->Apply(
      local_step, contributor, [&](const Gradient* first) { return Check(gradient, first); },
      [&]() -> StatusOr<Gradient> {
        GRADSYNC_ASSIGN_OR_RETURN(Tensor copy, Tensor::Copy(gradient, *memory_));
        return Gradient{Lease(std::move(copy))};
      });
}

StatusOr<Receipt> DenseAccumulator::ApplyLeased(std::int64_t local_step, std::int64_t contributor, Lease gradient) {
  const TensorView view = gradient.view();  // of dimensions that move along with the lease
  return round_->Apply(
      local_step, contributor, [&](const Gradient* first) { return Check(view, first); },
      [&]() -> StatusOr<Gradient> { return Gradient{std::move(gradient)}; });
}

Cancellation DenseAccumulator::Take(std::int64_t num_required, Deadline deadline, TakeCallback callback) {
  return round_->Take(num_required, deadline, std::move(callback));
}

Status DenseAccumulator::CheckSize(const Gradients& gradients, std::size_t bytes) const {
  const Lease& first = gradients.slots.front().payload.lease;
  if (first.bytes() == bytes) return OkStatus();
  return InvalidArgument("TakeGrad on accumulator '", options_.name, "': expected a place for ", first.dtype(), " ",
                         ShapeString(first.shape()), ", ", first.bytes(), " bytes, but received one of ", bytes, " bytes");
}

// Takes the round, and gives it back unless it has as many bytes; `use(accumulator, gradients)` makes the answer of it.
template <typename T, typename Use>
Cancellation DenseAccumulator::TakeChecked(std::int64_t num_required, std::size_t bytes, Deadline deadline,
                                           std::function<void(StatusOr<T>)> callback, Use&& use) {
  const auto answer = [bytes, use](DenseAccumulator& accumulator, Gradients gradients) -> StatusOr<T> {
    if (Status status = accumulator.CheckSize(gradients, bytes); !status.ok()) {
      accumulator.Return(std::move(gradients));
      return status;
    }
    try {
      return use(accumulator, std::move(gradients));
    } catch (const std::bad_alloc&) {  // on a thread of the pool that would end the process
      return ResourceExhausted("Accumulator '", accumulator.options_.name, "': not enough memory to reduce a round");
    }
  };
  return TakeGradients(num_required, deadline, [weak = weak_from_this(), answer, callback](StatusOr<Gradients> gradients) {
    if (!gradients.ok()) return callback(gradients.status());
    const auto self = weak.lock();
    callback(self == nullptr ? StatusOr<T>(Cancelled("the accumulator was destroyed")) : answer(*self, *std::move(gradients)));
  });
}

Cancellation DenseAccumulator::TakeSized(std::int64_t num_required, std::size_t bytes, Deadline deadline, TakeCallback callback) {
  return TakeChecked<Taken>(num_required, bytes, deadline, std::move(callback), [](DenseAccumulator& self, Gradients gradients) {
    return Sum(std::move(gradients), self.options_.reduction, self.services_, *self.memory_);
  });
}

Cancellation DenseAccumulator::TakeInto(std::int64_t num_required, std::span<std::byte> out, Deadline deadline,
                                        std::function<void(StatusOr<Shape>)> callback) {
  const auto sum = [out](DenseAccumulator& self, Gradients gradients) -> StatusOr<Shape> {
    Shape shape = gradients.slots.front().payload.lease.shape();
    const bool is_streaming = gradients.bytes >= kStreamingBytes;
    GRADSYNC_RETURN_IF_ERROR(SumInto(gradients, self.options_.reduction, self.services_, out.data(), is_streaming));
    self.Recycle(std::move(gradients));
    return shape;
  };
  return TakeChecked<Shape>(num_required, out.size(), deadline, std::move(callback), sum);
}

}  // namespace gradsync::accumulate
