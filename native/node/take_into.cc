#include "node/take_into.h"

#include <cstring>
#include <span>
#include <string>

#include "node/addon_data.h"
#include "node/error.h"

namespace gradsync::node {

using accumulate::DenseAccumulator;

Napi::Object TakeInto::Start(const Arguments& arguments, const std::shared_ptr<Session>& session, DenseAccumulator& accumulator,
                             const Options& options) {
  const Napi::Env env = arguments.Env();
  const AddonData& data = AddonData::Of(env);
  const DType dtype = accumulator.options().dtype;
  const StatusOr<ArrayBytes> out = BytesFor(LoanKind::kWrite, options.array);
  arguments.Check("options.into", out.status());
  if (out->type != ArrayTypeOf(dtype)) {
    arguments.Check("options.into", Expected(StrCat("a ", ArrayNameOf(dtype), " for ", dtype), options.array));
  }
  // Shared because the callback, a std::function, is copied; the loan ends before the promise settles.
  const auto loan = std::make_shared<Lendable::Loan>();
  const bool is_lent = out->bytes > 0 && data.lendable->Holds(out->data, out->bytes);
  if (is_lent) {
    auto lent = data.lendable->Lend(out->data, out->bytes, LoanKind::kWrite, {.accumulator = accumulator.options().name});
    arguments.Check("options.into", lent.status());
    *loan = *std::move(lent);
  }
  const auto job = std::make_shared<TakeInto>(session, dtype, options.array);
  const Mailbox::Entry entry = data.mailbox->Register(env, job);
  // The mailbox keeps the job until the promise settles; what another thread may drop must not be what destroys it.
  const auto post = [mailbox = data.mailbox, id = entry.id, raw = job.get()](auto result, auto settle) {
    if (!result.ok()) return mailbox->Post(id, result.status());
    auto value = std::make_shared<std::decay_t<decltype(*result)>>(*std::move(result));
    mailbox->Post(id, Mailbox::Make([raw, value, settle](Napi::Env to) { return (raw->*settle)(to, *value); }));
  };
  if (is_lent) {
    const std::span<std::byte> place(static_cast<std::byte*>(out->data), out->bytes);
    data.mailbox->SetCancellation(entry.id,
                                  accumulator.TakeInto(options.required, place, options.deadline, [post, loan](StatusOr<Shape> shape) {
                                    *loan = nullptr;
                                    post(std::move(shape), &TakeInto::Settle);
                                  }));
  } else {
    data.mailbox->SetCancellation(
        entry.id, accumulator.TakeSized(options.required, out->bytes, options.deadline,
                                        [post](StatusOr<Tensor> result) { post(std::move(result), &TakeInto::CopyAndSettle); }));
  }
  return PendingObject(env, entry);
}

Napi::Value TakeInto::Settle(Napi::Env env, const Shape& shape) const {
  Napi::Object object = Napi::Object::New(env);
  object.Set("dtype", Napi::String::New(env, std::string(DTypeName(dtype_))));
  object.Set("shape", ToJs(env, shape));
  object.Set("data", array_.Value());
  return object;
}

Napi::Value TakeInto::CopyAndSettle(Napi::Env env, const Tensor& result) const {
  const ArrayBytes to = ValueOrThrow(env, BytesFor(LoanKind::kWrite, array_.Value()));
  if (to.bytes != result.bytes()) {
    ThrowStatus(env, FailedPrecondition("NativeDenseAccumulator.take: expected an array of ", result.bytes(),
                                        " bytes to write to, as when the take began, but received one of ", to.bytes));
  }
  if (to.bytes > 0) std::memcpy(to.data, result.view().data, to.bytes);
  return Settle(env, result.shape());
}

}  // namespace gradsync::node
