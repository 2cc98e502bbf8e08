#include "collective/sparse_cost.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstring>
#include <limits>
#include <system_error>
#include <thread>
#include <vector>

#include "kernels/sorted_slices.h"

namespace gradsync::collective {
namespace {

using Clock = std::chrono::steady_clock;

// The fastest of a few runs: what else the machine does only ever adds.
template <typename Body>
double Nanoseconds(Body&& body) {
  constexpr int kRuns = 5;
  double least = std::numeric_limits<double>::infinity();
  for (int run = 0; run < kRuns; ++run) {
    const auto begin = Clock::now();
    body();
    least = std::min(least, std::chrono::duration<double, std::nano>(Clock::now() - begin).count());
  }
  return least;
}

double MeasureSortedIndex() {
  constexpr std::int64_t kIndices = 4096;
  std::vector<std::int64_t> indices(kIndices);
  for (std::int64_t i = 0; i < kIndices; ++i) indices[static_cast<std::size_t>(i)] = (i * 2654435761LL) % 1'000'003;
  const kernels::IndexList lists[] = {kernels::IndexList::Of(indices)};
  return Nanoseconds([&] { (void)kernels::SortedSlices::Sort(lists, nullptr).ok(); }) / kIndices;
}

double MeasureSummedByte(const kernels::KernelTable& kernels) {
  constexpr std::int64_t kElements = 16 * 1024;
  const std::vector<float> a(kElements, 1.0F);
  const std::vector<float> b(kElements, 2.0F);
  std::vector<float> out(kElements);
  const float* const inputs[] = {a.data(), b.data()};
  const double time =
      Nanoseconds([&] { kernels.of<float>().sum({.inputs = inputs, .count = 2, .begin = 0, .end = kElements, .out = out.data()}, 1); });
  return time / (2 * kElements * sizeof(float));
}

double MeasureCopiedByte() {
  constexpr std::size_t kBytes = std::size_t{512} * 1024;
  const std::vector<std::byte> from(kBytes);
  std::vector<std::byte> to(kBytes);
  return Nanoseconds([&] { std::memcpy(to.data(), from.data(), kBytes); }) / kBytes;
}

double MeasureTableSlot() {
  constexpr std::size_t kSlots = std::size_t{32} * 1024;
  std::vector<std::int32_t> slots(kSlots);
  std::int64_t taken = 0;
  const double time = Nanoseconds([&] {
    std::ranges::fill(slots, -1);
    slots[static_cast<std::size_t>(taken) % kSlots] = 1;  // so that the compiler can foresee nothing
    taken += std::ranges::count_if(slots, [](std::int32_t slot) { return slot >= 0; });
  });
  return time / kSlots;
}

// Half a round between two threads that sleep.
double MeasureStage() {
  constexpr int kRounds = 8;
  std::mutex mutex;
  std::condition_variable changed;
  int turn = 0;
  const auto take = [&](int mine) {
    for (int round = 0; round < kRounds; ++round) {
      std::unique_lock lock(mutex);
      changed.wait(lock, [&] { return turn % 2 == mine; });
      ++turn;
      changed.notify_one();
    }
  };
  const auto begin = Clock::now();
  try {
    std::thread other(take, 1);
    take(0);
    other.join();
  } catch (const std::system_error& /*error*/) {
    return 0;  // no thread to be had: nothing will be handed over either
  }
  return std::chrono::duration<double, std::nano>(Clock::now() - begin).count() / (2 * kRounds);
}

}  // namespace

std::array<double, 3> Estimate(const UnitCosts& costs, const SparseCounts& counts) {
  const auto moved = static_cast<double>(counts.rows_moved);
  const auto bytes = moved * static_cast<double>(counts.row_bytes);
  const auto ranks = static_cast<double>(counts.ranks);
  const auto cores = static_cast<double>(counts.cores);
  const double sum = bytes * costs.summed_byte;
  const double merge = moved * costs.sorted_index + sum;
  const double copies = (ranks - 1) * bytes * costs.copied_byte;
  const double turns = std::ceil(ranks / cores);
  const double table = static_cast<double>(counts.table_rows) * ranks * costs.table_slot;
  constexpr double kPerMillisecond = 1e6;
  return {
      (turns * merge + costs.stage) / kPerMillisecond,
      ((merge + copies) / cores + 2 * costs.stage) / kPerMillisecond,
      ((table + sum + copies) / cores + 2 * costs.stage) / kPerMillisecond,
  };
}

SparseChoice Choose(const UnitCosts& costs, const SparseCounts& counts, std::optional<SparseAlgorithm> asked) {
  const std::array<double, 3> estimates = Estimate(costs, counts);
  const auto least = static_cast<SparseAlgorithm>(std::ranges::min_element(estimates) - estimates.begin());
  const SparseAlgorithm algorithm = asked.value_or(least);
  std::string text;
  for (std::size_t i = 0; i < estimates.size(); ++i) {
    text.append(StrCat(i == 0 ? "" : ", ", SparseAlgorithmName(static_cast<SparseAlgorithm>(i)), " ", estimates[i], " ms"));
  }
  return {algorithm, StrCat(SparseAlgorithmName(algorithm), asked.has_value() ? " as asked for" : " is estimated to be fastest", ": ", text,
                            ", for ", counts.rows_moved, " distinct rows of ", counts.rows_given, " given by ", counts.ranks, " ranks on ",
                            counts.cores, " cores, ", counts.row_bytes, " bytes each, in a table of ", counts.table_rows)};
}

const UnitCosts& SparseCosts::Get() {
  std::call_once(measured_, [this] {
    costs_ = {.sorted_index = MeasureSortedIndex(),
              .summed_byte = MeasureSummedByte(kernels_),
              .copied_byte = MeasureCopiedByte(),
              .table_slot = MeasureTableSlot(),
              .stage = MeasureStage()};
  });
  return costs_;
}

}  // namespace gradsync::collective
