#include "node/external_memory.h"

#include <cstdlib>
#include <cstring>
#include <iterator>
#include <string_view>
#include <utility>

#include "node/addon_data.h"
#include "node/convert.h"
#include "node/error.h"

namespace gradsync::node {
namespace {

// Below this a copy costs less than an ArrayBuffer with a finalizer.
constexpr std::size_t kCopyBytes = 4096;

}  // namespace

std::optional<Napi::ArrayBuffer> ExternalArrayBuffer(Napi::Env env, void* data, std::size_t bytes, const std::shared_ptr<void>& owner) {
  // One reference moves to the finalizer: when JavaScript drops the array, it goes.
  auto reference = std::make_unique<std::shared_ptr<void>>(owner);
  const auto release = [](napi_env /*env*/, void* /*data*/, void* hint) {
    const std::unique_ptr<std::shared_ptr<void>> last(static_cast<std::shared_ptr<void>*>(hint));
  };
  napi_value external = nullptr;
  const napi_status status = napi_create_external_arraybuffer(env, data, bytes, release, reference.get(), &external);
  // A generic failure is Node's refusal of the size, for which it calls the finalizer.
  if (status == napi_ok || status == napi_generic_failure) static_cast<void>(reference.release());
  if (status == napi_ok) return Napi::ArrayBuffer(env, external);
  if (status != napi_no_external_buffers_allowed) {
    ThrowStatus(env, ResourceExhausted("could not make an ArrayBuffer of ", bytes, " bytes"));
  }
  return std::nullopt;
}

bool FindExternalMemory(Napi::Env env) {
  const char* const choice = std::getenv("GRADSYNC_EXTERNAL_MEMORY");
  if (choice != nullptr && std::string_view(choice) == "off") return false;
  const auto byte = std::make_shared<std::byte>();
  return ExternalArrayBuffer(env, byte.get(), 1, byte).has_value();
}

Napi::ArrayBuffer ArrayBufferOf(Napi::Env env, Buffer buffer) {
  const std::size_t bytes = buffer.size();
  const auto owner = std::make_shared<Buffer>(std::move(buffer));
  if (bytes >= kCopyBytes && AddonData::Of(env).has_external_memory) {
    if (auto external = ExternalArrayBuffer(env, owner->data(), bytes, owner)) return *external;
  }
  Napi::ArrayBuffer copy = Napi::ArrayBuffer::New(env, bytes);
  if (bytes > 0) std::memcpy(copy.Data(), owner->data(), bytes);
  return copy;
}

Napi::Value TypedArrayOn(Napi::ArrayBuffer buffer, DType dtype) {
  const Napi::Env env = buffer.Env();
  const std::size_t count = buffer.ByteLength() / DTypeSize(dtype);
  napi_value array = nullptr;
  if (napi_create_typedarray(env, ArrayTypeOf(dtype), count, buffer, 0, &array) != napi_ok) {
    ThrowStatus(env, Internal("could not make a ", ArrayNameOf(dtype), " of ", count, " elements"));
  }
  return {env, array};
}

Napi::ArrayBuffer LendableMemory::MakeArrayBuffer(Napi::Env env, Buffer buffer) {
  // What an ArrayBuffer on registered memory keeps: when it goes, the address is nobody's again. Loans may still have the memory.
  struct Registered {
    std::shared_ptr<LendableMemory> all;
    std::shared_ptr<Lendable> memory;
    ~Registered() { all->by_address_.erase(reinterpret_cast<std::uintptr_t>(memory->data())); }
  };
  std::memset(buffer.data(), 0, buffer.size());
  const auto memory = Lendable::Create(std::move(buffer));
  by_address_[reinterpret_cast<std::uintptr_t>(memory->data())] = memory;
  const std::shared_ptr<Registered> owner(new Registered{.all = shared_from_this(), .memory = memory});
  if (auto external = ExternalArrayBuffer(env, memory->data(), memory->size(), owner)) return *external;
  return Napi::ArrayBuffer::New(env, memory->size());
}

LendableMemory::Place LendableMemory::Find(const void* data, std::size_t bytes) const {
  if (by_address_.empty()) return {};
  const auto address = reinterpret_cast<std::uintptr_t>(data);
  const auto after = by_address_.upper_bound(address);
  if (after == by_address_.begin()) return {};
  const auto& [begin, weak] = *std::prev(after);
  std::shared_ptr<Lendable> memory = weak.lock();
  if (memory == nullptr || address - begin + bytes > memory->size()) return {};
  return {.memory = std::move(memory), .offset = address - begin};
}

StatusOr<Lendable::Loan> LendableMemory::Lend(const void* data, std::size_t bytes, LoanKind kind, Borrower borrower) const {
  const Place place = Find(data, bytes);
  if (place.memory == nullptr) {
    return InvalidArgument(
        "expected an array that session.allocate made but received other memory, which cannot be lent; use apply, which copies");
  }
  return place.memory->Lend(place.offset, bytes, kind, std::move(borrower));
}

Status LendableMemory::CheckUse(const void* data, std::size_t bytes, LoanKind use) const {
  const Place place = Find(data, bytes);
  return place.memory == nullptr ? OkStatus() : place.memory->CheckUse(place.offset, bytes, use);
}

}  // namespace gradsync::node
