#include "node/session.h"

#include <algorithm>
#include <thread>
#include <unordered_map>
#include <utility>

namespace gradsync::node {
namespace {

constexpr std::int64_t kMaxThreads = 256;
constexpr std::int64_t kDefaultMaxThreads = 8;

class SessionDirectory {
 public:
  // The one object with static storage; see session.h.
  static SessionDirectory& Get() {
    static SessionDirectory directory;
    return directory;
  }

  std::string NewId(const std::string& name) {
    const std::lock_guard lock(mutex_);
    return StrCat(name, "#", next_++);
  }
  void Add(const std::shared_ptr<Session>& session) {
    const std::lock_guard lock(mutex_);
    sessions_[session->id()] = session;
  }
  void Remove(const std::string& id) {
    const std::lock_guard lock(mutex_);
    sessions_.erase(id);
  }
  std::shared_ptr<Session> Find(const std::string& id) {
    const std::lock_guard lock(mutex_);
    const auto found = sessions_.find(id);
    return found == sessions_.end() ? nullptr : found->second.lock();
  }

 private:
  std::mutex mutex_;
  std::unordered_map<std::string, std::weak_ptr<Session>> sessions_;
  std::uint64_t next_ = 1;
};

StatusOr<std::size_t> ThreadsOf(const SessionOptions& options) {
  const auto machine = static_cast<std::int64_t>(std::thread::hardware_concurrency());
  const std::int64_t threads = options.threads.value_or(std::clamp<std::int64_t>(machine, 1, kDefaultMaxThreads));
  if (threads < 1 || threads > kMaxThreads) {
    return InvalidArgument("createSession: options.threads: expected 1 to ", kMaxThreads, " but received ", threads);
  }
  return static_cast<std::size_t>(threads);
}

}  // namespace

StatusOr<std::shared_ptr<Session>> Session::Create(const SessionOptions& options, const StatusOr<InstructionSet>& default_set) {
  GRADSYNC_ASSIGN_OR_RETURN(const std::size_t threads, ThreadsOf(options));
  const StatusOr<InstructionSet> set = options.instruction_set.has_value() ? ParseInstructionSet(*options.instruction_set) : default_set;
  if (!set.ok()) return Status(set.status().code(), StrCat("createSession: ", set.status().message()));
  SessionDirectory& directory = SessionDirectory::Get();
  auto session = std::make_shared<Session>(Token{}, directory.NewId(options.name), threads, *set);
  GRADSYNC_RETURN_IF_ERROR(session->services_.status());
  directory.Add(session);
  return session;
}

StatusOr<std::shared_ptr<Session>> Session::Find(const std::string& id) {
  std::shared_ptr<Session> session = SessionDirectory::Get().Find(id);
  if (session == nullptr) return NotFound("attachSession: expected the id of an open session but received \"", id, "\"");
  return session;
}

Session::~Session() { Close("the session is no longer used"); }

void Session::Close(const std::string& reason) {
  std::map<std::string, Object> objects;
  {
    const std::lock_guard lock(mutex_);
    if (closed_.has_value()) return;
    closed_ = reason;
    objects.swap(objects_);
  }
  SessionDirectory::Get().Remove(id_);
  // Without the lock: this calls back those who wait.
  for (const auto& [key, object] : objects) {
    std::visit([&](const auto& pointer) { pointer->Shutdown(reason); }, object);
  }
}

StatusOr<Tensor> Session::Allocate(DType dtype, Shape shape) {
  {
    const std::lock_guard lock(mutex_);
    if (closed_.has_value()) return FailedPrecondition("session ", id_, " is closed: ", *closed_);
  }
  return Tensor::Allocate(dtype, std::move(shape), *memory_);
}

template <typename T, typename Options, typename Make>
StatusOr<std::shared_ptr<T>> Session::GetObject(const std::string& key, std::string_view kind, const Options& options, Make&& make) {
  const std::lock_guard lock(mutex_);
  if (closed_.has_value()) return FailedPrecondition("session ", id_, " is closed: ", *closed_);
  const auto found = objects_.find(key);
  if (found == objects_.end()) {
    GRADSYNC_ASSIGN_OR_RETURN(std::shared_ptr<T> object, make());
    objects_.emplace(key, object);
    return object;
  }
  const auto* object = std::get_if<std::shared_ptr<T>>(&found->second);
  if (object == nullptr)
    return InvalidArgument("expected ", kind, " under key \"", key, "\" but the session holds another kind of object there");
  if (!((*object)->options() == options)) {
    return InvalidArgument("expected the same options for ", kind, " \"", key, "\" as when it was made (dtype, shape and the like)");
  }
  return *object;
}

StatusOr<std::shared_ptr<accumulate::Variable>> Session::GetVariable(accumulate::VariableOptions options) {
  using accumulate::Variable;
  return GetObject<Variable>(options.name, "a variable", options,
                             [&]() -> StatusOr<std::shared_ptr<Variable>> { return std::make_shared<Variable>(options); });
}

StatusOr<std::shared_ptr<accumulate::DenseAccumulator>> Session::GetDenseAccumulator(accumulate::DenseAccumulatorOptions options) {
  using accumulate::DenseAccumulator;
  return GetObject<DenseAccumulator>(options.name, "a dense accumulator", options,
                                     [&] { return DenseAccumulator::Create(options, services_); });
}

StatusOr<std::shared_ptr<accumulate::SparseAccumulator>> Session::GetSparseAccumulator(accumulate::SparseAccumulatorOptions options) {
  using accumulate::SparseAccumulator;
  return GetObject<SparseAccumulator>(options.name, "a sparse accumulator", options,
                                      [&] { return SparseAccumulator::Create(options, services_); });
}

StatusOr<std::shared_ptr<DenseRounds>> Session::GetDenseRounds(DenseRounds::Options options) {
  return GetObject<DenseRounds>(options.gradient.name, "rounds of dense gradients", options,
                                [&] { return DenseRounds::Create(options, services_); });
}

StatusOr<std::shared_ptr<SparseRounds>> Session::GetSparseRounds(SparseRounds::Options options) {
  return GetObject<SparseRounds>(options.gradient.name, "rounds of sparse gradients", options,
                                 [&] { return SparseRounds::Create(options, services_); });
}

StatusOr<std::shared_ptr<accumulate::TokenQueue>> Session::GetTokenQueue(const std::string& key, accumulate::TokenQueueOptions options) {
  using accumulate::TokenQueue;
  return GetObject<TokenQueue>(key, "a token queue", options, [&] { return TokenQueue::Create(options, services_); });
}

StatusOr<std::shared_ptr<collective::LocalGroup>> Session::GetLocalGroup(collective::LocalGroupOptions options) {
  using collective::LocalGroup;
  return GetObject<LocalGroup>(options.name, "a communicator", options, [&] { return LocalGroup::Create(options, services_); });
}

}  // namespace gradsync::node
