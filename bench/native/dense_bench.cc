// The dense case: some gradients applied and their mean taken, in one process and without Node; the limit reads them all and writes one.
#include <algorithm>
#include <future>
#include <memory>
#include <thread>
#include <vector>

#include "accumulate/dense_accumulator.h"
#include "contest.h"
#include "core/thread_pool.h"
#include "streams.h"

namespace gradsync::bench {
namespace {

Tensor Take(accumulate::DenseAccumulator& accumulator, std::int64_t required) {
  std::promise<StatusOr<Tensor>> promise;
  accumulator.Take(required, Deadline::Infinite(), [&](StatusOr<Tensor> result) { promise.set_value(std::move(result)); });
  return *promise.get_future().get();
}

int Run(int argc, char** argv) {
  Contest contest(argc, argv);
  const std::int64_t contributors = contest.Integer("contributors");
  const std::int64_t size = contest.Integer("bytes") / static_cast<std::int64_t>(sizeof(float));
  const std::size_t threads = std::max(1U, std::thread::hardware_concurrency());
  Services services(threads);
  const auto accumulator = *accumulate::DenseAccumulator::Create({.name = "bench", .dtype = DType::kFloat32, .shape = {}}, services);

  std::vector<Tensor> gradients;
  for (std::int64_t k = 0; k < contributors; ++k) {
    gradients.push_back(*Tensor::Allocate(DType::kFloat32, {size}));
    const auto elements = gradients.back().as<float>();
    for (std::int64_t i = 0; i < size; ++i) elements[i] = static_cast<float>(i % 1000 + k);
  }
  std::int64_t step = 0;
  const auto round = [&] {
    for (std::int64_t k = 0; k < contributors; ++k) (void)accumulator->ApplyLeased(step, k, *Lease::Of(gradients[k].view(), nullptr));
    ++step;
    return Take(*accumulator, contributors);
  };
  const Tensor mean = round();
  const auto taken = mean.as<float>();
  for (std::int64_t i = 0; i < size; ++i) {
    contest.Require(taken[i] == static_cast<float>(i % 1000) + static_cast<float>(contributors - 1) / 2, "the mean of the gradients");
  }

  Streams streams(threads);
  std::vector<const float*> inputs;
  for (const Tensor& gradient : gradients) inputs.push_back(gradient.as<float>().data());
  Tensor output = *Tensor::Allocate(DType::kFloat32, {size});
  const std::vector<float*> outputs{output.as<float>().data()};
  contest.Add("ours", [&] { (void)round(); });
  contest.Add("limit", [&] { streams.Pass(inputs, outputs, size, Streams::Store::kCached); });
  contest.Add("limit-past-caches", [&] { streams.Pass(inputs, outputs, size, Streams::Store::kPastCaches); });
  return contest.Serve("");
}

}  // namespace
}  // namespace gradsync::bench

int main(int argc, char** argv) { return gradsync::bench::Run(argc, argv); }
