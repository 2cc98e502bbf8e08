// Between JavaScript values and native ones. `Convert` overloads read one value of one type; `Arguments` reads the arguments of a call and
// the fields of its option objects with them, so that every bad argument is an INVALID_ARGUMENT naming call, argument, expectation and
// value:
//
//   Arguments arguments(info, "NativeVariable.applyMomentum");
//   auto hyper = arguments.Options(1, "hyper", Field{"lr", &MomentumHyper::lr}, Field{"momentum", &MomentumHyper::momentum});
//
// Views point into JavaScript's memory: valid until control returns to JavaScript. Reading an object or a list does that (it may run
// getters, which may detach the memory or resize it), so a call reads its views last. Only on the thread of the environment.
#ifndef GRADSYNC_NODE_CONVERT_H_
#define GRADSYNC_NODE_CONVERT_H_

#include <napi.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "accumulate/membership.h"
#include "accumulate/round.h"
#include "accumulate/sparse_accumulator.h"
#include "collective/communicator.h"
#include "core/buffer.h"
#include "core/deadline.h"
#include "core/dtype.h"
#include "core/lendable.h"
#include "core/shape.h"
#include "core/status.h"
#include "core/tensor_view.h"
#include "node/error.h"
#include "step/fused_step.h"

namespace gradsync::node {

// What a value is, for messages: `number 3`, `string "x"`, `Float32Array of 4 elements`, `undefined`.
std::string Describe(const Napi::Value& value);

// "expected <expected> but received <what the value is>".
Status Expected(std::string_view expected, const Napi::Value& value);

// Each reads `value` into `out` or says what was expected.
Status Convert(const Napi::Value& value, bool* out);
Status Convert(const Napi::Value& value, double* out);
Status Convert(const Napi::Value& value, std::string* out);
// A safe integer or a bigint of 64 bits.
Status Convert(const Napi::Value& value, std::int64_t* out);
Status Convert(const Napi::Value& value, DType* out);
// An array of dimensions, none negative.
Status Convert(const Napi::Value& value, Shape* out);
// null: unknown rank; a dimension of -1: unknown.
Status Convert(const Napi::Value& value, PartialShape* out);
Status Convert(const Napi::Value& value, accumulate::Reduction* out);
Status Convert(const Napi::Value& value, accumulate::SparseForm* out);
Status Convert(const Napi::Value& value, accumulate::SparseMean* out);
// undefined: nothing is looked for.
Status Convert(const Napi::Value& value, step::NonFinitePolicy* out);
Status Convert(const Napi::Value& value, collective::Reduction* out);
Status Convert(const Napi::Value& value, collective::SparseAlgorithm* out);
// Milliseconds, Infinity allowed; not negative.
Status Convert(const Napi::Value& value, Deadline* out);

// Dimensions, dtypes, shapes: no list of these is longer.
inline constexpr std::uint32_t kMaxListLength = 1024;

// The elements of an array, one by one.
template <typename T>
Status Convert(const Napi::Value& value, std::vector<T>* out) {
  if (!value.IsArray()) return Expected("an array", value);
  const Napi::Array array = value.As<Napi::Array>();
  const std::uint32_t length = array.Length();  // once: a getter of an element may change it
  if (length > kMaxListLength) return Expected(StrCat("an array of at most ", kMaxListLength, " elements"), value);
  out->resize(length);
  for (std::uint32_t i = 0; i < length; ++i) {
    const Status status = Convert(array.Get(i), &(*out)[i]);
    if (!status.ok()) return InvalidArgument("element ", i, ": ", status.message());
  }
  return OkStatus();
}

// undefined and null: nothing.
template <typename T>
Status Convert(const Napi::Value& value, std::optional<T>* out) {
  out->reset();
  if (value.IsUndefined() || value.IsNull()) return OkStatus();
  return Convert(value, &out->emplace());
}

// The bytes of a typed array, also one on shared memory; not a detached one.
struct ArrayBytes {
  napi_typedarray_type type;
  void* data;
  std::size_t bytes;
};
StatusOr<ArrayBytes> BytesOf(const Napi::Value& value);
// The same to be read or written now: FAILED_PRECONDITION where the memory is lent to somebody who forbids it.
StatusOr<ArrayBytes> BytesFor(LoanKind use, const Napi::Value& value);

// The typed array that holds elements of `dtype` in JavaScript: Float32Array for float32, Uint8Array for bool, Uint16Array for half types.
napi_typedarray_type ArrayTypeOf(DType dtype);
std::string_view ArrayNameOf(DType dtype);

// One field of an option object and where it goes.
template <typename Struct, typename T>
struct Field {
  const char* name;
  T Struct::*member;
};
template <typename Struct, typename T>
Field(const char*, T Struct::*) -> Field<Struct, T>;

// The arguments of one call. `call` names it in messages; in one part or two, put together only for a message.
class Arguments {
 public:
  Arguments(const Napi::CallbackInfo& info, const char* call) : Arguments(info, call, {}) {}
  Arguments(const Napi::CallbackInfo& info, std::string_view owner, std::string_view method)
      : info_(info), owner_(owner), method_(method) {}

  template <typename T>
  [[nodiscard]] T Get(std::size_t index, std::string_view name) const {
    T out = MakeEmpty<T>();
    Check(name, Convert(info_[index], &out));
    return out;
  }

  // An object whose fields fill a Struct; other fields are ignored, a missing one is as undefined.
  template <typename Struct, typename... T>
  [[nodiscard]] Struct Options(std::size_t index, std::string_view name, const Field<Struct, T>&... fields) const {
    return Fields<Struct>(info_[index], name, fields...);
  }
  // The same for a value that is no argument itself.
  template <typename Struct, typename... T>
  [[nodiscard]] Struct Fields(const Napi::Value& value, std::string_view name, const Field<Struct, T>&... fields) const {
    Struct out = MakeEmpty<Struct>();
    const Napi::Object object = Object(value, name);
    (CheckField(name, fields.name, Convert(object.Get(fields.name), &(out.*fields.member))), ...);
    return out;
  }

  // A typed array that holds elements of `dtype`. The shape of the view is [number of elements], kept in `dims`.
  [[nodiscard]] TensorView Array(std::size_t index, std::string_view name, DType dtype, Shape* dims) const;
  // The same as a place to write to.
  [[nodiscard]] MutableTensorView MutableArray(std::size_t index, std::string_view name, DType dtype, Shape* dims) const;
  // An Int32Array or BigInt64Array as it lies, for calls that copy indices themselves before they check them.
  [[nodiscard]] TensorView IndexArray(std::size_t index, std::string_view name, Shape* dims) const;
  // A copy of one: another thread may write to shared memory between the check of an index and its use.
  [[nodiscard]] std::vector<std::int64_t> Indices(std::size_t index, std::string_view name) const;

  [[nodiscard]] Napi::Object Object(std::size_t index, std::string_view name) const { return Object(info_[index], name); }
  [[nodiscard]] Napi::Object Object(const Napi::Value& value, std::string_view name) const;
  [[nodiscard]] Napi::Env Env() const { return info_.Env(); }
  [[nodiscard]] const Napi::CallbackInfo& info() const { return info_; }
  // Throws unless ok, with the call and the argument's name in front.
  void Check(std::string_view name, const Status& status) const;
  // Throws unless ok, with the call in front.
  void Check(const Status& status) const;

 private:
  template <typename T>
  static T MakeEmpty() {
    if constexpr (std::is_same_v<T, Deadline>) {
      return Deadline::Infinite();
    } else {
      return T{};
    }
  }
  void CheckField(std::string_view name, std::string_view field, const Status& status) const {
    if (!status.ok()) Check(StrCat(name, ".", field), status);
  }

  [[nodiscard]] MutableTensorView ArrayFor(LoanKind use, std::size_t index, std::string_view name, DType dtype, Shape* dims) const;
  [[nodiscard]] std::string Call() const { return method_.empty() ? std::string(owner_) : StrCat(owner_, ".", method_); }

  const Napi::CallbackInfo& info_;
  const std::string_view owner_;
  const std::string_view method_;
};

// A view of `indices` as an int64 vector; `dims` keeps the shape.
TensorView IndexView(const std::vector<std::int64_t>& indices, Shape* dims);

Napi::Array ToJs(Napi::Env env, const Shape& shape);
// {dtype, shape, data}; the memory goes over to JavaScript unless it is small.
Napi::Object ToJs(Napi::Env env, Tensor tensor);
Napi::Object ToJs(Napi::Env env, accumulate::SparseSlices slices);
Napi::Array ToJs(Napi::Env env, std::vector<Tensor> tensors);
Napi::Object ToJs(Napi::Env env, const accumulate::Receipt& receipt);
Napi::Object ToJs(Napi::Env env, const accumulate::Ticket& ticket);
Napi::Object ToJs(Napi::Env env, const accumulate::LagRecord& lags);
Napi::Object ToJs(Napi::Env env, const accumulate::Contribution& contribution);
Napi::Object ToJs(Napi::Env env, const step::FusedStepResult& result);

// {step, contributions, result}
template <typename Result>
Napi::Object ToJs(Napi::Env env, accumulate::TakenRound<Result> taken) {
  Napi::Object object = Napi::Object::New(env);
  Napi::Array contributions = Napi::Array::New(env, taken.contributions.size());
  std::uint32_t i = 0;
  for (const accumulate::Contribution& contribution : taken.contributions) contributions.Set(i++, ToJs(env, contribution));
  object.Set("step", Napi::Number::New(env, static_cast<double>(taken.step)));
  object.Set("contributions", contributions);
  object.Set("result", ToJs(env, std::move(taken.result)));
  return object;
}

}  // namespace gradsync::node

#endif  // GRADSYNC_NODE_CONVERT_H_
