// VariableUpdate: exclusive access to one or several variables while their next versions are written, e.g. a parameter and its optimizer's
// slots. Between Begin and the end of its life it holds the variables' locks, taken in one global order, so updates never deadlock.
//
//   GRADSYNC_ASSIGN_OR_RETURN(VariableUpdate update, VariableUpdate::Begin({&variable, &momentum}));
//   ... check shapes and indices against update.tensor(i); return an error freely: nothing has changed ...
//   ... write update.tensor(0).as<float>() ...
//   update.Commit();
//
// Used by one thread. Move-only. The caller keeps the variables alive.
#ifndef GRADSYNC_ACCUMULATE_VARIABLE_UPDATE_H_
#define GRADSYNC_ACCUMULATE_VARIABLE_UPDATE_H_

#include <cstddef>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <span>
#include <type_traits>
#include <vector>

#include "accumulate/variable.h"
#include "core/status.h"
#include "core/tensor_view.h"

namespace gradsync::accumulate {

class VariableUpdate {
 public:
  // INVALID_ARGUMENT when a variable is named twice; FAILED_PRECONDITION when one is uninitialized or shut down.
  static StatusOr<VariableUpdate> Begin(std::span<Variable* const> variables);
  static StatusOr<VariableUpdate> Begin(std::initializer_list<Variable*> variables) {
    return Begin(std::span<Variable* const>(variables.begin(), variables.size()));
  }
  // Without Commit the versions stay as they are; then nothing may have been written, for it may be the current version in place.
  ~VariableUpdate() = default;
  VariableUpdate(VariableUpdate&&) noexcept = default;
  VariableUpdate& operator=(VariableUpdate&&) = delete;
  VariableUpdate(const VariableUpdate&) = delete;
  VariableUpdate& operator=(const VariableUpdate&) = delete;

  [[nodiscard]] std::size_t size() const { return entries_.size(); }
  // The i-th variable's current value, to be changed into the next.
  [[nodiscard]] MutableTensorView tensor(std::size_t i) { return entries_[i].next->tensor.mutable_view(); }
  // Publishes every variable's next version and releases the locks.
  void Commit();

 private:
  struct Entry {
    Variable* variable;
    std::shared_ptr<VariableVersion> next;
    std::unique_lock<std::mutex> writer;
    std::unique_lock<std::mutex> state;  // held while the update is in place, so that no reader starts
  };
  VariableUpdate() = default;
  static Status Prepare(Entry& entry);

  std::vector<Entry> entries_;
};
static_assert(!std::is_copy_constructible_v<VariableUpdate> && std::is_move_constructible_v<VariableUpdate>);

}  // namespace gradsync::accumulate

#endif  // GRADSYNC_ACCUMULATE_VARIABLE_UPDATE_H_
