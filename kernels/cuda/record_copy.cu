#include <algorithm>

#include "kernels/cuda/paged_units.cuh"

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

// The same with one side in pages.
template <typename Unit, RecordDirection kDirection>
__global__ void copy_record(PagedUnits<Unit> paged, Unit* tensor, UnitCopy copy) {
  const std::int64_t row = blockIdx.x;
  for (std::int64_t unit = unit_of_thread(); unit < copy.row_units;
       unit += static_cast<std::int64_t>(gridDim.y) * kThreads) {
    Unit* record = paged.at(row * copy.row_units + unit);
    Unit* element = tensor + row * copy.to_stride + unit;
    if constexpr (kDirection == RecordDirection::kToRecord) {
      *record = *element;
    } else {
      *element = *record;
    }
  }
}

constexpr int kBatch = 4;  // units that a thread has on their way at once

// What falls to the block's z.
template <typename Unit>
__device__ void keep_row(const std::byte* from, const PagedBytes& to, std::int64_t bytes) {
  const PagedUnits<Unit> record = units_of<Unit>(to);
  const auto* row = reinterpret_cast<const Unit*>(from);
  const std::int64_t units = bytes / static_cast<std::int64_t>(sizeof(Unit));
  constexpr int kBlockUnits = kBatch * kThreads;
  for (std::int64_t first = static_cast<std::int64_t>(blockIdx.z) * kBlockUnits + threadIdx.x; first < units;
       first += static_cast<std::int64_t>(gridDim.z) * kBlockUnits) {
    Unit loaded[kBatch], *place[kBatch];
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      const std::int64_t unit = first + i * kThreads;
      if (unit >= units) continue;
      loaded[i] = row[unit];
      place[i] = record.at(unit);
    }
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      if (first + i * kThreads < units) *place[i] = loaded[i];
    }
  }
}

// x of the grid counts places, y tensors, z parts of a row. Where records begin, and so how wide accesses may be, is
// known here alone.
__global__ void keep_rows_of(KeepRows call) {
  const RowPlace place = call.places[blockIdx.x];
  const auto t = static_cast<std::int32_t>(blockIdx.y);
  if (place.record.base == nullptr || t < place.first_tensor) return;
  const KeepRows::Tensor tensor = call.tensors[t];
  PagedBytes record = place.record;
  record.offset += place.token * tensor.row_bytes;
  for (std::int32_t before = place.first_tensor; before < t; ++before)
    record.offset += place.tokens * call.tensors[before].row_bytes;
  const std::byte* row = tensor.rows + place.row * tensor.row_stride_bytes;
  const std::uint64_t all = alignment_of(record) | address(row) | static_cast<std::uint64_t>(tensor.row_bytes);
  if (all % sizeof(uint4) == 0) return keep_row<uint4>(row, record, tensor.row_bytes);
  if (all % sizeof(uint2) == 0) return keep_row<uint2>(row, record, tensor.row_bytes);
  keep_row<std::uint32_t>(row, record, tensor.row_bytes);
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

template <typename Unit>
void start_record_copy(const RecordCopy& call, Stream stream) {
  constexpr auto kBytes = static_cast<std::int64_t>(sizeof(Unit));
  const std::int64_t stride = call.row_stride_bytes / kBytes;
  std::int64_t rows = call.rows;
  UnitCopy copy{call.row_bytes / kBytes, stride, stride};
  merge_rows(rows, copy);
  const auto kernel = call.direction == RecordDirection::kToRecord ? copy_record<Unit, RecordDirection::kToRecord>
                                                                   : copy_record<Unit, RecordDirection::kFromRecord>;
  launch(kernel, grid_of(rows, copy), dim3(kThreads), 0, stream,
         paged_units<Unit>(call.record, call.rows * call.row_bytes), reinterpret_cast<Unit*>(call.tensor), copy);
}

}  // namespace

void record_copy(const RecordCopy& call, Stream stream) {
  const auto sizes = static_cast<std::uint64_t>(call.row_bytes | call.row_stride_bytes);
  with_unit(sizes | alignment_of(call.record) | address(call.tensor),
            [&](auto unit) { start_record_copy<decltype(unit)>(call, stream); });
}

void keep_rows(const KeepRows& call, Stream stream) {
  std::uint64_t all = 0;
  std::int64_t longest = 0;
  for (std::int32_t t = 0; t < call.tensor_count; ++t) {
    const KeepRows::Tensor& tensor = call.tensors[t];
    all |= address(tensor.rows) | static_cast<std::uint64_t>(tensor.row_bytes | tensor.row_stride_bytes);
    longest = std::max(longest, tensor.row_bytes);
  }
  check(all % sizeof(std::uint32_t) == 0, "copies are of whole words");
  constexpr std::int64_t kPartBytes = std::int64_t{kBatch} * kThreads * static_cast<std::int64_t>(sizeof(uint4));
  launch(keep_rows_of,
         dim3(static_cast<unsigned>(call.count), static_cast<unsigned>(call.tensor_count),
              blocks_for(longest, kPartBytes)),
         dim3(kThreads), 0, stream, call);
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
