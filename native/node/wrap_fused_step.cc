// NativeSession.fusedStep of src/addon/native.ts: reads the updates, all of this session, and begins the step.
#include <string>
#include <utility>
#include <vector>

#include "node/async_task.h"
#include "node/read_optimizer.h"
#include "node/wrap_dense_accumulator.h"
#include "node/wrap_session.h"
#include "node/wrap_sparse_accumulator.h"
#include "node/wrap_variable.h"
#include "step/fused_step.h"

namespace gradsync::node {

namespace {

// More variables than any model has; each is a handful of pointers.
constexpr std::uint32_t kMaxUpdates = 1U << 20;

struct UpdateFields {
  WrapVariable* variable = nullptr;
  std::vector<WrapVariable*> slots;
  std::int64_t num_required = 0;
};

struct StepFields {
  Deadline deadline_ms = Deadline::Infinite();
  std::optional<double> clip_norm;
  step::NonFinitePolicy non_finite = step::NonFinitePolicy::kIgnore;
};

// One element of the list. `session` is the caller's.
class UpdateReader {
  // The native object, if it is of this session.
  template <typename Wrapper>
  auto Shared(const Wrapper& wrapper, const std::string& name) const {
    if (wrapper.session() != session_) {
      arguments_.Check(name, InvalidArgument("expected objects of the session ", session_->id(), " but received a ", Wrapper::kClass,
                                             " of ", wrapper.session()->id()));
    }
    return wrapper.shared();
  }

 public:
  UpdateReader(const Arguments& arguments, const std::shared_ptr<Session>& session) : arguments_(arguments), session_(session) {}

  step::VariableUpdateSpec Read(const Napi::Value& value, const std::string& name) const {
    const auto fields =
        arguments_.Fields<UpdateFields>(value, name, Field{"variable", &UpdateFields::variable}, Field{"slots", &UpdateFields::slots},
                                        Field{"numRequired", &UpdateFields::num_required});
    const Napi::Object object = arguments_.Object(value, name);
    step::VariableUpdateSpec update{.variable = Shared(*fields.variable, name),
                                    .slots = {},
                                    .optimizer = ReadOptimizer(arguments_, object.Get("optimizer"), name + ".optimizer"),
                                    .accumulator = {},
                                    .num_required = fields.num_required};
    for (const WrapVariable* slot : fields.slots) update.slots.push_back(Shared(*slot, name));
    ReadAccumulator(object.Get("accumulator"), name + ".accumulator", &update);
    return update;
  }

 private:
  void ReadAccumulator(const Napi::Value& value, const std::string& name, step::VariableUpdateSpec* update) const {
    if (const auto* dense = WrapDenseAccumulator::FromValue(value)) {
      update->accumulator = Shared(*dense, name);
    } else if (const auto* sparse = WrapSparseAccumulator::FromValue(value)) {
      update->accumulator = Shared(*sparse, name);
    } else {
      arguments_.Check(name, Expected("a NativeDenseAccumulator or NativeSparseAccumulator", value));
    }
  }

  const Arguments& arguments_;
  const std::shared_ptr<Session>& session_;
};

std::vector<step::VariableUpdateSpec> ReadUpdates(const Arguments& arguments, const std::shared_ptr<Session>& session) {
  const Napi::Value value = arguments.info()[0];
  if (!value.IsArray()) arguments.Check("updates", Expected("an array", value));
  const Napi::Array array = value.As<Napi::Array>();
  const std::uint32_t length = array.Length();
  if (length > kMaxUpdates) arguments.Check("updates", Expected(StrCat("an array of at most ", kMaxUpdates, " elements"), value));
  const UpdateReader reader(arguments, session);
  std::vector<step::VariableUpdateSpec> updates;
  for (std::uint32_t i = 0; i < length; ++i) updates.push_back(reader.Read(array.Get(i), StrCat("updates[", i, "]")));
  return updates;
}

}  // namespace

Napi::Value WrapSession::FusedStep(const Info& info) {
  const Arguments arguments(info, "NativeSession.fusedStep");
  const auto fields = arguments.Options(1, "options", Field{"deadlineMs", &StepFields::deadline_ms},
                                        Field{"clipNorm", &StepFields::clip_norm}, Field{"nonFinite", &StepFields::non_finite});
  step::FusedStepOptions options{
      .updates = ReadUpdates(arguments, session()), .clip_norm = fields.clip_norm, .non_finite = fields.non_finite};
  return StartPending<step::FusedStepResult>(info.Env(), AddonData::Of(info.Env()).mailbox, session(), [&](auto callback) {
    return step::StartFusedStep(std::move(options), fields.deadline_ms, session()->services(), std::move(callback));
  });
}

}  // namespace gradsync::node
