// Work: what has to be computed once all ranks have called, cut into pieces that any thread may take: by a rank that waits, or a thread of
// the pool. Pieces of one stage are independent of each other; a stage begins when all pieces of the one before are done. The cut decides
// only who computes an element, never how, so results do not depend on threads. Reads the calls of all ranks and fills their outcomes;
// owned by its Exchange. Begin is called by one thread, Run by many.
#ifndef GRADSYNC_COLLECTIVE_WORK_H_
#define GRADSYNC_COLLECTIVE_WORK_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "collective/communicator.h"
#include "collective/sparse_cost.h"
#include "core/instruction_set.h"
#include "core/memory.h"
#include "core/status.h"
#include "kernels/kernels.h"

namespace gradsync::collective {

// One rank's side of the work.
struct Part {
  const Call* call;
  Outcome* outcome;
};

// What the machine offers.
struct WorkContext {
  // Threads that can run at the same time.
  std::int64_t cores = 1;
  InstructionSet instruction_set = InstructionSet::kBaseline;
  const kernels::KernelTable* kernels = nullptr;  // of that set
  std::shared_ptr<SparseCosts> costs{};
  // Where results and what lies between come from. It keeps as much as the largest exchange needed.
  std::shared_ptr<Memory> memory{};
};

class Work {
 public:
  Work() = default;
  virtual ~Work() = default;
  Work(const Work&) = delete;
  Work& operator=(const Work&) = delete;

  // How many stages there are, at most kMaxStages.
  [[nodiscard]] virtual int stages() const { return 1; }
  // Prepares a stage and says into how many pieces it is cut; 0: nothing to do.
  virtual StatusOr<std::int64_t> Begin(int stage) = 0;
  // Does one piece.
  virtual Status Run(int stage, std::int64_t piece) = 0;
  // What it holds beside the outcomes, about.
  [[nodiscard]] virtual std::size_t ScratchBytes() const { return 0; }
};

inline constexpr int kMaxStages = 3;

// The work of checked calls that match, by rank.
[[nodiscard]] std::unique_ptr<Work> MakeWork(std::vector<Part> parts, const WorkContext& context);

}  // namespace gradsync::collective

#endif  // GRADSYNC_COLLECTIVE_WORK_H_
