// Session: the owner of native objects. It keeps every variable, accumulator and queue by key, and the threads they use; worker threads
// share it by pointer. Closing it ends every wait and makes its objects refuse further calls. SessionDirectory: id -> session, one per
// process. JavaScript has no way to hand a native object from one thread to another, only text; this directory is therefore the single
// exception to the rule that no state is static. It holds sessions weakly and is empty when they are gone. Both are thread-safe. A session
// is owned by the wrappers of all threads; the last one to go ends its threads and waits for them.
#ifndef GRADSYNC_NODE_SESSION_H_
#define GRADSYNC_NODE_SESSION_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "accumulate/dense_accumulator.h"
#include "accumulate/member_rounds.h"
#include "accumulate/sparse_accumulator.h"
#include "accumulate/token_queue.h"
#include "accumulate/variable.h"
#include "collective/local_group.h"
#include "core/buffer.h"
#include "core/instruction_set.h"
#include "core/memory.h"
#include "core/status.h"
#include "core/thread_pool.h"

namespace gradsync::node {

using DenseRounds = accumulate::MemberRounds<accumulate::DenseAccumulator>;
using SparseRounds = accumulate::MemberRounds<accumulate::SparseAccumulator>;

struct SessionOptions {
  std::string name;
  // Threads that reduce; not given: as many as the machine has, at most 8.
  std::optional<std::int64_t> threads;
  // Of the kernels; not given: the environment's default.
  std::optional<std::string> instruction_set;
};

class Session {
  struct Token {};  // only Create can name it

 public:
  Session(Token /*token*/, std::string id, std::size_t threads, InstructionSet set) : id_(std::move(id)), services_(threads, set) {}
  // Also enters it into the directory.
  static StatusOr<std::shared_ptr<Session>> Create(const SessionOptions& options, const StatusOr<InstructionSet>& default_set);
  // NOT_FOUND once it is closed or gone.
  static StatusOr<std::shared_ptr<Session>> Find(const std::string& id);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  [[nodiscard]] const std::string& id() const { return id_; }
  [[nodiscard]] Services& services() { return services_; }
  // Everything that waits ends with CANCELLED, every later call is FAILED_PRECONDITION. May be repeated.
  void Close(const std::string& reason);

  // Memory for JavaScript, counted. FAILED_PRECONDITION once closed; what was given before stays.
  StatusOr<Tensor> Allocate(DType dtype, Shape shape);
  [[nodiscard]] Memory::Usage memory_usage() const { return memory_->usage(); }

  // The object of that key, made at the first request. INVALID_ARGUMENT when it exists with other options or as another kind.
  StatusOr<std::shared_ptr<accumulate::Variable>> GetVariable(accumulate::VariableOptions options);
  StatusOr<std::shared_ptr<accumulate::DenseAccumulator>> GetDenseAccumulator(accumulate::DenseAccumulatorOptions options);
  StatusOr<std::shared_ptr<accumulate::SparseAccumulator>> GetSparseAccumulator(accumulate::SparseAccumulatorOptions options);
  StatusOr<std::shared_ptr<DenseRounds>> GetDenseRounds(DenseRounds::Options options);
  StatusOr<std::shared_ptr<SparseRounds>> GetSparseRounds(SparseRounds::Options options);
  // `key` finds the queue, `options.name` names it in messages.
  StatusOr<std::shared_ptr<accumulate::TokenQueue>> GetTokenQueue(const std::string& key, accumulate::TokenQueueOptions options);
  StatusOr<std::shared_ptr<collective::LocalGroup>> GetLocalGroup(collective::LocalGroupOptions options);

 private:
  using Object = std::variant<std::shared_ptr<accumulate::Variable>, std::shared_ptr<accumulate::DenseAccumulator>,
                              std::shared_ptr<accumulate::SparseAccumulator>, std::shared_ptr<accumulate::TokenQueue>,
                              std::shared_ptr<collective::LocalGroup>, std::shared_ptr<DenseRounds>, std::shared_ptr<SparseRounds>>;

  template <typename T, typename Options, typename Make>
  StatusOr<std::shared_ptr<T>> GetObject(const std::string& key, std::string_view kind, const Options& options, Make&& make);

  const std::string id_;
  Services services_;  // outlives the objects
  const std::shared_ptr<Memory> memory_ = Memory::Create();
  std::mutex mutex_;  // guards what follows
  std::map<std::string, Object> objects_;
  std::optional<std::string> closed_;  // why
};

}  // namespace gradsync::node

#endif  // GRADSYNC_NODE_SESSION_H_
