// A record in pages as kernels reach it: in units of 4, 8 or 16 bytes.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/storage.cuh"
#include "kernels/record_copy.h"
#include "sim/base/check.h"

namespace alchemist::cuda {

template <typename Unit>
struct PagedUnits {
  Unit* base;
  const std::int32_t* pages;  // from the page of the first unit on
  unsigned page_units;
  unsigned offset;  // of the first unit in its page

  // Positions from the first page on fit 32 bits (paged_units), in which divisions are cheap.
  __device__ Unit* at(std::int64_t unit) const {
    const auto position = static_cast<unsigned>(offset + unit);
    const std::int64_t page = pages[position / page_units];
    return base + page * page_units + position % page_units;
  }
};

// The record from its first byte on. Records are longer than 32 bits can count, but what is touched of one is not.
template <typename Unit>
__host__ __device__ PagedUnits<Unit> units_of(const PagedBytes& record) {
  constexpr auto kBytes = static_cast<std::int64_t>(sizeof(Unit));
  const std::int64_t first_page = record.offset / record.page_bytes, offset = record.offset % record.page_bytes;
  const std::int64_t page_units = record.page_bytes / kBytes;
  return {reinterpret_cast<Unit*>(record.base), record.pages + first_page,
          page_units < UINT32_MAX ? static_cast<unsigned>(page_units) : UINT32_MAX,
          static_cast<unsigned>(offset / kBytes)};
}

// The same for a call that touches its first `bytes` bytes, which is checked.
template <typename Unit>
PagedUnits<Unit> paged_units(const PagedBytes& record, std::int64_t bytes) {
  constexpr auto kBytes = static_cast<std::int64_t>(sizeof(Unit));
  check((record.offset % record.page_bytes + bytes) / kBytes <= UINT32_MAX,
        "a call touches at most 2^32 units of a record");
  return units_of<Unit>(record);
}

__host__ __device__ inline std::uint64_t address(const void* p) { return reinterpret_cast<std::uint64_t>(p); }

// The bitwise or of all that says how a record is aligned. A record in one piece lies in page 0, of a size that stands
// for "large enough" and has no part in any address.
__host__ __device__ inline std::uint64_t alignment_of(const PagedBytes& record) {
  constexpr std::int64_t kOnePiece = std::int64_t{1} << 36;
  const std::int64_t page_bytes = record.page_bytes >= kOnePiece ? 0 : record.page_bytes;
  return static_cast<std::uint64_t>(page_bytes | record.offset) | address(record.base);
}

// body(unit) with the widest unit that everything is a multiple of; `all` is the bitwise or of all addresses and sizes.
template <typename Body>
void with_unit(std::uint64_t all, const Body& body) {
  check(all % 4 == 0, "copies are of whole words");
  if (all % sizeof(uint4) == 0) return body(uint4());
  if (all % sizeof(uint2) == 0) return body(uint2());
  body(std::uint32_t());
}

// What a kernel that has rows in hand keeps of them: keep_run(record, element, run) writes eight elements, the first of
// which is `element` of the record.
struct NoRecord {};
__device__ __forceinline__ void keep_run(const NoRecord&, std::int64_t, uint4) {}
__device__ __forceinline__ void keep_run(const PagedUnits<uint4>& record, std::int64_t element, uint4 run) {
  store_words(record.at(element / kRun), run);
}
__device__ __forceinline__ void keep_run(const PagedUnits<uint2>& record, std::int64_t element, uint4 run) {
  *record.at(element / kRun * 2) = {run.x, run.y};
  *record.at(element / kRun * 2 + 1) = {run.z, run.w};
}
__device__ __forceinline__ void keep_run(const PagedUnits<std::uint32_t>& record, std::int64_t element, uint4 run) {
  const std::uint32_t words[4] = {run.x, run.y, run.z, run.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) *record.at(element / kRun * 4 + i) = words[i];
}

// body(record) with NoRecord where there is none, and otherwise with the record in the widest units it is aligned for.
// `elements` of two bytes are kept, in whole runs.
template <typename Body>
void with_record(const PagedBytes& record, std::int64_t elements, const Body& body) {
  if (record.base == nullptr) return body(NoRecord());
  with_unit(alignment_of(record), [&](auto unit) {
    body(paged_units<decltype(unit)>(record, elements * static_cast<std::int64_t>(sizeof(std::uint16_t))));
  });
}

}  // namespace alchemist::cuda
