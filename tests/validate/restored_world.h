// A micro-batch of two samples over real memory, of records that a served prompt has left, in the hands of a test in
// the place of its node and its links.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <functional>
#include <optional>
#include <vector>

#include "tests/validate/support.h"
#include "validate/restored_batch.h"

namespace alchemist {

inline constexpr double kSummation = 1e-12;  // relative to the norm: double, sums in another order

inline std::vector<std::int32_t> text(std::int32_t tokens, std::int32_t start) {
  std::vector<std::int32_t> result;
  for (std::int32_t i = 0; i < tokens; ++i) result.push_back((start + 5 * i) % 37);
  return result;
}

struct StepOfBatch {
  std::int64_t targets = 4 + 3;  // of all its micro-batches
  bool copies_first = false;     // all layers come over the link before backward of the last begins
  // It gives its memory back when its backward has come down to each of these layers in turn, from above.
  std::vector<std::int32_t> stops_above = {};
};

// Two samples: 13 + 4 tokens of which 1 .. 11 are recorded in two chunks (the first token as if by a prefix hit, the
// last of the prompt beyond the record), and 9 + 3 tokens of which 0 .. 8 are the beginning of a record of 9 tokens.
class RestoredBatchTest : public ::testing::TestWithParam<bool> {
 protected:
  RestoredBatchTest()
      : model_(small_options<double>(TrainingMethod::lora, GetParam())),
        layout_(model_->options().shape),
        pool_(model_.device(), model_->page_bytes(), 128),
        records_(layout_, 3, {model_.arena(), model_->page_bytes()}, pool_) {
    samples_ = {{RequestId(0), SessionId(0), 13, 4}, {RequestId(1), SessionId(1), 9, 3}};
    texts_ = {text(17, 3), text(12, 20)};
    // A step that serves the prompts records them.
    record(0, texts_[0], 1, {4, 7});
    record(1, texts_[1], 0, {9});
  }

  // Computes tokens 0 .. first without a record, then the chunks with one; `between` two of them.
  void record(std::uint32_t id, const std::vector<std::int32_t>& tokens, std::int32_t first,
              const std::vector<std::int32_t>& chunks, const std::function<void()>& between = {}) {
    std::vector<std::int32_t> table;
    for (int i = 0; i < 5; ++i) table.push_back(next_page_++);
    std::int32_t sum = 0;
    for (const std::int32_t chunk : chunks) sum += chunk;
    const std::int64_t bytes = layout_.bytes_per_token(RecordKind::kMinimal) * sum * 3;
    std::vector<BlockId> pages;
    for (std::int64_t i = 0; i <= bytes / model_->page_bytes(); ++i) pages.emplace_back(next_page_++);
    std::vector<std::int32_t> next(1);
    if (first > 0) serve(tokens, 0, first, table, {});
    std::int32_t done = 0;
    for (const std::int32_t size : chunks) {
      if (done > 0 && between) between();
      const RecordChunk chunk = records_.extend({RecordId(id), false, done, pages}, size);
      records_.compute(RecordId(id), done, model_->version());
      std::vector<RecordMemory> memory;
      for (std::int64_t layer = 0; layer < 3; ++layer) {
        memory.push_back({model_.arena(), model_->page_bytes(), records_.entry(RecordId(id)).pages,
                          chunk.offset + layer * layout_.bytes_per_token(RecordKind::kMinimal) * size});
      }
      serve(tokens, first + done, size, table, memory);
      done += size;
    }
  }
  // Computes tokens 0 .. first without a record and then `count` more, one a step, each into its place of a record of
  // `room` tokens.
  void record_decoded(std::uint32_t id, const std::vector<std::int32_t>& tokens, std::int32_t first, std::int32_t count,
                      std::int32_t room, bool lean) {
    std::vector<std::int32_t> table;
    for (int i = 0; i < 5; ++i) table.push_back(next_page_++);
    const RecordKind kind = lean ? RecordKind::kLean : RecordKind::kMinimal;
    const std::int64_t layer_bytes = layout_.bytes_per_token(kind) * room;
    std::vector<BlockId> pages;
    for (std::int64_t i = 0; i <= 3 * layer_bytes / model_->page_bytes(); ++i) pages.emplace_back(next_page_++);
    const RecordChunk chunk = records_.extend({RecordId(id), lean, 0, pages}, room);
    records_.compute(RecordId(id), 0, model_->version());
    std::vector<RecordMemory> memory;
    for (std::int64_t layer = 0; layer < 3; ++layer) {
      memory.push_back({model_.arena(), model_->page_bytes(), records_.entry(RecordId(id)).pages,
                        chunk.offset + layer * layer_bytes});
    }
    serve(tokens, 0, first, table, {});
    for (std::int32_t i = 0; i < count; ++i) serve(tokens, first + i, 1, table, memory, kind, room, i);
  }
  void serve(const std::vector<std::int32_t>& tokens, std::int32_t context, std::int32_t count,
             const std::vector<std::int32_t>& table, const std::vector<RecordMemory>& memory,
             RecordKind kind = RecordKind::kMinimal, std::int32_t record_tokens = 0, std::int32_t record_first = 0) {
    SequenceStep step;
    step.record_kind = kind;
    step.record_tokens = record_tokens;
    step.record_first = record_first;
    step.tokens = std::span(tokens).subspan(static_cast<std::size_t>(context), static_cast<std::size_t>(count));
    step.context = context;
    step.block_table = table;
    step.record = memory;
    std::vector<std::int32_t> next(1);
    model_->step(std::span(&step, 1), next);
  }

  // The parts of the samples that are recorded, and where.
  std::vector<RecordedTokens> recorded(bool first_on_host, bool second_on_host) const {
    return {{0, 1, 11, RecordId(0), 0, false, first_on_host}, {1, 0, 8, RecordId(1), 0, false, second_on_host}};
  }

  // The gradient, with every piece divided into parts of at most `part` tokens.
  std::vector<double> gradient(const std::vector<RecordedTokens>& parts, const std::vector<LayerPlan>& restore,
                               std::int32_t recompute_below, std::int64_t part = 100, std::int32_t fresh_layers = 3,
                               const StepOfBatch& step = {}) {
    std::int64_t host = 0, known = 0;
    for (const RecordedTokens& p : parts) (p.on_host ? host : known) += p.tokens;
    const std::int64_t fresh = 29 - host - known;
    const std::int64_t bytes = layout_.bytes_per_token(RecordKind::kMinimal) * (fresh_layers * fresh + 3 * host) +
                               2 * layout_.bytes_per_token(RecordKind::kKeyValue) * host;
    std::vector<BlockId> pages;
    std::int32_t page = next_page_;
    for (std::int64_t i = 0; i <= bytes / model_->page_bytes(); ++i) pages.emplace_back(page++);
    EXPECT_LE(page, TestDecoder<double>::kPages);
    MicroBatchWork work;
    work.samples = samples_;
    work.step_targets = step.targets;
    work.recorded = parts;
    work.pages = pages;
    work.restore = restore;
    work.recompute_below = recompute_below;
    work.fresh = fresh_layers < 3 ? FreshActivations::kOffload : FreshActivations::kKeep;
    work.fresh_layers = fresh_layers;
    work.layers = 3;
    const auto needs_keys = [&](std::int32_t layer) { return fresh > 0 && host > 0 && layer >= work.recompute_below; };
    work.key_layers = needs_keys(2) ? std::min(2, 3 - recompute_below) : 0;
    const std::int64_t free = pool_.free();
    model_->zero_gradients();
    std::optional<RestoredBatch> batch;
    const auto begin = [&] {
      batch.emplace(work, texts_, records_, kept_);
      batch->begin(*model_);
    };
    begin();
    const auto run = [&](PieceKind kind, std::int32_t layer, std::int64_t tokens) {
      for (std::int64_t done = 0; done < tokens; done += part) {
        TrainingPiece piece;
        piece.kind = kind;
        piece.layer = layer;
        piece.first_token = done;
        piece.tokens = std::min(part, tokens - done);
        batch->run(piece, *model_);
      }
    };
    const auto forward = [&] {
      const auto bring_keys = [&](std::int32_t layer) {
        if (layer < work.layers && needs_keys(layer)) copy(batch->copy_in_keys(layer));
      };
      for (std::int32_t ahead = 0; ahead < work.key_layers; ++ahead) bring_keys(work.recompute_below + ahead);
      for (std::int32_t layer = 0; layer < work.layers; ++layer) {
        run(PieceKind::kForward, layer, layer < work.recompute_below ? fresh + host : fresh);
        if (layer >= work.recompute_below) bring_keys(layer + work.key_layers);
        if (fresh > 0 && layer < work.layers - work.fresh_layers) copy(batch->copy_out(layer));
      }
    };
    // Others use the memory meanwhile, and the forward is interrupted once more.
    const auto stop_and_resume = [&](std::int32_t layers) {
      batch->end(pool_);
      for (const BlockId id : pages) {
        std::memset(model_.arena() + id.value() * model_->page_bytes(), 0xff,
                    static_cast<std::size_t>(model_->page_bytes()));
      }
      work.layers = layers;
      work.resumes = true;
      work.fresh_layers = std::min(work.fresh_layers, layers);
      work.recompute_below = std::min(work.recompute_below, layers);
      work.key_layers = needs_keys(layers - 1) ? std::min(2, layers - work.recompute_below) : 0;
      begin();
      if (needs_keys(0)) copy(batch->copy_in_keys(0));
      run(PieceKind::kForward, 0, work.recompute_below > 0 ? fresh + host : fresh);
      batch->end(pool_);
      begin();
      forward();
    };
    forward();
    run(PieceKind::kHead, 0, 4 + 3);  // targets
    for (std::int32_t layer = 2; layer >= 0 && step.copies_first; --layer) copy(batch->copy_in(layer));
    for (std::int32_t layer = 2; layer >= 0; --layer) {
      if (std::ranges::count(step.stops_above, layer + 1) > 0) stop_and_resume(layer + 1);
      if (!step.copies_first) copy(batch->copy_in(layer));
      run(PieceKind::kBackward, layer, 29);
    }
    batch->end(pool_);
    EXPECT_EQ(pool_.free(), free);
    return model_->gradients();
  }
  void copy(const std::vector<CopySegment>& segments) {
    for (const CopySegment& s : segments) std::memcpy(s.to, s.from, static_cast<std::size_t>(s.bytes));
  }
  // Records to the host; what lay on the device is overwritten, so that nobody reads it by mistake.
  void move_to_host(std::uint32_t id) {
    copy(records_.copy_out(RecordId(id)));
    for (const std::int32_t page : records_.entry(RecordId(id)).pages) {
      std::memset(model_.arena() + page * model_->page_bytes(), 0xff, static_cast<std::size_t>(model_->page_bytes()));
    }
  }
  static double difference(const std::vector<double>& a, const std::vector<double>& b) {
    double sum = 0, norm = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
      sum += (a[i] - b[i]) * (a[i] - b[i]);
      norm += b[i] * b[i];
    }
    EXPECT_GT(norm, 0);
    return std::sqrt(sum / norm);
  }

  TestDecoder<double> model_;
  RecordLayout layout_;
  HostPool pool_;
  RecordTable records_;
  const KeptWeights* kept_ = nullptr;  // with which micro-batches are run
  std::vector<Feedback> samples_;
  std::vector<std::vector<std::int32_t>> texts_;
  std::int32_t next_page_ = 0;
  std::array<std::vector<std::int32_t>, 3> layer_pages_;
};

inline std::vector<LayerPlan> plan(std::vector<double> shares) {
  std::vector<LayerPlan> layers;
  for (const double share : shares) layers.push_back({LayerSource::reload, share});
  return layers;
}

}  // namespace alchemist
