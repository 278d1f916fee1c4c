#include <algorithm>

#include "kernels/cuda/paged_units.cuh"

namespace alchemist::cuda {
namespace {

constexpr int kThreads = 256;

constexpr int kBatch = 4;  // units that a thread has on their way at once
constexpr std::int64_t kBlockUnits = std::int64_t{kBatch} * kThreads;

// Calls from_to(unit, from, to) for the units below `units` that fall to this thread of the `part`-th of `parts`
// blocks, and copies them: reads all of a batch before it writes, which the compiler may not do by itself, since for
// all it knows they overlap.
template <typename Unit, typename FromTo>
__device__ __forceinline__ void copy_units(std::int64_t units, unsigned part, unsigned parts, const FromTo& from_to) {
  for (std::int64_t first = part * kBlockUnits + threadIdx.x; first < units; first += parts * kBlockUnits) {
    Unit loaded[kBatch], *place[kBatch];
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      const std::int64_t unit = first + i * kThreads;
      if (unit >= units) continue;
      const Unit* from = nullptr;
      from_to(unit, from, place[i]);
      loaded[i] = *from;
    }
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      if (first + i * kThreads < units) *place[i] = loaded[i];
    }
  }
}

// A matrix of units of one size; strides in units. x of the grid counts rows.
struct UnitCopy {
  std::int64_t row_units;
  std::int64_t from_stride;
  std::int64_t to_stride;
};

template <typename Unit>
__global__ void copy_rows(const Unit* from, Unit* to, UnitCopy copy) {
  const Unit* from_row = from + blockIdx.x * copy.from_stride;
  Unit* to_row = to + blockIdx.x * copy.to_stride;
  copy_units<Unit>(copy.row_units, blockIdx.y, gridDim.y, [&](std::int64_t unit, const Unit*& source, Unit*& target) {
    source = from_row + unit;
    target = to_row + unit;
  });
}

// A tensor of a record, from the page on in which it begins. Sizes in units of 1 << unit_log2 bytes.
struct TensorCopy {
  std::byte* rows;
  const std::int32_t* pages;
  unsigned units;      // of all rows
  unsigned row_units;  // of rows that lie one behind the other: as many as of all
  unsigned row_stride;
  unsigned page_units;
  unsigned offset;  // of the first unit in its page
  int unit_bytes;
  unsigned end;  // of its blocks in the grid, which begin where those of the tensor before end
};

struct TensorCopies {
  std::byte* base;
  TensorCopy tensors[kMostRecordTensors];
};

template <typename Unit, RecordDirection kDirection>
__device__ void copy_tensor(std::byte* base, const TensorCopy& tensor, unsigned part, unsigned parts) {
  const PagedUnits<Unit> record{reinterpret_cast<Unit*>(base), tensor.pages, tensor.page_units, tensor.offset};
  auto* rows = reinterpret_cast<Unit*>(tensor.rows);
  copy_units<Unit>(tensor.units, part, parts, [&](std::int64_t unit, const Unit*& source, Unit*& target) {
    const auto at = static_cast<unsigned>(unit);
    const unsigned row = tensor.row_units == tensor.units ? 0 : at / tensor.row_units;
    Unit* element = rows + static_cast<std::int64_t>(row) * tensor.row_stride + (at - row * tensor.row_units);
    constexpr bool kToRecord = kDirection == RecordDirection::kToRecord;
    source = kToRecord ? element : record.at(unit);
    target = kToRecord ? record.at(unit) : element;
  });
}

template <RecordDirection kDirection>
__global__ void copy_record(TensorCopies copies) {
  int t = 0;
  while (blockIdx.x >= copies.tensors[t].end) ++t;
  const TensorCopy tensor = copies.tensors[t];
  const unsigned begin = t == 0 ? 0 : copies.tensors[t - 1].end;
  const unsigned part = blockIdx.x - begin, parts = tensor.end - begin;
  if (tensor.unit_bytes == sizeof(uint4)) return copy_tensor<uint4, kDirection>(copies.base, tensor, part, parts);
  if (tensor.unit_bytes == sizeof(uint2)) return copy_tensor<uint2, kDirection>(copies.base, tensor, part, parts);
  copy_tensor<std::uint32_t, kDirection>(copies.base, tensor, part, parts);
}

// What falls to the block's z.
template <typename Unit>
__device__ void keep_row(const std::byte* from, const PagedBytes& to, std::int64_t bytes) {
  const PagedUnits<Unit> record = units_of<Unit>(to);
  const auto* row = reinterpret_cast<const Unit*>(from);
  copy_units<Unit>(bytes / static_cast<std::int64_t>(sizeof(Unit)), blockIdx.z, gridDim.z,
                   [&](std::int64_t unit, const Unit*& source, Unit*& target) {
                     source = row + unit;
                     target = record.at(unit);
                   });
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

unsigned parts_of(std::int64_t units) {
  constexpr unsigned kMostBlocks = 65535;
  return std::min(blocks_for(units, kBlockUnits), kMostBlocks);
}

TensorCopy tensor_copy(const RecordCopy& call, const RecordCopy::Tensor& tensor) {
  PagedBytes record = call.record;
  record.offset += tensor.record_offset;
  TensorCopy copy{};
  with_unit(alignment_of(record) | address(tensor.rows) |
                static_cast<std::uint64_t>(tensor.row_bytes | tensor.row_stride_bytes),
            [&](auto unit) {
              using Unit = decltype(unit);
              constexpr auto kBytes = static_cast<std::int64_t>(sizeof(Unit));
              const bool one_behind_the_other = tensor.row_stride_bytes == tensor.row_bytes;
              const PagedUnits<Unit> paged = paged_units<Unit>(record, call.rows * tensor.row_bytes);
              copy.rows = tensor.rows;
              copy.pages = paged.pages;
              copy.units = static_cast<unsigned>(call.rows * tensor.row_bytes / kBytes);
              copy.row_units = one_behind_the_other ? copy.units : static_cast<unsigned>(tensor.row_bytes / kBytes);
              copy.row_stride = static_cast<unsigned>(tensor.row_stride_bytes / kBytes);
              copy.page_units = paged.page_units;
              copy.offset = paged.offset;
              copy.unit_bytes = static_cast<int>(kBytes);
            });
  return copy;
}

}  // namespace

void record_copy(const RecordCopy& call, Stream stream) {
  TensorCopies copies{};
  copies.base = call.record.base;
  unsigned blocks = 0;
  for (std::int32_t t = 0; t < call.tensor_count; ++t) {
    copies.tensors[t] = tensor_copy(call, call.tensors[t]);
    copies.tensors[t].end = blocks += parts_of(copies.tensors[t].units);
  }
  launch(call.direction == RecordDirection::kToRecord ? copy_record<RecordDirection::kToRecord>
                                                      : copy_record<RecordDirection::kFromRecord>,
         dim3(blocks), dim3(kThreads), 0, stream, copies);
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
    if (copy.from_stride == copy.row_units && copy.to_stride == copy.row_units) {  // one long row
      copy.row_units *= rows;
      rows = 1;
    }
    launch(copy_rows<Unit>, dim3(static_cast<unsigned>(rows), parts_of(copy.row_units)), dim3(kThreads), 0, stream,
           reinterpret_cast<const Unit*>(call.from), reinterpret_cast<Unit*>(call.to), copy);
  });
}

}  // namespace alchemist::cuda
