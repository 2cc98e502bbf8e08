#include "node/collective_job.h"

#include <cstring>
#include <utility>

#include "node/addon_data.h"
#include "node/async_task.h"

namespace gradsync::node {

using collective::Collective;
using collective::Outcome;

namespace {

Napi::Array CountsOf(Napi::Env env, const std::vector<std::int64_t>& counts) { return ToJs(env, Shape(counts)); }

Napi::Object GatheredOf(Napi::Env env, Outcome outcome) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("counts", CountsOf(env, outcome.counts));
  object.Set("values", ToJs(env, std::move(outcome.values)));
  return object;
}

Napi::Object ReportOf(Napi::Env env, const collective::SparseReport& report) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("algorithm", Napi::String::New(env, std::string(SparseAlgorithmName(report.algorithm))));
  object.Set("reason", Napi::String::New(env, report.reason));
  object.Set("rowsGiven", Napi::Number::New(env, static_cast<double>(report.rows_given)));
  object.Set("rowsMoved", Napi::Number::New(env, static_cast<double>(report.rows_moved)));
  object.Set("rowsResult", Napi::Number::New(env, static_cast<double>(report.rows_result)));
  object.Set("bytesMoved", Napi::Number::New(env, static_cast<double>(report.bytes_moved)));
  return object;
}

Napi::Object SparseOf(Napi::Env env, Outcome outcome) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("report", ReportOf(env, outcome.sparse));
  object.Set("indices", ToJs(env, std::move(outcome.indices)).Get("data"));
  object.Set("values", ToJs(env, std::move(outcome.values)));
  return object;
}

bool IsShared(const Napi::Value& array) {
  napi_value buffer = nullptr;
  bool is_array_buffer = true;
  return napi_get_typedarray_info(array.Env(), array, nullptr, nullptr, nullptr, &buffer, nullptr) == napi_ok &&
         napi_is_arraybuffer(array.Env(), buffer, &is_array_buffer) == napi_ok && !is_array_buffer;
}

}  // namespace

void CollectiveJob::Use::Begin() {
  const std::lock_guard lock(mutex);
  is_over = false;
}

void CollectiveJob::Use::End() {
  const std::lock_guard lock(mutex);
  is_over = true;
  ended.notify_all();
}

void CollectiveJob::Use::AwaitEnd() {
  std::unique_lock lock(mutex);
  ended.wait(lock, [this] { return is_over; });
}

CollectiveJob::~CollectiveJob() { use_->AwaitEnd(); }

Status CollectiveJob::Pin(TensorArgument argument) {
  writes_ = call.collective == Collective::kAllReduce || call.collective == Collective::kBroadcast;
  shape_ = std::move(argument.shape);
  argument.shape = shape_;
  GRADSYNC_ASSIGN_OR_RETURN(MutableTensorView view, argument.ViewFor(writes_ ? LoanKind::kWrite : LoanKind::kRead));
  view.shape = shape_;
  GRADSYNC_RETURN_IF_ERROR(view.AsConst().Check("data"));
  array_ = Napi::Reference<Napi::Value>::New(argument.data, 1);
  if (!IsShared(argument.data)) {
    GRADSYNC_ASSIGN_OR_RETURN(copy_, Tensor::Copy(view.AsConst()));
    view = copy_.mutable_view();
    view.shape = shape_;
  }
  call.input = view.AsConst();
  if (writes_) call.output = view;
  return OkStatus();
}

void CollectiveJob::SetIndices(std::vector<std::int64_t> indices) {
  indices_ = std::move(indices);
  call.indices = IndexView(indices_, &indices_shape_);
}

Napi::Object CollectiveJob::Start(Napi::Env env, const std::shared_ptr<CollectiveJob>& job, Deadline deadline) {
  const std::shared_ptr<Mailbox> mailbox = AddonData::Of(env).mailbox;
  const Mailbox::Entry entry = mailbox->Register(env, job);
  job->use_->Begin();
  // The job itself is the mailbox's until the promise settles, on this thread; the callback must not be what destroys it.
  const auto deliver = [mailbox, id = entry.id, use = job->use_, raw = job.get()](StatusOr<Outcome> result) {
    use->End();
    if (!result.ok()) return mailbox->Post(id, result.status());
    // A std::function must be copyable; the outcome need not be.
    auto outcome = std::make_shared<Outcome>(*std::move(result));
    mailbox->Post(id, Mailbox::Make([raw, outcome](Napi::Env to) { return raw->Settle(to, std::move(*outcome)); }));
  };
  mailbox->SetCancellation(entry.id, job->communicator_->Start(job->call, deadline, deliver));
  return PendingObject(env, entry);
}

Napi::Value CollectiveJob::Settle(Napi::Env env, Outcome outcome) {
  switch (call.collective) {
    case Collective::kAllReduce:
    case Collective::kBroadcast:
      CopyBack(env);
      return env.Undefined();
    case Collective::kBarrier:
      return env.Undefined();
    case Collective::kReduceScatter:
      return ToJs(env, std::move(outcome.values));
    case Collective::kAllGather:
    case Collective::kAllToAll:
      return GatheredOf(env, std::move(outcome));
    case Collective::kSparseAllReduce:
      return SparseOf(env, std::move(outcome));
  }
  return env.Undefined();
}

void CollectiveJob::CopyBack(Napi::Env env) const {
  if (copy_.bytes() == 0) return;
  const ArrayBytes to = ValueOrThrow(env, BytesFor(LoanKind::kWrite, array_.Value()));
  if (to.bytes != copy_.bytes()) {
    ThrowStatus(env, FailedPrecondition(CollectiveName(call.collective), ": expected an array of ", copy_.bytes(),
                                        " bytes to write the result to, as when the call was made, but received one of ", to.bytes));
  }
  std::memcpy(to.data, copy_.view().data, to.bytes);
}

}  // namespace gradsync::node
