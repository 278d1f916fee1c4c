// Serves prompts with recording, as the tests of serving and of reuse do.
#pragma once

#include <map>

#include "tests/validate/support.h"

namespace alchemist {

// Pages for KV blocks and records, given out in an order that is not theirs in memory.
class PageList {
 public:
  explicit PageList(std::int32_t pages) {
    for (std::int32_t p = 0; p < pages; ++p) free_.push_back((p * 7 + 3) % pages);  // 7 and `pages` share no factor
  }
  std::vector<std::int32_t> take(std::int64_t count) {
    EXPECT_LE(count, static_cast<std::int64_t>(free_.size()));
    std::vector<std::int32_t> result(free_.end() - count, free_.end());
    free_.resize(free_.size() - static_cast<std::size_t>(count));
    return result;
  }

 private:
  std::vector<std::int32_t> free_;
};

// One request being served: its tokens, its blocks and, for each chunk, a record over pages of the arena.
struct Served {
  std::vector<std::int32_t> tokens;
  std::vector<std::int32_t> blocks;
  std::int32_t computed = 0;

  SequenceStep next_chunk(std::int32_t count) {
    SequenceStep step;
    step.tokens = std::span(tokens).subspan(static_cast<std::size_t>(computed), static_cast<std::size_t>(count));
    step.context = computed;
    step.block_table = blocks;
    computed += count;
    return step;
  }
};

template <class T>
Served new_request(TestDecoder<T>& model, PageList& pages, std::vector<std::int32_t> tokens) {
  const std::int32_t block = model->options().limits.block_size;
  Served served;
  served.blocks = pages.take((static_cast<std::int64_t>(tokens.size()) + block - 1) / block);
  served.tokens = std::move(tokens);
  return served;
}

// Values of one tensor of a contiguous record of `tokens` tokens, as the CPU holds them.
template <class T>
std::vector<T> record_values(const TestDecoder<T>& model, const RecordMemory& memory, RecordKind kind,
                             RecordTensor tensor, std::int64_t tokens) {
  const ByteRange range = model.layout().range(kind, tensor, tokens);
  const T* begin = reinterpret_cast<const T*>(memory.base + range.begin);
  return {begin, begin + (range.end - range.begin) / static_cast<std::int64_t>(sizeof(T))};
}

// A record of all layers as one run of bytes over pages of the arena: layer after layer.
struct PagedRecord {
  std::vector<std::int32_t> pages;
  std::vector<RecordMemory> layers;
};

template <class T>
PagedRecord new_paged_record(TestDecoder<T>& model, PageList& free, RecordKind kind, std::int64_t tokens) {
  const std::int64_t layers = model->options().shape.layers, page = model->page_bytes();
  const std::int64_t layer_bytes = model.layout().bytes_per_token(kind) * tokens;
  PagedRecord record;
  record.pages = free.take((layers * layer_bytes + page - 1) / page);
  for (std::int64_t l = 0; l < layers; ++l) {
    record.layers.push_back({model.arena(), page, record.pages, l * layer_bytes});
  }
  return record;
}

}  // namespace alchemist
