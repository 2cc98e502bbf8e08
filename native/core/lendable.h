// Lendable: memory of which parts can be lent: to be read by whoever holds a gradient until its round is taken, or to be written by a take.
// No two loans overlap; one that would is refused with both borrowers named. Whoever uses the memory otherwise asks first whether he may. A
// loan ends when its last copy is dropped, on whatever thread, and keeps the memory alive until then. Owned by shared_ptr; thread-safe.
#ifndef GRADSYNC_CORE_LENDABLE_H_
#define GRADSYNC_CORE_LENDABLE_H_

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "core/buffer.h"
#include "core/status.h"

namespace gradsync {

enum class LoanKind { kRead, kWrite };

// Who has a loan, for messages. A take has no contributor.
struct Borrower {
  std::string accumulator;
  std::optional<std::int64_t> contributor = {};
  std::int64_t step = 0;

  // "accumulator 'g' (contributor 1, step 7)"
  [[nodiscard]] std::string ToString() const;
};

class Lendable : public std::enable_shared_from_this<Lendable> {
  struct Token {};  // only Create can name it

 public:
  using Loan = std::shared_ptr<const void>;

  Lendable(Token /*token*/, Buffer buffer) : buffer_(std::move(buffer)) {}
  [[nodiscard]] static std::shared_ptr<Lendable> Create(Buffer buffer) { return std::make_shared<Lendable>(Token{}, std::move(buffer)); }
  Lendable(const Lendable&) = delete;
  Lendable& operator=(const Lendable&) = delete;

  [[nodiscard]] std::byte* data() { return buffer_.data(); }
  [[nodiscard]] std::size_t size() const { return buffer_.size(); }

  // `bytes` from `offset` on, which lie inside. FAILED_PRECONDITION when some of them are lent.
  [[nodiscard]] StatusOr<Loan> Lend(std::size_t offset, std::size_t bytes, LoanKind kind, Borrower borrower);
  // FAILED_PRECONDITION when somebody else's loan forbids to read, or to write, them now.
  [[nodiscard]] Status CheckUse(std::size_t offset, std::size_t bytes, LoanKind use) const;

 private:
  struct Entry {
    std::size_t begin;
    std::size_t end;
    LoanKind kind;
    Borrower borrower;

    [[nodiscard]] bool Overlaps(std::size_t offset, std::size_t bytes) const;
  };
  using Entries = std::list<Entry>;
  [[nodiscard]] Entries::const_iterator FindOverlap(std::size_t offset, std::size_t bytes) const;
  void End(Entries::const_iterator entry);

  Buffer buffer_;
  mutable std::mutex mutex_;  // guards what follows
  Entries loans_;
};

}  // namespace gradsync

#endif  // GRADSYNC_CORE_LENDABLE_H_
