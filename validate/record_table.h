// Where records lie: their chunks in pages of the arena, and their copies in the pinned pool on the host, which mirror
// them byte for byte.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "kernels/device.h"
#include "sim/node/host.h"
#include "validate/link_worker.h"
#include "validate/record_layout.h"

namespace alchemist {

// Memory in pages of equal size: the arena on the device, or the pinned pool on the host.
struct PagedMemory {
  std::byte* base = nullptr;
  std::int64_t page_bytes = 0;
};

// What copies bytes begin .. begin + bytes of one run of pages to another: a segment for each piece that is contiguous
// on both sides.
void append_segments(const RecordMemory& to, const RecordMemory& from, std::int64_t bytes,
                     std::vector<CopySegment>& segments);

// Pinned host memory, taken once, handed out page by page.
class HostPool {
 public:
  HostPool(DeviceMemory& device, std::int64_t page_bytes, std::int32_t pages);
  ~HostPool();
  HostPool(const HostPool&) = delete;
  HostPool& operator=(const HostPool&) = delete;

  PagedMemory memory() const { return {base_, page_bytes_}; }
  std::vector<std::int32_t> take(std::int64_t bytes);
  void give_back(const std::vector<std::int32_t>& pages);
  std::int64_t free() const { return static_cast<std::int64_t>(free_.size()); }  // pages

 private:
  DeviceMemory& device_;
  std::int64_t page_bytes_;
  std::byte* base_ = nullptr;
  std::vector<std::int32_t> free_;
};

// Tokens of a record that were computed in one step: layer after layer, each laid out as a record of `tokens` tokens.
struct RecordChunk {
  std::int32_t first_token = 0;  // of the record
  std::int32_t tokens = 0;
  std::int64_t offset = 0;  // bytes in the record
};

class RecordTable {
 public:
  // All references outlive the table.
  RecordTable(const RecordLayout& layout, std::int32_t layers, PagedMemory arena, HostPool& pool);

  struct Entry {
    RecordKind kind = RecordKind::kMinimal;
    std::int64_t bytes = 0;
    std::vector<std::int32_t> pages;  // of the arena; stale once the node has given them to somebody else
    std::vector<std::int32_t> host_pages;
    std::vector<RecordChunk> chunks;
    // Under which weights its tokens were computed: from `first_token` on to the next entry's.
    struct Computed {
      std::int32_t first_token = 0;
      WeightVersion under;
    };
    std::vector<Computed> computed;
  };

  // `tokens` tokens join the record. Returns where in it they go.
  RecordChunk extend(const RecordPart& part, std::int32_t tokens);
  // A step computes its tokens from `first_token` on under these weights. Nothing if the record was forgotten
  // meanwhile.
  void compute(RecordId id, std::int32_t first_token, WeightVersion under);
  const Entry& entry(RecordId id) const;
  // The copy of a whole record to the host, which gets memory for it.
  std::vector<CopySegment> copy_out(RecordId id);
  void forget(RecordId id);

  PagedMemory arena() const { return arena_; }
  PagedMemory host() const { return pool_.memory(); }
  HostPool& pool() { return pool_; }
  const RecordLayout& layout() const { return layout_; }
  // Bytes from one layer of a chunk to the next.
  std::int64_t layer_bytes(RecordKind kind, std::int32_t tokens) const {
    return layout_.bytes_per_token(kind) * tokens;
  }

 private:
  const RecordLayout& layout_;
  std::int32_t layers_;
  PagedMemory arena_;
  HostPool& pool_;
  std::unordered_map<RecordId, Entry> entries_;
};

}  // namespace alchemist
