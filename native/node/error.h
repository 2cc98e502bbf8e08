// The one place where native code throws: a Status becomes a JavaScript Error whose `code` is the status's name and whose message is its
// own. Everything below native/node returns Status; the functions here run on the thread of their environment only.
#ifndef GRADSYNC_NODE_ERROR_H_
#define GRADSYNC_NODE_ERROR_H_

#include <napi.h>

#include <utility>

#include "core/status.h"

namespace gradsync::node {

// The Error object, not thrown: what promises are rejected with.
Napi::Error ToError(Napi::Env env, const Status& status);

[[noreturn]] void ThrowStatus(Napi::Env env, const Status& status);

// The value, or the exception.
template <typename T>
T ValueOrThrow(Napi::Env env, StatusOr<T> result) {
  if (!result.ok()) ThrowStatus(env, result.status());
  return *std::move(result);
}

}  // namespace gradsync::node

#endif  // GRADSYNC_NODE_ERROR_H_
