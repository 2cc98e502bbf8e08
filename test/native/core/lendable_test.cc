// Lendable: loans that do not overlap, conflicts that name both sides, uses that loans forbid, and memory that outlives its owner.
#include "core/lendable.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <utility>
#include <vector>

#include "core/memory.h"
#include "support.h"

namespace gradsync {
namespace {

std::shared_ptr<Lendable> Make(std::size_t bytes) { return Lendable::Create(*Buffer::Allocate(bytes)); }

TEST(Lendable, OverlappingLoansAreRefusedAndBothBorrowersNamed) {
  const auto memory = Make(256);
  const auto first = memory->Lend(64, 64, LoanKind::kRead, {.accumulator = "a", .contributor = 1, .step = 7});
  ASSERT_TRUE(first.ok());
  for (const auto& [offset, bytes] : {std::pair{0, 65}, {64, 64}, {100, 1}, {127, 100}, {0, 256}}) {
    for (const LoanKind kind : {LoanKind::kRead, LoanKind::kWrite}) {
      EXPECT_EQ(memory->Lend(offset, bytes, kind, {.accumulator = "b"}).status().code(), Code::kFailedPrecondition);
    }
  }
  EXPECT_EQ(memory->Lend(0, 65, LoanKind::kWrite, {.accumulator = "b"}).status().message(),
            "cannot lend bytes 0 to 65 to a take of accumulator 'b': bytes 64 to 128 are lent to accumulator 'a' (contributor 1, step 7) "
            "until that round is taken");
  EXPECT_TRUE(memory->Lend(0, 64, LoanKind::kRead, {.accumulator = "b"}).ok());
  EXPECT_TRUE(memory->Lend(128, 128, LoanKind::kRead, {.accumulator = "b"}).ok());
}

TEST(Lendable, NoBytesAreInNobodysWay) {
  const auto memory = Make(64);
  const auto nothing = memory->Lend(32, 0, LoanKind::kWrite, {.accumulator = "a"});
  const auto all = memory->Lend(0, 64, LoanKind::kWrite, {.accumulator = "b"});
  ASSERT_TRUE(nothing.ok() && all.ok());
  EXPECT_OK(memory->CheckUse(32, 0, LoanKind::kWrite));
}

TEST(Lendable, ALoanEndsWithItsLastCopy) {
  const auto memory = Make(64);
  Lendable::Loan loan = *memory->Lend(0, 64, LoanKind::kRead, {.accumulator = "a"});
  Lendable::Loan copy = loan;
  loan = nullptr;
  EXPECT_FALSE(memory->Lend(0, 64, LoanKind::kRead, {.accumulator = "b"}).ok());
  copy = nullptr;
  EXPECT_TRUE(memory->Lend(0, 64, LoanKind::kRead, {.accumulator = "b"}).ok());
}

TEST(Lendable, WhatIsLentForReadingMayBeReadAndWhatIsLentForWritingMayNotBeUsed) {
  const auto memory = Make(128);
  const auto read = memory->Lend(0, 32, LoanKind::kRead, {.accumulator = "r"});
  const auto written = memory->Lend(32, 32, LoanKind::kWrite, {.accumulator = "w"});
  EXPECT_OK(memory->CheckUse(0, 32, LoanKind::kRead));
  EXPECT_EQ(memory->CheckUse(31, 1, LoanKind::kWrite).code(), Code::kFailedPrecondition);
  EXPECT_EQ(memory->CheckUse(32, 1, LoanKind::kRead).code(), Code::kFailedPrecondition);
  EXPECT_EQ(memory->CheckUse(0, 128, LoanKind::kWrite).code(), Code::kFailedPrecondition);
  EXPECT_OK(memory->CheckUse(64, 64, LoanKind::kWrite));
}

TEST(Lendable, MemoryOutlivesItsOwnerWhileItIsLent) {
  const auto counted = Memory::Create();
  auto memory = Lendable::Create(*counted->Allocate(64));
  Lendable::Loan loan = *memory->Lend(0, 64, LoanKind::kRead, {.accumulator = "a"});
  memory = nullptr;
  EXPECT_EQ(counted->usage().in_use, 64U);
  loan = nullptr;
  EXPECT_EQ(counted->usage().in_use, 0U);
}

TEST(Lendable, ThreadsThatLendAtOnceNeverShare) {
  const auto memory = Make(64);
  std::atomic<int> holders = 0;
  std::atomic<int> lent = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 2000; ++i) {
        const auto loan = memory->Lend(0, 64, LoanKind::kWrite, {.accumulator = "a"});
        if (!loan.ok()) continue;
        EXPECT_EQ(holders.fetch_add(1), 0);
        lent.fetch_add(1);
        holders.fetch_sub(1);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(lent, 0);
}

}  // namespace
}  // namespace gradsync
