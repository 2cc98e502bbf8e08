// Leases: memory lent in any parts to readers, gradients and takes that write to it. No two loans share a byte, each ends with its last
// holder, and the memory stays until then. A take into a place of another size leaves the round as it was.
#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "accumulate/dense_accumulator.h"
#include "core/lendable.h"
#include "fuzz_input.h"

namespace gradsync::fuzz {
namespace {

using accumulate::DenseAccumulator;

struct Range {
  std::size_t begin;
  std::size_t size;
};

bool Share(const Range& a, const Range& b) { return std::max(a.begin, b.begin) < std::min(a.begin + a.size, b.begin + b.size); }

// The memory, beside what its loans should be.
class Lender {
 public:
  explicit Lender(std::size_t bytes) : memory_(Lendable::Create(*Buffer::Allocate(bytes))), size_(bytes), data_(memory_->data()) {
    std::fill_n(data_, bytes, std::byte{0});
  }

  // A part of it, for elements of that many bytes.
  Range AnyRange(FuzzInput& input, std::size_t element = 1) const {
    const auto room = static_cast<int>(size_ / element);
    const int begin = input.Integer(0, room);
    return {.begin = static_cast<std::size_t>(begin) * element, .size = static_cast<std::size_t>(input.Integer(0, room - begin)) * element};
  }
  // None where somebody has part of it.
  Lendable::Loan Lend(const Range& range, LoanKind kind, std::optional<std::int64_t> contributor = {}) {
    const bool is_free = std::ranges::none_of(loans_, [&](const Entry& loan) { return !loan.loan.expired() && Share(loan.range, range); });
    auto loan = memory_->Lend(range.begin, range.size, kind, {.accumulator = "fuzz", .contributor = contributor});
    FUZZ_CHECK(loan.ok() == is_free);
    if (!loan.ok()) return nullptr;
    loans_.push_back({.range = range, .kind = kind, .loan = *loan});
    return *std::move(loan);
  }
  void CheckUse(const Range& range, LoanKind use) const {
    const bool is_allowed = std::ranges::none_of(loans_, [&](const Entry& loan) {
      return !loan.loan.expired() && Share(loan.range, range) && (use == LoanKind::kWrite || loan.kind == LoanKind::kWrite);
    });
    FUZZ_CHECK(memory_->CheckUse(range.begin, range.size, use).ok() == is_allowed);
  }
  [[nodiscard]] std::span<std::byte> Bytes(const Range& range) const { return {data_ + range.begin, range.size}; }
  // Its owner goes; who has a loan still has the memory.
  void Drop() { memory_ = nullptr; }

 private:
  struct Entry {
    Range range;
    LoanKind kind;
    std::weak_ptr<const void> loan;
  };
  std::shared_ptr<Lendable> memory_;
  std::size_t size_;
  std::byte* data_;
  std::vector<Entry> loans_;
};

struct Holder {
  Range range;
  Lendable::Loan loan;
};

void ApplyLeased(FuzzInput& input, Lender& lender, DenseAccumulator& accumulator) {
  const std::size_t element = DTypeSize(accumulator.options().dtype);
  const Range range = lender.AnyRange(input, input.Rarely(12) ? 1 : element);
  const std::int64_t contributor = input.Number();
  Lendable::Loan loan = lender.Lend(range, LoanKind::kRead, contributor);
  if (loan == nullptr) return;
  const std::weak_ptr<const void> ended = loan;
  const Shape shape = input.MostlyShape(Shape{static_cast<std::int64_t>(range.size / element)});
  const TensorView view{
      .dtype = input.MostlyDType(accumulator.options().dtype), .shape = shape, .data = lender.Bytes(range).data(), .bytes = range.size};
  auto lease = Lease::Of(view, std::move(loan));
  FUZZ_CHECK(lease.ok() || ended.expired());
  if (!lease.ok()) return;
  const auto receipt = accumulator.ApplyLeased(input.Flag() ? accumulator.GlobalStep() : input.Number(), contributor, *std::move(lease));
  FUZZ_CHECK(receipt.ok() && receipt->is_accepted || ended.expired());
}

void TakeInto(FuzzInput& input, Lender& lender, DenseAccumulator& accumulator, std::vector<Cancellation>& waits, int& answered) {
  const Range range = lender.AnyRange(input, DTypeSize(accumulator.options().dtype));
  const auto loan = std::make_shared<Lendable::Loan>(lender.Lend(range, LoanKind::kWrite));
  const std::span<std::byte> place = lender.Bytes(range);
  if (*loan == nullptr) {
    ++answered;
    return;
  }
  waits.push_back(accumulator.TakeInto(
      input.Number(), place, Deadline::Infinite(), [loan, place, &accumulator, &answered](const StatusOr<Shape>& shape) {
        ++answered;
        *loan = nullptr;
        if (!shape.ok()) return;
        FUZZ_CHECK(TensorView({.dtype = accumulator.options().dtype, .shape = *shape, .data = place.data(), .bytes = place.size()})
                       .Check("sum")
                       .ok());
      }));
}

}  // namespace

void Run(FuzzInput& input, Services& services) {
  const auto created = DenseAccumulator::Create({.name = "fuzz", .dtype = input.MostlyDType(DType::kFloat32), .shape = {}}, services);
  if (!created.ok()) return;
  DenseAccumulator& accumulator = **created;
  Lender lender(static_cast<std::size_t>(input.Integer(0, 96)));
  std::vector<Holder> holders;
  std::vector<Cancellation> waits;
  int asked = 0;
  int answered = 0;
  for (int i = 0; i < kMaxCalls && input.HasMore(); ++i) {
    const LoanKind kind = input.Flag() ? LoanKind::kRead : LoanKind::kWrite;
    const int call = input.Integer(0, 9);
    if (call < 3) {
      ApplyLeased(input, lender, accumulator);
    } else if (call < 5) {
      ++asked;
      TakeInto(input, lender, accumulator, waits, answered);
    } else if (call < 6) {
      if (!waits.empty()) waits[static_cast<std::size_t>(input.Integer(0, static_cast<int>(waits.size()) - 1))].Cancel();
    } else if (call < 8) {
      const Range range = lender.AnyRange(input);
      if (Lendable::Loan loan = lender.Lend(range, kind)) holders.push_back({.range = range, .loan = std::move(loan)});
    } else if (call < 9) {
      if (!holders.empty()) holders.erase(holders.begin() + input.Integer(0, static_cast<int>(holders.size()) - 1));
    } else {
      lender.CheckUse(lender.AnyRange(input), kind);
    }
    input.Clear();
  }
  lender.Drop();
  for (const Holder& holder : holders) std::ranges::fill(lender.Bytes(holder.range), std::byte{1});
  accumulator.Shutdown("the end");
  FUZZ_CHECK(answered == asked);
}

}  // namespace gradsync::fuzz
