#include "kernels/kernels.h"

namespace gradsync::kernels {

// Defined by kernels/cpu/table.cc, once per instruction set.
namespace baseline {
extern const KernelTable kTable;
}
#ifdef GRADSYNC_X86_KERNELS
namespace avx2 {
extern const KernelTable kTable;
}
namespace avx512 {
extern const KernelTable kTable;
}
#endif

const KernelTable& KernelsFor(InstructionSet set) {
  switch (set) {
#ifdef GRADSYNC_X86_KERNELS
    case InstructionSet::kAvx2:
      return avx2::kTable;
    case InstructionSet::kAvx512:
      return avx512::kTable;
#endif
    default:
      return baseline::kTable;
  }
}

}  // namespace gradsync::kernels
