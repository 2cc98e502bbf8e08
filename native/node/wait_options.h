// WaitOptions of src/addon/native.ts: how long something may wait. A plain value.
#ifndef GRADSYNC_NODE_WAIT_OPTIONS_H_
#define GRADSYNC_NODE_WAIT_OPTIONS_H_

#include <cstddef>

#include "core/deadline.h"
#include "node/convert.h"

namespace gradsync::node {

struct WaitOptions {
  Deadline deadline_ms = Deadline::Infinite();
};

inline Deadline ReadDeadline(const Arguments& arguments, std::size_t index) {
  return arguments.Options(index, "options", Field{"deadlineMs", &WaitOptions::deadline_ms}).deadline_ms;
}

}  // namespace gradsync::node

#endif  // GRADSYNC_NODE_WAIT_OPTIONS_H_
