// TakeInto: a take of a dense accumulator into an array that JavaScript gave, from the call until its promise settles. Memory of
// session.allocate is lent to the take and written by whoever reduces: nothing is allocated and nothing copied. Any other memory may be
// detached or resized meanwhile, so it is copied to when the promise settles. Made, settled and destroyed on the environment's thread.
#ifndef GRADSYNC_NODE_TAKE_INTO_H_
#define GRADSYNC_NODE_TAKE_INTO_H_

#include <napi.h>

#include <cstdint>
#include <memory>
#include <utility>

#include "accumulate/dense_accumulator.h"
#include "core/deadline.h"
#include "node/async_task.h"
#include "node/convert.h"
#include "node/session.h"

namespace gradsync::node {

class TakeInto {
 public:
  struct Options {
    std::int64_t required;
    Deadline deadline;
    Napi::Value array;
  };

  // Starts it and gives {promise, cancel}. The array is looked at last.
  static Napi::Object Start(const Arguments& arguments, const std::shared_ptr<Session>& session, accumulate::DenseAccumulator& accumulator,
                            const Options& options);
  TakeInto(std::shared_ptr<Session> session, DType dtype, const Napi::Value& array)
      : session_(std::move(session)), dtype_(dtype), array_(Napi::Reference<Napi::Value>::New(array, 1)) {}

 private:
  // What the promise resolves to.
  Napi::Value Settle(Napi::Env env, const Shape& shape) const;
  Napi::Value CopyAndSettle(Napi::Env env, const Tensor& result) const;

  const std::shared_ptr<Session> session_;
  const DType dtype_;
  const Napi::Reference<Napi::Value> array_;
};

}  // namespace gradsync::node

#endif  // GRADSYNC_NODE_TAKE_INTO_H_
