// What can be said about a Call before anything is computed: whether it makes sense alone, beside the call of another rank, and together
// with those of all ranks. Pure functions; messages are for users.
#ifndef GRADSYNC_COLLECTIVE_CALL_H_
#define GRADSYNC_COLLECTIVE_CALL_H_

#include <cstdint>
#include <span>
#include <string>

#include "collective/communicator.h"
#include "core/status.h"

namespace gradsync::collective {

// INVALID_ARGUMENT unless one rank of `ranks` may ask for this.
[[nodiscard]] Status CheckCall(const Call& call, std::int64_t ranks);

// INVALID_ARGUMENT naming both ranks and both values unless the two belong together. Both passed CheckCall.
[[nodiscard]] Status CheckMatch(std::int64_t rank, const Call& call, std::int64_t other_rank, const Call& other);

// INVALID_ARGUMENT when something would be written that another rank reads or writes. By rank; all match.
[[nodiscard]] Status CheckMemory(std::span<const Call* const> calls);

// "all-reduce 'key'", for messages.
[[nodiscard]] std::string DescribeCall(const Call& call);

// Bytes that are reduced or moved for this rank: what decides who does the work.
[[nodiscard]] std::size_t BytesOf(const Call& call);

}  // namespace gradsync::collective

#endif  // GRADSYNC_COLLECTIVE_CALL_H_
