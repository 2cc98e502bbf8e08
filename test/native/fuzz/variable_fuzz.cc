// Variables: any arguments in any order. The version counts the changes that were accepted; a lease never changes.
#include <cstdint>
#include <cstring>
#include <optional>
#include <vector>

#include "accumulate/variable.h"
#include "fuzz_input.h"

namespace gradsync::fuzz {
namespace {

using accumulate::Variable;

Shape RowsShape(const Variable& variable, const TensorView& indices) {
  Shape shape(indices.shape.begin(), indices.shape.end());
  const std::optional<Shape> current = variable.shape();
  if (current.has_value() && !current->empty()) shape.insert(shape.end(), current->begin() + 1, current->end());
  return shape;
}

// Changes the variable; whether it was accepted.
bool Change(FuzzInput& input, Variable& variable) {
  const DType dtype = input.MostlyDType(variable.options().dtype);
  const int call = input.Integer(0, 5);
  if (call < 3) {
    const TensorView value = input.View(dtype, input.MostlyShape(variable.shape().value_or(input.AnyShape())));
    return (call == 0 ? variable.Assign(value) : call == 1 ? variable.AssignAdd(value) : variable.AssignSub(value)).ok();
  }
  const TensorView indices = input.Indices();
  const TensorView rows = input.View(dtype, input.MostlyShape(RowsShape(variable, indices)));
  return (call == 3   ? variable.ScatterAdd(indices, rows)
          : call == 4 ? variable.ScatterSub(indices, rows)
                      : variable.ScatterUpdate(indices, rows))
      .ok();
}

void Read(FuzzInput& input, const Variable& variable) {
  const DType dtype = input.MostlyDType(variable.options().dtype);
  if (input.Flag()) {
    const std::int64_t known = input.Number();
    const auto version = variable.CopyTo(input.Mutable(dtype, input.MostlyShape(variable.shape().value_or(Shape{}))), known);
    FUZZ_CHECK(!version.ok() || *version == variable.version());
    return;
  }
  const TensorView indices = input.Indices();
  static_cast<void>(variable.Gather(indices, input.Mutable(dtype, input.MostlyShape(RowsShape(variable, indices)))));
}

}  // namespace

void Run(FuzzInput& input, Services& /*services*/) {
  Variable variable({.name = "fuzz", .dtype = input.MostlyDType(DType::kFloat32), .shape = input.AnyPartialShape()});
  std::vector<std::byte> leased;
  accumulate::VariableLease lease;
  for (int i = 0; i < kMaxCalls && input.HasMore(); ++i) {
    if (input.Rarely(8) && variable.is_initialized() && leased.empty()) {
      lease = *variable.Read();
      const TensorView view = lease.tensor().view();
      leased.assign(static_cast<const std::byte*>(view.data), static_cast<const std::byte*>(view.data) + view.bytes);
    }
    const std::int64_t before = variable.version();
    const bool is_changed = input.Integer(0, 2) < 2 ? Change(input, variable) : (Read(input, variable), false);
    FUZZ_CHECK(variable.version() == before + (is_changed ? 1 : 0));
    input.Clear();
  }
  FUZZ_CHECK(leased.empty() || std::memcmp(lease.tensor().view().data, leased.data(), leased.size()) == 0);
}

}  // namespace gradsync::fuzz
