// What assign, gather and scatter do to the elements of a variable, as functions over views: no versions, no locks. Half types compute in
// float and round once per operation; integers wrap around; bool can be replaced, not added. Deterministic: rows are applied in the order
// given.
#ifndef GRADSYNC_ACCUMULATE_ROW_UPDATE_H_
#define GRADSYNC_ACCUMULATE_ROW_UPDATE_H_

#include <cstdint>
#include <string_view>

#include "core/status.h"
#include "core/tensor_view.h"

namespace gradsync::accumulate {

enum class Arithmetic { kAdd, kSub, kReplace };

// to[i] = to[i] <arithmetic> from[i]. Same dtype and number of elements (the caller's duty).
Status UpdateElements(const MutableTensorView& to, const TensorView& from, Arithmetic arithmetic);

// INVALID_ARGUMENT unless indices are int32 or int64 and each is in [0, limit); the message names position, index and limit.
Status CheckIndices(const TensorView& indices, std::int64_t limit, std::string_view what);

// Rows of `table` (rank 1 or more) at `indices`, one after the other into `out`. Indices were checked; `out` has the room.
void GatherRows(const TensorView& table, const TensorView& indices, const MutableTensorView& out);

// table[indices[i]] = table[indices[i]] <arithmetic> rows[i], one after the other. Indices and sizes were checked.
Status ScatterRows(const MutableTensorView& table, const TensorView& indices, const TensorView& rows, Arithmetic arithmetic);

}  // namespace gradsync::accumulate

#endif  // GRADSYNC_ACCUMULATE_ROW_UPDATE_H_
