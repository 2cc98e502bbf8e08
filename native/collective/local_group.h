// LocalGroup: ranks that are threads of one process, and the exchanges they have open. A rank joins once and gets its LocalCommunicator;
// when the last communicator of a rank goes, the rank has left for good. Ranks read each other's memory directly: an all-reduce of N ranks
// costs N reads and N writes of memory and no copy. Memory given back, also that of outcomes once they are destroyed, serves the next
// exchange, until Shutdown; no more is kept than the largest exchange needed. Thread-safe; owned by shared_ptr by its communicators and
// whoever made it; `services` outlive it. A group made of some ranks of another (Subgroup) lives as long as that one and shares the fate of
// its ranks.
#ifndef GRADSYNC_COLLECTIVE_LOCAL_GROUP_H_
#define GRADSYNC_COLLECTIVE_LOCAL_GROUP_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "collective/communicator.h"
#include "collective/exchange.h"
#include "collective/work.h"
#include "core/status.h"
#include "core/thread_pool.h"

namespace gradsync::collective {

struct LocalGroupOptions {
  std::string name{};     // in messages
  std::int64_t size = 1;  // ranks, at most kMaxRanks
  friend bool operator==(const LocalGroupOptions&, const LocalGroupOptions&) = default;
};

inline constexpr std::int64_t kMaxRanks = 1024;

class LocalGroup : public std::enable_shared_from_this<LocalGroup> {
  struct Token {};  // only this class can name it

 public:
  static StatusOr<std::shared_ptr<LocalGroup>> Create(LocalGroupOptions options, Services& services);
  LocalGroup(Token /*token*/, LocalGroupOptions options, Services& services);
  ~LocalGroup() { Shutdown("it was destroyed"); }
  LocalGroup(const LocalGroup&) = delete;
  LocalGroup& operator=(const LocalGroup&) = delete;

  [[nodiscard]] const LocalGroupOptions& options() const { return options_; }
  // The rank's end. ALREADY_EXISTS when somebody is that rank; UNAVAILABLE once a rank has left.
  StatusOr<std::shared_ptr<Communicator>> Join(std::int64_t rank);
  // Ends all waits with CANCELLED and refuses every later call (FAILED_PRECONDITION). May be repeated.
  void Shutdown(const std::string& reason);
  // Of outcomes, which count until they are destroyed, and of what exchanges under way hold beside them.
  [[nodiscard]] Memory::Usage memory_usage() const { return context_.memory->usage(); }

  // What LocalCommunicator is made of.
  StatusOr<Outcome> Run(std::size_t rank, const Call& call, Deadline deadline);
  Cancellation Start(std::size_t rank, Call call, Deadline deadline, const Communicator::Callback& callback);
  StatusOr<std::shared_ptr<LocalGroup>> Subgroup(const std::vector<std::int64_t>& ranks);
  void Leave(std::size_t rank, const std::string& reason);

 private:
  using SharedExchange = std::shared_ptr<Exchange>;
  using Open = std::vector<SharedExchange>;  // of one key, oldest first
  struct Entry {
    SharedExchange exchange;
    bool is_last = false;
    bool has_failed = false;  // by this call: others are to be told
  };
  struct Child {
    std::vector<std::int64_t> ranks;
    std::shared_ptr<LocalGroup> group;
  };

  // All of these under the lock.
  Status CheckOpen() const;
  SharedExchange FindOrOpen(std::size_t rank, const std::string& key);
  StatusOr<Entry> Enter(std::size_t rank, Exchange::Slot slot);
  void Fail(Exchange& exchange, const Status& status);
  void Forget(const std::string& key, const Exchange& exchange);
  std::vector<SharedExchange> FailAll(const Status& status);
  std::string DescribeMissing(const Exchange& exchange) const;
  std::string Describe(const Call& call) const;

  void Deliver(const std::vector<SharedExchange>& exchanges);
  void Expire(const SharedExchange& exchange, std::size_t rank);
  void Cancel(const SharedExchange& exchange, std::size_t rank);
  std::vector<Child> Children() const;

  const LocalGroupOptions options_;
  Services& services_;
  const WorkContext context_;

  mutable std::mutex mutex_;  // guards what follows, and the slots of open exchanges
  std::unordered_map<std::string, Open> open_;
  std::vector<bool> joined_;
  std::vector<std::optional<std::string>> left_;  // why
  std::optional<std::string> shutdown_;           // why
  std::vector<Child> children_;
};

}  // namespace gradsync::collective

#endif  // GRADSYNC_COLLECTIVE_LOCAL_GROUP_H_
