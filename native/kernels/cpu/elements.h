// The kernels of one element type, for the table of this instruction set (see cpu/instruction_set.h). Constants.
#ifndef GRADSYNC_KERNELS_CPU_ELEMENTS_H_
#define GRADSYNC_KERNELS_CPU_ELEMENTS_H_

#include "kernels/cpu/instruction_set.h"
#include "kernels/kernels.h"

namespace gradsync::kernels::GRADSYNC_KERNELS_NAMESPACE {

extern const ElementKernels<Half> kFloat16Elements;
extern const ElementKernels<BFloat16> kBFloat16Elements;
extern const ElementKernels<float> kFloat32Elements;
extern const ElementKernels<double> kFloat64Elements;
extern const ElementKernels<std::int32_t> kInt32Elements;
extern const ElementKernels<std::int64_t> kInt64Elements;

}  // namespace gradsync::kernels::GRADSYNC_KERNELS_NAMESPACE

#endif  // GRADSYNC_KERNELS_CPU_ELEMENTS_H_
