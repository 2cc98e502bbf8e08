// The sparse case: slices of some contributors leased to an accumulator and their combined mean taken, in one process and without Node;
// the limit moves the bytes that must move: it reads all rows and writes one for each distinct index.
#include <algorithm>
#include <cmath>
#include <future>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "accumulate/sparse_accumulator.h"
#include "contest.h"
#include "core/thread_pool.h"
#include "streams.h"

namespace gradsync::bench {
namespace {

using accumulate::SparseAccumulator;
using accumulate::SparseSlices;

struct Gradient {
  std::vector<std::int64_t> indices;
  Shape index_shape;
  Tensor values;

  [[nodiscard]] TensorView IndexView() const {
    return {.dtype = DType::kInt64, .shape = index_shape, .data = indices.data(), .bytes = indices.size() * sizeof(std::int64_t)};
  }
};

// Different indices in ascending order.
std::vector<std::int64_t> Ascending(std::mt19937_64& random, std::int64_t rows, std::int64_t vocabulary) {
  std::vector<std::int64_t> all(static_cast<std::size_t>(vocabulary));
  std::iota(all.begin(), all.end(), 0);
  std::vector<std::int64_t> some;
  std::ranges::sample(all, std::back_inserter(some), rows, random);
  return some;
}

// Index k with probability proportional to (k + 1)^-1.2, in any order, with repeats.
std::vector<std::int64_t> Zipf(std::mt19937_64& random, std::int64_t rows, std::int64_t vocabulary) {
  std::vector<double> cumulative(static_cast<std::size_t>(vocabulary));
  double sum = 0;
  for (std::size_t k = 0; k < cumulative.size(); ++k) cumulative[k] = sum += std::pow(static_cast<double>(k + 1), -1.2);
  std::uniform_real_distribution<double> uniform(0, sum);
  std::vector<std::int64_t> indices(static_cast<std::size_t>(rows));
  for (std::int64_t& index : indices) {
    index = std::min<std::int64_t>(std::ranges::upper_bound(cumulative, uniform(random)) - cumulative.begin(), vocabulary - 1);
  }
  return indices;
}

// The elements of slice i of contributor k are all this: small integers, whose sums are exact in any order.
float Element(std::int64_t k, std::int64_t i) { return static_cast<float>((k + i) % 7 + 1); }

SparseSlices Take(SparseAccumulator& accumulator, std::int64_t required) {
  std::promise<StatusOr<SparseSlices>> promise;
  accumulator.Take(required, Deadline::Infinite(), [&](StatusOr<SparseSlices> result) { promise.set_value(std::move(result)); });
  return *promise.get_future().get();
}

bool IsRight(const SparseSlices& taken, const std::vector<Gradient>& gradients, std::int64_t width) {
  std::map<std::int64_t, double> sums;
  for (std::size_t k = 0; k < gradients.size(); ++k) {
    for (std::size_t i = 0; i < gradients[k].indices.size(); ++i) {
      sums[gradients[k].indices[i]] += Element(static_cast<std::int64_t>(k), static_cast<std::int64_t>(i));
    }
  }
  const auto indices = taken.indices.as<std::int64_t>();
  const auto values = taken.values.as<float>();
  if (indices.size() != sums.size()) return false;
  std::size_t row = 0;
  for (const auto& [index, sum] : sums) {
    if (indices[row] != index) return false;
    const auto mean = static_cast<float>(sum) / static_cast<float>(gradients.size());
    for (const float value : values.subspan(row * static_cast<std::size_t>(width), static_cast<std::size_t>(width))) {
      if (value != mean) return false;
    }
    ++row;
  }
  return true;
}

std::vector<Gradient> MakeGradients(const Contest& contest, std::int64_t width) {
  std::mt19937_64 random(1);
  const std::int64_t rows = contest.Integer("rows");
  const std::int64_t vocabulary = contest.Integer("vocabulary");
  std::vector<Gradient> gradients;
  for (std::int64_t k = 0; k < contest.Integer("contributors"); ++k) {
    Gradient& gradient = gradients.emplace_back();
    gradient.indices = contest.Text("order") == "zipf" ? Zipf(random, rows, vocabulary) : Ascending(random, rows, vocabulary);
    gradient.index_shape = {rows};
    gradient.values = *Tensor::Allocate(DType::kFloat32, {rows, width});
    const auto elements = gradient.values.as<float>();
    for (std::int64_t i = 0; i < rows; ++i) std::fill_n(elements.data() + i * width, width, Element(k, i));
  }
  return gradients;
}

int Run(int argc, char** argv) {
  Contest contest(argc, argv);
  const std::int64_t width = contest.Integer("width");
  const std::vector<Gradient> gradients = MakeGradients(contest, width);
  const auto contributors = static_cast<std::int64_t>(gradients.size());
  const std::size_t threads = std::max(1U, std::thread::hardware_concurrency());
  Services services(threads);
  const auto accumulator = *SparseAccumulator::Create({.name = "bench", .dtype = DType::kFloat32, .shape = {}, .mean = {}}, services);
  const auto keep = std::make_shared<int>();
  std::int64_t step = 0;
  const auto round = [&] {
    for (std::int64_t k = 0; k < contributors; ++k) {
      const Gradient& gradient = gradients[static_cast<std::size_t>(k)];
      const auto receipt = accumulator->ApplyLeased(step, k, gradient.IndexView(), *Lease::Of(gradient.values.view(), keep), std::nullopt);
      contest.Require(receipt.ok() && receipt->is_accepted, "a receipt");
    }
    ++step;
    return Take(*accumulator, contributors);
  };
  std::int64_t unique = 0;
  {
    const SparseSlices taken = round();
    contest.Require(IsRight(taken, gradients, width), "the combined mean of the gradients");
    unique = taken.indices.size();
  }
  contest.Add("ours", [&] { round(); });

  // As many bytes as must move, read and written in nearly the same proportion.
  const std::int64_t read = contributors * contest.Integer("rows");
  const std::int64_t inputs = std::max<std::int64_t>(1, (read + unique / 2) / unique);
  const std::int64_t size = (read + unique) * width / (inputs + 1) / 16 * 16;
  Streams streams(threads);
  std::vector<Tensor> arrays;
  for (std::int64_t i = 0; i <= inputs; ++i) {
    arrays.push_back(*Tensor::Allocate(DType::kFloat32, {size}));
    std::ranges::fill(arrays.back().as<float>(), 1.0F);
  }
  std::vector<const float*> from;
  for (std::int64_t i = 0; i < inputs; ++i) from.push_back(arrays[static_cast<std::size_t>(i)].as<float>().data());
  const std::vector<float*> to{arrays.back().as<float>().data()};
  contest.Add("limit", [&] { streams.Pass(from, to, static_cast<std::size_t>(size), Streams::Store::kCached); });
  contest.Add("limit-past-caches", [&] { streams.Pass(from, to, static_cast<std::size_t>(size), Streams::Store::kPastCaches); });
  return contest.Serve(std::to_string(unique) + " distinct rows");
}

}  // namespace
}  // namespace gradsync::bench

int main(int argc, char** argv) { return gradsync::bench::Run(argc, argv); }
