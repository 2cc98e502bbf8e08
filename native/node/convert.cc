#include "node/convert.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <span>
#include <type_traits>
#include <utility>

#include "node/addon_data.h"

namespace gradsync::node {
namespace {

constexpr double kMaxSafeInteger = 9007199254740991.0;

struct ArrayType {
  napi_typedarray_type type;
  std::string_view name;
};

constexpr ArrayType kArrayTypes[] = {
    {napi_int8_array, "Int8Array"},         {napi_uint8_array, "Uint8Array"},         {napi_uint8_clamped_array, "Uint8ClampedArray"},
    {napi_int16_array, "Int16Array"},       {napi_uint16_array, "Uint16Array"},       {napi_int32_array, "Int32Array"},
    {napi_uint32_array, "Uint32Array"},     {napi_float32_array, "Float32Array"},     {napi_float64_array, "Float64Array"},
    {napi_bigint64_array, "BigInt64Array"}, {napi_biguint64_array, "BigUint64Array"},
};

std::string_view NameOf(napi_typedarray_type type) {
  for (const ArrayType& entry : kArrayTypes) {
    if (entry.type == type) return entry.name;
  }
  return "TypedArray";
}

template <typename Enum>
struct Choice {
  std::string_view name;
  Enum value;
};

// One of some strings.
template <typename Enum>
Status ConvertChoice(const Napi::Value& value, std::span<const Choice<Enum>> choices, Enum* out) {
  std::string names;
  for (const auto& choice : choices) names.append(names.empty() ? "one of " : ", ").append(choice.name);
  if (!value.IsString()) return Expected(names, value);
  const std::string text = value.As<Napi::String>().Utf8Value();
  for (const auto& choice : choices) {
    if (choice.name == text) {
      *out = choice.value;
      return OkStatus();
    }
  }
  return Expected(names, value);
}

Status ConvertDimensions(const Napi::Value& value, std::int64_t least, std::string_view expected, Shape* out) {
  const Status status = Convert<std::int64_t>(value, out);
  if (!status.ok()) return value.IsArray() ? status : Expected(expected, value);
  for (const std::int64_t dim : *out) {
    if (dim < least) return InvalidArgument("expected ", expected, " but received ", dim, " among them");
  }
  return OkStatus();
}

}  // namespace

std::string Describe(const Napi::Value& value) {
  if (value.IsEmpty() || value.IsUndefined()) return "undefined";
  if (value.IsNull()) return "null";
  if (value.IsString()) return StrCat("string \"", value.As<Napi::String>().Utf8Value(), "\"");
  if (value.IsNumber()) return StrCat("number ", value.ToString().Utf8Value());
  if (value.IsBoolean()) return StrCat("boolean ", value.As<Napi::Boolean>().Value() ? "true" : "false");
  if (value.IsBigInt()) return StrCat("bigint ", value.ToString().Utf8Value());
  if (value.IsTypedArray()) {
    const Napi::TypedArray array = value.As<Napi::TypedArray>();
    return StrCat(NameOf(array.TypedArrayType()), " of ", array.ElementLength(), " elements");
  }
  if (value.IsArray()) return StrCat("array of ", value.As<Napi::Array>().Length());
  if (value.IsFunction()) return "function";
  return value.IsObject() ? "object" : "symbol";
}

Status Expected(std::string_view expected, const Napi::Value& value) {
  return InvalidArgument("expected ", expected, " but received ", Describe(value));
}

Status Convert(const Napi::Value& value, bool* out) {
  if (!value.IsBoolean()) return Expected("a boolean", value);
  *out = value.As<Napi::Boolean>().Value();
  return OkStatus();
}

Status Convert(const Napi::Value& value, double* out) {
  if (!value.IsNumber()) return Expected("a number", value);
  *out = value.As<Napi::Number>().DoubleValue();
  return OkStatus();
}

Status Convert(const Napi::Value& value, std::string* out) {
  if (!value.IsString()) return Expected("a string", value);
  *out = value.As<Napi::String>().Utf8Value();
  return OkStatus();
}

Status Convert(const Napi::Value& value, std::int64_t* out) {
  if (value.IsBigInt()) {
    bool is_lossless = false;
    *out = value.As<Napi::BigInt>().Int64Value(&is_lossless);
    return is_lossless ? OkStatus() : Expected("an integer of 64 bits", value);
  }
  if (!value.IsNumber()) return Expected("an integer", value);
  const double number = value.As<Napi::Number>().DoubleValue();
  if (std::trunc(number) != number || std::abs(number) > kMaxSafeInteger) return Expected("an integer", value);
  *out = static_cast<std::int64_t>(number);
  return OkStatus();
}

Status Convert(const Napi::Value& value, DType* out) {
  if (!value.IsString()) return Expected("a dtype", value);
  GRADSYNC_ASSIGN_OR_RETURN(*out, ParseDType(value.As<Napi::String>().Utf8Value()));
  return OkStatus();
}

Status Convert(const Napi::Value& value, Shape* out) { return ConvertDimensions(value, 0, "an array of dimensions, none negative", out); }

Status Convert(const Napi::Value& value, PartialShape* out) {
  if (value.IsNull()) {
    *out = PartialShape();
    return OkStatus();
  }
  Shape dims;
  GRADSYNC_RETURN_IF_ERROR(ConvertDimensions(value, kUnknownDim, "an array of dimensions (-1: unknown) or null", &dims));
  *out = PartialShape(std::move(dims));
  return OkStatus();
}

Status Convert(const Napi::Value& value, accumulate::Reduction* out) {
  using accumulate::Reduction;
  static constexpr Choice<Reduction> kChoices[] = {{"mean", Reduction::kMean}, {"sum", Reduction::kSum}};
  return ConvertChoice<Reduction>(value, kChoices, out);
}

Status Convert(const Napi::Value& value, accumulate::SparseForm* out) {
  using accumulate::SparseForm;
  static constexpr Choice<SparseForm> kChoices[] = {
      {"combined", SparseForm::kCombined}, {"concatenated", SparseForm::kConcatenated}, {"tensorflow", SparseForm::kTensorFlow}};
  return ConvertChoice<SparseForm>(value, kChoices, out);
}

Status Convert(const Napi::Value& value, accumulate::SparseMean* out) {
  using accumulate::SparseMean;
  static constexpr Choice<SparseMean> kChoices[] = {{"contributors", SparseMean::kContributors}, {"touched", SparseMean::kTouched}};
  return ConvertChoice<SparseMean>(value, kChoices, out);
}

Status Convert(const Napi::Value& value, step::NonFinitePolicy* out) {
  using step::NonFinitePolicy;
  static constexpr Choice<NonFinitePolicy> kChoices[] = {
      {"error", NonFinitePolicy::kError}, {"skip", NonFinitePolicy::kSkip}, {"zero", NonFinitePolicy::kZero}};
  *out = NonFinitePolicy::kIgnore;
  return value.IsUndefined() ? OkStatus() : ConvertChoice<NonFinitePolicy>(value, kChoices, out);
}

Status Convert(const Napi::Value& value, collective::Reduction* out) {
  using collective::Reduction;
  static constexpr Choice<Reduction> kChoices[] = {{"sum", Reduction::kSum},
                                                   {"mean", Reduction::kMean},
                                                   {"min", Reduction::kMin},
                                                   {"max", Reduction::kMax},
                                                   {"product", Reduction::kProduct}};
  return ConvertChoice<Reduction>(value, kChoices, out);
}

Status Convert(const Napi::Value& value, collective::SparseAlgorithm* out) {
  using collective::SparseAlgorithm;
  static constexpr Choice<SparseAlgorithm> kChoices[] = {
      {"rows", SparseAlgorithm::kRows}, {"row ranges", SparseAlgorithm::kRowRanges}, {"dense", SparseAlgorithm::kDense}};
  return ConvertChoice<SparseAlgorithm>(value, kChoices, out);
}

Status Convert(const Napi::Value& value, Deadline* out) {
  const double milliseconds = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : -1.0;
  if (!(milliseconds >= 0)) return Expected("a number of milliseconds (or Infinity)", value);
  *out = Deadline::AfterMilliseconds(milliseconds);
  return OkStatus();
}

StatusOr<ArrayBytes> BytesOf(const Napi::Value& value) {
  napi_env env = value.Env();
  if (!value.IsTypedArray()) return Expected("a typed array", value);
  ArrayBytes out{};
  std::size_t length = 0;
  napi_value buffer = nullptr;
  if (napi_get_typedarray_info(env, value, &out.type, &length, &out.data, &buffer, nullptr) != napi_ok) {
    return Expected("a readable typed array", value);
  }
  bool is_detached = false;
  if (length == 0 && napi_is_detached_arraybuffer(env, buffer, &is_detached) == napi_ok && is_detached) {
    return InvalidArgument("expected a live typed array but received a ", NameOf(out.type), " whose ArrayBuffer is detached");
  }
  const std::size_t element_size = value.As<Napi::TypedArray>().ElementSize();
  // JavaScript aligns its arrays to their elements; memory that another addon brought may not be.
  if (reinterpret_cast<std::uintptr_t>(out.data) % element_size != 0) {
    return InvalidArgument("expected elements at an aligned address but received memory that is not");
  }
  out.bytes = element_size * length;
  return out;
}

StatusOr<ArrayBytes> BytesFor(LoanKind use, const Napi::Value& value) {
  GRADSYNC_ASSIGN_OR_RETURN(const ArrayBytes bytes, BytesOf(value));
  GRADSYNC_RETURN_IF_ERROR(AddonData::Of(value.Env()).lendable->CheckUse(bytes.data, bytes.bytes, use));
  return bytes;
}

napi_typedarray_type ArrayTypeOf(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
      return napi_float32_array;
    case DType::kFloat64:
      return napi_float64_array;
    case DType::kInt8:
      return napi_int8_array;
    case DType::kUint8:
    case DType::kBool:
      return napi_uint8_array;
    case DType::kInt16:
      return napi_int16_array;
    case DType::kUint16:
    case DType::kFloat16:
    case DType::kBFloat16:
      return napi_uint16_array;
    case DType::kInt32:
      return napi_int32_array;
    case DType::kUint32:
      return napi_uint32_array;
    case DType::kInt64:
      return napi_bigint64_array;
    case DType::kUint64:
      return napi_biguint64_array;
  }
  return napi_uint8_array;
}

std::string_view ArrayNameOf(DType dtype) { return NameOf(ArrayTypeOf(dtype)); }

void Arguments::Check(std::string_view name, const Status& status) const {
  if (!status.ok()) ThrowStatus(Env(), Status(status.code(), StrCat(Call(), ": ", name, ": ", status.message())));
}

void Arguments::Check(const Status& status) const {
  if (!status.ok()) ThrowStatus(Env(), Status(status.code(), StrCat(Call(), ": ", status.message())));
}

Napi::Object Arguments::Object(const Napi::Value& value, std::string_view name) const {
  if (!value.IsObject() || value.IsArray() || value.IsFunction()) Check(name, Expected("an object", value));
  return value.As<Napi::Object>();
}

MutableTensorView Arguments::ArrayFor(LoanKind use, std::size_t index, std::string_view name, DType dtype, Shape* dims) const {
  const Napi::Value value = info_[index];
  StatusOr<ArrayBytes> array = BytesFor(use, value);
  Check(name, array.status());
  if (array->type != ArrayTypeOf(dtype)) Check(name, Expected(StrCat("a ", ArrayNameOf(dtype), " for ", dtype), value));
  *dims = {static_cast<std::int64_t>(array->bytes / DTypeSize(dtype))};
  return {.dtype = dtype, .shape = *dims, .data = array->data, .bytes = array->bytes};
}

TensorView Arguments::Array(std::size_t index, std::string_view name, DType dtype, Shape* dims) const {
  return ArrayFor(LoanKind::kRead, index, name, dtype, dims).AsConst();
}

MutableTensorView Arguments::MutableArray(std::size_t index, std::string_view name, DType dtype, Shape* dims) const {
  return ArrayFor(LoanKind::kWrite, index, name, dtype, dims);
}

TensorView Arguments::IndexArray(std::size_t index, std::string_view name, Shape* dims) const {
  const Napi::Value value = info_[index];
  StatusOr<ArrayBytes> array = BytesFor(LoanKind::kRead, value);
  Check(name, array.status());
  const bool is_narrow = array->type == napi_int32_array;
  if (!is_narrow && array->type != napi_bigint64_array) Check(name, Expected("an Int32Array or BigInt64Array", value));
  const DType dtype = is_narrow ? DType::kInt32 : DType::kInt64;
  *dims = {static_cast<std::int64_t>(array->bytes / DTypeSize(dtype))};
  return {.dtype = dtype, .shape = *dims, .data = array->data, .bytes = array->bytes};
}

std::vector<std::int64_t> Arguments::Indices(std::size_t index, std::string_view name) const {
  Shape dims;
  const TensorView view = IndexArray(index, name, &dims);
  if (view.dtype == DType::kInt64) return {view.as<std::int64_t>().begin(), view.as<std::int64_t>().end()};
  return {view.as<std::int32_t>().begin(), view.as<std::int32_t>().end()};
}

TensorView IndexView(const std::vector<std::int64_t>& indices, Shape* dims) {
  *dims = {static_cast<std::int64_t>(indices.size())};
  return {.dtype = DType::kInt64, .shape = *dims, .data = indices.data(), .bytes = indices.size() * sizeof(std::int64_t)};
}

}  // namespace gradsync::node
