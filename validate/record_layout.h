// What a record keeps of one layer, and where in its bytes. The sets are those of sim/model/record_set.h.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sim/model/model_shape.h"

namespace alchemist {

// The tensors of a record, in their order in memory, each for all tokens of the record, so that a lean record is the
// end of a minimal one, and each tensor of wide rows begins at a multiple of its row. Where heads are normed, queries
// and keys are those in front of the norm, which backward reads and from which the others are rebuilt at almost no
// cost; the statistics of these norms are kept there alone.
enum class RecordTensor : std::uint8_t {
  kGateUp,
  kX,
  kQ,
  kKeyValue,
  kAttention,
  kXMid,
  kLse,
  kRstd1,
  kRstd2,
  kHeadRstd
};

enum class RecordKind : std::uint8_t {
  kMinimal,  // all of them
  kLean,     // without gate and up
  kInput,    // x alone
  kKeyValue,
};

// A run of bytes in pages: `pages` lies in host memory and is read before a call that takes it returns. See PagedBytes.
struct RecordMemory {
  std::byte* base = nullptr;  // device memory
  std::int64_t page_bytes = 0;
  std::span<const std::int32_t> pages;
  std::int64_t offset = 0;
};
// A record in one piece of device memory.
RecordMemory contiguous_memory(std::byte* base);

struct ByteRange {
  std::int64_t begin = 0;
  std::int64_t end = 0;
};

class RecordLayout {
 public:
  explicit RecordLayout(const ModelShape& shape);

  std::span<const RecordTensor> tensors(RecordKind kind) const;
  std::int64_t row_bytes(RecordTensor tensor) const;
  // Of one token in one layer.
  std::int64_t bytes_per_token(RecordKind kind) const;
  // Of one tensor in a record of `tokens` tokens. Precondition: `kind` has the tensor.
  ByteRange range(RecordKind kind, RecordTensor tensor, std::int64_t tokens) const;

 private:
  bool head_norms_;
  std::vector<std::int64_t> row_bytes_;  // by tensor
};

}  // namespace alchemist
