#include "accumulate/arrival_deadline.h"

#include <algorithm>

namespace gradsync::accumulate {
namespace {

constexpr std::int64_t kMaxWindow = 4096;

// The middle one; of two the mean.
double Median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::ranges::nth_element(values, middle);
  if (values.size() % 2 == 1) return *middle;
  return (*std::max_element(values.begin(), middle) + *middle) / 2;
}

}  // namespace

Status CheckWait(const ArrivalWait& wait) {
  if (const auto* fixed = std::get_if<FixedWait>(&wait)) {
    return fixed->ms >= 0 ? OkStatus() : InvalidArgument("expected a wait of at least 0 ms but received ", fixed->ms);
  }
  const auto& adaptive = std::get<AdaptiveWait>(wait);
  if (!(adaptive.multiplier > 0)) return InvalidArgument("expected a multiplier above 0 but received ", adaptive.multiplier);
  if (!(adaptive.min_ms >= 0 && adaptive.max_ms >= adaptive.min_ms)) {
    return InvalidArgument("expected 0 <= minMs <= maxMs but received ", adaptive.min_ms, " and ", adaptive.max_ms);
  }
  if (adaptive.window < 1 || adaptive.window > kMaxWindow) {
    return InvalidArgument("expected a window of 1 to ", kMaxWindow, " arrivals but received ", adaptive.window);
  }
  return OkStatus();
}

void ArrivalDeadline::Add(double arrival_ms) {
  const auto* adaptive = std::get_if<AdaptiveWait>(&wait_);
  if (adaptive == nullptr) return;
  const auto window = static_cast<std::size_t>(adaptive->window);
  if (arrivals_.size() < window) {
    arrivals_.push_back(arrival_ms);
  } else {
    arrivals_[next_] = arrival_ms;
    next_ = (next_ + 1) % window;
  }
}

double ArrivalDeadline::wait_ms() const {
  if (const auto* fixed = std::get_if<FixedWait>(&wait_)) return fixed->ms;
  const auto& adaptive = std::get<AdaptiveWait>(wait_);
  if (arrivals_.empty()) return adaptive.max_ms;
  return std::clamp(adaptive.multiplier * Median(arrivals_), adaptive.min_ms, adaptive.max_ms);
}

}  // namespace gradsync::accumulate
