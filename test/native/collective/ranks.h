// Ranks as threads for the tests of collectives: `Ranks` joins all ranks of a group, `InThreads` runs one body per rank and waits for all.
// Header only. A rank that hangs fails its test by the test's timeout.
#ifndef GRADSYNC_TEST_NATIVE_COLLECTIVE_RANKS_H_
#define GRADSYNC_TEST_NATIVE_COLLECTIVE_RANKS_H_

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "collective/local_group.h"
#include "core/thread_pool.h"
#include "support.h"

namespace gradsync::test {

using collective::Call;
using collective::Collective;
using collective::Communicator;
using collective::LocalGroup;
using collective::Outcome;
using collective::Reduction;

inline Deadline Patient() { return Deadline::AfterMilliseconds(60'000); }

struct Ranks {
  explicit Ranks(std::size_t size, std::string name = "test", std::size_t threads = 2) : services(std::make_unique<Services>(threads)) {
    group = *LocalGroup::Create({.name = std::move(name), .size = static_cast<std::int64_t>(size)}, *services);
    for (std::size_t rank = 0; rank < size; ++rank) communicators.push_back(*group->Join(static_cast<std::int64_t>(rank)));
  }
  [[nodiscard]] std::size_t size() const { return communicators.size(); }
  Communicator& operator[](std::size_t rank) { return *communicators[rank]; }

  std::unique_ptr<Services> services;
  std::shared_ptr<LocalGroup> group;
  std::vector<std::shared_ptr<Communicator>> communicators;
};

inline void InThreads(std::size_t count, const std::function<void(std::size_t)>& body) {
  std::vector<std::thread> threads;
  threads.reserve(count);
  for (std::size_t rank = 0; rank < count; ++rank) threads.emplace_back(body, rank);
  for (std::thread& thread : threads) thread.join();
}

template <typename T>
Call AllReduceCall(Array<T>& array, Reduction reduction = Reduction::kSum, std::string key = "g") {
  return {.collective = Collective::kAllReduce,
          .key = std::move(key),
          .reduction = reduction,
          .input = array.view(),
          .output = array.mutable_view()};
}

inline Call BarrierCall(std::string key = "b") { return {.collective = Collective::kBarrier, .key = std::move(key)}; }

// Every rank runs its call in a thread of its own.
inline std::vector<StatusOr<Outcome>> RunAll(Ranks& ranks, const std::function<Call(std::size_t)>& call, Deadline deadline = Patient()) {
  std::vector<StatusOr<Outcome>> results;
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) results.emplace_back(Internal("not run"));
  InThreads(ranks.size(), [&](std::size_t rank) { results[rank] = ranks[rank].Run(call(rank), deadline); });
  return results;
}

// The same through callbacks, called one rank after the other by this thread.
inline std::vector<StatusOr<Outcome>> StartAll(Ranks& ranks, const std::function<Call(std::size_t)>& call) {
  std::vector<Answer<StatusOr<Outcome>>> answers(ranks.size());
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) ranks[rank].Start(call(rank), Patient(), answers[rank].Callback());
  std::vector<StatusOr<Outcome>> results;
  for (auto& answer : answers) results.push_back(answer.Wait());
  return results;
}

}  // namespace gradsync::test

#endif  // GRADSYNC_TEST_NATIVE_COLLECTIVE_RANKS_H_
