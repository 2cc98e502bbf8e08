#include "node/wrap_member_rounds.h"

#include <optional>
#include <string>
#include <utility>

#include "node/async_task.h"
#include "node/wait_options.h"
#include "node/wrap_dense_accumulator.h"
#include "node/wrap_sparse_accumulator.h"

namespace gradsync::node {

using accumulate::AdaptiveWait;
using accumulate::ArrivalWait;
using accumulate::BoundedStalenessOptions;
using accumulate::FixedWait;
using accumulate::LagRecord;
using accumulate::LatePolicy;
using accumulate::MemberRoundsOptions;
using accumulate::QuorumOptions;
using accumulate::Ticket;

namespace {

struct Kind {
  std::string kind;
};

// Milliseconds, or the parameters of an adaptive wait.
ArrivalWait ReadWait(const Arguments& arguments, const Napi::Value& value, const std::string& name) {
  if (value.IsNumber()) return FixedWait{.ms = value.As<Napi::Number>().DoubleValue()};
  if (!value.IsObject()) arguments.Check(name, Expected("a number of milliseconds or {multiplier, minMs, maxMs, window}", value));
  return arguments.Fields<AdaptiveWait>(value, name, Field{"multiplier", &AdaptiveWait::multiplier}, Field{"minMs", &AdaptiveWait::min_ms},
                                        Field{"maxMs", &AdaptiveWait::max_ms}, Field{"window", &AdaptiveWait::window});
}

// "drop", "accept", {scale: "inverse"} or {scale: "exponential", decay}.
LatePolicy ReadLate(const Arguments& arguments, const Napi::Value& value, const std::string& name) {
  constexpr std::string_view kExpected = R"("drop", "accept", {scale: "inverse"} or {scale: "exponential", decay})";
  if (value.IsString()) {
    const std::string text = value.As<Napi::String>().Utf8Value();
    if (text == "drop") return {.kind = LatePolicy::Kind::kDrop};
    if (text == "accept") return {.kind = LatePolicy::Kind::kAccept};
  }
  if (!value.IsObject()) arguments.Check(name, Expected(kExpected, value));
  const std::string scale = arguments.Fields<Kind>(value, name, Field{"scale", &Kind::kind}).kind;
  if (scale == "inverse") return {.kind = LatePolicy::Kind::kScaleInverse};
  if (scale != "exponential") arguments.Check(name, Expected(kExpected, value.As<Napi::Object>().Get("scale")));
  auto late = arguments.Fields<LatePolicy>(value, name, Field{"decay", &LatePolicy::decay});
  late.kind = LatePolicy::Kind::kScaleExponential;
  return late;
}

QuorumOptions ReadQuorum(const Arguments& arguments, const Napi::Value& value, const std::string& name) {
  auto options = arguments.Fields<QuorumOptions>(value, name, Field{"quorum", &QuorumOptions::quorum});
  const auto object = value.As<Napi::Object>();
  options.wait = ReadWait(arguments, object.Get("wait"), name + ".wait");
  options.late = ReadLate(arguments, object.Get("late"), name + ".late");
  return options;
}

}  // namespace

MemberRoundsOptions ReadMemberRounds(const Arguments& arguments, std::size_t index, std::string_view name) {
  auto options = arguments.Options(index, name, Field{"members", &MemberRoundsOptions::members});
  const Napi::Value rule = arguments.Object(index, name).Get("rule");
  const std::string rule_name = StrCat(name, ".rule");
  const std::string kind = arguments.Fields<Kind>(rule, rule_name, Field{"kind", &Kind::kind}).kind;
  if (kind == "bounded-staleness") {
    options.rule = arguments.Fields<BoundedStalenessOptions>(rule, rule_name, Field{"staleness", &BoundedStalenessOptions::staleness});
  } else if (kind == "quorum") {
    options.rule = ReadQuorum(arguments, rule, rule_name);
  } else {
    arguments.Check(rule_name, Expected(R"(the kind "bounded-staleness" or "quorum")", rule.As<Napi::Object>().Get("kind")));
  }
  return options;
}

template <typename Derived, typename Rounds>
auto WrapMemberRounds<Derived, Rounds>::Properties() -> std::vector<Descriptor> {
  using Value = Napi::Value (Derived::*)(const Info&);
  using Void = void (Derived::*)(const Info&);
  return {Derived::InstanceMethod("apply", static_cast<Value>(&Derived::Apply)),
          Derived::InstanceMethod("applyLeased", static_cast<Value>(&Derived::ApplyLeased)),
          Derived::InstanceMethod("begin", static_cast<Value>(&Derived::Begin)),
          Derived::InstanceMethod("take", static_cast<Value>(&Derived::Take)),
          Derived::InstanceMethod("applied", static_cast<Void>(&Derived::Applied)),
          Derived::InstanceMethod("join", static_cast<Value>(&Derived::Join)),
          Derived::InstanceMethod("leave", static_cast<Void>(&Derived::Leave)),
          Derived::InstanceMethod("die", static_cast<Void>(&Derived::Die)),
          Derived::InstanceMethod("lags", static_cast<Value>(&Derived::Lags)),
          Derived::InstanceAccessor("numApplied", static_cast<Value>(&Derived::NumApplied), nullptr)};
}

template <typename Derived, typename Rounds>
Napi::Value WrapMemberRounds<Derived, Rounds>::Begin(const Info& info) {
  const Arguments arguments(info, Derived::kClass, "begin");
  const auto contributor = arguments.Get<std::int64_t>(0, "contributor");
  const Deadline deadline = ReadDeadline(arguments, 1);
  return StartPending<Ticket>(info.Env(), AddonData::Of(info.Env()).mailbox, this->session(),
                              [&](auto callback) { return this->native().control().Begin(contributor, deadline, std::move(callback)); });
}

template <typename Derived, typename Rounds>
Napi::Value WrapMemberRounds<Derived, Rounds>::Take(const Info& info) {
  const Arguments arguments(info, Derived::kClass, "take");
  const Deadline deadline = ReadDeadline(arguments, 0);
  return StartPending<typename Rounds::Taken>(info.Env(), AddonData::Of(info.Env()).mailbox, this->session(),
                                              [&](auto callback) { return this->native().Take(deadline, std::move(callback)); });
}

template <typename Derived, typename Rounds>
void WrapMemberRounds<Derived, Rounds>::Applied(const Info& info) {
  const Arguments arguments(info, Derived::kClass, "applied");
  arguments.Check(this->native().control().Applied(arguments.Get<std::int64_t>(0, "step")));
}

template <typename Derived, typename Rounds>
Napi::Value WrapMemberRounds<Derived, Rounds>::Join(const Info& info) {
  const Arguments arguments(info, Derived::kClass, "join");
  const auto contributor = arguments.Get<std::int64_t>(0, "contributor");
  const auto first = this->native().control().Join(contributor, arguments.Get<std::optional<std::int64_t>>(1, "from"));
  arguments.Check(first.status());
  return Napi::Number::New(info.Env(), static_cast<double>(*first));
}

template <typename Derived, typename Rounds>
void WrapMemberRounds<Derived, Rounds>::Leave(const Info& info) {
  const Arguments arguments(info, Derived::kClass, "leave");
  arguments.Check(this->native().control().Leave(arguments.Get<std::int64_t>(0, "contributor")));
}

template <typename Derived, typename Rounds>
void WrapMemberRounds<Derived, Rounds>::Die(const Info& info) {
  const Arguments arguments(info, Derived::kClass, "die");
  arguments.Check(this->native().control().Die(arguments.Get<std::int64_t>(0, "contributor")));
}

template <typename Derived, typename Rounds>
Napi::Value WrapMemberRounds<Derived, Rounds>::Lags(const Info& info) {
  const Arguments arguments(info, Derived::kClass, "lags");
  const StatusOr<LagRecord> lags = this->native().control().Lags(arguments.Get<std::int64_t>(0, "contributor"));
  arguments.Check(lags.status());
  return ToJs(info.Env(), *lags);
}

template <typename Derived, typename Rounds>
Napi::Value WrapMemberRounds<Derived, Rounds>::NumApplied(const Info& info) {
  const Arguments arguments(info, Derived::kClass, "numApplied");
  const StatusOr<std::int64_t> applied = this->native().control().NumApplied();
  arguments.Check(applied.status());
  return Napi::Number::New(info.Env(), static_cast<double>(*applied));
}

Napi::FunctionReference WrapDenseRounds::Define(Napi::Env env) {
  return Napi::Persistent(DefineClass(env, "NativeDenseRounds", Properties()));
}

Napi::Value WrapDenseRounds::Apply(const Info& info) {
  return ApplyDense(info, "NativeDenseRounds.apply", native().accumulator(), Handover::kCopy);
}

Napi::Value WrapDenseRounds::ApplyLeased(const Info& info) {
  return ApplyDense(info, "NativeDenseRounds.applyLeased", native().accumulator(), Handover::kLease);
}

Napi::FunctionReference WrapSparseRounds::Define(Napi::Env env) {
  return Napi::Persistent(DefineClass(env, "NativeSparseRounds", Properties()));
}

Napi::Value WrapSparseRounds::Apply(const Info& info) {
  return ApplySparse(info, "NativeSparseRounds.apply", native().accumulator(), Handover::kCopy);
}

Napi::Value WrapSparseRounds::ApplyLeased(const Info& info) {
  return ApplySparse(info, "NativeSparseRounds.applyLeased", native().accumulator(), Handover::kLease);
}

}  // namespace gradsync::node
