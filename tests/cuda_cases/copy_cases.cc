#include "tests/cuda_cases/bench.h"

namespace alchemist::cases {
namespace {

using Words = std::vector<std::int32_t>;

Words numbered(std::int64_t count, std::int32_t first) {
  Words words;
  for (std::int64_t i = 0; i < count; ++i) words.push_back(first + static_cast<std::int32_t>(i));
  return words;
}

struct Record {
  std::int64_t rows, row_words, stride_words, offset_words, page_words;
  std::int64_t pages_before = 0;  // of the record, that the copy does not touch
};

// Into pages that lie in another order than they are used, and back into a second tensor. Words are numbered, so that
// every one that lies wrong is seen; copies are exact.
Case record(const char* name, const Record& r) {
  return {std::string("record_copy_") + name, [=]<class T>(Bench<T>& bench) -> Outputs {
            const std::int64_t used = (r.offset_words + r.rows * r.row_words + r.page_words - 1) / r.page_words;
            Words pages(static_cast<std::size_t>(r.pages_before), -1);
            for (std::int64_t i = 0; i < used; ++i) pages.push_back(static_cast<std::int32_t>((used - i) * 2 - 1));
            const std::int64_t memory_words = 2 * used * r.page_words;
            std::int32_t* memory = bench.plain(Words(static_cast<std::size_t>(memory_words), -1));
            const std::int64_t words = r.rows * r.stride_words;
            std::int32_t* tensor = bench.plain(numbered(words, 1));
            std::int32_t* restored = bench.plain(Words(static_cast<std::size_t>(words), -2));
            RecordCopy copy{.record = {.base = reinterpret_cast<std::byte*>(memory),
                                       .page_bytes = 4 * r.page_words,
                                       .pages = bench.plain(pages),
                                       .offset = 4 * (r.offset_words + r.pages_before * r.page_words)},
                            .rows = r.rows,
                            .direction = RecordDirection::kToRecord,
                            .tensor_count = 1,
                            .tensors = {{reinterpret_cast<std::byte*>(tensor), 4 * r.row_words, 4 * r.stride_words}}};
            bench.device().run(copy);
            copy.tensors[0].rows = reinterpret_cast<std::byte*>(restored);
            copy.direction = RecordDirection::kFromRecord;
            bench.device().run(copy);
            return {{"pages", bench.read(memory, memory_words), 0}, {"restored", bench.read(restored, words), 0}};
          }};
}

// Three tensors of 6 rows in one call, of which the first is for accesses of 16 bytes, the second for 8, the third for
// 4, far apart in size and one behind the other in the record, and back.
Case together() {
  return {"record_copy_together", [=]<class T>(Bench<T>& bench) -> Outputs {
            constexpr std::int64_t kRows = 6, kPageWords = 640, kPages = 16;
            const std::int64_t words[] = {1200, 2, 1}, strides[] = {1208, 2, 3};
            Words pages;
            for (std::int32_t i = 0; i < kPages; ++i) pages.push_back(2 * (kPages - i) - 1);
            std::int32_t* memory = bench.plain(Words(2 * kPages * kPageWords, -1));
            RecordCopy copy{};
            copy.record = {reinterpret_cast<std::byte*>(memory), 4 * kPageWords, bench.plain(pages), 4 * 16};
            copy.rows = kRows;
            RecordCopy back = copy;
            copy.direction = RecordDirection::kToRecord;
            back.direction = RecordDirection::kFromRecord;
            std::vector<std::int32_t*> restored;
            std::int64_t offset = 0;
            for (const int t : {0, 1, 2}) {
              const std::int64_t all = kRows * strides[t];
              auto* rows = reinterpret_cast<std::byte*>(bench.plain(numbered(all, 1 + 100'000 * t)));
              restored.push_back(bench.plain(Words(static_cast<std::size_t>(all), -2)));
              copy.tensors[copy.tensor_count++] = {rows, 4 * words[t], 4 * strides[t], offset};
              back.tensors[back.tensor_count++] = {reinterpret_cast<std::byte*>(restored.back()), 4 * words[t],
                                                   4 * strides[t], offset};
              offset += 4 * kRows * words[t];
            }
            bench.device().run(copy);
            bench.device().run(back);
            Outputs outputs{{"pages", bench.read(memory, 2 * kPages * kPageWords), 0}};
            for (const int t : {0, 1, 2})
              outputs.push_back({"restored " + std::to_string(t),
                                 bench.read(restored[static_cast<std::size_t>(t)], kRows * strides[t]), 0});
            return outputs;
          }};
}

Case rows(const char* name, std::int64_t count, std::int64_t words, std::int64_t from_stride, std::int64_t to_stride) {
  return {std::string("row_copy_") + name, [=]<class T>(Bench<T>& bench) -> Outputs {
            std::int32_t* from = bench.plain(numbered(count * from_stride, 1));
            std::int32_t* to = bench.plain(Words(static_cast<std::size_t>(count * to_stride), -1));
            bench.device().run(RowCopy{reinterpret_cast<const std::byte*>(from), reinterpret_cast<std::byte*>(to),
                                       count, 4 * words, 4 * from_stride, 4 * to_stride});
            return {{"to", bench.read(to, count * to_stride), 0}};
          }};
}

// Three tensors of 5 rows. Rows 4, 0 and 3 have places in records over pages of 40 words in which every other page is
// somebody else's; the one between them has none. The last record is without the first tensor. Records begin at
// multiples of `alignment` words.
Case keep(const char* name, std::int64_t first_tensor_words, std::int64_t alignment) {
  return {
      std::string("keep_rows_") + name, [=]<class T>(Bench<T>& bench) -> Outputs {
        constexpr std::int64_t kRows = 5, kPageWords = 40, kRecords = 3, kMostTokens = 3;  // with the first tensor
        const std::int64_t words[] = {first_tensor_words, 6, 1}, strides[] = {first_tensor_words + 2, 6, 3};
        const std::int64_t record_pages = 40 + kMostTokens * first_tensor_words / kPageWords;
        const std::int64_t memory_words = kRecords * 2 * record_pages * kPageWords;
        std::int32_t* memory = bench.plain(Words(static_cast<std::size_t>(memory_words), -1));
        const auto place = [&](std::int32_t index, std::int32_t row, std::int32_t tokens, std::int32_t token,
                               std::int32_t first_tensor) {
          Words pages;
          for (std::int64_t i = 0; i < record_pages; ++i) {
            pages.push_back(static_cast<std::int32_t>((record_pages - i) * 2 - 1 + index * 2 * record_pages));
          }
          RowPlace result;
          result.record = {reinterpret_cast<std::byte*>(memory), 4 * kPageWords, bench.plain(pages),
                           4 * alignment * (1 + 17 * index)};
          result.row = row;
          result.tokens = tokens;
          result.token = token;
          result.first_tensor = first_tensor;
          return result;
        };
        const std::vector<RowPlace> places = {place(0, 4, 3, 2, 0), RowPlace(), place(1, 0, 1, 0, 0),
                                              place(2, 3, 7, 5, 1)};
        KeepRows call{};
        call.places = bench.plain(places);
        call.count = static_cast<std::int32_t>(places.size());
        for (const int t : {0, 1, 2}) {
          const std::int32_t* rows = bench.plain(numbered(kRows * strides[t], 1 + 10'000 * t));
          call.tensors[call.tensor_count++] = {reinterpret_cast<const std::byte*>(rows), 4 * words[t], 4 * strides[t]};
        }
        bench.device().run(call);
        return {{"memory", bench.read(memory, memory_words), 0}};
      }};
}

Case kv_write(std::int64_t width) {
  return {"kv_cache_write_" + std::to_string(width), [=]<class T>(Bench<T>& bench) -> Outputs {
            const std::int64_t block_size = 4, block_stride = 3 * block_size * width, blocks = 5;
            const std::vector<std::int64_t> slots = {17, 2, 3, 8, 0, 19};
            const auto tokens = static_cast<std::int64_t>(slots.size());
            const std::int64_t stride = width + 8;
            T* k_cache = bench.storage(normal_values(blocks * block_stride, "k_cache"));
            T* v_cache = bench.storage(normal_values(blocks * block_stride, "v_cache"));
            bench.device().run(KvCacheWrite<T>{.k = bench.storage(normal_values(tokens * stride, "k")),
                                               .v = bench.storage(normal_values(tokens * stride, "v")),
                                               .k_cache = k_cache,
                                               .v_cache = v_cache,
                                               .slots = bench.plain(slots),
                                               .tokens = tokens,
                                               .width = width,
                                               .row_stride = stride,
                                               .block_size = block_size,
                                               .block_stride = block_stride});
            return {{"k_cache", bench.read(k_cache, blocks * block_stride), 0},
                    {"v_cache", bench.read(v_cache, blocks * block_stride), 0}};
          }};
}

}  // namespace

std::vector<Case> copy_cases(bool large) {
  std::vector<Case> cases = {record("wide", {5, 64, 80, 16, 128}),           // 16-byte accesses, rows apart
                             record("pairs", {5, 66, 70, 2, 130}),           // 8-byte accesses
                             record("words", {7, 9, 11, 5, 13}),             // 4-byte accesses
                             record("contiguous", {11, 32, 32, 8, 64}),      // one long row
                             record("one_page", {4, 1500, 1504, 4, 16384}),  // rows longer than a block has threads
                             record("far_into_a_record", {4, 1, 4, 3, 16384, 300000}),
                             together(),
                             keep("narrow", 9, 3),
                             keep("wide", 300, 3),     // than a block has threads
                             keep("pairs", 3002, 2),   // 8-byte accesses, by blocks that come back for more
                             keep("quads", 11004, 4),  // 16-byte accesses, by several blocks
                             rows("wide", 5, 64, 72, 68),
                             rows("words", 6, 7, 9, 7),
                             rows("contiguous", 3, 4000, 4000, 4000),
                             kv_write(16),
                             kv_write(1040)};
  if (large) cases.push_back(record("large", {500, 14336, 14336, 4096, 524288}));
  return cases;
}

}  // namespace alchemist::cases
