#include "accumulate/variable_update.h"

#include <algorithm>
#include <functional>
#include <utility>

namespace gradsync::accumulate {

StatusOr<VariableUpdate> VariableUpdate::Begin(std::span<Variable* const> variables) {
  std::vector<Variable*> ordered(variables.begin(), variables.end());
  std::ranges::sort(ordered, std::less<>{});  // the one order in which everybody locks
  if (const auto twice = std::ranges::adjacent_find(ordered); twice != ordered.end()) {
    return InvalidArgument("expected different variables in one update but received '", (*twice)->name(), "' twice");
  }
  VariableUpdate update;
  for (Variable* variable : variables) update.entries_.push_back({.variable = variable, .next = nullptr, .writer = {}, .state = {}});
  std::vector<Entry*> entries;
  entries.reserve(ordered.size());
  for (Variable* variable : ordered) entries.push_back(&*std::ranges::find(update.entries_, variable, &Entry::variable));
  for (Entry* entry : entries) entry->writer = std::unique_lock(entry->variable->writer_mutex_);
  for (Entry* entry : entries) GRADSYNC_RETURN_IF_ERROR(Prepare(*entry));
  return update;
}

// Finds where the next version is written: in place, keeping readers out, or in a copy, letting them go on.
Status VariableUpdate::Prepare(Entry& entry) {
  Variable& variable = *entry.variable;
  std::unique_lock state(variable.mutex_);
  GRADSYNC_RETURN_IF_ERROR(variable.CheckUsable());
  if (variable.current_ == nullptr) return FailedPrecondition("Attempting to use uninitialized value ", variable.name());
  if (variable.current_->leases.load(std::memory_order_acquire) == 0) {
    entry.next = variable.current_;
    entry.state = std::move(state);
    return OkStatus();
  }
  const std::shared_ptr<VariableVersion> current = variable.current_;
  Buffer spare = variable.TakeSpare();
  state.unlock();  // nobody else writes: the writer lock is held
  GRADSYNC_ASSIGN_OR_RETURN(Tensor copy, Tensor::Copy(current->tensor.view(), std::move(spare)));
  entry.next = std::make_shared<VariableVersion>(std::move(copy));
  return OkStatus();
}

void VariableUpdate::Commit() {
  // Those in place first, so that only one of the other locks is held at a time and the order of locking stays.
  for (Entry& entry : entries_) {
    if (!entry.state.owns_lock()) continue;
    entry.variable->Publish(std::move(entry.next));
    entry.state.unlock();
  }
  for (Entry& entry : entries_) {
    if (entry.next == nullptr) continue;
    const std::lock_guard state(entry.variable->mutex_);
    entry.variable->Publish(std::move(entry.next));
  }
  entries_.clear();
}

}  // namespace gradsync::accumulate
