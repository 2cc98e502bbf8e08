// Native memory as ArrayBuffers, and memory that JavaScript lends back. `LendableMemory` is an environment's register of what
// session.allocate gave it: by an array's address it finds whether parts of it are lent. On the environment's thread only; the loans
// themselves end on any thread. A runtime that allows no external memory (Electron, or GRADSYNC_EXTERNAL_MEMORY=off) is served with copies.
#ifndef GRADSYNC_NODE_EXTERNAL_MEMORY_H_
#define GRADSYNC_NODE_EXTERNAL_MEMORY_H_

#include <napi.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>

#include "core/buffer.h"
#include "core/dtype.h"
#include "core/lendable.h"
#include "core/status.h"

namespace gradsync::node {

class LendableMemory : public std::enable_shared_from_this<LendableMemory> {
 public:
  LendableMemory() = default;
  LendableMemory(const LendableMemory&) = delete;
  LendableMemory& operator=(const LendableMemory&) = delete;

  // An ArrayBuffer of zeros on that memory, which it keeps alive; ordinary memory where there is no other.
  Napi::ArrayBuffer MakeArrayBuffer(Napi::Env env, Buffer buffer);
  // INVALID_ARGUMENT for memory that is not of MakeArrayBuffer, FAILED_PRECONDITION for what is lent already.
  StatusOr<Lendable::Loan> Lend(const void* data, std::size_t bytes, LoanKind kind, Borrower borrower) const;
  // Whether loans allow this use now; OK for any other memory.
  [[nodiscard]] Status CheckUse(const void* data, std::size_t bytes, LoanKind use) const;
  [[nodiscard]] bool Holds(const void* data, std::size_t bytes) const { return Find(data, bytes).memory != nullptr; }

 private:
  struct Place {
    std::shared_ptr<Lendable> memory;
    std::size_t offset = 0;
  };
  [[nodiscard]] Place Find(const void* data, std::size_t bytes) const;

  std::map<std::uintptr_t, std::weak_ptr<Lendable>> by_address_;
};

// Whether this environment's ArrayBuffers may lie on native memory; finds out by making one.
bool FindExternalMemory(Napi::Env env);

// An ArrayBuffer on `data`, which `owner` keeps alive; none where the runtime allows no such thing. Throws RESOURCE_EXHAUSTED when it
// refuses the size.
std::optional<Napi::ArrayBuffer> ExternalArrayBuffer(Napi::Env env, void* data, std::size_t bytes, const std::shared_ptr<void>& owner);

// The memory as an ArrayBuffer, or a copy of it where that is small or must be.
Napi::ArrayBuffer ArrayBufferOf(Napi::Env env, Buffer buffer);

// All of an ArrayBuffer as the typed array for `dtype`.
Napi::Value TypedArrayOn(Napi::ArrayBuffer buffer, DType dtype);

}  // namespace gradsync::node

#endif  // GRADSYNC_NODE_EXTERNAL_MEMORY_H_
