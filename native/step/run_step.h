// RunStep: what a fused step does once every round has been taken. Blocks for as long as the arithmetic takes and while somebody else
// updates one of the variables; the pool's threads help. On an error, or when the step is skipped, no variable has changed.
#ifndef GRADSYNC_STEP_RUN_STEP_H_
#define GRADSYNC_STEP_RUN_STEP_H_

#include <span>

#include "core/status.h"
#include "core/thread_pool.h"
#include "step/fused_step.h"
#include "step/gradients.h"

namespace gradsync::step {

// `gradients[i]` belongs to options.updates[i]; used up.
StatusOr<FusedStepResult> RunStep(const FusedStepOptions& options, std::span<Gradients> gradients, Services& services);

}  // namespace gradsync::step

#endif  // GRADSYNC_STEP_RUN_STEP_H_
