// What libFuzzer calls, for every target.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/instruction_set.h"
#include "core/thread_pool.h"
#include "fuzz_input.h"

namespace gradsync::fuzz {
namespace {

using AllServices = std::vector<std::unique_ptr<Services>>;

// One per instruction set, for all inputs of the process: starting threads for each input would take longer than the input.
AllServices MakeServices() {
  AllServices all;
  for (const InstructionSet set : AvailableInstructionSets()) {
    all.push_back(std::make_unique<Services>(std::size_t{1}, Deadline::Clock::time_point{}, set));
  }
  return all;
}

}  // namespace
}  // namespace gradsync::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const gradsync::fuzz::AllServices all = gradsync::fuzz::MakeServices();
  gradsync::fuzz::FuzzInput input(data, size);
  gradsync::fuzz::Run(input, *all[static_cast<std::size_t>(input.Integer(0, static_cast<int>(all.size()) - 1))]);
  return 0;
}
