// The optimizers' kernels for the table of this instruction set (see cpu/instruction_set.h). Constants.
#ifndef GRADSYNC_KERNELS_CPU_OPTIMIZERS_H_
#define GRADSYNC_KERNELS_CPU_OPTIMIZERS_H_

#include "kernels/cpu/instruction_set.h"
#include "kernels/optimizers.h"

namespace gradsync::kernels::GRADSYNC_KERNELS_NAMESPACE {

extern const OptimizerKernels<Half> kFloat16Optimizers;
extern const OptimizerKernels<BFloat16> kBFloat16Optimizers;
extern const OptimizerKernels<float> kFloat32Optimizers;
extern const OptimizerKernels<double> kFloat64Optimizers;

}  // namespace gradsync::kernels::GRADSYNC_KERNELS_NAMESPACE

#endif  // GRADSYNC_KERNELS_CPU_OPTIMIZERS_H_
