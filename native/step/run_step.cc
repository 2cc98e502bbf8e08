#include "step/run_step.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <variant>
#include <vector>

#include "accumulate/variable_update.h"
#include "optimize/gradient_norm.h"

namespace gradsync::step {
namespace {

using accumulate::Variable;
using accumulate::VariableUpdate;

Status DescribeNonFinite(const NonFinite& first) {
  const std::string who =
      first.contributor ? StrCat("contributor ", *first.contributor) : std::string("the sum of finite contributions, which overflows,");
  return InvalidArgument("Gradient of variable '", first.variable, "': expected finite elements but ", who,
                         " has one that is infinite or not a number at position ", first.position);
}

// What the guard finds in one gradient whose sum of squares is not finite; under the policy zero, mends it and gives the new sum.
StatusOr<double> Guard(const VariableUpdateSpec& update, NonFinitePolicy policy, double sum, Gradients& gradients, Services& services,
                       std::vector<NonFinite>* found) {
  const auto visit = [&](auto& all) -> StatusOr<double> {
    const std::size_t before = found->size();
    all.AddNonFinite(update.variable->name(), services, found);
    if (policy != NonFinitePolicy::kZero || found->size() == before) return sum;
    // A sum that overflows has no element that could count as 0.
    if (!found->back().contributor) return DescribeNonFinite(found->back());
    GRADSYNC_RETURN_IF_ERROR(all.ZeroNonFinite());
    return all.SumOfSquares(services);
  };
  return std::visit(visit, gradients);
}

// The global sum of squares; one read of the gradients answers for the norm and for the guard.
StatusOr<double> Inspect(const FusedStepOptions& options, std::span<Gradients> gradients, Services& services,
                         std::vector<NonFinite>* found) {
  double total = 0;
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    GRADSYNC_ASSIGN_OR_RETURN(double sum, std::visit([&](const auto& all) { return all.SumOfSquares(services); }, gradients[i]));
    if (!std::isfinite(sum) && options.non_finite != NonFinitePolicy::kIgnore) {
      GRADSYNC_ASSIGN_OR_RETURN(sum, Guard(options.updates[i], options.non_finite, sum, gradients[i], services, found));
    }
    total += sum;
  }
  return total;
}

std::vector<Variable*> AllVariables(const FusedStepOptions& options) {
  std::vector<Variable*> variables;
  for (const VariableUpdateSpec& update : options.updates) {
    variables.push_back(update.variable.get());
    for (const auto& slot : update.slots) variables.push_back(slot.get());
  }
  return variables;
}

// Visits each update with its target: its variable and slots in the order of AllVariables.
template <typename Visit>
Status ForEachTarget(const FusedStepOptions& options, VariableUpdate& all, Visit&& visit) {
  std::size_t next = 0;
  for (std::size_t i = 0; i < options.updates.size(); ++i) {
    const MutableTensorView variable = all.tensor(next++);
    std::vector<MutableTensorView> slots;
    for (std::size_t k = 0; k < options.updates[i].slots.size(); ++k) slots.push_back(all.tensor(next++));
    GRADSYNC_RETURN_IF_ERROR(visit(i, optimize::UpdateTarget{.variable = variable, .slots = slots}));
  }
  return OkStatus();
}

// Checks everything, then writes everything: once the first element is written nothing can fail.
Status Update(const FusedStepOptions& options, std::span<const Gradients> gradients, FusedStepResult* result, Services& services) {
  GRADSYNC_ASSIGN_OR_RETURN(VariableUpdate all, VariableUpdate::Begin(AllVariables(options)));
  std::vector<double> scales(gradients.size(), 1.0);
  GRADSYNC_RETURN_IF_ERROR(ForEachTarget(options, all, [&](std::size_t i, const optimize::UpdateTarget& target) -> Status {
    const auto& optimizer = options.updates[i].optimizer;
    GRADSYNC_RETURN_IF_ERROR(std::visit([&](const auto& some) { return some.Check(optimizer, target); }, gradients[i]));
    if (!result->global_norm) return OkStatus();
    GRADSYNC_ASSIGN_OR_RETURN(scales[i], optimize::ClipScale(target.variable.dtype, *result->global_norm, *options.clip_norm));
    return OkStatus();
  }));
  GRADSYNC_RETURN_IF_ERROR(ForEachTarget(options, all, [&](std::size_t i, const optimize::UpdateTarget& target) {
    const auto& optimizer = options.updates[i].optimizer;
    return std::visit([&](const auto& some) { return some.Apply(optimizer, target, scales[i], services); }, gradients[i]);
  }));
  result->scale = scales.front();
  all.Commit();
  return OkStatus();
}

// A guard without clipping needs no norm, only a look, which costs less; who is to blame is looked for when there is something.
bool IsFinite(std::span<const Gradients> gradients, Services& services) {
  return std::ranges::all_of(
      gradients, [&](const Gradients& some) { return std::visit([&](const auto& all) { return all.IsFinite(services); }, some); });
}

}  // namespace

StatusOr<FusedStepResult> RunStep(const FusedStepOptions& options, std::span<Gradients> gradients, Services& services) {
  FusedStepResult result;
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    const auto prepare = [&](auto& all) {
      return all.Prepare(options.non_finite, options.updates[i].variable->name(), &result.non_finite);
    };
    GRADSYNC_RETURN_IF_ERROR(std::visit(prepare, gradients[i]));
  }
  const bool is_guarded = options.non_finite != NonFinitePolicy::kIgnore;
  if (options.clip_norm || (is_guarded && !IsFinite(gradients, services))) {
    GRADSYNC_ASSIGN_OR_RETURN(const double sum, Inspect(options, gradients, services, &result.non_finite));
    if (options.clip_norm) result.global_norm = std::sqrt(sum);
    if (!result.non_finite.empty() && options.non_finite == NonFinitePolicy::kError) return DescribeNonFinite(result.non_finite.front());
    result.is_applied = result.non_finite.empty() || options.non_finite == NonFinitePolicy::kZero;
  }
  if (result.is_applied) GRADSYNC_RETURN_IF_ERROR(Update(options, gradients, &result, services));
  for (Gradients& some : gradients) std::visit([](auto& all) { all.Recycle(); }, some);
  return result;
}

}  // namespace gradsync::step
