#include "collective/local_group.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "collective/call.h"
#include "collective/local_communicator.h"
#include "collective/spin.h"

namespace gradsync::collective {
namespace {

Status Unavailable(const std::string& message) { return {Code::kUnavailable, message}; }

WorkContext ContextOf(const Services& services) {
  const auto cores = static_cast<std::int64_t>(std::thread::hardware_concurrency());
  const kernels::KernelTable& kernels = kernels::KernelsFor(services.instruction_set);
  return {.cores = std::max<std::int64_t>(cores, 1),
          .instruction_set = services.instruction_set,
          .kernels = &kernels,
          .costs = std::make_shared<SparseCosts>(kernels),
          .memory = Memory::Create()};
}

std::string RankList(const std::vector<std::int64_t>& ranks) {
  std::string text;
  for (const std::int64_t rank : ranks) text.append(text.empty() ? "" : ", ").append(std::to_string(rank));
  return text;
}

}  // namespace

StatusOr<std::shared_ptr<LocalGroup>> LocalGroup::Create(LocalGroupOptions options, Services& services) {
  if (options.size < 1 || options.size > kMaxRanks) {
    return InvalidArgument("communicator '", options.name, "': expected 1 to ", kMaxRanks, " ranks but received ", options.size);
  }
  return std::make_shared<LocalGroup>(Token{}, std::move(options), services);
}

LocalGroup::LocalGroup(Token /*token*/, LocalGroupOptions options, Services& services)
    : options_(std::move(options)),
      services_(services),
      context_(ContextOf(services)),
      joined_(static_cast<std::size_t>(options_.size)),
      left_(static_cast<std::size_t>(options_.size)) {}

StatusOr<std::shared_ptr<Communicator>> LocalGroup::Join(std::int64_t rank) {
  if (rank < 0 || rank >= options_.size) {
    return InvalidArgument("communicator '", options_.name, "': expected a rank below ", options_.size, " but received ", rank);
  }
  const std::lock_guard lock(mutex_);
  GRADSYNC_RETURN_IF_ERROR(CheckOpen());
  const auto index = static_cast<std::size_t>(rank);
  if (joined_[index]) {
    return Status(Code::kAlreadyExists, StrCat("communicator '", options_.name, "': rank ", rank, " has joined before"));
  }
  joined_[index] = true;
  auto membership = std::make_shared<Membership>(shared_from_this(), index);
  return std::shared_ptr<Communicator>(std::make_shared<LocalCommunicator>(std::move(membership), shared_from_this(), index));
}

StatusOr<std::shared_ptr<LocalGroup>> LocalGroup::Subgroup(const std::vector<std::int64_t>& ranks) {
  const auto refuse = [&](const auto&... why) { return InvalidArgument("communicator '", options_.name, "': subgroup: ", why...); };
  std::vector<bool> is_member(left_.size());
  for (const std::int64_t rank : ranks) {
    if (rank < 0 || rank >= options_.size) return refuse("expected ranks below ", options_.size, " but received ", rank);
    if (is_member[static_cast<std::size_t>(rank)]) return refuse("expected each rank once but received ", rank, " again");
    is_member[static_cast<std::size_t>(rank)] = true;
  }
  const std::lock_guard lock(mutex_);
  GRADSYNC_RETURN_IF_ERROR(CheckOpen());
  const auto known = std::ranges::find(children_, ranks, &Child::ranks);
  if (known != children_.end()) return known->group;
  LocalGroupOptions options{.name = StrCat(options_.name, ShapeString(ranks)), .size = static_cast<std::int64_t>(ranks.size())};
  GRADSYNC_ASSIGN_OR_RETURN(std::shared_ptr<LocalGroup> group, Create(std::move(options), services_));
  for (std::size_t i = 0; i < ranks.size(); ++i) group->left_[i] = left_[static_cast<std::size_t>(ranks[i])];
  children_.push_back({ranks, group});
  return group;
}

void LocalGroup::Shutdown(const std::string& reason) {
  std::vector<SharedExchange> failed;
  {
    const std::lock_guard lock(mutex_);
    if (shutdown_.has_value()) return;
    shutdown_ = reason;
    failed = FailAll(Cancelled("communicator '", options_.name, "': ", reason));
  }
  Deliver(failed);
  context_.memory->LimitSpare(0);
  for (const Child& child : Children()) child.group->Shutdown(reason);
}

void LocalGroup::Leave(std::size_t rank, const std::string& reason) {
  std::vector<SharedExchange> failed;
  {
    const std::lock_guard lock(mutex_);
    if (left_[rank].has_value()) return;
    left_[rank] = reason;
    if (!shutdown_.has_value()) failed = FailAll(CheckOpen());
  }
  Deliver(failed);
  for (const Child& child : Children()) {
    const auto member = std::ranges::find(child.ranks, static_cast<std::int64_t>(rank));
    if (member != child.ranks.end()) child.group->Leave(static_cast<std::size_t>(member - child.ranks.begin()), reason);
  }
}

StatusOr<Outcome> LocalGroup::Run(std::size_t rank, const Call& call, Deadline deadline) {
  Entry entry;
  {
    const auto lock = LockSoon(mutex_);
    Exchange::Slot slot;
    slot.call = &call;
    GRADSYNC_ASSIGN_OR_RETURN(entry, Enter(rank, std::move(slot)));
  }
  Exchange& exchange = *entry.exchange;
  if (entry.has_failed) {
    exchange.Deliver(services_);
  } else if (entry.is_last) {
    exchange.Start(services_, /*is_patient=*/true);
  }
  if (!exchange.Await(deadline)) {
    Expire(entry.exchange, rank);
    exchange.Await(Deadline::Infinite());
  }
  return exchange.Take(rank);
}

Cancellation LocalGroup::Start(std::size_t rank, Call call, Deadline deadline, const Communicator::Callback& callback) {
  StatusOr<Entry> entry = Entry{};
  {
    const auto lock = LockSoon(mutex_);
    Exchange::Slot slot;
    slot.owned = std::move(call);
    slot.callback = callback;
    entry = Enter(rank, std::move(slot));
    if (entry.ok() && !entry->is_last && !entry->has_failed) {
      entry->exchange->slots[rank].timer =
          services_.timer.Schedule(deadline, [group = weak_from_this(), exchange = std::weak_ptr(entry->exchange), rank] {
            const auto self = group.lock();
            const auto open = exchange.lock();
            if (self != nullptr && open != nullptr) self->Expire(open, rank);
          });
    }
  }
  if (!entry.ok()) {
    callback(entry.status());
    return {};
  }
  if (entry->has_failed) {
    entry->exchange->Deliver(services_);
  } else if (entry->is_last) {
    entry->exchange->Start(services_, /*is_patient=*/false);
  }
  return Cancellation([group = weak_from_this(), exchange = std::weak_ptr(entry->exchange), rank] {
    const auto self = group.lock();
    const auto open = exchange.lock();
    if (self != nullptr && open != nullptr) self->Cancel(open, rank);
  });
}

Status LocalGroup::CheckOpen() const {
  if (shutdown_.has_value()) return FailedPrecondition("communicator '", options_.name, "' is closed: ", *shutdown_);
  for (std::size_t rank = 0; rank < left_.size(); ++rank) {
    if (left_[rank].has_value()) return Unavailable(StrCat("communicator '", options_.name, "': rank ", rank, " has left: ", *left_[rank]));
  }
  return OkStatus();
}

// The oldest exchange under the key that this rank has not called in.
LocalGroup::SharedExchange LocalGroup::FindOrOpen(std::size_t rank, const std::string& key) {
  Open& open = open_[key];
  const auto found = std::ranges::find_if(open, [rank](const SharedExchange& exchange) { return !exchange->slots[rank].has_called; });
  if (found != open.end()) return *found;
  return open.emplace_back(std::make_shared<Exchange>(left_.size(), context_));
}

StatusOr<LocalGroup::Entry> LocalGroup::Enter(std::size_t rank, Exchange::Slot slot) {
  GRADSYNC_RETURN_IF_ERROR(CheckOpen());
  const Call& given = slot.call != nullptr ? *slot.call : slot.owned;
  const std::string key = given.key;
  const SharedExchange exchange = FindOrOpen(rank, key);
  Exchange::Slot& mine = exchange->slots[rank];
  const bool is_last = ++exchange->calls == exchange->slots.size();
  if (is_last) Forget(key, *exchange);
  if (!exchange->failure.ok()) {
    mine.has_called = true;
    return exchange->failure;
  }
  Status status = CheckCall(given, options_.size);
  if (!status.ok()) status = Status(status.code(), StrCat("rank ", rank, ": ", status.message()));
  mine = std::move(slot);
  mine.has_called = true;
  if (mine.call == nullptr) mine.call = &mine.owned;
  for (std::size_t other = 0; other < exchange->slots.size() && status.ok(); ++other) {
    if (other == rank || !exchange->slots[other].has_called) continue;
    const auto [low, high] = std::minmax(rank, other);
    status = CheckMatch(static_cast<std::int64_t>(low), *exchange->slots[low].call, static_cast<std::int64_t>(high),
                        *exchange->slots[high].call);
    break;  // all others match each other
  }
  if (!status.ok()) {
    Fail(*exchange, Status(status.code(), StrCat(Describe(*mine.call), ": ", status.message())));
    return Entry{.exchange = exchange, .is_last = false, .has_failed = true};
  }
  if (is_last) exchange->Close();
  return Entry{.exchange = exchange, .is_last = is_last, .has_failed = false};
}

void LocalGroup::Fail(Exchange& exchange, const Status& status) {
  for (Exchange::Slot& slot : exchange.slots) {
    if (slot.has_called && slot.failure.ok()) slot.failure = status;
  }
  exchange.failure = status;
  exchange.EndOpen();
}

void LocalGroup::Forget(const std::string& key, const Exchange& exchange) {
  const auto found = open_.find(key);
  std::erase_if(found->second, [&](const SharedExchange& open) { return open.get() == &exchange; });
  if (found->second.empty()) open_.erase(found);
}

std::vector<LocalGroup::SharedExchange> LocalGroup::FailAll(const Status& status) {
  std::vector<SharedExchange> failed;
  for (auto& [key, open] : open_) {
    for (SharedExchange& exchange : open) {
      if (!exchange->IsOpen()) continue;
      Fail(*exchange, status);
      failed.push_back(std::move(exchange));
    }
  }
  open_.clear();
  return failed;
}

void LocalGroup::Deliver(const std::vector<SharedExchange>& exchanges) {
  for (const SharedExchange& exchange : exchanges) exchange->Deliver(services_);
}

void LocalGroup::Expire(const SharedExchange& exchange, std::size_t rank) {
  {
    const std::lock_guard lock(mutex_);
    if (!exchange->IsOpen()) return;
    Fail(*exchange,
         DeadlineExceeded(Describe(*exchange->slots[rank].call), ": the deadline of rank ", rank, " passed; ", DescribeMissing(*exchange)));
  }
  exchange->Deliver(services_);
}

void LocalGroup::Cancel(const SharedExchange& exchange, std::size_t rank) {
  {
    const std::lock_guard lock(mutex_);
    if (!exchange->IsOpen()) return;
    Exchange::Slot& mine = exchange->slots[rank];
    const std::string what = Describe(*mine.call);
    mine.failure = Cancelled(what, ": rank ", rank, " cancelled it");
    Fail(*exchange, Status(Code::kAborted, StrCat(what, ": rank ", rank, " cancelled it")));
  }
  exchange->Deliver(services_);
}

// "missing ranks: 1 (waiting in broadcast 'b'), 3; present: 0, 2".
std::string LocalGroup::DescribeMissing(const Exchange& exchange) const {
  std::string missing;
  std::vector<std::int64_t> present;
  for (std::size_t rank = 0; rank < exchange.slots.size(); ++rank) {
    if (exchange.slots[rank].has_called) {
      present.push_back(static_cast<std::int64_t>(rank));
      continue;
    }
    missing.append(missing.empty() ? "" : ", ").append(std::to_string(rank));
    std::string where;
    for (const auto& [key, open] : open_) {
      for (const SharedExchange& other : open) {
        if (!other->IsOpen() || !other->slots[rank].has_called) continue;
        std::string waiting = DescribeCall(*other->slots[rank].call);
        if (where.empty() || waiting < where) where = std::move(waiting);
      }
    }
    if (!where.empty()) missing.append(" (waiting in ").append(where).append(")");
  }
  return StrCat("missing ranks: ", missing, "; present: ", RankList(present));
}

std::string LocalGroup::Describe(const Call& call) const { return StrCat("communicator '", options_.name, "': ", DescribeCall(call)); }

std::vector<LocalGroup::Child> LocalGroup::Children() const {
  const std::lock_guard lock(mutex_);
  return children_;
}

}  // namespace gradsync::collective
