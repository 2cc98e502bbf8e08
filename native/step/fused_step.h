// FusedStep: one step of many variables as one call: waits until every accumulator has its round, then takes, averages, clips by the global
// norm, guards against non-finite values and updates all variables with their slots, each element in one pass over memory; with clipping
// or a guard the gradients are read once more before, which is cheaper than a pass that could be taken back (measured: next versions
// written beside the current ones). Nothing is half done: until every check has passed nothing is written.
//
// When it fails while waiting (DEADLINE_EXCEEDED, CANCELLED), what was taken goes back to the accumulators, but for what does not fit
// beside gradients of another shape that came since. When it fails on what was taken (shapes that do not fit, a guard that says error), or
// when a guard skips the step, the contributions are used up and no variable changes. The accumulators' order of reduction and the fixed
// order of the norm make the result a function of the contributions alone.
//
// Thread-safe. Owns a reference to all it touches; the Services outlive it. The callback runs once: on a thread of the pool, or, with an
// error, where that arose (the caller's thread for a refusal, the timer's for a deadline).
#ifndef GRADSYNC_STEP_FUSED_STEP_H_
#define GRADSYNC_STEP_FUSED_STEP_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "accumulate/dense_accumulator.h"
#include "accumulate/sparse_accumulator.h"
#include "accumulate/variable.h"
#include "core/deadline.h"
#include "core/status.h"
#include "core/thread_pool.h"
#include "optimize/optimizer.h"

namespace gradsync::step {

// A variable and where its gradient comes from.
struct VariableUpdateSpec {
  std::shared_ptr<accumulate::Variable> variable;
  std::vector<std::shared_ptr<accumulate::Variable>> slots;
  optimize::Optimizer optimizer;
  std::variant<std::shared_ptr<accumulate::DenseAccumulator>, std::shared_ptr<accumulate::SparseAccumulator>> accumulator;
  std::int64_t num_required = 1;
};

// What happens when a contribution has an element that is infinite or not a number: nothing is looked for; the step is an error; it updates
// nothing; such elements count as 0.
enum class NonFinitePolicy { kIgnore, kError, kSkip, kZero };

struct FusedStepOptions {
  std::vector<VariableUpdateSpec> updates;
  // tf.clip_by_global_norm of all aggregates together: dense means, and the rows that a take of the sparse accumulators gives.
  std::optional<double> clip_norm;
  NonFinitePolicy non_finite = NonFinitePolicy::kIgnore;
};

// The first such element of one contribution.
struct NonFinite {
  std::string variable;
  std::optional<std::int64_t> contributor;  // none: all contributions are finite, but their sum is not
  std::int64_t position;                    // among the elements of the contribution, or of the sum
};

struct FusedStepResult {
  bool is_applied = true;             // false: skipped
  std::optional<double> global_norm;  // before clipping; given where it was asked for
  double scale = 1;                   // what the gradients were multiplied by
  std::vector<NonFinite> non_finite;
};

using FusedStepCallback = std::function<void(StatusOr<FusedStepResult>)>;

// Begins a step. Refused at once (INVALID_ARGUMENT) without updates, or with an accumulator, variable or slot named twice.
Cancellation StartFusedStep(FusedStepOptions options, Deadline deadline, Services& services, FusedStepCallback callback);

}  // namespace gradsync::step

#endif  // GRADSYNC_STEP_FUSED_STEP_H_
