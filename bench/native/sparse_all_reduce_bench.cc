// The sparse all-reduce case: ranks that are threads of this process sum rows of float32 by index; the indices follow Zipf's law, so many
// repeat. This thread is rank 0; the other ranks call all the time. The limit sums the arrays of rows as they lie and copies as much as the
// result to every rank, with all cores: memory without the work of finding rows.
#include <algorithm>
#include <cmath>
#include <random>
#include <thread>
#include <vector>

#include "collective/local_group.h"
#include "contest.h"
#include "core/thread_pool.h"
#include "streams.h"

namespace gradsync::bench {
namespace {

using collective::Call;
using collective::Collective;
using collective::Outcome;

struct Rank {
  std::shared_ptr<collective::Communicator> communicator;
  Tensor indices;
  Tensor rows;
  std::int64_t table;

  [[nodiscard]] StatusOr<Outcome> AllReduce() const {
    const Call call{.collective = Collective::kSparseAllReduce, .input = rows.view(), .indices = indices.view(), .table_rows = table};
    return communicator->Run(call, Deadline::Infinite());
  }
};

// Row numbers below `table`, number i with a probability proportional to 1 / (i + 1)^exponent, scattered over the table.
void FillZipf(std::span<std::int64_t> indices, std::int64_t table, double exponent, std::mt19937_64& random) {
  std::vector<double> sums(static_cast<std::size_t>(table));
  double sum = 0;
  for (std::int64_t i = 0; i < table; ++i) sums[i] = sum += std::pow(static_cast<double>(i + 1), -exponent);
  std::uniform_real_distribution<double> uniform(0, sum);
  constexpr std::int64_t kPrime = 2'654'435'761;  // no divisor of any table size below it: scatters without collisions
  for (std::int64_t& index : indices) {
    const std::int64_t number = std::ranges::lower_bound(sums, uniform(random)) - sums.begin();
    index = std::min(number, table - 1) * (kPrime % table) % table;
  }
}

bool IsRight(const Outcome& outcome, const std::vector<Rank>& ranks, std::int64_t width) {
  std::vector<double> sums(static_cast<std::size_t>(ranks[0].table));
  for (const Rank& rank : ranks) {
    const auto indices = rank.indices.as<std::int64_t>();
    for (std::size_t i = 0; i < indices.size(); ++i) sums[indices[i]] += rank.rows.as<float>()[static_cast<std::int64_t>(i) * width];
  }
  const auto indices = outcome.indices.as<std::int64_t>();
  for (std::size_t i = 0; i < indices.size(); ++i) {
    if (i > 0 && indices[i] <= indices[i - 1]) return false;
    // Small integers: exact.
    if (outcome.values.as<float>()[static_cast<std::int64_t>(i) * width] != static_cast<float>(sums[indices[i]])) return false;
    sums[indices[i]] = 0;
  }
  return std::ranges::all_of(sums, [](double rest) { return rest == 0; });
}

int Run(int argc, char** argv) {
  Contest contest(argc, argv);
  const std::int64_t size = contest.Integer("ranks");
  const std::int64_t count = contest.Integer("rows");
  const std::int64_t width = contest.Integer("width");
  const std::int64_t table = contest.Integer("table");
  const double exponent = static_cast<double>(contest.Integer("zipf-percent")) / 100;
  const std::size_t cores = std::max(1U, std::thread::hardware_concurrency());
  Services services(1);
  const auto group = *collective::LocalGroup::Create({.name = "bench", .size = size}, services);
  std::mt19937_64 random(1);
  std::vector<Rank> ranks;
  for (std::int64_t rank = 0; rank < size; ++rank) {
    ranks.push_back(
        {*group->Join(rank), *Tensor::Allocate(DType::kInt64, {count}), *Tensor::Allocate(DType::kFloat32, {count, width}), table});
    FillZipf(ranks.back().indices.as<std::int64_t>(), table, exponent, random);
    for (float& element : ranks.back().rows.as<float>()) element = static_cast<float>(1 + random() % 15);
  }
  std::vector<std::thread> threads;
  for (std::int64_t rank = 1; rank < size; ++rank) {
    threads.emplace_back([&ranks, rank] {
      while (ranks[rank].AllReduce().ok()) {
      }
    });
  }
  const StatusOr<Outcome> outcome = ranks[0].AllReduce();
  contest.Require(outcome.ok() && IsRight(*outcome, ranks, width), "the sum of the rows by index");
  contest.Require(outcome->sparse.bytes_moved <= outcome->sparse.rows_moved * (width * 4 + 8), "no more moved than the distinct rows");

  Streams streams(cores);
  const std::int64_t result = outcome->values.size();
  std::vector<Tensor> copies;
  std::vector<const float*> inputs;
  std::vector<float*> outputs;
  for (const Rank& rank : ranks) inputs.push_back(rank.rows.as<float>().data());
  for (std::int64_t rank = 0; rank < size; ++rank) {
    copies.push_back(*Tensor::Allocate(DType::kFloat32, {result}));
    outputs.push_back(copies.back().as<float>().data());
  }
  contest.Add("ours", [&] { (void)ranks[0].AllReduce(); });
  Tensor sum = *Tensor::Allocate(DType::kFloat32, {count * width});
  const std::vector<float*> sums{sum.as<float>().data()};
  contest.Add("limit", [&] {
    streams.Pass(inputs, sums, static_cast<std::size_t>(count * width), Streams::Store::kCached);
    streams.Pass({sums[0]}, outputs, static_cast<std::size_t>(result), Streams::Store::kCached);
  });
  const int status = contest.Serve(outcome->sparse.reason);
  ranks[0].communicator->Leave("the benchmark is over");
  for (std::thread& thread : threads) thread.join();
  return status;
}

}  // namespace
}  // namespace gradsync::bench

int main(int argc, char** argv) { return gradsync::bench::Run(argc, argv); }
