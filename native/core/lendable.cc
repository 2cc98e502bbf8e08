#include "core/lendable.h"

#include <algorithm>
#include <utility>

namespace gradsync {

std::string Borrower::ToString() const {
  if (!contributor) return StrCat("a take of accumulator '", accumulator, "'");
  return StrCat("accumulator '", accumulator, "' (contributor ", *contributor, ", step ", step, ")");
}

// Whether both have a byte in common; ranges of none never have.
bool Lendable::Entry::Overlaps(std::size_t offset, std::size_t bytes) const {
  return std::max(begin, offset) < std::min(end, offset + bytes);
}

Lendable::Entries::const_iterator Lendable::FindOverlap(std::size_t offset, std::size_t bytes) const {
  return std::ranges::find_if(loans_, [&](const Entry& loan) { return loan.Overlaps(offset, bytes); });
}

StatusOr<Lendable::Loan> Lendable::Lend(std::size_t offset, std::size_t bytes, LoanKind kind, Borrower borrower) {
  const std::lock_guard lock(mutex_);
  if (const auto other = FindOverlap(offset, bytes); other != loans_.end()) {
    return FailedPrecondition("cannot lend bytes ", offset, " to ", offset + bytes, " to ", borrower.ToString(), ": bytes ", other->begin,
                              " to ", other->end, " are lent to ", other->borrower.ToString(), " until that round is taken");
  }
  const auto entry = loans_.insert(loans_.end(), {.begin = offset, .end = offset + bytes, .kind = kind, .borrower = std::move(borrower)});
  // The deleter owns the memory; what it points to only says that there is something.
  return Loan(buffer_.data(), [self = shared_from_this(), entry](const void* /*data*/) { self->End(entry); });
}

Status Lendable::CheckUse(std::size_t offset, std::size_t bytes, LoanKind use) const {
  const std::lock_guard lock(mutex_);
  for (const Entry& loan : loans_) {
    if (!loan.Overlaps(offset, bytes)) continue;
    if (use == LoanKind::kRead && loan.kind == LoanKind::kRead) continue;
    return FailedPrecondition("expected memory that is free to be ", use == LoanKind::kRead ? "read" : "written", " but bytes ", loan.begin,
                              " to ", loan.end, " of it are lent to ", loan.borrower.ToString(), " until that round is taken");
  }
  return OkStatus();
}

void Lendable::End(Entries::const_iterator entry) {
  const std::lock_guard lock(mutex_);
  loans_.erase(entry);
}

}  // namespace gradsync
