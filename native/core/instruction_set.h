// InstructionSet: which instructions the kernels of a session use (kernels/kernels.h is built once for each). All give the same bits; a
// larger set is faster. Pure functions; thread-safe.
#ifndef GRADSYNC_CORE_INSTRUCTION_SET_H_
#define GRADSYNC_CORE_INSTRUCTION_SET_H_

#include <string_view>
#include <vector>

#include "core/status.h"

namespace gradsync {

enum class InstructionSet {
  kBaseline,  // what every processor of the architecture has; on x86-64 SSE2
  kAvx2,
  kAvx512,  // F, BW, DQ and VL
};

// "baseline", "avx2" or "avx512".
[[nodiscard]] std::string_view InstructionSetName(InstructionSet set);
// Those this build and this processor (with its operating system) have, ascending; never empty.
[[nodiscard]] std::vector<InstructionSet> AvailableInstructionSets();
[[nodiscard]] InstructionSet BestInstructionSet();
// By name; INVALID_ARGUMENT naming the available ones for any other, also for one that the machine lacks.
[[nodiscard]] StatusOr<InstructionSet> ParseInstructionSet(std::string_view name);

}  // namespace gradsync

#endif  // GRADSYNC_CORE_INSTRUCTION_SET_H_
