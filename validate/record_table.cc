#include "validate/record_table.h"

#include <algorithm>

#include "sim/base/check.h"

namespace alchemist {
namespace {

std::byte* address(const RecordMemory& memory, std::int64_t byte) {
  const std::int64_t at = memory.offset + byte;
  return memory.base + memory.pages[static_cast<std::size_t>(at / memory.page_bytes)] * memory.page_bytes +
         at % memory.page_bytes;
}

std::int64_t left_of_page(const RecordMemory& memory, std::int64_t byte) {
  return memory.page_bytes - (memory.offset + byte) % memory.page_bytes;
}

}  // namespace

void append_segments(const RecordMemory& to, const RecordMemory& from, std::int64_t bytes,
                     std::vector<CopySegment>& segments) {
  for (std::int64_t done = 0; done < bytes;) {
    const std::int64_t run = std::min({bytes - done, left_of_page(to, done), left_of_page(from, done)});
    segments.push_back({address(to, done), address(from, done), run});
    done += run;
  }
}

HostPool::HostPool(DeviceMemory& device, std::int64_t page_bytes, std::int32_t pages)
    : device_(device), page_bytes_(page_bytes) {
  if (pages > 0) base_ = static_cast<std::byte*>(device.allocate_host(page_bytes * pages));
  for (std::int32_t page = pages; page-- > 0;) free_.push_back(page);
}

HostPool::~HostPool() {
  if (base_) device_.free_host(base_);
}

std::vector<std::int32_t> HostPool::take(std::int64_t bytes) {
  const auto pages = static_cast<std::size_t>((bytes + page_bytes_ - 1) / page_bytes_);
  check(pages <= free_.size(), "the pinned pool holds what the node keeps on the host");
  std::vector<std::int32_t> taken(free_.end() - static_cast<std::ptrdiff_t>(pages), free_.end());
  free_.resize(free_.size() - pages);
  return taken;
}

void HostPool::give_back(const std::vector<std::int32_t>& pages) {
  free_.insert(free_.end(), pages.begin(), pages.end());
}

RecordTable::RecordTable(const RecordLayout& layout, std::int32_t layers, PagedMemory arena, HostPool& pool)
    : layout_(layout), layers_(layers), arena_(arena), pool_(pool) {}

RecordChunk RecordTable::extend(const RecordPart& part, std::int32_t tokens) {
  if (part.first_token == 0) forget(part.id);
  Entry& entry = entries_[part.id];
  entry.kind = part.lean ? RecordKind::kLean : RecordKind::kMinimal;
  entry.pages.clear();
  for (const BlockId page : part.pages) entry.pages.push_back(static_cast<std::int32_t>(page.value()));
  const RecordChunk chunk{part.first_token, tokens, entry.bytes};
  entry.chunks.push_back(chunk);
  entry.bytes += layer_bytes(entry.kind, tokens) * layers_;
  check(entry.bytes <= arena_.page_bytes * static_cast<std::int64_t>(entry.pages.size()),
        "a record fits the pages that it was given");
  return chunk;
}

// A step may have been planned for a record that is forgotten, and its id be another's by now: whose own steps come
// later, and say it again.
void RecordTable::compute(RecordId id, std::int32_t first_token, WeightVersion under) {
  const auto found = entries_.find(id);
  if (found == entries_.end()) return;
  std::vector<Entry::Computed>& computed = found->second.computed;
  std::erase_if(computed, [&](const Entry::Computed& old) { return old.first_token >= first_token; });
  if (computed.empty() || computed.back().under != under) computed.push_back({first_token, under});
}

const RecordTable::Entry& RecordTable::entry(RecordId id) const {
  const auto found = entries_.find(id);
  check(found != entries_.end(), "a record that is named exists");
  return found->second;
}

std::vector<CopySegment> RecordTable::copy_out(RecordId id) {
  Entry& entry = entries_.at(id);
  check(entry.host_pages.empty(), "a record is copied out once");
  entry.host_pages = pool_.take(entry.bytes);
  std::vector<CopySegment> segments;
  const RecordMemory to{host().base, host().page_bytes, entry.host_pages, 0};
  const RecordMemory from{arena_.base, arena_.page_bytes, entry.pages, 0};
  append_segments(to, from, entry.bytes, segments);
  return segments;
}

void RecordTable::forget(RecordId id) {
  const auto found = entries_.find(id);
  if (found == entries_.end()) return;
  pool_.give_back(found->second.host_pages);
  entries_.erase(found);
}

}  // namespace alchemist
