#include "collective/local_communicator.h"

#include <algorithm>

namespace gradsync::collective {

StatusOr<std::shared_ptr<Communicator>> LocalCommunicator::Subgroup(const std::vector<std::int64_t>& ranks) {
  const auto mine = std::ranges::find(ranks, rank());
  if (mine == ranks.end()) {
    return InvalidArgument("communicator '", group_->options().name, "': subgroup: expected ranks with rank ", rank(),
                           ", which asks, but received ", ShapeString(ranks));
  }
  GRADSYNC_ASSIGN_OR_RETURN(std::shared_ptr<LocalGroup> group, group_->Subgroup(ranks));
  return std::shared_ptr<Communicator>(
      std::make_shared<LocalCommunicator>(membership_, std::move(group), static_cast<std::size_t>(mine - ranks.begin())));
}

}  // namespace gradsync::collective
