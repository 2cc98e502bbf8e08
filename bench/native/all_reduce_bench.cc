// The all-reduce case: ranks that are threads of this process sum float32 arrays in place. This thread is rank 0; the other ranks call all
// the time, so a round begins when rank 0 calls. The limit reads and writes all arrays once, with all cores.
#include <algorithm>
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
using collective::Communicator;

// One rank's array and its end of the group.
struct Rank {
  std::shared_ptr<Communicator> communicator;
  Tensor array;

  [[nodiscard]] Status AllReduce() {
    const Call call{.collective = Collective::kAllReduce, .input = array.view(), .output = array.mutable_view()};
    return communicator->Run(call, Deadline::Infinite()).status();
  }
};

int Run(int argc, char** argv) {
  Contest contest(argc, argv);
  const std::int64_t size = contest.Integer("ranks");
  const std::int64_t elements = contest.Integer("bytes") / static_cast<std::int64_t>(sizeof(float));
  const std::size_t cores = std::max(1U, std::thread::hardware_concurrency());
  Services services(1);
  const auto group = *collective::LocalGroup::Create({.name = "bench", .size = size}, services);
  std::vector<Rank> ranks;
  for (std::int64_t rank = 0; rank < size; ++rank) {
    ranks.push_back({*group->Join(rank), *Tensor::Allocate(DType::kFloat32, {elements})});
    const auto array = ranks.back().array.as<float>();
    for (std::int64_t i = 0; i < elements; ++i) array[i] = static_cast<float>(i % 1000 + rank);
  }
  std::vector<std::thread> threads;
  for (std::int64_t rank = 1; rank < size; ++rank) {
    threads.emplace_back([&ranks, rank] {
      while (ranks[rank].AllReduce().ok()) {
      }
    });
  }
  contest.Require(ranks[0].AllReduce().ok(), "the all-reduce ended well");
  for (std::int64_t i = 0; i < elements; ++i) {
    const std::int64_t sum = size * (i % 1000) + size * (size - 1) / 2;
    contest.Require(ranks[0].array.as<float>()[i] == static_cast<float>(sum), "the sum of all ranks");
  }
  // Sums of sums soon overflow; zeros stay. The others wait for rank 0 and touch nothing meanwhile.
  for (Rank& rank : ranks) std::ranges::fill(rank.array.as<float>(), 0.0F);

  Streams streams(cores);
  std::vector<Tensor> copies;
  std::vector<const float*> inputs;
  std::vector<float*> outputs;
  for (const Rank& rank : ranks) {
    copies.push_back(*Tensor::Copy(rank.array.view()));
    outputs.push_back(copies.back().as<float>().data());
    inputs.push_back(outputs.back());
  }
  contest.Add("ours", [&] { (void)ranks[0].AllReduce(); });
  contest.Add("limit", [&] { streams.Pass(inputs, outputs, static_cast<std::size_t>(elements), Streams::Store::kCached); });
  const int status = contest.Serve("");
  ranks[0].communicator->Leave("the benchmark is over");
  for (std::thread& thread : threads) thread.join();
  return status;
}

}  // namespace
}  // namespace gradsync::bench

int main(int argc, char** argv) { return gradsync::bench::Run(argc, argv); }
