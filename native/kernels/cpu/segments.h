// The kernels that sum segments of rows of one element type, for the table of this instruction set (see cpu/instruction_set.h). Constants.
#ifndef GRADSYNC_KERNELS_CPU_SEGMENTS_H_
#define GRADSYNC_KERNELS_CPU_SEGMENTS_H_

#include "kernels/cpu/instruction_set.h"
#include "kernels/kernels.h"

namespace gradsync::kernels::GRADSYNC_KERNELS_NAMESPACE {

extern const SegmentKernels<Half> kFloat16Segments;
extern const SegmentKernels<BFloat16> kBFloat16Segments;
extern const SegmentKernels<float> kFloat32Segments;
extern const SegmentKernels<double> kFloat64Segments;
extern const SegmentKernels<std::int32_t> kInt32Segments;
extern const SegmentKernels<std::int64_t> kInt64Segments;

}  // namespace gradsync::kernels::GRADSYNC_KERNELS_NAMESPACE

#endif  // GRADSYNC_KERNELS_CPU_SEGMENTS_H_
