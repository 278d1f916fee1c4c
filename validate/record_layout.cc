#include "validate/record_layout.h"

#include <algorithm>
#include <limits>

#include "sim/base/check.h"

namespace alchemist {
namespace {

constexpr RecordTensor kMinimalTensors[] = {
    RecordTensor::kGateUp, RecordTensor::kX,   RecordTensor::kQ,     RecordTensor::kKeyValue, RecordTensor::kAttention,
    RecordTensor::kXMid,   RecordTensor::kLse, RecordTensor::kRstd1, RecordTensor::kRstd2,    RecordTensor::kHeadRstd};
constexpr RecordTensor kInputTensors[] = {RecordTensor::kX};
constexpr RecordTensor kKeyValueTensors[] = {RecordTensor::kKeyValue};

}  // namespace

RecordMemory contiguous_memory(std::byte* base) {
  static constexpr std::int32_t kFirstPage[] = {0};
  return {base, std::numeric_limits<std::int64_t>::max(), kFirstPage, 0};
}

// Statistics are kept in f32, or as precisely as the activations if those are wider.
RecordLayout::RecordLayout(const ModelShape& shape) : head_norms_(shape.qk_norm) {
  const std::int64_t element = shape.dtype_bytes, statistic = std::max<std::int64_t>(4, element);
  row_bytes_ = {2 * shape.intermediate * element,
                shape.hidden * element,
                shape.q_width() * element,
                2 * shape.kv_width() * element,
                shape.q_width() * element,
                shape.hidden * element,
                shape.heads * statistic,
                statistic,
                statistic,
                (shape.heads + shape.kv_heads) * statistic};
}

std::span<const RecordTensor> RecordLayout::tensors(RecordKind kind) const {
  const auto all = std::span<const RecordTensor>(kMinimalTensors).first(std::size(kMinimalTensors) - !head_norms_);
  switch (kind) {
    case RecordKind::kMinimal:
      return all;
    case RecordKind::kLean:
      return all.subspan(1);
    case RecordKind::kInput:
      return kInputTensors;
    case RecordKind::kKeyValue:
      return kKeyValueTensors;
  }
  return {};
}

std::int64_t RecordLayout::row_bytes(RecordTensor tensor) const { return row_bytes_[static_cast<std::size_t>(tensor)]; }

std::int64_t RecordLayout::bytes_per_token(RecordKind kind) const {
  std::int64_t sum = 0;
  for (const RecordTensor tensor : tensors(kind)) sum += row_bytes(tensor);
  return sum;
}

ByteRange RecordLayout::range(RecordKind kind, RecordTensor wanted, std::int64_t tokens) const {
  std::int64_t begin = 0;
  for (const RecordTensor tensor : tensors(kind)) {
    if (tensor == wanted) return {begin, begin + tokens * row_bytes(tensor)};
    begin += tokens * row_bytes(tensor);
  }
  check(false, "the record has the tensor");
  return {};
}

}  // namespace alchemist
