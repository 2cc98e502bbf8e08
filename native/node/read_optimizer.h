// NativeOptimizer of src/addon/native.ts: an optimizer by its kind with its hyperparameters. On the thread of the environment only.
#ifndef GRADSYNC_NODE_READ_OPTIMIZER_H_
#define GRADSYNC_NODE_READ_OPTIMIZER_H_

#include <napi.h>

#include <string_view>

#include "node/convert.h"
#include "optimize/optimizer.h"

namespace gradsync::node {

// INVALID_ARGUMENT, thrown, for an unknown kind or a hyperparameter that is missing or no number. `name` is the object's in messages.
optimize::Optimizer ReadOptimizer(const Arguments& arguments, const Napi::Value& value, std::string_view name);

}  // namespace gradsync::node

#endif  // GRADSYNC_NODE_READ_OPTIMIZER_H_
