#include "core/instruction_set.h"

#include <string>

namespace gradsync {

std::string_view InstructionSetName(InstructionSet set) {
  switch (set) {
    case InstructionSet::kBaseline:
      return "baseline";
    case InstructionSet::kAvx2:
      return "avx2";
    case InstructionSet::kAvx512:
      return "avx512";
  }
  return "unknown";
}

std::vector<InstructionSet> AvailableInstructionSets() {
  std::vector<InstructionSet> sets{InstructionSet::kBaseline};
  // Set where the build files make kernels for more than the baseline. The compiler's function also asks whether the operating system
  // saves the wide registers.
#ifdef GRADSYNC_X86_KERNELS
  if (__builtin_cpu_supports("avx2")) {
    sets.push_back(InstructionSet::kAvx2);
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl")) {
      sets.push_back(InstructionSet::kAvx512);
    }
  }
#endif
  return sets;
}

InstructionSet BestInstructionSet() { return AvailableInstructionSets().back(); }

StatusOr<InstructionSet> ParseInstructionSet(std::string_view name) {
  std::string names;
  for (const InstructionSet set : AvailableInstructionSets()) {
    if (name == InstructionSetName(set)) return set;
    names.append(names.empty() ? "" : ", ").append(InstructionSetName(set));
  }
  return InvalidArgument("expected an instruction set that this machine has (", names, ") but received '", name, "'");
}

}  // namespace gradsync
