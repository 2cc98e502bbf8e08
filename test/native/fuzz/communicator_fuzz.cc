// Communicators: 1 to 3 ranks make any calls in any order, cancel and leave. Every call is answered once.
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "collective/local_group.h"
#include "fuzz_input.h"

namespace gradsync::fuzz {
namespace {

using collective::Call;
using collective::Collective;
using collective::Communicator;
using collective::LocalGroup;
using collective::Outcome;

// What the ranks mostly agree on, for they can only compute together then.
struct Plan {
  Collective collective;
  collective::Reduction reduction;
  DType dtype;
  Shape shape;
  std::int64_t root;
  std::int64_t table_rows;
  std::optional<collective::SparseAlgorithm> algorithm;
};

Plan AnyPlan(FuzzInput& input, std::int64_t size) {
  Plan plan{.collective = static_cast<Collective>(input.Integer(0, 6)),
            .reduction = static_cast<collective::Reduction>(input.Integer(0, 4)),
            .dtype = input.AnyDType(),
            .shape = input.AnyShape(),
            .root = input.Rarely(8) ? input.Number() : input.Integer(0, static_cast<int>(size) - 1),
            .table_rows = input.Rarely(4) ? input.Number() : input.Integer(0, 9),
            .algorithm = {}};
  if (input.Flag()) plan.algorithm = static_cast<collective::SparseAlgorithm>(input.Integer(0, 2));
  return plan;
}

Call AnyCall(FuzzInput& input, const Plan& plan, std::int64_t size) {
  Call call{.collective = plan.collective,
            .key = input.Rarely(20) ? "another" : "key",
            .reduction = plan.reduction,
            .root = plan.root,
            .table_rows = plan.table_rows,
            .algorithm = plan.algorithm};
  if (input.Rarely(10)) call.sequence = input.Number();
  Shape shape = plan.shape;
  if (plan.collective == Collective::kSparseAllReduce) {
    call.indices = input.Indices();
    shape = Shape(call.indices.shape.begin(), call.indices.shape.end());
    if (!plan.shape.empty()) shape.insert(shape.end(), plan.shape.begin() + 1, plan.shape.end());
  } else if (!shape.empty() && (plan.collective == Collective::kAllGather || plan.collective == Collective::kAllToAll)) {
    shape.front() = input.Integer(0, 6);
  }
  const MutableTensorView tensor = input.Mutable(input.MostlyDType(plan.dtype), input.MostlyShape(shape));
  call.input = tensor.AsConst();
  call.output = input.Flag() ? tensor : input.Mutable(tensor.dtype, input.MostlyShape(tensor.shape));
  if (input.Flag()) {
    call.splits.resize(static_cast<std::size_t>(input.Rarely(6) ? input.Integer(0, 4) : static_cast<int>(size)));
    for (std::int64_t& split : call.splits) split = input.Rarely(8) ? input.Number() : input.Integer(0, 3);
  }
  return call;
}

struct Count {
  int asked = 0;
  int answered = 0;
};

// All ranks call once, mostly according to one plan; those that still wait then are cancelled, so that no memory is in use afterwards.
void CallTogether(FuzzInput& input, const std::vector<std::shared_ptr<Communicator>>& ranks, Count& count) {
  const auto size = static_cast<std::int64_t>(ranks.size());
  const Plan plan = AnyPlan(input, size);
  std::vector<Cancellation> waits;
  for (const auto& rank : ranks) {
    if (input.Rarely(30)) continue;
    ++count.asked;
    const Call call = AnyCall(input, input.Rarely(20) ? AnyPlan(input, size) : plan, size);
    waits.push_back(rank->Start(call, Deadline::Infinite(), [&count](const StatusOr<Outcome>& outcome) {
      ++count.answered;
      // Calls that write in place, or nothing at all, give no values.
      FUZZ_CHECK(!outcome.ok() || outcome->values.bytes() == 0 || outcome->values.view().Check("values").ok());
    }));
  }
  for (const Cancellation& wait : waits) wait.Cancel();
  FUZZ_CHECK(count.answered == count.asked);
}

}  // namespace

void Run(FuzzInput& input, Services& services) {
  const int size = input.Integer(1, 3);
  const auto group = LocalGroup::Create({.name = "fuzz", .size = size}, services);
  FUZZ_CHECK(group.ok());
  std::vector<std::shared_ptr<Communicator>> ranks;
  for (int rank = 0; rank < size; ++rank) {
    auto joined = (*group)->Join(rank);
    FUZZ_CHECK(joined.ok());
    ranks.push_back(*std::move(joined));
  }
  FUZZ_CHECK(!(*group)->Join(input.Number()).ok());
  Count count;
  for (int i = 0; i < kMaxCalls && input.HasMore(); ++i) {
    CallTogether(input, ranks, count);
    if (input.Rarely(20)) {
      std::vector<std::int64_t> members(static_cast<std::size_t>(input.Integer(0, 3)));
      for (std::int64_t& member : members) member = input.Number();
      static_cast<void>(ranks.front()->Subgroup(members));
    }
    if (input.Rarely(40)) ranks.front()->Leave("the fuzzer says so");
    input.Clear();
  }
  (*group)->Shutdown("the end");
}

}  // namespace gradsync::fuzz
