// CollectiveJob: one call of a communicator from JavaScript, from the call until its promise settles: the arrays that take part, pinned. An
// array on a SharedArrayBuffer is read and written in place by the other ranks' threads; any other may be detached or resized by JavaScript
// at any moment, so it is copied in when the call is made and, where the call writes to it, copied back when the promise settles. Made,
// settled and destroyed on the thread of the environment. Its destructor waits until no other thread uses the arrays: after the call was
// settled or cancelled that is now, or when the collective that runs has ended.
#ifndef GRADSYNC_NODE_COLLECTIVE_JOB_H_
#define GRADSYNC_NODE_COLLECTIVE_JOB_H_

#include <napi.h>

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "collective/communicator.h"
#include "core/buffer.h"
#include "node/convert.h"
#include "node/session.h"
#include "node/tensor_argument.h"

namespace gradsync::node {

class CollectiveJob {
 public:
  // Both live until the job is done, however the wrapper fares.
  CollectiveJob(std::shared_ptr<Session> session, std::shared_ptr<collective::Communicator> communicator)
      : session_(std::move(session)), communicator_(std::move(communicator)) {}
  ~CollectiveJob();
  CollectiveJob(const CollectiveJob&) = delete;
  CollectiveJob& operator=(const CollectiveJob&) = delete;

  // What is asked for; all but the views of tensors, which the two below fill.
  collective::Call call;
  // Pins the tensor, as input, and as output too where the collective writes to it. The last to look at JavaScript's memory.
  Status Pin(TensorArgument argument);
  void SetIndices(std::vector<std::int64_t> indices);

  // Starts the call and gives {promise, cancel}.
  static Napi::Object Start(Napi::Env env, const std::shared_ptr<CollectiveJob>& job, Deadline deadline);

 private:
  // Whether other threads may use the arrays.
  struct Use {
    std::mutex mutex;
    std::condition_variable ended;
    bool is_over = true;
    void Begin();
    void End();
    void AwaitEnd();
  };

  Napi::Value Settle(Napi::Env env, collective::Outcome outcome);
  void CopyBack(Napi::Env env) const;

  const std::shared_ptr<Session> session_;
  const std::shared_ptr<collective::Communicator> communicator_;
  const std::shared_ptr<Use> use_ = std::make_shared<Use>();
  Napi::Reference<Napi::Value> array_;
  bool writes_ = false;
  Shape shape_;
  Tensor copy_;
  std::vector<std::int64_t> indices_;
  Shape indices_shape_;
};

}  // namespace gradsync::node

#endif  // GRADSYNC_NODE_COLLECTIVE_JOB_H_
