// Memory: what is in use is counted, what is given back serves again, and no more is kept than the limit.
#include "core/memory.h"

#include <gtest/gtest.h>

#include <thread>
#include <utility>
#include <vector>

#include "support.h"

namespace gradsync {
namespace {

Buffer Get(Memory& memory, std::size_t bytes) {
  StatusOr<Buffer> buffer = memory.Allocate(bytes);
  EXPECT_OK(buffer.status());
  return *std::move(buffer);
}

TEST(Memory, CountsWhatIsInUseAndTheMostThatWas) {
  const auto memory = Memory::Create();
  {
    const Buffer one = Get(*memory, 1000);
    {
      const Buffer two = Get(*memory, 500);
      EXPECT_EQ(memory->usage().in_use, 1500U);
    }
    EXPECT_EQ(memory->usage().in_use, 1000U);
    EXPECT_EQ(memory->usage().peak, 1500U);
    memory->ResetPeak();
    EXPECT_EQ(memory->usage().peak, 1000U);
  }
  EXPECT_EQ(memory->usage().in_use, 0U);
  EXPECT_EQ(memory->usage().spare, 0U);
}

TEST(Memory, WhatIsGivenBackServesWhoeverAsksForAboutAsMuch) {
  const auto memory = Memory::Create();
  memory->LimitSpare(1000);
  const std::byte* const first = Get(*memory, 1000).data();
  EXPECT_EQ(memory->usage().spare, 1000U);
  {
    const Buffer small = Get(*memory, 400);  // less than half would be used
    EXPECT_NE(small.data(), first);
    EXPECT_EQ(memory->usage().spare, 1000U);
    const Buffer fits = Get(*memory, 700);
    EXPECT_EQ(fits.data(), first);
    EXPECT_EQ(fits.size(), 700U);
    EXPECT_EQ(memory->usage().spare, 0U);
    EXPECT_EQ(memory->usage().in_use, 1400U);
  }
  EXPECT_EQ(memory->usage().spare, 400U);  // which came back last; with them the 1000 were too much
}

TEST(Memory, KeepsNoMoreThanTheLimitAndDropsTheOldestFirst) {
  const auto memory = Memory::Create();
  memory->LimitSpare(250);
  {
    const Buffer a = Get(*memory, 100);
    const Buffer b = Get(*memory, 100);
    const Buffer c = Get(*memory, 100);
  }
  EXPECT_EQ(memory->usage().spare, 200U);
  memory->LimitSpare(100);
  EXPECT_EQ(memory->usage().spare, 100U);
}

TEST(Memory, ABufferKeepsItsMemoryAlive) {
  auto memory = Memory::Create();
  Buffer buffer = Get(*memory, 100);
  const std::weak_ptr<Memory> watch = memory;
  memory.reset();
  EXPECT_FALSE(watch.expired());
  buffer = Buffer();
  EXPECT_TRUE(watch.expired());
}

TEST(Memory, RefusesWhatTheMachineDoesNotHaveAndCountsNothing) {
  const auto memory = Memory::Create();
  EXPECT_EQ(memory->Allocate(~std::size_t{0} - 1).status().code(), Code::kResourceExhausted);
  EXPECT_EQ(memory->usage().peak, 0U);
}

TEST(Memory, ManyThreadsTakeAndGiveBack) {
  const auto memory = Memory::Create();
  memory->LimitSpare(10'000);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (std::size_t i = 0; i < 1000; ++i) {
        Buffer buffer = Get(*memory, 1000 + i % 7);
        buffer.data()[0] = std::byte{1};
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(memory->usage().in_use, 0U);
  EXPECT_LE(memory->usage().peak, 4U * 2012U);
  EXPECT_LE(memory->usage().spare, 10'000U);
}

}  // namespace
}  // namespace gradsync
