// NativeDenseRounds and NativeSparseRounds of src/addon/native.ts, thin wrappers around accumulate::MemberRounds; see wrap.h for ownership
// and threads.
#ifndef GRADSYNC_NODE_WRAP_MEMBER_ROUNDS_H_
#define GRADSYNC_NODE_WRAP_MEMBER_ROUNDS_H_

#include <napi.h>

#include <cstddef>
#include <string_view>
#include <vector>

#include "accumulate/member_rounds.h"
#include "node/session.h"
#include "node/wrap.h"

namespace gradsync::node {

// {members, rule} among the fields of an argument.
accumulate::MemberRoundsOptions ReadMemberRounds(const Arguments& arguments, std::size_t index, std::string_view name);

// All but how gradients come in.
template <typename Derived, typename Rounds>
class WrapMemberRounds : public Wrap<Derived, Rounds> {
 public:
  using Wrap<Derived, Rounds>::Wrap;

 protected:
  using Info = Napi::CallbackInfo;
  using Descriptor = Napi::ClassPropertyDescriptor<Derived>;

  // The properties of the class.
  static std::vector<Descriptor> Properties();

  Napi::Value Begin(const Info& info);
  Napi::Value Take(const Info& info);
  void Applied(const Info& info);
  Napi::Value Join(const Info& info);
  void Leave(const Info& info);
  void Die(const Info& info);
  Napi::Value Lags(const Info& info);
  Napi::Value NumApplied(const Info& info);
};

class WrapDenseRounds : public WrapMemberRounds<WrapDenseRounds, DenseRounds> {
 public:
  static constexpr std::string_view kClass = "NativeDenseRounds";
  static constexpr napi_type_tag kTag = {0x67726164'73796e63, 20};
  using WrapMemberRounds::WrapMemberRounds;

  static Napi::FunctionReference Define(Napi::Env env);

 private:
  friend WrapMemberRounds;
  Napi::Value Apply(const Info& info);
  Napi::Value ApplyLeased(const Info& info);
};

class WrapSparseRounds : public WrapMemberRounds<WrapSparseRounds, SparseRounds> {
 public:
  static constexpr std::string_view kClass = "NativeSparseRounds";
  static constexpr napi_type_tag kTag = {0x67726164'73796e63, 21};
  using WrapMemberRounds::WrapMemberRounds;

  static Napi::FunctionReference Define(Napi::Env env);

 private:
  friend WrapMemberRounds;
  Napi::Value Apply(const Info& info);
  Napi::Value ApplyLeased(const Info& info);
};

}  // namespace gradsync::node

#endif  // GRADSYNC_NODE_WRAP_MEMBER_ROUNDS_H_
