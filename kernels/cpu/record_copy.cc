#include "kernels/record_copy.h"

#include <algorithm>
#include <cstring>

namespace alchemist::cpu {
namespace {

// Calls body(paged, flat, bytes) for each page that `count` bytes from the record's byte `position` on lie in.
template <typename Byte, typename Body>
void for_pages(const PagedBytes& record, std::int64_t position, Byte* flat, std::int64_t count, const Body& body) {
  while (count > 0) {
    const std::int64_t at = record.offset + position;
    const std::int64_t within = at % record.page_bytes;
    const std::int64_t run = std::min(count, record.page_bytes - within);
    body(record.base + record.pages[at / record.page_bytes] * record.page_bytes + within, flat,
         static_cast<std::size_t>(run));
    position += run;
    flat += run;
    count -= run;
  }
}

}  // namespace

void keep_row(const PagedBytes& record, std::int64_t row, const void* from, std::int64_t row_bytes) {
  for_pages(record, row * row_bytes, static_cast<const std::byte*>(from), row_bytes,
            [](std::byte* paged, const std::byte* flat, std::size_t bytes) { std::memcpy(paged, flat, bytes); });
}

void record_copy(const RecordCopy& call) {
  const bool to_record = call.direction == RecordDirection::kToRecord;
  for (std::int32_t t = 0; t < call.tensor_count; ++t) {
    const RecordCopy::Tensor& tensor = call.tensors[t];
    for (std::int64_t i = 0; i < call.rows; ++i) {
      for_pages(call.record, tensor.record_offset + i * tensor.row_bytes, tensor.rows + i * tensor.row_stride_bytes,
                tensor.row_bytes, [&](std::byte* paged, std::byte* flat, std::size_t bytes) {
                  std::memcpy(to_record ? paged : flat, to_record ? flat : paged, bytes);
                });
    }
  }
}

void keep_rows(const KeepRows& call) {
  for (std::int32_t i = 0; i < call.count; ++i) {
    const RowPlace& place = call.places[i];
    if (!place.record.base) continue;
    PagedBytes tensor = place.record;
    for (std::int32_t t = place.first_tensor; t < call.tensor_count; ++t) {
      const auto& [rows, row_bytes, stride] = call.tensors[t];
      keep_row(tensor, place.token, rows + place.row * stride, row_bytes);
      tensor.offset += place.tokens * row_bytes;
    }
  }
}

void row_copy(const RowCopy& call) {
  for (std::int64_t i = 0; i < call.rows; ++i) {
    std::memcpy(call.to + i * call.to_stride_bytes, call.from + i * call.from_stride_bytes,
                static_cast<std::size_t>(call.row_bytes));
  }
}

}  // namespace alchemist::cpu
