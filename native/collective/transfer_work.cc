#include "collective/transfer_work.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "collective/reduce.h"
#include "collective/sparse_work.h"
#include "core/dtype.h"

namespace gradsync::collective {
namespace {

// What is copied to all places before more is read: it stays in the first-level cache meanwhile.
constexpr std::int64_t kCopyBytes = std::int64_t{16} * 1024;
// Pieces: not so small that taking one costs something, not so large that the last keeps all others waiting.
constexpr std::int64_t kLeastPieceBytes = std::int64_t{16} * 1024;
constexpr std::int64_t kMostPieceBytes = std::int64_t{256} * 1024;
constexpr std::int64_t kPiecesPerCore = 4;

std::int64_t RowsOf(const TensorView& view) { return view.shape[0]; }

std::int64_t RowElements(const TensorView& view) {
  std::int64_t elements = 1;
  for (const std::int64_t dim : view.shape.subspan(1)) elements *= dim;
  return elements;
}

const std::byte* BytesOf(const TensorView& view) { return static_cast<const std::byte*>(view.data); }
std::byte* BytesOf(const MutableTensorView& view) { return static_cast<std::byte*>(view.data); }
std::byte* BytesOf(Tensor& tensor) { return BytesOf(tensor.mutable_view()); }

// As `view`, with another number of rows.
StatusOr<Tensor> AllocateRows(const TensorView& view, std::int64_t rows, Memory& memory) {
  Shape shape(view.shape.begin(), view.shape.end());
  shape[0] = rows;
  return Tensor::Allocate(view.dtype, std::move(shape), memory);
}

}  // namespace

StatusOr<std::int64_t> TransferWork::Begin(int /*stage*/) {
  is_reduction_ = first().collective == Collective::kAllReduce || first().collective == Collective::kReduceScatter;
  switch (first().collective) {
    case Collective::kAllReduce:
      ListAllReduce();
      break;
    case Collective::kBroadcast:
      ListBroadcast();
      break;
    case Collective::kReduceScatter:
      GRADSYNC_RETURN_IF_ERROR(ListReduceScatter());
      break;
    case Collective::kAllGather:
      GRADSYNC_RETURN_IF_ERROR(ListAllGather());
      break;
    case Collective::kAllToAll:
      GRADSYNC_RETURN_IF_ERROR(ListAllToAll());
      break;
    case Collective::kBarrier:
    case Collective::kSparseAllReduce:
      break;
  }
  Cut();
  return static_cast<std::int64_t>(pieces_.size());
}

void TransferWork::ListAllReduce() {
  Transfer transfer{.from = {}, .to = {}, .count = first().input.size()};
  transfer.from.reserve(parts_.size());
  transfer.to.reserve(parts_.size());
  for (const Part& part : parts_) {
    transfer.from.push_back(BytesOf(part.call->input));
    transfer.to.push_back(BytesOf(part.call->output));
  }
  transfers_.push_back(std::move(transfer));
}

void TransferWork::ListBroadcast() {
  const TensorView& input = parts_[static_cast<std::size_t>(first().root)].call->input;
  Transfer transfer{.from = {BytesOf(input)}, .to = {}, .count = input.size()};
  for (const Part& part : parts_) {
    if (part.call->output.data != input.data) transfer.to.push_back(BytesOf(part.call->output));
  }
  transfers_.push_back(std::move(transfer));
}

Status TransferWork::ListReduceScatter() {
  const TensorView& input = first().input;
  const std::int64_t row_elements = RowElements(input);
  std::int64_t begin = 0;
  for (std::int64_t rank = 0; rank < ranks(); ++rank) {
    const std::int64_t rows = RowsOf(input) / ranks() + (rank < RowsOf(input) % ranks() ? 1 : 0);
    Tensor& values = parts_[static_cast<std::size_t>(rank)].outcome->values;
    GRADSYNC_ASSIGN_OR_RETURN(values, AllocateRows(input, rows, *context_.memory));
    Transfer transfer{.from = {}, .to = {BytesOf(values)}, .count = rows * row_elements};
    const auto offset = static_cast<std::size_t>(begin * row_elements) * DTypeSize(input.dtype);
    for (const Part& part : parts_) transfer.from.push_back(BytesOf(part.call->input) + offset);
    transfers_.push_back(std::move(transfer));
    begin += rows;
  }
  return OkStatus();
}

Status TransferWork::ListAllGather() {
  std::vector<std::int64_t> counts;
  std::int64_t rows = 0;
  for (const Part& part : parts_) {
    counts.push_back(RowsOf(part.call->input));
    rows += counts.back();
  }
  std::vector<std::byte*> to;
  for (const Part& part : parts_) {
    GRADSYNC_ASSIGN_OR_RETURN(part.outcome->values, AllocateRows(first().input, rows, *context_.memory));
    part.outcome->counts = counts;
    to.push_back(BytesOf(part.outcome->values));
  }
  for (const Part& part : parts_) {
    const TensorView& input = part.call->input;
    transfers_.push_back({.from = {BytesOf(input)}, .to = to, .count = input.size()});
    for (std::byte*& end : to) end += input.bytes;
  }
  return OkStatus();
}

Status TransferWork::ListAllToAll() {
  const auto split = [&](const Part& from, std::size_t to) {
    return from.call->splits.empty() ? RowsOf(from.call->input) / ranks() : from.call->splits[to];
  };
  const std::size_t row_bytes = static_cast<std::size_t>(RowElements(first().input)) * DTypeSize(first().input.dtype);
  std::vector<const std::byte*> from;
  for (const Part& part : parts_) from.push_back(BytesOf(part.call->input));
  for (std::size_t rank = 0; rank < parts_.size(); ++rank) {
    Outcome& outcome = *parts_[rank].outcome;
    std::int64_t rows = 0;
    for (const Part& part : parts_) {
      outcome.counts.push_back(split(part, rank));
      rows += outcome.counts.back();
    }
    GRADSYNC_ASSIGN_OR_RETURN(outcome.values, AllocateRows(first().input, rows, *context_.memory));
    std::byte* to = BytesOf(outcome.values);
    for (std::size_t source = 0; source < parts_.size(); ++source) {
      const std::int64_t count = outcome.counts[source];
      transfers_.push_back({.from = {from[source]}, .to = {to}, .count = count * RowElements(first().input)});
      from[source] += static_cast<std::size_t>(count) * row_bytes;
      to += static_cast<std::size_t>(count) * row_bytes;
    }
  }
  return OkStatus();
}

void TransferWork::Cut() {
  std::int64_t total = 0;
  for (const Transfer& transfer : transfers_) total += transfer.count;
  const auto width = static_cast<std::int64_t>(DTypeSize(first().input.dtype));
  const std::int64_t share = total * width / (kPiecesPerCore * context_.cores);
  const std::int64_t most = std::clamp(share, kLeastPieceBytes, kMostPieceBytes) / width;
  for (std::size_t i = 0; i < transfers_.size(); ++i) {
    if (transfers_[i].to.empty()) continue;
    for (std::int64_t begin = 0; begin < transfers_[i].count; begin += most) {
      pieces_.push_back({.transfer = i, .begin = begin, .end = std::min(begin + most, transfers_[i].count)});
    }
  }
}

Status TransferWork::Run(int /*stage*/, std::int64_t piece) {
  const auto [index, begin, end] = pieces_[static_cast<std::size_t>(piece)];
  const Transfer& transfer = transfers_[index];
  const DType dtype = first().input.dtype;
  if (is_reduction_) {
    return Reduce(*context_.kernels, dtype, first().reduction, {.from = transfer.from, .to = transfer.to, .begin = begin, .end = end});
  }
  const auto width = static_cast<std::int64_t>(DTypeSize(dtype));
  for (std::int64_t from = begin * width; from < end * width; from += kCopyBytes) {
    const std::int64_t bytes = std::min(kCopyBytes, end * width - from);
    for (std::byte* const to : transfer.to) std::memcpy(to + from, transfer.from[0] + from, static_cast<std::size_t>(bytes));
  }
  return OkStatus();
}

std::unique_ptr<Work> MakeWork(std::vector<Part> parts, const WorkContext& context) {
  if (parts[0].call->collective == Collective::kSparseAllReduce) return std::make_unique<SparseWork>(std::move(parts), context);
  return std::make_unique<TransferWork>(std::move(parts), context);
}

}  // namespace gradsync::collective
