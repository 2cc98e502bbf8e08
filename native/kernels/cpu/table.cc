// The table of this instruction set. Constant-initialized: nothing compiled for it may run before it was chosen.
#include "kernels/cpu/elements.h"
#include "kernels/cpu/optimizers.h"
#include "kernels/cpu/segments.h"

namespace gradsync::kernels::GRADSYNC_KERNELS_NAMESPACE {

extern const KernelTable kTable;
constinit const KernelTable kTable = {
    .elements = {.float16 = &kFloat16Elements,
                 .bfloat16 = &kBFloat16Elements,
                 .float32 = &kFloat32Elements,
                 .float64 = &kFloat64Elements,
                 .int32 = &kInt32Elements,
                 .int64 = &kInt64Elements},
    .segments = {.float16 = &kFloat16Segments,
                 .bfloat16 = &kBFloat16Segments,
                 .float32 = &kFloat32Segments,
                 .float64 = &kFloat64Segments,
                 .int32 = &kInt32Segments,
                 .int64 = &kInt64Segments},
    .optimizers = {
        .float16 = &kFloat16Optimizers, .bfloat16 = &kBFloat16Optimizers, .float32 = &kFloat32Optimizers, .float64 = &kFloat64Optimizers}};

}  // namespace gradsync::kernels::GRADSYNC_KERNELS_NAMESPACE
