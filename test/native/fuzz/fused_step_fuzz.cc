// Fused steps: any variables, gradients, optimizers, clipping and guards, several steps under way. Every step is answered once; one that is
// refused, skipped or fails has changed nothing, any other each of its variables once; one that is cancelled gives back what it took.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <utility>
#include <variant>
#include <vector>

#include "any_optimizer.h"
#include "fuzz_input.h"
#include "step/fused_step.h"

namespace gradsync::fuzz {
namespace {

using accumulate::DenseAccumulator;
using accumulate::SparseAccumulator;
using accumulate::Variable;
using step::FusedStepOptions;
using step::FusedStepResult;
using step::VariableUpdateSpec;

// A variable, and what it should hold.
struct Known {
  std::shared_ptr<Variable> variable;
  std::int64_t version;
  std::vector<std::byte> bytes;

  [[nodiscard]] std::vector<std::byte> Read() const {
    const auto lease = variable->Read();
    if (!lease.ok()) return {};
    const TensorView view = lease->tensor().view();
    const auto* data = static_cast<const std::byte*>(view.data);
    return {data, data + view.bytes};
  }
};

class World {
 public:
  World(FuzzInput& input, Services& services) : services_(services) {
    for (int i = input.Integer(1, 3); i > 0; --i) AddUpdate(input);
  }

  void Apply(FuzzInput& input) {
    if (updates_.empty()) return;
    const VariableUpdateSpec& update = Any(input, updates_);
    const Shape usual = update.variable->shape().value_or(Shape{});
    std::visit([&](const auto& accumulator) { ApplyTo(input, *accumulator, usual); }, update.accumulator);
  }

  void Start(FuzzInput& input) {
    const FusedStepOptions options = AnyStep(input);
    const Deadline deadline =
        input.Flag() ? Deadline::Infinite() : Deadline::At(services_.timer.Now() + std::chrono::milliseconds(input.Integer(0, 100)));
    const std::vector<std::int64_t> before = Rounds();
    const int answered = answered_;
    ++asked_;
    waits_.push_back(step::StartFusedStep(options, deadline, services_, [this, options](const auto& result) { Answer(options, result); }));
    if (answered_ > answered || !input.Rarely(4)) return;
    waits_.back().Cancel();
    FUZZ_CHECK(answered_ == answered + 1 && Rounds() == before);
  }

  // Somebody else takes a round: what steps gave back is in it.
  void Take(FuzzInput& input) {
    if (updates_.empty()) return;
    ++asked_;
    const auto take = [&](const auto& accumulator) {
      waits_.push_back(accumulator->Take(1, Deadline::Infinite(), [this](const auto& /*taken*/) { ++answered_; }));
    };
    std::visit(take, Any(input, updates_).accumulator);
  }

  void Cancel(FuzzInput& input) {
    if (!waits_.empty()) Any(input, waits_).Cancel();
  }

  // Versions count the steps that were applied.
  void Check() const {
    for (const Known& known : known_) {
      FUZZ_CHECK(known.variable->version() == known.version);
      FUZZ_CHECK(known.Read() == known.bytes);
    }
  }

  void End() {
    for (const Cancellation& wait : waits_) wait.Cancel();
    FUZZ_CHECK(answered_ == asked_);
    Check();
  }

 private:
  template <typename T>
  static T& Any(FuzzInput& input, std::vector<T>& all) {
    return all[static_cast<std::size_t>(input.Integer(0, static_cast<int>(all.size()) - 1))];
  }

  void AddUpdate(FuzzInput& input) {
    const DType dtype = input.MostlyDType(input.Flag() ? DType::kFloat32 : DType::kFloat16);
    const Shape shape = input.AnyShape();
    VariableUpdateSpec update{
        .variable = AddVariable(input, dtype, shape), .slots = {}, .optimizer = AnyOptimizer(input), .accumulator = {}};
    const auto slots = input.Rarely(12) ? static_cast<std::size_t>(input.Integer(0, 4)) : optimize::SlotCount(update.optimizer);
    for (std::size_t i = 0; i < slots; ++i) update.slots.push_back(AddVariable(input, input.MostlyDType(dtype), shape));
    const auto reduction = input.Flag() ? accumulate::Reduction::kMean : accumulate::Reduction::kSum;
    if (input.Flag()) {
      const PartialShape declared = input.Rarely(6) ? input.AnyPartialShape() : PartialShape();
      const auto dense = DenseAccumulator::Create(
          {.name = "dense", .dtype = input.MostlyDType(dtype), .shape = declared, .reduction = reduction}, services_);
      if (!dense.ok()) return;
      update.accumulator = *dense;
    } else {
      const auto form = static_cast<accumulate::SparseForm>(input.Integer(0, 2));
      const auto sparse = SparseAccumulator::Create(
          {.name = "sparse", .dtype = input.MostlyDType(dtype), .shape = {}, .reduction = reduction, .form = form, .mean = {}}, services_);
      if (!sparse.ok()) return;
      update.accumulator = *sparse;
    }
    updates_.push_back(std::move(update));
  }

  std::shared_ptr<Variable> AddVariable(FuzzInput& input, DType dtype, const Shape& shape) {
    auto variable = std::make_shared<Variable>(accumulate::VariableOptions{.name = "v", .dtype = dtype, .shape = {}});
    static_cast<void>(variable->Assign(input.View(dtype, input.MostlyShape(shape))));
    known_.push_back({.variable = variable, .version = variable->version(), .bytes = {}});
    known_.back().bytes = known_.back().Read();
    return variable;
  }

  static void ApplyTo(FuzzInput& input, DenseAccumulator& accumulator, const Shape& usual) {
    const TensorView gradient = input.View(input.MostlyDType(accumulator.options().dtype), input.MostlyShape(usual));
    static_cast<void>(accumulator.Apply(accumulator.GlobalStep(), input.Number(), gradient));
  }

  static void ApplyTo(FuzzInput& input, SparseAccumulator& accumulator, const Shape& usual) {
    const TensorView indices = input.Indices();
    Shape shape(indices.shape.begin(), indices.shape.end());
    if (!usual.empty()) shape.insert(shape.end(), usual.begin() + 1, usual.end());
    const TensorView values = input.View(input.MostlyDType(accumulator.options().dtype), input.MostlyShape(shape));
    static_cast<void>(accumulator.Apply(accumulator.GlobalStep(), input.Number(), indices, values, std::nullopt));
  }

  FusedStepOptions AnyStep(FuzzInput& input) {
    FusedStepOptions options{.updates = {}, .clip_norm = {}, .non_finite = static_cast<step::NonFinitePolicy>(input.Integer(0, 3))};
    for (const VariableUpdateSpec& update : updates_) {
      if (input.Rarely(4)) continue;
      options.updates.push_back(update);
      options.updates.back().num_required = input.Rarely(8) ? input.Number() : input.Integer(1, 2);
      if (input.Rarely(20)) options.updates.back().variable = Any(input, updates_).variable;
      if (input.Rarely(20)) options.updates.back().accumulator = Any(input, updates_).accumulator;
    }
    if (input.Flag()) options.clip_norm = input.Double();
    return options;
  }

  // Of every accumulator: how many gradients it has, and its step.
  [[nodiscard]] std::vector<std::int64_t> Rounds() const {
    std::vector<std::int64_t> rounds;
    const auto add = [&](const auto& accumulator) {
      rounds.push_back(accumulator->NumAccumulated());
      rounds.push_back(accumulator->GlobalStep());
    };
    for (const VariableUpdateSpec& update : updates_) std::visit(add, update.accumulator);
    return rounds;
  }

  void Answer(const FusedStepOptions& options, const StatusOr<FusedStepResult>& result) {
    ++answered_;
    if (!result.ok() || !result->is_applied) return;
    for (Known& known : known_) {
      for (const VariableUpdateSpec& update : options.updates) {
        const bool is_slot = std::ranges::find(update.slots, known.variable) != update.slots.end();
        if (!is_slot && update.variable != known.variable) continue;
        ++known.version;
        known.bytes = known.Read();
      }
    }
  }

  Services& services_;
  std::vector<VariableUpdateSpec> updates_;
  std::vector<Known> known_;
  std::vector<Cancellation> waits_;
  int asked_ = 0;
  int answered_ = 0;
};

}  // namespace

void Run(FuzzInput& input, Services& services) {
  services.pool.Stop();  // a step then runs on the thread that completes it
  World world(input, services);
  for (int i = 0; i < kMaxCalls && input.HasMore(); ++i) {
    const int call = input.Integer(0, 9);
    if (call < 5) {
      world.Apply(input);
    } else if (call < 7) {
      world.Start(input);
    } else if (call < 8) {
      world.Cancel(input);
    } else if (call < 9) {
      world.Take(input);
    } else {
      services.timer.Advance(std::chrono::milliseconds(input.Integer(0, 100)));
    }
    world.Check();
    input.Clear();
  }
  world.End();
}

}  // namespace gradsync::fuzz
