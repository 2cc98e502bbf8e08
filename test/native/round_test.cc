// What a Round does of its own, whatever is accumulated; the accumulators' tests cover the rest.
#include "accumulate/round.h"

#include <gtest/gtest.h>

#include <new>

#include "core/thread_pool.h"
#include "support.h"

namespace gradsync::accumulate {
namespace {

struct Bytes {
  std::size_t size;
  [[nodiscard]] std::size_t bytes() const { return size; }
  [[nodiscard]] static bool Fits(const Bytes& /*other*/) { return true; }
  static Status Scale(double /*factor*/) { return OkStatus(); }
};
using IntRound = Round<Bytes, int>;

void Apply(IntRound& round, std::size_t bytes) {
  const auto receipt = round.Apply(
      round.GlobalStep(), 0, [](const Bytes*) { return OkStatus(); }, [&]() -> StatusOr<Bytes> { return Bytes{bytes}; });
  ASSERT_OK(receipt.status());
}

TEST(Round, AReductionWithoutMemoryFailsItsTakeAndNotTheProcess) {
  Services services(1);
  int reductions = 0;
  const auto round = std::make_shared<IntRound>("g", services, [&](const Batch<Bytes>&) -> StatusOr<int> {
    if (++reductions < 3) throw std::bad_alloc();
    return reductions;
  });
  for (const std::size_t bytes : {std::size_t{1}, kInlineBytes}) {  // here, and on a thread of the pool
    test::Answer<StatusOr<int>> answer;
    round->Take(1, Deadline::Infinite(), answer.Callback());
    Apply(*round, bytes);
    EXPECT_EQ(answer.Wait().status().code(), Code::kResourceExhausted);
  }
  test::Answer<StatusOr<int>> next;
  Apply(*round, 1);
  round->Take(1, Deadline::Infinite(), next.Callback());
  const StatusOr<int> result = next.Wait();
  ASSERT_OK(result.status());
  EXPECT_EQ(*result, 3);
}

}  // namespace
}  // namespace gradsync::accumulate
