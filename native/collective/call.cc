#include "collective/call.h"

#include <cstddef>
#include <functional>
#include <limits>

#include "core/dtype.h"
#include "core/shape.h"

namespace gradsync::collective {
namespace {

bool IsReduction(Collective collective) {
  return collective == Collective::kAllReduce || collective == Collective::kReduceScatter || collective == Collective::kSparseAllReduce;
}

bool HasOutput(Collective collective) { return collective == Collective::kAllReduce || collective == Collective::kBroadcast; }

// Whether the number of rows may differ between ranks.
bool IsRagged(Collective collective) {
  return collective == Collective::kAllGather || collective == Collective::kAllToAll || collective == Collective::kSparseAllReduce;
}

// Half-open ranges of addresses.
bool Overlap(const void* a, std::size_t a_bytes, const void* b, std::size_t b_bytes) {
  if (a_bytes == 0 || b_bytes == 0) return false;
  const auto* first = static_cast<const std::byte*>(a);
  const auto* second = static_cast<const std::byte*>(b);
  return std::less<>()(first, second + b_bytes) && std::less<>()(second, first + a_bytes);
}

Status CheckOutput(const Call& call) {
  GRADSYNC_RETURN_IF_ERROR(call.output.AsConst().Check("output"));
  if (call.output.dtype != call.input.dtype || !SameShape(call.output.shape, call.input.shape)) {
    return InvalidArgument("expected an output like the input, ", call.input.dtype, " ", ShapeString(call.input.shape), ", but received ",
                           call.output.dtype, " ", ShapeString(call.output.shape));
  }
  const bool is_in_place = call.output.data == call.input.data;
  if (!is_in_place && Overlap(call.output.data, call.output.bytes, call.input.data, call.input.bytes)) {
    return InvalidArgument("expected an output that is the input itself or apart from it but received one that overlaps it in part");
  }
  return OkStatus();
}

Status CheckSplits(const Call& call, std::int64_t ranks) {
  const std::int64_t rows = call.input.shape[0];
  if (call.splits.empty()) {
    if (rows % ranks == 0) return OkStatus();
    return InvalidArgument("expected a number of rows that ", ranks, " ranks divide, or splits, but received ", rows, " rows");
  }
  if (static_cast<std::int64_t>(call.splits.size()) != ranks) {
    return InvalidArgument("expected a split for each of ", ranks, " ranks but received ", call.splits.size());
  }
  std::int64_t left = rows;
  for (const std::int64_t split : call.splits) {
    if (split < 0 || split > left)
      return InvalidArgument("expected splits that add up to ", rows, " rows but received ", ShapeString(call.splits));
    left -= split;
  }
  if (left != 0) return InvalidArgument("expected splits that add up to ", rows, " rows but received ", ShapeString(call.splits));
  return OkStatus();
}

Status CheckSparse(const Call& call) {
  GRADSYNC_RETURN_IF_ERROR(call.indices.Check("indices"));
  if (call.indices.dtype != DType::kInt64 && call.indices.dtype != DType::kInt32) {
    return InvalidArgument("indices: expected int32 or int64 but received ", call.indices.dtype);
  }
  if (call.indices.shape.size() != 1 || call.indices.shape[0] != call.input.shape[0]) {
    return InvalidArgument("indices: expected one for each of ", call.input.shape[0], " rows but received shape ",
                           ShapeString(call.indices.shape));
  }
  if (call.input.shape[0] > std::numeric_limits<std::int32_t>::max()) {
    return ResourceExhausted("expected fewer than 2^31 rows from one rank but received ", call.input.shape[0]);
  }
  if (call.table_rows < 0) return InvalidArgument("table rows: expected a number but received ", call.table_rows);
  if (call.reduction != Reduction::kSum && call.reduction != Reduction::kMean) {
    return InvalidArgument("reduction: expected sum or mean but received ", ReductionName(call.reduction));
  }
  return OkStatus();
}

template <typename T>
Status Mismatch(std::int64_t rank, std::int64_t other_rank, std::string_view what, const T& value, const T& other) {
  return InvalidArgument("expected the same ", what, " on every rank but received ", value, " from rank ", rank, " and ", other,
                         " from rank ", other_rank);
}

std::string SequenceText(const Call& call) { return call.sequence.has_value() ? StrCat("sequence ", *call.sequence) : "no sequence"; }

std::string_view AlgorithmText(const Call& call) { return call.algorithm.has_value() ? SparseAlgorithmName(*call.algorithm) : "automatic"; }

Dims RowShape(Dims shape) { return shape.subspan(1); }

}  // namespace

std::string_view CollectiveName(Collective collective) {
  switch (collective) {
    case Collective::kAllReduce:
      return "all-reduce";
    case Collective::kAllGather:
      return "all-gather";
    case Collective::kReduceScatter:
      return "reduce-scatter";
    case Collective::kBroadcast:
      return "broadcast";
    case Collective::kBarrier:
      return "barrier";
    case Collective::kAllToAll:
      return "all-to-all";
    case Collective::kSparseAllReduce:
      return "sparse all-reduce";
  }
  return "collective";
}

std::string_view ReductionName(Reduction reduction) {
  switch (reduction) {
    case Reduction::kSum:
      return "sum";
    case Reduction::kMean:
      return "mean";
    case Reduction::kMin:
      return "min";
    case Reduction::kMax:
      return "max";
    case Reduction::kProduct:
      return "product";
  }
  return "reduction";
}

std::string_view SparseAlgorithmName(SparseAlgorithm algorithm) {
  switch (algorithm) {
    case SparseAlgorithm::kRows:
      return "rows";
    case SparseAlgorithm::kRowRanges:
      return "row ranges";
    case SparseAlgorithm::kDense:
      return "dense";
  }
  return "algorithm";
}

Status CheckCall(const Call& call, std::int64_t ranks) {
  if (call.collective == Collective::kBarrier) return OkStatus();
  GRADSYNC_RETURN_IF_ERROR(call.input.Check("input"));
  if (IsReduction(call.collective) && !Contains(GradientTypes{}, call.input.dtype)) {
    return InvalidArgument("input: expected a dtype among ", NamesOf(GradientTypes{}), " but received ", call.input.dtype);
  }
  if (call.collective != Collective::kAllReduce && call.collective != Collective::kBroadcast && call.input.shape.empty()) {
    return InvalidArgument("input: expected rows but received a scalar");
  }
  if (HasOutput(call.collective)) GRADSYNC_RETURN_IF_ERROR(CheckOutput(call));
  if (call.collective == Collective::kBroadcast && (call.root < 0 || call.root >= ranks)) {
    return InvalidArgument("root: expected a rank below ", ranks, " but received ", call.root);
  }
  if (call.collective == Collective::kAllToAll) return CheckSplits(call, ranks);
  if (call.collective == Collective::kSparseAllReduce) return CheckSparse(call);
  return OkStatus();
}

Status CheckMatch(std::int64_t rank, const Call& call, std::int64_t other_rank, const Call& other) {
  const auto mismatch = [&](std::string_view what, const auto& value, const auto& other_value) {
    return Mismatch(rank, other_rank, what, value, other_value);
  };
  if (call.collective != other.collective) return mismatch("collective", CollectiveName(call.collective), CollectiveName(other.collective));
  if (call.sequence != other.sequence) return mismatch("call", SequenceText(call), SequenceText(other));
  if (call.collective == Collective::kBarrier) return OkStatus();
  if (call.input.dtype != other.input.dtype) return mismatch("dtype", call.input.dtype, other.input.dtype);
  const bool is_ragged = IsRagged(call.collective);
  const Dims shape = is_ragged ? RowShape(call.input.shape) : call.input.shape;
  const Dims other_shape = is_ragged ? RowShape(other.input.shape) : other.input.shape;
  if (!SameShape(shape, other_shape)) return mismatch(is_ragged ? "shape of a row" : "shape", ShapeString(shape), ShapeString(other_shape));
  if (IsReduction(call.collective) && call.reduction != other.reduction)
    return mismatch("reduction", ReductionName(call.reduction), ReductionName(other.reduction));
  if (call.collective == Collective::kBroadcast && call.root != other.root) return mismatch("root", call.root, other.root);
  if (call.collective == Collective::kSparseAllReduce && call.table_rows != other.table_rows)
    return mismatch("number of table rows", call.table_rows, other.table_rows);
  if (call.algorithm != other.algorithm) return mismatch("algorithm", AlgorithmText(call), AlgorithmText(other));
  return OkStatus();
}

Status CheckMemory(std::span<const Call* const> calls) {
  for (std::size_t writer = 0; writer < calls.size(); ++writer) {
    const MutableTensorView& out = calls[writer]->output;
    if (!HasOutput(calls[writer]->collective)) continue;
    for (std::size_t other = 0; other < calls.size(); ++other) {
      if (other == writer) continue;
      const Call& call = *calls[other];
      if (Overlap(out.data, out.bytes, call.input.data, call.input.bytes) ||
          Overlap(out.data, out.bytes, call.output.data, call.output.bytes)) {
        return InvalidArgument("expected memory of its own for every rank but the output of rank ", writer, " overlaps memory of rank ",
                               other);
      }
    }
  }
  return OkStatus();
}

std::string DescribeCall(const Call& call) { return StrCat(CollectiveName(call.collective), " '", call.key, "'"); }

std::size_t BytesOf(const Call& call) { return call.input.bytes; }

}  // namespace gradsync::collective
