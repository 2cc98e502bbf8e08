// LocalCommunicator: the Communicator of one rank of a LocalGroup. Membership: that the rank is there; shared by its communicators in the
// group it joined and in groups made of that one, and when the last of them goes, the rank leaves all. See communicator.h for threads and
// ownership; both keep the group alive.
#ifndef GRADSYNC_COLLECTIVE_LOCAL_COMMUNICATOR_H_
#define GRADSYNC_COLLECTIVE_LOCAL_COMMUNICATOR_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "collective/communicator.h"
#include "collective/local_group.h"

namespace gradsync::collective {

class Membership {
 public:
  Membership(std::shared_ptr<LocalGroup> group, std::size_t rank) : group_(std::move(group)), rank_(rank) {}
  ~Membership() { Leave("its communicator went out of use"); }
  Membership(const Membership&) = delete;
  Membership& operator=(const Membership&) = delete;

  void Leave(const std::string& reason) { group_->Leave(rank_, reason); }

 private:
  const std::shared_ptr<LocalGroup> group_;
  const std::size_t rank_;
};

class LocalCommunicator : public Communicator {
 public:
  LocalCommunicator(std::shared_ptr<Membership> membership, std::shared_ptr<LocalGroup> group, std::size_t rank)
      : group_(std::move(group)), membership_(std::move(membership)), rank_(rank) {}

  [[nodiscard]] std::int64_t rank() const override { return static_cast<std::int64_t>(rank_); }
  [[nodiscard]] std::int64_t size() const override { return group_->options().size; }
  StatusOr<Outcome> Run(const Call& call, Deadline deadline) override { return group_->Run(rank_, call, deadline); }
  Cancellation Start(Call call, Deadline deadline, Callback callback) override {
    return group_->Start(rank_, std::move(call), deadline, callback);
  }
  StatusOr<std::shared_ptr<Communicator>> Subgroup(const std::vector<std::int64_t>& ranks) override;
  void Leave(const std::string& reason) override { membership_->Leave(reason); }

 private:
  const std::shared_ptr<LocalGroup> group_;
  const std::shared_ptr<Membership> membership_;
  const std::size_t rank_;
};

}  // namespace gradsync::collective

#endif  // GRADSYNC_COLLECTIVE_LOCAL_COMMUNICATOR_H_
