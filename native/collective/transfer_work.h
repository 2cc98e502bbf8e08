// TransferWork: all collectives but the sparse one as a list of transfers: elements read from one or several places, reduced to one where
// they are several, written to one or several places. Deterministic: an element depends on the inputs' elements at its own place alone, in
// rank order. Threads and ownership as in work.h.
#ifndef GRADSYNC_COLLECTIVE_TRANSFER_WORK_H_
#define GRADSYNC_COLLECTIVE_TRANSFER_WORK_H_

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "collective/work.h"

namespace gradsync::collective {

struct Transfer {
  std::vector<const std::byte*> from;
  // In part or all of them may be one of `from`.
  std::vector<std::byte*> to;
  std::int64_t count;  // elements
};

class TransferWork : public Work {
 public:
  TransferWork(std::vector<Part> parts, const WorkContext& context) : parts_(std::move(parts)), context_(context) {}

  // Makes the list, and room for what the outcomes hold.
  StatusOr<std::int64_t> Begin(int stage) override;
  Status Run(int stage, std::int64_t piece) override;

 private:
  struct Piece {
    std::size_t transfer;
    std::int64_t begin;
    std::int64_t end;
  };

  [[nodiscard]] const Call& first() const { return *parts_[0].call; }
  [[nodiscard]] std::int64_t ranks() const { return static_cast<std::int64_t>(parts_.size()); }
  void ListAllReduce();
  void ListBroadcast();
  Status ListReduceScatter();
  Status ListAllGather();
  Status ListAllToAll();
  void Cut();

  const std::vector<Part> parts_;
  const WorkContext context_;
  bool is_reduction_ = false;
  std::vector<Transfer> transfers_;
  std::vector<Piece> pieces_;
};

}  // namespace gradsync::collective

#endif  // GRADSYNC_COLLECTIVE_TRANSFER_WORK_H_
