// How collectives fail: never by hanging or by wrong results, always the same way on every rank, and with a message that names the ranks.
#include <chrono>

#include "collective/ranks.h"

namespace gradsync::test {
namespace {

using collective::LocalGroup;

void ExpectFailure(const Status& status, Code code, const std::vector<std::string>& parts) {
  EXPECT_EQ(status.code(), code) << status.ToString();
  for (const std::string& part : parts) EXPECT_NE(status.message().find(part), std::string::npos) << part << " in " << status.ToString();
}

// Two ranks ask for different things: both are told, whoever comes first, and a rank that comes later too.
void ExpectMismatch(const Call& one, const Call& other, const std::vector<std::string>& parts) {
  for (const bool is_swapped : {false, true}) {
    Ranks ranks(3);
    const auto results = RunAll(ranks, [&](std::size_t rank) { return (rank == 1) != is_swapped ? other : one; });
    for (const auto& result : results) ExpectFailure(result.status(), Code::kInvalidArgument, parts);
    // The group goes on with the next call.
    for (const auto& result : RunAll(ranks, [](std::size_t) { return BarrierCall(); })) EXPECT_OK(result.status());
  }
}

TEST(CollectiveFailure, RanksThatAskForDifferentThingsAreNamedWithBothValues) {
  Array<float> three = Vector<float>({1, 2, 3});
  Array<float> two = Vector<float>({1, 2});
  Array<double> wide = Vector<double>({1, 2, 3});
  Array<float> square{.shape = {1, 3}, .data = {1, 2, 3}};
  Array<std::int64_t> indices = Vector<std::int64_t>({0});
  const Call call{.collective = Collective::kReduceScatter, .key = "g", .input = three.view()};
  const auto with = [](Call changed, auto Call::*member, auto value) {
    changed.*member = value;
    return changed;
  };
  ExpectMismatch(call, with(call, &Call::collective, Collective::kAllGather),
                 {"collective", "reduce-scatter from rank", "all-gather from"});
  ExpectMismatch(call, with(call, &Call::input, two.view()), {"shape", "[3] from rank", "[2] from rank"});
  ExpectMismatch(call, with(call, &Call::input, wide.view()), {"dtype", "float32 from rank", "float64 from rank"});
  ExpectMismatch(call, with(call, &Call::reduction, Reduction::kMax), {"reduction", "sum from rank", "max from rank"});
  ExpectMismatch(with(call, &Call::sequence, 7), with(call, &Call::sequence, 8), {"sequence 7 from rank", "sequence 8 from rank"});
  ExpectMismatch(call, with(call, &Call::sequence, 8), {"no sequence from rank", "sequence 8 from rank"});
  const Call gather = with(call, &Call::collective, Collective::kAllGather);
  ExpectMismatch(gather, with(gather, &Call::input, square.view()), {"shape of a row", "[] from rank", "[3] from rank"});
  Call sparse{.collective = Collective::kSparseAllReduce, .key = "g", .input = square.view(), .indices = indices.view(), .table_rows = 4};
  ExpectMismatch(sparse, with(sparse, &Call::table_rows, 5), {"table rows", "4 from rank", "5 from rank"});
}

TEST(CollectiveFailure, ACallThatMakesNoSenseFailsForAllAndNamesItsRank) {
  Array<float> data = Vector<float>({1, 2, 3});
  Array<float> scalar{.shape = {}, .data = {1}};
  Array<std::uint8_t> bytes = Vector<std::uint8_t>({1, 2, 3});
  Array<std::int64_t> indices = Vector<std::int64_t>({0, 1});
  const std::vector<std::pair<Call, std::string>> calls = {
      {{.collective = Collective::kAllReduce, .input = bytes.view(), .output = bytes.mutable_view()}, "expected a dtype among"},
      {{.collective = Collective::kAllReduce, .input = data.view(), .output = scalar.mutable_view()}, "expected an output like the input"},
      {{.collective = Collective::kAllGather, .input = scalar.view()}, "expected rows but received a scalar"},
      {{.collective = Collective::kBroadcast, .root = 2, .input = data.view(), .output = data.mutable_view()}, "expected a rank below 2"},
      {{.collective = Collective::kAllToAll, .input = data.view()}, "2 ranks divide"},
      {{.collective = Collective::kAllToAll, .input = data.view(), .splits = {1, 1}}, "add up to 3 rows"},
      {{.collective = Collective::kAllToAll, .input = data.view(), .splits = {4, -1}}, "add up to 3 rows"},
      {{.collective = Collective::kAllToAll, .input = data.view(), .splits = {3}}, "a split for each of 2 ranks"},
      {{.collective = Collective::kSparseAllReduce, .input = data.view(), .indices = indices.view(), .table_rows = 2},
       "one for each of 3 rows"},
  };
  for (const auto& [call, message] : calls) {
    Ranks ranks(2);
    const auto results = RunAll(ranks, [&](std::size_t rank) { return rank == 1 ? call : BarrierCall(""); });
    for (const auto& result : results) EXPECT_EQ(result.status().code(), Code::kInvalidArgument) << message;
    const auto alone = RunAll(ranks, [&](std::size_t) { return call; });
    for (const auto& result : alone) ExpectFailure(result.status(), Code::kInvalidArgument, {message, "rank "});
  }
}

TEST(CollectiveFailure, MemoryThatTwoRanksShareIsRefused) {
  Ranks ranks(2);
  Array<float> shared = Vector<float>({1, 2, 3, 4});
  Array<float> own = Vector<float>({1, 2, 3, 4});
  for (const auto& result : RunAll(ranks, [&](std::size_t) { return AllReduceCall(shared); })) {
    ExpectFailure(result.status(), Code::kInvalidArgument, {"the output of rank 0 overlaps memory of rank 1"});
  }
  const Shape three{3};
  Call call = AllReduceCall(own);
  call.input.shape = call.output.shape = three;
  call.input.bytes = call.output.bytes = 12;
  call.output.data = own.data.data() + 1;
  for (const auto& result : RunAll(ranks, [&](std::size_t) { return call; })) {
    ExpectFailure(result.status(), Code::kInvalidArgument, {"overlaps it in part"});
  }
  EXPECT_EQ(shared.data, (std::vector<float>{1, 2, 3, 4}));
}

TEST(CollectiveFailure, ADeadlineNamesTheMissingAndWhereTheyWait) {
  Ranks ranks(4);
  Array<float> data = Vector<float>({1});
  Answer<StatusOr<Outcome>> elsewhere;
  Answer<StatusOr<Outcome>> patient;
  ranks[3].Start(BarrierCall("epoch"), Patient(), elsewhere.Callback());
  ranks[2].Start(AllReduceCall(data), Patient(), patient.Callback());
  const std::vector<std::string> parts = {"'test': all-reduce 'g'", "the deadline of rank 0",
                                          "missing ranks: 1, 3 (waiting in barrier 'epoch'); present: 0, 2"};
  Array<float> mine = Vector<float>({1});
  ExpectFailure(ranks[0].Run(AllReduceCall(mine), Deadline::AfterMilliseconds(20)).status(), Code::kDeadlineExceeded, parts);
  ExpectFailure(patient.Wait().status(), Code::kDeadlineExceeded, parts);
  // Who comes late is told the same, and the next call is a new one.
  ExpectFailure(ranks[1].Run(AllReduceCall(mine), Patient()).status(), Code::kDeadlineExceeded, parts);
  EXPECT_FALSE(elsewhere.HasCome());
  ExpectFailure(ranks[3].Run(AllReduceCall(mine), Patient()).status(), Code::kDeadlineExceeded, parts);
  std::vector<Array<float>> arrays(4, data);
  for (const auto& result : RunAll(ranks, [&](std::size_t rank) { return AllReduceCall(arrays[rank]); })) EXPECT_OK(result.status());
  EXPECT_EQ(arrays[3].data[0], 4);
}

TEST(CollectiveFailure, ADeadlineOfACallbackIsKeptWithoutAnyThreadWaiting) {
  Ranks ranks(2);
  Answer<StatusOr<Outcome>> answer;
  ranks[1].Start(BarrierCall(), Deadline::AfterMilliseconds(10), answer.Callback());
  ExpectFailure(answer.Wait().status(), Code::kDeadlineExceeded, {"the deadline of rank 1", "missing ranks: 0; present: 1"});
}

TEST(CollectiveFailure, CancellingTellsWhoDidIt) {
  Ranks ranks(3);
  std::vector<Answer<StatusOr<Outcome>>> answers(2);
  ranks[0].Start(BarrierCall(), Patient(), answers[0].Callback());
  const Cancellation cancellation = ranks[1].Start(BarrierCall(), Patient(), answers[1].Callback());
  cancellation.Cancel();
  ExpectFailure(answers[0].Wait().status(), Code::kAborted, {"rank 1 cancelled it"});
  ExpectFailure(answers[1].Wait().status(), Code::kCancelled, {"rank 1 cancelled it"});
  ExpectFailure(ranks[2].Run(BarrierCall(), Patient()).status(), Code::kAborted, {"rank 1 cancelled it"});
  cancellation.Cancel();
  for (const auto& result : RunAll(ranks, [](std::size_t) { return BarrierCall(); })) EXPECT_OK(result.status());
  cancellation.Cancel();
}

TEST(CollectiveFailure, ARankThatLeavesEndsTheWaitsOfAllInAllItsGroups) {
  Ranks ranks(3);
  const auto with = *ranks[0].Subgroup({0, 2});
  const auto without = *ranks[0].Subgroup({0, 1});
  const auto partner = *ranks[1].Subgroup({0, 1});
  std::vector<Answer<StatusOr<Outcome>>> answers(3);
  ranks[0].Start(BarrierCall(), Patient(), answers[0].Callback());
  with->Start(BarrierCall(), Patient(), answers[1].Callback());
  without->Start(BarrierCall(), Patient(), answers[2].Callback());
  std::thread blocked([&] { ExpectFailure(ranks[1].Run(BarrierCall("c"), Patient()).status(), Code::kUnavailable, {"rank 2 has left"}); });
  ranks[2].Leave("no more data");
  blocked.join();
  ExpectFailure(answers[0].Wait().status(), Code::kUnavailable, {"'test'", "rank 2 has left: no more data"});
  ExpectFailure(answers[1].Wait().status(), Code::kUnavailable, {"'test[0,2]'", "rank 1 has left: no more data"});
  ExpectFailure(ranks[1].Run(BarrierCall(), Patient()).status(), Code::kUnavailable, {"rank 2 has left"});
  EXPECT_OK(partner->Run(BarrierCall(), Patient()).status());
  EXPECT_OK(answers[2].Wait().status());
}

TEST(CollectiveFailure, ARankWhoseCommunicatorsAreGoneHasLeft) {
  Ranks ranks(2);
  std::shared_ptr<Communicator> last = *ranks[1].Subgroup({0, 1});
  ranks.communicators[1].reset();
  Answer<StatusOr<Outcome>> answer;
  ranks[0].Start(BarrierCall(), Patient(), answer.Callback());
  EXPECT_FALSE(answer.HasCome());
  last.reset();
  ExpectFailure(answer.Wait().status(), Code::kUnavailable, {"rank 1 has left: its communicator went out of use"});
  EXPECT_EQ(ranks.group->Join(1).status().code(), Code::kUnavailable);
}

TEST(CollectiveFailure, ShuttingDownEndsAllWaits) {
  Ranks ranks(2);
  const auto both = *ranks[0].Subgroup({1, 0});
  std::vector<Answer<StatusOr<Outcome>>> answers(2);
  ranks[0].Start(BarrierCall(), Patient(), answers[0].Callback());
  both->Start(BarrierCall(), Patient(), answers[1].Callback());
  ranks.group->Shutdown("the test says so");
  for (auto& answer : answers) ExpectFailure(answer.Wait().status(), Code::kCancelled, {"the test says so"});
  ExpectFailure(ranks[1].Run(BarrierCall(), Patient()).status(), Code::kFailedPrecondition, {"is closed: the test says so"});
  ExpectFailure(both->Run(BarrierCall(), Patient()).status(), Code::kFailedPrecondition, {"is closed"});
  EXPECT_EQ(ranks[0].Subgroup({0}).status().code(), Code::kFailedPrecondition);
}

TEST(CollectiveFailure, WrongRanksAreRefused) {
  Ranks ranks(2);
  EXPECT_EQ(ranks.group->Join(2).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(ranks.group->Join(-1).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(ranks.group->Join(0).status().code(), Code::kAlreadyExists);
  EXPECT_EQ(ranks[0].Subgroup({1}).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(ranks[0].Subgroup({0, 0}).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(ranks[0].Subgroup({0, 5}).status().code(), Code::kInvalidArgument);
  Services services(1);
  EXPECT_EQ(LocalGroup::Create({.name = "none", .size = 0}, services).status().code(), Code::kInvalidArgument);
}

}  // namespace
}  // namespace gradsync::test
