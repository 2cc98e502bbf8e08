#include "optimize/optimizer.h"

namespace gradsync::optimize {

std::string_view OptimizerName(const Optimizer& optimizer) {
  static constexpr std::string_view kNames[] = {
#define GRADSYNC_OPTIMIZER_NAME(type, name) #type,
      GRADSYNC_OPTIMIZERS(GRADSYNC_OPTIMIZER_NAME)
#undef GRADSYNC_OPTIMIZER_NAME
  };
  static_assert(std::size(kNames) == std::variant_size_v<Optimizer>);
  return kNames[optimizer.index()];
}

Status CheckTarget(const Optimizer& optimizer, const UpdateTarget& target) {
  const std::string_view name = OptimizerName(optimizer);
  const MutableTensorView& variable = target.variable;
  if (!Contains(OptimizerTypes{}, variable.dtype)) {
    return InvalidArgument(name, ": expected a variable of ", NamesOf(OptimizerTypes{}), " but received ", variable.dtype);
  }
  GRADSYNC_RETURN_IF_ERROR(variable.AsConst().Check(name));
  if (target.slots.size() != SlotCount(optimizer)) {
    return InvalidArgument(name, ": expected ", SlotCount(optimizer), " slots but received ", target.slots.size());
  }
  for (std::size_t i = 0; i < target.slots.size(); ++i) {
    const MutableTensorView& slot = target.slots[i];
    if (slot.dtype != variable.dtype || !SameShape(slot.shape, variable.shape)) {
      return InvalidArgument(name, ": expected slot ", i, " to be ", variable.dtype, " ", ShapeString(variable.shape),
                             " as the variable but received ", slot.dtype, " ", ShapeString(slot.shape));
    }
    GRADSYNC_RETURN_IF_ERROR(slot.AsConst().Check(name));
  }
  return OkStatus();
}

}  // namespace gradsync::optimize
