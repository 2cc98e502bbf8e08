// The fused optimizers of NativeVariable: arguments in, one VariableUpdate over the variable and its slots, one call of native/optimize.
#include <span>
#include <vector>

#include "accumulate/variable_update.h"
#include "node/read_optimizer.h"
#include "node/wrap_variable.h"
#include "optimize/dense_update.h"
#include "optimize/sparse_update.h"

namespace gradsync::node {
namespace {

using accumulate::Variable;
using accumulate::VariableUpdate;
using optimize::UpdateTarget;

// The variable and, after it, its slots.
std::vector<Variable*> WithSlots(const Arguments& arguments, Variable& variable) {
  std::vector<Variable*> variables{&variable};
  for (WrapVariable* slot : arguments.Get<std::vector<WrapVariable*>>(1, "slots")) variables.push_back(&slot->native());
  return variables;
}

// Begins an update of all variables, applies `apply(target)` and commits.
template <typename Apply>
Status UpdateTogether(const std::vector<Variable*>& variables, Apply&& apply) {
  GRADSYNC_ASSIGN_OR_RETURN(VariableUpdate update, VariableUpdate::Begin(std::span<Variable* const>(variables)));
  std::vector<MutableTensorView> slots;
  for (std::size_t i = 1; i < update.size(); ++i) slots.push_back(update.tensor(i));
  GRADSYNC_RETURN_IF_ERROR(apply(UpdateTarget{.variable = update.tensor(0), .slots = slots}));
  update.Commit();
  return OkStatus();
}

}  // namespace

void WrapVariable::ApplyDense(const Info& info) {
  const Arguments arguments(info, "NativeVariable.applyDense");
  const optimize::Optimizer optimizer = ReadOptimizer(arguments, info[0], "optimizer");
  const std::vector<Variable*> variables = WithSlots(arguments, native());
  Shape dims;
  const TensorView gradient = LikeCurrent(arguments, 2, "gradient", &dims);
  arguments.Check(UpdateTogether(variables, [&](const UpdateTarget& target) {
    return optimize::ApplyDense(optimizer, target, {.contributions = std::span(&gradient, 1)}, session()->services());
  }));
}

void WrapVariable::ApplySparse(const Info& info) {
  const Arguments arguments(info, "NativeVariable.applySparse");
  const optimize::Optimizer optimizer = ReadOptimizer(arguments, info[0], "optimizer");
  const std::vector<Variable*> variables = WithSlots(arguments, native());
  const std::vector<std::int64_t> indices = arguments.Indices(3, "indices");
  Shape index_dims;
  Shape dims;
  const TensorView rows = RowsLikeCurrent(arguments, 2, "gradient", indices.size(), &dims);
  arguments.Check(UpdateTogether(variables, [&](const UpdateTarget& target) {
    return optimize::ApplySparse(optimizer, target, {.indices = IndexView(indices, &index_dims), .values = rows}, session()->services());
  }));
}

}  // namespace gradsync::node
