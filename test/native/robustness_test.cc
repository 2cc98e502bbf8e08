// Random garbage arguments against every object: whatever comes, the answer is a Status or a result, never a crash, a hang or a read
// outside (the sanitizers watch). GRADSYNC_SEED=n repeats a run.
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>
#include <random>
#include <vector>

#include "accumulate/dense_accumulator.h"
#include "accumulate/sparse_accumulator.h"
#include "accumulate/token_queue.h"
#include "accumulate/variable.h"
#include "core/thread_pool.h"
#include "support.h"

namespace gradsync::accumulate {
namespace {

using test::Integer;

class Garbage {
 public:
  explicit Garbage(std::uint64_t seed) : random_(seed) {}

  bool Chance(int percent) { return Integer(random_, 1, 100) <= percent; }

  std::int64_t Number() {
    constexpr std::int64_t kMin = std::numeric_limits<std::int64_t>::min();
    constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
    const std::vector<std::int64_t> odd{kMin, kMin + 1, -1, 0, 1, 2, 3, std::int64_t{1} << 31, std::int64_t{1} << 62, kMax - 1, kMax};
    return Chance(20) ? odd[static_cast<std::size_t>(Integer(random_, 0, static_cast<int>(odd.size()) - 1))] : Integer(random_, -2, 6);
  }

  DType AnyDType() {
    const std::vector<DType> all{DType::kFloat32, DType::kFloat64, DType::kInt32,    DType::kUint8,  DType::kInt16,   DType::kInt8,
                                 DType::kInt64,   DType::kBool,    DType::kBFloat16, DType::kUint16, DType::kFloat16, DType::kUint64};
    return Chance(70) ? DType::kFloat32 : all[static_cast<std::size_t>(Integer(random_, 0, static_cast<int>(all.size()) - 1))];
  }

  Shape AnyShape() {
    Shape shape(static_cast<std::size_t>(Integer(random_, 0, 3)));
    for (std::int64_t& dim : shape) dim = Chance(90) ? Integer(random_, 0, 3) : Number();
    return shape;
  }

  PartialShape AnyPartialShape() {
    if (Chance(30)) return {};
    Shape shape = AnyShape();
    for (std::int64_t& dim : shape) dim = Chance(20) ? kUnknownDim : dim;
    return PartialShape(std::move(shape));
  }

  // A view of exactly as many bytes as it claims (so that a read outside is seen), mostly as many as its shape needs.
  TensorView View(DType dtype, Shape shape) {
    shapes_.push_back(std::make_unique<Shape>(std::move(shape)));
    const StatusOr<std::int64_t> count = NumElements(*shapes_.back());
    const bool is_right = count.ok() && *count < 1000 && Chance(90);
    const std::size_t bytes =
        is_right ? static_cast<std::size_t>(*count) * DTypeSize(dtype) : static_cast<std::size_t>(Integer(random_, 0, 40));
    data_.push_back(std::make_unique<std::byte[]>(bytes));
    for (std::size_t i = 0; i < bytes; ++i) data_.back()[i] = static_cast<std::byte>(dtype == DType::kBool ? 1 : Integer(random_, 0, 255));
    return {.dtype = dtype, .shape = *shapes_.back(), .data = data_.back().get(), .bytes = bytes};
  }
  TensorView View() { return View(AnyDType(), AnyShape()); }

  TensorView Indices() {
    const DType dtype = Chance(50) ? DType::kInt64 : DType::kInt32;
    TensorView view = View(dtype, Chance(80) ? Shape{Integer(random_, 0, 3)} : AnyShape());
    auto* bytes = data_.back().get();
    for (std::int64_t i = 0; i < view.size() && Chance(95); ++i) {  // mostly small numbers
      const std::int64_t wide = Number();
      const auto narrow = static_cast<std::int32_t>(wide);
      std::memcpy(bytes + i * static_cast<std::int64_t>(DTypeSize(dtype)),
                  dtype == DType::kInt64 ? static_cast<const void*>(&wide) : static_cast<const void*>(&narrow), DTypeSize(dtype));
    }
    return view;
  }

  void Clear() {
    shapes_.clear();
    data_.clear();
  }
  std::mt19937_64& random() { return random_; }

 private:
  std::mt19937_64 random_;
  std::vector<std::unique_ptr<Shape>> shapes_;
  std::vector<std::unique_ptr<std::byte[]>> data_;
};

// How often something was accepted: garbage that is always refused would test little.
struct Tally {
  int accepted = 0;
  int refused = 0;
  void operator()(const Status& status) { ++(status.ok() ? accepted : refused); }
  ~Tally() {
    EXPECT_GT(accepted, 100);
    EXPECT_GT(refused, 100);
  }
};

TEST(Robustness, AccumulatorsSurviveAnyArguments) {
  Garbage garbage(test::Seed());
  Services services(1);
  Tally tally;
  for (int trial = 0; trial < 1500; ++trial) {
    const auto reduction = garbage.Chance(50) ? Reduction::kMean : Reduction::kSum;
    auto dense = DenseAccumulator::Create(
        {.name = "d", .dtype = garbage.AnyDType(), .shape = garbage.AnyPartialShape(), .reduction = reduction}, services);
    auto sparse = SparseAccumulator::Create({.name = "s",
                                             .dtype = garbage.AnyDType(),
                                             .shape = garbage.AnyPartialShape(),
                                             .reduction = reduction,
                                             .form = static_cast<SparseForm>(Integer(garbage.random(), 0, 2)),
                                             .mean = {}},
                                            services);
    for (int i = 0; i < 12; ++i) {
      if (dense.ok()) {
        tally((*dense)->Apply(garbage.Number(), garbage.Number(), garbage.View()).status());
        if (garbage.Chance(20)) (void)(*dense)->SetGlobalStep(garbage.Number());
        if (garbage.Chance(40)) (*dense)->Take(garbage.Number(), Deadline::Infinite(), [](const StatusOr<Tensor>&) {});
      }
      if (sparse.ok()) {
        const TensorView indices = garbage.Indices();
        Shape shape = garbage.AnyShape();
        if (!shape.empty() && !indices.shape.empty() && garbage.Chance(80)) shape[0] = indices.shape[0];
        const std::optional<Shape> dense_shape = garbage.Chance(30) ? std::optional(garbage.AnyShape()) : std::nullopt;
        const TensorView values = garbage.View(garbage.Chance(80) ? (*sparse)->options().dtype : garbage.AnyDType(), std::move(shape));
        tally((*sparse)->Apply(garbage.Number(), garbage.Number(), indices, values, dense_shape).status());
        if (garbage.Chance(40)) (*sparse)->Take(garbage.Number(), Deadline::Infinite(), [](const StatusOr<SparseSlices>&) {});
      }
    }
    garbage.Clear();
  }
}

TEST(Robustness, VariablesSurviveAnyArguments) {
  Garbage garbage(test::Seed());
  Tally tally;
  for (int trial = 0; trial < 1500; ++trial) {
    Variable variable({.name = "v", .dtype = garbage.AnyDType(), .shape = garbage.AnyPartialShape()});
    const auto assign = variable.Assign(garbage.View(variable.options().dtype, garbage.AnyShape()));
    tally(assign);
    for (int i = 0; i < 12; ++i) {
      const DType dtype = garbage.Chance(80) ? variable.options().dtype : garbage.AnyDType();
      const TensorView indices = garbage.Indices();
      const std::optional<Shape> current = variable.shape();
      Shape rows(indices.shape.begin(), indices.shape.end());
      if (current && !current->empty()) rows.insert(rows.end(), current->begin() + 1, current->end());
      const TensorView value = garbage.View(dtype, garbage.Chance(70)              ? rows
                                                   : current && garbage.Chance(70) ? *current
                                                                                   : garbage.AnyShape());
      std::vector<std::byte> room(value.bytes);
      const MutableTensorView out{.dtype = dtype, .shape = value.shape, .data = room.data(), .bytes = room.size()};
      tally(variable.Assign(value));
      tally(variable.AssignAdd(value));
      tally(variable.AssignSub(value));
      tally(variable.Gather(indices, out).status());
      tally(variable.CopyTo(out, garbage.Number()).status());
      tally(variable.ScatterAdd(indices, value));
      tally(variable.ScatterSub(indices, value));
      tally(variable.ScatterUpdate(indices, value));
    }
    garbage.Clear();
  }
}

TEST(Robustness, QueuesSurviveAnyArguments) {
  Garbage garbage(test::Seed());
  Services services(1);
  Tally tally;
  for (int trial = 0; trial < 1000; ++trial) {
    std::vector<DType> dtypes(static_cast<std::size_t>(Integer(garbage.random(), 0, 2)));
    for (DType& dtype : dtypes) dtype = garbage.AnyDType();
    std::optional<std::vector<Shape>> shapes;
    if (garbage.Chance(30)) shapes = std::vector<Shape>(static_cast<std::size_t>(Integer(garbage.random(), 0, 2)), garbage.AnyShape());
    const auto queue = TokenQueue::Create({.name = "q", .dtypes = dtypes, .shapes = shapes, .capacity = garbage.Number()}, services);
    tally(queue.status());
    if (!queue.ok()) continue;
    for (int i = 0; i < 10; ++i) {
      std::vector<TensorView> components;
      for (const DType dtype : dtypes)
        components.push_back(garbage.View(garbage.Chance(90) ? dtype : garbage.AnyDType(), garbage.AnyShape()));
      if (garbage.Chance(10)) components.push_back(garbage.View());
      (*queue)->Enqueue(components, Deadline::Infinite(), [&](const Status& status) { tally(status); });
      if (garbage.Chance(40)) (*queue)->Dequeue(Deadline::Infinite(), [](const StatusOr<TokenQueue::Element>&) {});
      if (garbage.Chance(40)) (*queue)->EnqueueMany(components, Deadline::Infinite(), [&](const Status& status) { tally(status); });
      if (garbage.Chance(20)) {
        (*queue)->DequeueMany(Integer(garbage.random(), -2, 5), Deadline::Infinite(), [](const StatusOr<TokenQueue::Element>&) {});
      }
      if (garbage.Chance(5)) (*queue)->Close(garbage.Chance(50), Deadline::Infinite(), [&](const Status& status) { tally(status); });
    }
    (*queue)->Shutdown("the end");
    garbage.Clear();
  }
}

}  // namespace
}  // namespace gradsync::accumulate
