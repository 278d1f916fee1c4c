#include <algorithm>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/storage.cuh"
#include "kernels/record_copy.h"

namespace alchemist::cuda {
namespace {

constexpr int kThreads = 256;

// A matrix of units of one size; strides in units. x of the grid counts rows.
struct UnitCopy {
  std::int64_t row_units;
  std::int64_t from_stride;
  std::int64_t to_stride;
};

__device__ std::int64_t unit_of_thread() { return static_cast<std::int64_t>(blockIdx.y) * kThreads + threadIdx.x; }

template <typename Unit>
__global__ void copy_rows(const Unit* from, Unit* to, UnitCopy copy) {
  const std::int64_t row = blockIdx.x;
  for (std::int64_t unit = unit_of_thread(); unit < copy.row_units;
       unit += static_cast<std::int64_t>(gridDim.y) * kThreads)
    to[row * copy.to_stride + unit] = from[row * copy.from_stride + unit];
}

// The same with one side in pages. Positions from the first page on fit 32 bits (checked), in which divisions are
// cheap.
template <typename Unit, RecordDirection kDirection>
__global__ void copy_record(Unit* base, const std::int32_t* pages, unsigned page_units, unsigned offset, Unit* tensor,
                            UnitCopy copy) {
  const std::int64_t row = blockIdx.x;
  for (std::int64_t unit = unit_of_thread(); unit < copy.row_units;
       unit += static_cast<std::int64_t>(gridDim.y) * kThreads) {
    const auto at = static_cast<unsigned>(offset + row * copy.row_units + unit);
    const std::int64_t page = pages[at / page_units];
    Unit* record = base + page * page_units + at % page_units;
    Unit* element = tensor + row * copy.to_stride + unit;
    if constexpr (kDirection == RecordDirection::kToRecord) {
      *record = *element;
    } else {
      *element = *record;
    }
  }
}

// Rows that lie one behind the other are one long row.
void merge_rows(std::int64_t& rows, UnitCopy& copy) {
  if (copy.from_stride != copy.row_units || copy.to_stride != copy.row_units) return;
  copy.row_units *= rows;
  copy.from_stride = copy.to_stride = copy.row_units;
  rows = 1;
}

dim3 grid_of(std::int64_t rows, const UnitCopy& copy) {
  constexpr unsigned kMostBlocks = 65535;
  return dim3(static_cast<unsigned>(rows), std::min(blocks_for(copy.row_units, kThreads), kMostBlocks));
}

// The widest unit that everything is a multiple of; `all` is the bitwise or of all addresses and sizes.
template <typename Body>
void with_unit(std::uint64_t all, const Body& body) {
  check(all % 4 == 0, "copies are of whole words");
  if (all % sizeof(uint4) == 0) return body(uint4());
  if (all % sizeof(uint2) == 0) return body(uint2());
  body(std::uint32_t());
}

std::uint64_t address(const void* p) { return reinterpret_cast<std::uint64_t>(p); }

template <typename Unit>
void start_record_copy(const RecordCopy& call, Stream stream) {
  constexpr auto kBytes = static_cast<std::int64_t>(sizeof(Unit));
  const PagedBytes& record = call.record;
  const std::int64_t stride = call.row_stride_bytes / kBytes;
  std::int64_t rows = call.rows;
  UnitCopy copy{call.row_bytes / kBytes, stride, stride};
  merge_rows(rows, copy);
  // Records are longer than 32 bits can count, but what one call copies is not.
  const std::int64_t first_page = record.offset / record.page_bytes, offset = record.offset % record.page_bytes;
  check((offset + call.rows * call.row_bytes) / kBytes <= UINT32_MAX, "a copy of at most 2^32 units");
  const std::int64_t page_units = std::min<std::int64_t>(record.page_bytes / kBytes, UINT32_MAX);
  const auto kernel = call.direction == RecordDirection::kToRecord ? copy_record<Unit, RecordDirection::kToRecord>
                                                                   : copy_record<Unit, RecordDirection::kFromRecord>;
  launch(kernel, grid_of(rows, copy), dim3(kThreads), 0, stream, reinterpret_cast<Unit*>(record.base),
         record.pages + first_page, static_cast<unsigned>(page_units), static_cast<unsigned>(offset / kBytes),
         reinterpret_cast<Unit*>(call.tensor), copy);
}

}  // namespace

void record_copy(const RecordCopy& call, Stream stream) {
  const PagedBytes& record = call.record;
  // A record in one piece lies in page 0, of a size that stands for "large enough" and has no part in any address.
  constexpr std::int64_t kOnePiece = std::int64_t{1} << 36;
  const std::int64_t page_bytes = record.page_bytes >= kOnePiece ? 0 : record.page_bytes;
  const auto sizes = static_cast<std::uint64_t>(page_bytes | record.offset | call.row_bytes | call.row_stride_bytes);
  with_unit(sizes | address(record.base) | address(call.tensor),
            [&](auto unit) { start_record_copy<decltype(unit)>(call, stream); });
}

void row_copy(const RowCopy& call, Stream stream) {
  const auto sizes = static_cast<std::uint64_t>(call.row_bytes | call.from_stride_bytes | call.to_stride_bytes);
  with_unit(sizes | address(call.from) | address(call.to), [&](auto unit) {
    using Unit = decltype(unit);
    constexpr auto kBytes = static_cast<std::int64_t>(sizeof(Unit));
    std::int64_t rows = call.rows;
    UnitCopy copy{call.row_bytes / kBytes, call.from_stride_bytes / kBytes, call.to_stride_bytes / kBytes};
    merge_rows(rows, copy);
    launch(copy_rows<Unit>, grid_of(rows, copy), dim3(kThreads), 0, stream, reinterpret_cast<const Unit*>(call.from),
           reinterpret_cast<Unit*>(call.to), copy);
  });
}

}  // namespace alchemist::cuda
