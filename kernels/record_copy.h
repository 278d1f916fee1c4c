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

// Row i of the tensor <-> bytes i * row_bytes .. of the record. All sizes and addresses are multiples of 4 bytes; wider
// accesses are taken where everything is aligned for them.
struct RecordCopy {
  PagedBytes record;  // `pages` in device memory
  std::byte* tensor;  // [rows], `row_bytes` each, `row_stride_bytes` apart
  std::int64_t rows;
  std::int64_t row_bytes;
  std::int64_t row_stride_bytes;
  RecordDirection direction;
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

inline CallCost cost(const RecordCopy& call) { return {0, 2.0 * static_cast<double>(call.rows * call.row_bytes)}; }
inline CallCost cost(const RowCopy& call) { return {0, 2.0 * static_cast<double>(call.rows * call.row_bytes)}; }

namespace cpu {
// Row `row` of the record, `row_bytes` long, becomes what is at `from`.
void keep_row(const PagedBytes& record, std::int64_t row, const void* from, std::int64_t row_bytes);
void record_copy(const RecordCopy& call);
void row_copy(const RowCopy& call);
}  // namespace cpu

namespace cuda {
void record_copy(const RecordCopy& call, Stream stream);
void row_copy(const RowCopy& call, Stream stream);
}  // namespace cuda

}  // namespace alchemist
