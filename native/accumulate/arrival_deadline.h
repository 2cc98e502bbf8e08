// ArrivalDeadline: how long a quorum round waits for those who are missing, from the moment its first member began. Fixed, or adaptive:
//   wait = clamp(multiplier * median(the last `window` times from a member's begin to its contribution, late ones too), min, max)
// and `max` until there is one. The median does not follow a few stragglers, and late arrivals count, so the wait cannot close in on
// itself. A plain value, not synchronized.
#ifndef GRADSYNC_ACCUMULATE_ARRIVAL_DEADLINE_H_
#define GRADSYNC_ACCUMULATE_ARRIVAL_DEADLINE_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <variant>
#include <vector>

#include "core/status.h"

namespace gradsync::accumulate {

// All in milliseconds.
struct FixedWait {
  double ms = 0;  // 0: as soon as there is a quorum; infinity: until all have contributed

  friend bool operator==(const FixedWait&, const FixedWait&) = default;
};
struct AdaptiveWait {
  double multiplier = 2;
  double min_ms = 0;
  double max_ms = std::numeric_limits<double>::infinity();
  std::int64_t window = 64;

  friend bool operator==(const AdaptiveWait&, const AdaptiveWait&) = default;
};
using ArrivalWait = std::variant<FixedWait, AdaptiveWait>;

[[nodiscard]] Status CheckWait(const ArrivalWait& wait);

class ArrivalDeadline {
 public:
  explicit ArrivalDeadline(const ArrivalWait& wait) : wait_(wait) {}

  void Add(double arrival_ms);
  [[nodiscard]] double wait_ms() const;

 private:
  ArrivalWait wait_;
  std::vector<double> arrivals_;  // the last ones, as a ring
  std::size_t next_ = 0;
};

}  // namespace gradsync::accumulate

#endif  // GRADSYNC_ACCUMULATE_ARRIVAL_DEADLINE_H_
