// The fused adam case: gradients leased to an accumulator, then one fused step of Adam, in one process and without Node; the limit reads
// the gradients, the variable and both moments, and writes these three.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <future>
#include <memory>
#include <thread>
#include <vector>

#include "contest.h"
#include "core/thread_pool.h"
#include "step/fused_step.h"
#include "streams.h"

namespace gradsync::bench {
namespace {

constexpr kernels::Adam kAdam{
    .beta1_power = 0.9, .beta2_power = 0.999, .lr = 0.001, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-7, .nesterov = false};

float GradientAt(std::int64_t i, std::int64_t contributor) { return static_cast<float>(i % 1000 + contributor); }

// The step of one element from moments of 0, written out.
float Expected(float mean) {
  const float m = mean * (1.0F - 0.9F);
  const float v = mean * mean * (1.0F - 0.999F);
  const float alpha = 0.001F * std::sqrt(1.0F - 0.999F) / (1.0F - 0.9F);
  return 1.0F - (m * alpha) / (std::sqrt(v) + 1e-7F);
}

std::shared_ptr<accumulate::Variable> MakeVariable(std::int64_t size, float value) {
  auto variable =
      std::make_shared<accumulate::Variable>(accumulate::VariableOptions{.name = "bench", .dtype = DType::kFloat32, .shape = {}});
  Tensor tensor = *Tensor::Allocate(DType::kFloat32, {size});
  std::ranges::fill(tensor.as<float>(), value);
  (void)variable->Assign(tensor.view());
  return variable;
}

Status Step(const step::FusedStepOptions& options, Services& services) {
  std::promise<Status> promise;
  step::StartFusedStep(options, Deadline::Infinite(), services,
                       [&](const StatusOr<step::FusedStepResult>& result) { promise.set_value(result.status()); });
  return promise.get_future().get();
}

int Run(int argc, char** argv) {
  Contest contest(argc, argv);
  const std::int64_t size = contest.Integer("parameters");
  const std::int64_t contributors = contest.Integer("gradients");
  const std::size_t threads = std::max(1U, std::thread::hardware_concurrency());
  Services services(threads);
  const auto accumulator = *accumulate::DenseAccumulator::Create({.name = "bench", .dtype = DType::kFloat32, .shape = {}}, services);
  std::vector<Tensor> gradients;
  for (std::int64_t k = 0; k < contributors; ++k) {
    gradients.push_back(*Tensor::Allocate(DType::kFloat32, {size}));
    const auto elements = gradients.back().as<float>();
    for (std::int64_t i = 0; i < size; ++i) elements[i] = GradientAt(i, k);
  }
  const auto variable = MakeVariable(size, 1);
  const step::FusedStepOptions options{.updates = {{.variable = variable,
                                                    .slots = {MakeVariable(size, 0), MakeVariable(size, 0)},
                                                    .optimizer = kAdam,
                                                    .accumulator = accumulator,
                                                    .num_required = contributors}},
                                       .clip_norm = std::nullopt};
  std::int64_t round = 0;
  const auto step = [&](const step::FusedStepOptions& how) {
    for (std::int64_t k = 0; k < contributors; ++k) {
      (void)accumulator->ApplyLeased(round, k, *Lease::Of(gradients[k].view(), nullptr));
    }
    ++round;
    contest.Require(Step(how, services).ok(), "a fused step");
  };
  step(options);
  {
    const auto lease = *variable->Read();
    const auto after = lease.tensor().as<float>();
    for (std::int64_t i = 0; i < size; ++i) {
      const float mean = static_cast<float>(i % 1000) + static_cast<float>(contributors - 1) / 2;
      contest.Require(after[i] == Expected(mean), "Adam's first step");
    }
  }

  step::FusedStepOptions clipped = options;
  clipped.clip_norm = 1;
  clipped.non_finite = step::NonFinitePolicy::kSkip;
  Streams streams(threads);
  std::vector<const float*> inputs;
  std::vector<Tensor> state;
  for (int i = 0; i < 3; ++i) state.push_back(*Tensor::Allocate(DType::kFloat32, {size}));
  std::vector<float*> outputs;
  for (Tensor& one : state) {
    std::ranges::fill(one.as<float>(), 1.0F);
    outputs.push_back(one.as<float>().data());
    inputs.push_back(outputs.back());
  }
  for (const Tensor& gradient : gradients) inputs.push_back(gradient.as<float>().data());
  contest.Add("ours", [&] { step(options); });
  contest.Add("ours-clipped-guarded", [&] { step(clipped); });
  contest.Add("limit", [&] { streams.Pass(inputs, outputs, static_cast<std::size_t>(size), Streams::Store::kCached); });
  return contest.Serve("");
}

}  // namespace
}  // namespace gradsync::bench

int main(int argc, char** argv) { return gradsync::bench::Run(argc, argv); }
