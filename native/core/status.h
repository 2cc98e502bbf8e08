// Status and StatusOr<T>: how every native function reports failure. The codes are a closed set, TensorFlow's canonical ones, so that an
// error raised here, in TensorFlow and in TypeScript means the same. A message names the operation, the values and the limit.
// No exceptions. Values own their message; a Status is safe to copy and move between threads, not to share while it changes.
#ifndef GRADSYNC_CORE_STATUS_H_
#define GRADSYNC_CORE_STATUS_H_

#include <cassert>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>

namespace gradsync {

// The one list of codes: enumerator, number in TF_Code, text (equal to ErrorCode in src/errors.ts).
#define GRADSYNC_CODES(X)                          \
  X(kOk, 0, "OK")                                  \
  X(kCancelled, 1, "CANCELLED")                    \
  X(kUnknown, 2, "UNKNOWN")                        \
  X(kInvalidArgument, 3, "INVALID_ARGUMENT")       \
  X(kDeadlineExceeded, 4, "DEADLINE_EXCEEDED")     \
  X(kNotFound, 5, "NOT_FOUND")                     \
  X(kAlreadyExists, 6, "ALREADY_EXISTS")           \
  X(kPermissionDenied, 7, "PERMISSION_DENIED")     \
  X(kResourceExhausted, 8, "RESOURCE_EXHAUSTED")   \
  X(kFailedPrecondition, 9, "FAILED_PRECONDITION") \
  X(kAborted, 10, "ABORTED")                       \
  X(kOutOfRange, 11, "OUT_OF_RANGE")               \
  X(kUnimplemented, 12, "UNIMPLEMENTED")           \
  X(kInternal, 13, "INTERNAL")                     \
  X(kUnavailable, 14, "UNAVAILABLE")               \
  X(kDataLoss, 15, "DATA_LOSS")

enum class Code : int {
#define GRADSYNC_CODE_ENUMERATOR(name, number, text) name = (number),
  GRADSYNC_CODES(GRADSYNC_CODE_ENUMERATOR)
#undef GRADSYNC_CODE_ENUMERATOR
};

// The name as users see it, e.g. "INVALID_ARGUMENT".
[[nodiscard]] constexpr std::string_view CodeName(Code code) {
  switch (code) {
#define GRADSYNC_CODE_NAME(name, number, text) \
  case Code::name:                             \
    return text;
    GRADSYNC_CODES(GRADSYNC_CODE_NAME)
#undef GRADSYNC_CODE_NAME
  }
  return "UNKNOWN";
}

// Concatenates anything that can be streamed.
template <typename... Parts>
[[nodiscard]] std::string StrCat(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return std::move(out).str();
}

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Code code, std::string message) : code_(code), message_(std::move(message)) {}

  [[nodiscard]] bool ok() const { return code_ == Code::kOk; }
  [[nodiscard]] Code code() const { return code_; }
  [[nodiscard]] const std::string& message() const { return message_; }
  // "INVALID_ARGUMENT: message", for logs and test failures.
  [[nodiscard]] std::string ToString() const { return ok() ? "OK" : StrCat(CodeName(code_), ": ", message_); }

  friend bool operator==(const Status&, const Status&) = default;

 private:
  Code code_ = Code::kOk;
  std::string message_;
};

[[nodiscard]] inline Status OkStatus() { return {}; }

template <typename... Parts>
Status InvalidArgument(const Parts&... parts) {
  return {Code::kInvalidArgument, StrCat(parts...)};
}
template <typename... Parts>
Status FailedPrecondition(const Parts&... parts) {
  return {Code::kFailedPrecondition, StrCat(parts...)};
}
template <typename... Parts>
Status Cancelled(const Parts&... parts) {
  return {Code::kCancelled, StrCat(parts...)};
}
template <typename... Parts>
Status DeadlineExceeded(const Parts&... parts) {
  return {Code::kDeadlineExceeded, StrCat(parts...)};
}
template <typename... Parts>
Status OutOfRange(const Parts&... parts) {
  return {Code::kOutOfRange, StrCat(parts...)};
}
template <typename... Parts>
Status ResourceExhausted(const Parts&... parts) {
  return {Code::kResourceExhausted, StrCat(parts...)};
}
template <typename... Parts>
Status NotFound(const Parts&... parts) {
  return {Code::kNotFound, StrCat(parts...)};
}
template <typename... Parts>
Status Unimplemented(const Parts&... parts) {
  return {Code::kUnimplemented, StrCat(parts...)};
}
template <typename... Parts>
Status Internal(const Parts&... parts) {
  return {Code::kInternal, StrCat(parts...)};
}

// A value, or the Status that says why there is none. Reading the value of a failed one is a bug in the caller.
template <typename T>
class [[nodiscard]] StatusOr {
 public:
  StatusOr(Status status) : status_(std::move(status)) {  // NOLINT(google-explicit-constructor): `return status;`
    assert(!status_.ok());
  }
  StatusOr(T value) : value_(std::move(value)) {}  // NOLINT(google-explicit-constructor): `return value;`

  [[nodiscard]] bool ok() const { return value_.has_value(); }
  [[nodiscard]] const Status& status() const { return status_; }

  [[nodiscard]] T& operator*() & {
    assert(ok());
    return *value_;
  }
  [[nodiscard]] const T& operator*() const& {
    assert(ok());
    return *value_;
  }
  [[nodiscard]] T&& operator*() && {
    assert(ok());
    return *std::move(value_);
  }
  T* operator->() {
    assert(ok());
    return &*value_;
  }
  const T* operator->() const {
    assert(ok());
    return &*value_;
  }

 private:
  Status status_;
  std::optional<T> value_;
};

// Returns from the enclosing function when `expression` (a Status) is not OK.
#define GRADSYNC_RETURN_IF_ERROR(expression)           \
  do {                                                 \
    ::gradsync::Status gradsync_status = (expression); \
    if (!gradsync_status.ok()) return gradsync_status; \
  } while (false)

#define GRADSYNC_CONCAT_INNER(a, b) a##b
#define GRADSYNC_CONCAT(a, b) GRADSYNC_CONCAT_INNER(a, b)

// `GRADSYNC_ASSIGN_OR_RETURN(Buffer buffer, Buffer::Allocate(n));`
#define GRADSYNC_ASSIGN_OR_RETURN(declaration, expression) \
  GRADSYNC_ASSIGN_OR_RETURN_IMPL(GRADSYNC_CONCAT(gradsync_or_, __LINE__), declaration, expression)
// NOLINTBEGIN(bugprone-macro-parentheses): a declaration cannot stand in parentheses
#define GRADSYNC_ASSIGN_OR_RETURN_IMPL(temporary, declaration, expression) \
  auto temporary = (expression);                                           \
  if (!temporary.ok()) return temporary.status();                          \
  declaration = *std::move(temporary)
// NOLINTEND(bugprone-macro-parentheses)

}  // namespace gradsync

#endif  // GRADSYNC_CORE_STATUS_H_
