#include "kernels/record_copy.h"

#include <algorithm>
#include <cstring>

namespace alchemist::cpu {
namespace {

// Copies `count` bytes between `flat` and the record from its byte `position` on, page by page.
void copy_run(const RecordCopy& call, std::int64_t position, std::byte* flat, std::int64_t count) {
  const PagedBytes& record = call.record;
  while (count > 0) {
    const std::int64_t at = record.offset + position;
    const std::int64_t within = at % record.page_bytes;
    const std::int64_t run = std::min(count, record.page_bytes - within);
    std::byte* paged = record.base + record.pages[at / record.page_bytes] * record.page_bytes + within;
    const bool to_record = call.direction == RecordDirection::kToRecord;
    std::memcpy(to_record ? paged : flat, to_record ? flat : paged, static_cast<std::size_t>(run));
    position += run;
    flat += run;
    count -= run;
  }
}

}  // namespace

void keep_row(const PagedBytes& record, std::int64_t row, const void* from, std::int64_t row_bytes) {
  auto* row_of_tensor = static_cast<std::byte*>(const_cast<void*>(from));  // is only read in this direction
  RecordCopy copy{record, row_of_tensor, 1, row_bytes, row_bytes, RecordDirection::kToRecord};
  copy.record.offset += row * row_bytes;
  record_copy(copy);
}

void record_copy(const RecordCopy& call) {
  if (call.row_stride_bytes == call.row_bytes) {
    copy_run(call, 0, call.tensor, call.rows * call.row_bytes);
    return;
  }
  for (std::int64_t i = 0; i < call.rows; ++i) {
    copy_run(call, i * call.row_bytes, call.tensor + i * call.row_stride_bytes, call.row_bytes);
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
