#include "node/error.h"

#include <string>

namespace gradsync::node {

Napi::Error ToError(Napi::Env env, const Status& status) {
  Napi::Error error = Napi::Error::New(env, status.message());
  error.Value().Set("code", Napi::String::New(env, std::string(CodeName(status.code()))));
  return error;
}

void ThrowStatus(Napi::Env env, const Status& status) { throw ToError(env, status); }

}  // namespace gradsync::node
