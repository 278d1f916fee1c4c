// Copies between rows of an activation tensor and a record, which is a run of bytes that lies in pages of memory; and
// between two tensors.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cuda_stream.h"
#include "kernels/element.h"

namespace alchemist {

// Byte b of the record is byte (offset + b) % page_bytes of page pages[(offset + b) / page_bytes], page p begins at
// base + p * page_bytes. A record in one piece of memory is one page, large enough, at `base`.
struct PagedBytes {
  std::byte* base = nullptr;
  std::int64_t page_bytes = 0;
  const std::int32_t* pages = nullptr;  // where the caller of the operator says it lies: host or device
  std::int64_t offset = 0;              // of the first byte
};

enum class RecordDirection : std::uint8_t { kToRecord, kFromRecord };

inline constexpr std::int32_t kMostRecordTensors = 10;  // that one call copies

// Row i of a tensor <-> bytes record_offset + i * row_bytes .. of the record, of several tensors in one call. All
// sizes, offsets and addresses are multiples of 4 bytes; wider accesses are taken where a tensor is aligned for them.
struct RecordCopy {
  struct Tensor {
    std::byte* rows;  // [rows], `row_bytes` each, `row_stride_bytes` apart
    std::int64_t row_bytes;
    std::int64_t row_stride_bytes;
    std::int64_t record_offset = 0;
  };
  PagedBytes record;  // `pages` in device memory
  std::int64_t rows;
  RecordDirection direction;
  std::int32_t tensor_count;
  Tensor tensors[kMostRecordTensors];
};

// A row of a layer's activations and its place in a record of one layer, in which tensors lie one behind the other,
// each for all tokens of the record.
struct RowPlace {
  PagedBytes record;  // no base: the row is not kept. `pages` in device memory
  std::int32_t row = 0;
  std::int32_t tokens = 0;        // of the record
  std::int32_t token = 0;         // of them, the row's
  std::int32_t first_tensor = 0;  // of a call's tensors the first that the record has
};

// What decode keeps: of many requests one row each, of all tensors. Tensor t of a place begins behind
// tokens * (row_bytes of the tensors first_tensor .. t - 1) bytes of its record. Sizes and addresses as above.
struct KeepRows {
  struct Tensor {
    const std::byte* rows;
    std::int64_t row_bytes;
    std::int64_t row_stride_bytes;
  };
  const RowPlace* places;  // [count], in device memory
  std::int32_t count;
  std::int32_t tensor_count;
  Tensor tensors[kMostRecordTensors];
};

// Rows of one tensor to rows of another: gathers and scatters parts of a micro-batch.
struct RowCopy {
  const std::byte* from;
  std::byte* to;
  std::int64_t rows;
  std::int64_t row_bytes;  // multiple of 4
  std::int64_t from_stride_bytes;
  std::int64_t to_stride_bytes;
};

inline CallCost cost(const RecordCopy& call) {
  double row_bytes = 0;
  for (std::int32_t t = 0; t < call.tensor_count; ++t) row_bytes += static_cast<double>(call.tensors[t].row_bytes);
  return {0, 2 * static_cast<double>(call.rows) * row_bytes};
}
inline CallCost cost(const KeepRows& call) {  // if every row is kept, in a record that has every tensor
  double bytes = 0;
  for (std::int32_t t = 0; t < call.tensor_count; ++t) bytes += static_cast<double>(call.tensors[t].row_bytes);
  return {0, 2.0 * call.count * bytes};
}
inline CallCost cost(const RowCopy& call) { return {0, 2.0 * static_cast<double>(call.rows * call.row_bytes)}; }

namespace cpu {
// Row `row` of the record, `row_bytes` long, becomes what is at `from`.
void keep_row(const PagedBytes& record, std::int64_t row, const void* from, std::int64_t row_bytes);
void record_copy(const RecordCopy& call);
void keep_rows(const KeepRows& call);
void row_copy(const RowCopy& call);
}  // namespace cpu

namespace cuda {
void record_copy(const RecordCopy& call, Stream stream);
void keep_rows(const KeepRows& call, Stream stream);
void row_copy(const RowCopy& call, Stream stream);
}  // namespace cuda

}  // namespace alchemist
