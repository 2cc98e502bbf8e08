#include "step/gradients.h"

#include <span>
#include <utility>

#include "optimize/dense_update.h"
#include "optimize/gradient_norm.h"
#include "optimize/sparse_update.h"

namespace gradsync::step {
namespace {

// `view(payload)` gives the elements of a contribution.
template <typename Slots, typename View>
bool AddContributions(const Slots& slots, const std::string& variable, View&& view, std::vector<NonFinite>* found) {
  const std::size_t before = found->size();
  for (const auto& slot : slots) {
    if (const auto position = optimize::FindNonFinite(view(slot.payload))) {
      found->push_back({.variable = variable, .contributor = slot.contribution.contributor, .position = *position});
    }
  }
  return found->size() > before;
}

// `values(payload)` has view and MakeOwn.
template <typename Slots, typename Values>
Status ZeroContributions(Slots& slots, Values&& values) {
  for (auto& slot : slots) {
    if (!optimize::FindNonFinite(values(slot.payload).view())) continue;
    GRADSYNC_ASSIGN_OR_RETURN(Tensor* const own, values(slot.payload).MakeOwn());
    optimize::ZeroNonFinite(own->mutable_view());
  }
  return OkStatus();
}

// Dense gradients of one contribution.
optimize::DenseGradient One(const TensorView& values) { return {.contributions = std::span(&values, 1)}; }

}  // namespace

void DenseGradients::FindViews() {
  views_.clear();
  for (const auto& slot : batch_.slots) views_.push_back(slot.payload.view());
}

std::int64_t DenseGradients::divisor() const {
  return accumulator_->options().reduction == accumulate::Reduction::kMean ? static_cast<std::int64_t>(batch_.slots.size()) : 1;
}

StatusOr<double> DenseGradients::SumOfSquares(Services& services) const {
  return optimize::SumOfSquares({.contributions = views_, .divisor = divisor()}, services);
}

void DenseGradients::AddNonFinite(const std::string& variable, Services& services, std::vector<NonFinite>* found) const {
  if (AddContributions(
          batch_.slots, variable, [](const auto& gradient) { return gradient.view(); }, found))
    return;
  if (const auto position = optimize::FindNonFinite({.contributions = views_, .divisor = divisor()}, services)) {
    found->push_back({.variable = variable, .contributor = std::nullopt, .position = *position});
  }
}

Status DenseGradients::ZeroNonFinite() {
  GRADSYNC_RETURN_IF_ERROR(ZeroContributions(
      batch_.slots, [](auto& gradient) -> auto& { return gradient; }));
  FindViews();
  return OkStatus();
}

Status DenseGradients::Check(const optimize::Optimizer& optimizer, const optimize::UpdateTarget& target) const {
  return optimize::CheckDense(optimizer, target, {.contributions = views_});
}

Status DenseGradients::Apply(const optimize::Optimizer& optimizer, const optimize::UpdateTarget& target, double scale,
                             Services& services) const {
  return optimize::ApplyDense(optimizer, target, {.contributions = views_, .divisor = divisor(), .scale = scale}, services);
}

bool DenseGradients::IsFinite(Services& services) const {
  return optimize::IsAllFinite({.contributions = views_, .divisor = divisor()}, services);
}

bool SparseGradients::IsFinite(Services& services) const { return optimize::IsAllFinite(One(slices_.values.view()), services); }

Status SparseGradients::Prepare(NonFinitePolicy policy, const std::string& variable, std::vector<NonFinite>* found) {
  if (policy == NonFinitePolicy::kZero && AddContributions(
                                              batch_.slots, variable, [](const auto& gradient) { return gradient.values.view(); }, found)) {
    GRADSYNC_RETURN_IF_ERROR(ZeroContributions(
        batch_.slots, [](auto& gradient) -> auto& { return gradient.values; }));
  }
  GRADSYNC_ASSIGN_OR_RETURN(slices_, accumulator_->Reduce(batch_));
  return OkStatus();
}

StatusOr<double> SparseGradients::SumOfSquares(Services& services) const {
  return optimize::SumOfSquares(One(slices_.values.view()), services);
}

void SparseGradients::AddNonFinite(const std::string& variable, Services& /*services*/, std::vector<NonFinite>* found) const {
  if (AddContributions(
          batch_.slots, variable, [](const auto& gradient) { return gradient.values.view(); }, found))
    return;
  if (const auto position = optimize::FindNonFinite(slices_.values.view())) {
    found->push_back({.variable = variable, .contributor = std::nullopt, .position = *position});
  }
}

Status SparseGradients::Check(const optimize::Optimizer& optimizer, const optimize::UpdateTarget& target) const {
  return optimize::CheckSparse(optimizer, target, {.indices = slices_.indices.view(), .values = slices_.values.view()});
}

Status SparseGradients::Apply(const optimize::Optimizer& optimizer, const optimize::UpdateTarget& target, double scale,
                              Services& services) const {
  return optimize::ApplySparse(optimizer, target, {.indices = slices_.indices.view(), .values = slices_.values.view(), .scale = scale},
                               services);
}

}  // namespace gradsync::step
