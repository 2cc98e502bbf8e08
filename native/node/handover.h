// How an apply gets its gradient: by a copy, or as a lease of memory that session.allocate made. On the environment's thread only.
#ifndef GRADSYNC_NODE_HANDOVER_H_
#define GRADSYNC_NODE_HANDOVER_H_

#include <optional>
#include <string_view>
#include <utility>

#include "core/lease.h"
#include "core/lendable.h"
#include "core/tensor_view.h"
#include "node/addon_data.h"
#include "node/convert.h"

namespace gradsync::node {

enum class Handover { kCopy, kLease };

// The lease of that argument; none where it is to be copied: no elements, or a runtime in which nothing can be lent (capabilities say so).
inline std::optional<Lease> LeaseFor(Handover handover, const Arguments& arguments, std::string_view name, const TensorView& view,
                                     Borrower borrower) {
  const AddonData& data = AddonData::Of(arguments.Env());
  if (handover == Handover::kCopy || view.bytes == 0 || !data.has_external_memory) return std::nullopt;
  StatusOr<Lendable::Loan> loan = data.lendable->Lend(view.data, view.bytes, LoanKind::kRead, std::move(borrower));
  arguments.Check(name, loan.status());
  StatusOr<Lease> lease = Lease::Of(view, *std::move(loan));
  arguments.Check(name, lease.status());
  return *std::move(lease);
}

}  // namespace gradsync::node

#endif  // GRADSYNC_NODE_HANDOVER_H_
