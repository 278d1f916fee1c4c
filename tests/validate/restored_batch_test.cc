// A micro-batch over real memory: whatever way its activations come (resident, over the link in part or whole,
// recomputed, or fresh), the gradient is that of a fresh forward. In double over plain loops.
#include "validate/restored_batch.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "tests/validate/support.h"

namespace alchemist {
namespace {

constexpr double kSummation = 1e-12;  // relative to the norm: double, sums in another order

std::vector<std::int32_t> text(std::int32_t tokens, std::int32_t start) {
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

  // Computes tokens 0 .. first without a record, then the chunks with one.
  void record(std::uint32_t id, const std::vector<std::int32_t>& tokens, std::int32_t first,
              const std::vector<std::int32_t>& chunks) {
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
      const RecordChunk chunk = records_.extend({RecordId(id), false, done, pages}, size);
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
      batch.emplace(work, texts_, records_);
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
  std::vector<Feedback> samples_;
  std::vector<std::vector<std::int32_t>> texts_;
  std::int32_t next_page_ = 0;
  std::array<std::vector<std::int32_t>, 3> layer_pages_;
};

std::vector<LayerPlan> plan(std::vector<double> shares) {
  std::vector<LayerPlan> layers;
  for (const double share : shares) layers.push_back({LayerSource::reload, share});
  return layers;
}

// Without and with norms of heads.
INSTANTIATE_TEST_SUITE_P(HeadNorms, RestoredBatchTest, ::testing::Bool());

// The pieces of a micro-batch without records are the model's own calls over all its rows.
TEST_P(RestoredBatchTest, PiecesGiveTheGradientOfTheModelsOwnCalls) {
  std::vector<TrainingSample> samples;
  for (std::size_t i = 0; i < 2; ++i) samples.push_back({texts_[i], samples_[i].prompt_tokens, 1.0 / 7, 0});
  const std::vector<RowRange> rows = {{0, 17}, {17, 29}};
  const auto pieces = [&](std::int32_t layer) {
    std::vector<std::int32_t> pages;
    for (std::int32_t page = next_page_ + 40 * layer; page < next_page_ + 40 * (layer + 1); ++page) {
      pages.push_back(page);
    }
    layer_pages_[static_cast<std::size_t>(layer)] = pages;
    const RecordMemory memory{model_.arena(), model_->page_bytes(), layer_pages_[static_cast<std::size_t>(layer)], 0};
    return std::vector<ActivationPiece>{
        {{0, 17}, RecordKind::kMinimal, RecordKind::kMinimal, 29, 0, memory},
        {{17, 29}, RecordKind::kMinimal, RecordKind::kMinimal, 29, 17, memory},
    };
  };
  model_->zero_gradients();
  model_->begin_micro_batch(samples);
  for (std::int32_t layer = 0; layer < 3; ++layer) model_->forward_layer({layer, rows, {}, pieces(layer)});
  model_->head({{0, 29}, {}});
  for (std::int32_t layer = 2; layer >= 0; --layer) model_->backward_layer({layer, {0, 29}, pieces(layer)});
  const std::vector<double> expected = model_->gradients();
  EXPECT_EQ(difference(gradient({}, {}, 0), expected), 0);
  for (const std::int64_t part : {5, 3, 1}) EXPECT_LT(difference(gradient({}, {}, 0, part), expected), kSummation);
}

TEST_P(RestoredBatchTest, ResidentRecordsGiveTheGradientOfAFreshForward) {
  const std::vector<double> fresh = gradient({}, {}, 0);
  EXPECT_LT(difference(gradient(recorded(false, false), {}, 0), fresh), kSummation);
}

// The last token of an answer is never an input of decode: it may be fresh, or take the activations of the one before,
// as it has no gradient. The last token of the first prompt is fresh in between.
TEST_P(RestoredBatchTest, AnswersRecordedByDecodeGiveTheGradientOfAFreshForward) {
  const std::vector<double> fresh = gradient({}, {}, 0);
  for (const bool lean : {false, true}) {
    record_decoded(2, texts_[0], 13, 3, 6, lean);
    for (const auto& [on_host, borrowed] : {std::pair(false, false), {false, true}, {true, false}, {true, true}}) {
      if (on_host && !borrowed) move_to_host(2);
      std::vector<RecordedTokens> parts = recorded(false, false);
      parts.insert(parts.begin() + 1, {0, 13, 3, RecordId(2), 0, lean, on_host});
      if (borrowed) parts.insert(parts.begin() + 2, {0, 16, 1, RecordId(2), 2, lean, on_host});
      const std::vector<LayerPlan> restore = on_host ? plan({1, 0.5, 0}) : std::vector<LayerPlan>();
      for (const std::int32_t meeting : {0, 1, 3}) {  // layers below it are run again
        if (meeting > 0 && !on_host) continue;
        for (const std::int64_t part : {100, 4}) {
          EXPECT_LT(difference(gradient(parts, restore, meeting, part), fresh), kSummation)
              << lean << on_host << borrowed << meeting << part;
        }
      }
    }
    records_.forget(RecordId(2));
  }
}

TEST_P(RestoredBatchTest, DividedPiecesGiveTheSame) {
  const std::vector<double> fresh = gradient({}, {}, 0);
  EXPECT_LT(difference(gradient({}, {}, 0, 5), fresh), kSummation);
  EXPECT_LT(difference(gradient(recorded(false, false), {}, 0, 3), fresh), kSummation);
}

TEST_P(RestoredBatchTest, ReloadedRecordsGiveTheSameWhateverShareOfGateAndUpComes) {
  const std::vector<double> fresh = gradient({}, {}, 0);
  move_to_host(0);
  for (const double share : {1.0, 0.4, 0.0}) {
    EXPECT_LT(difference(gradient(recorded(true, false), plan({share, share, share}), 0), fresh), kSummation) << share;
  }
  move_to_host(1);
  EXPECT_LT(difference(gradient(recorded(true, true), plan({0, 0.5, 1}), 0, 4), fresh), kSummation);
}

TEST_P(RestoredBatchTest, LayersThatAreRecomputedGiveTheSame) {
  const std::vector<double> fresh = gradient({}, {}, 0);
  move_to_host(0);
  move_to_host(1);
  for (const std::int32_t meeting : {1, 2, 3}) {
    EXPECT_LT(difference(gradient(recorded(true, true), plan({1, 1, 0.5}), meeting, 6), fresh), kSummation) << meeting;
  }
}

// With two or one of the three layers' fresh activations on the device at once, the others on the host: the places are
// written over as forward goes up, so that what does not come back would show.
TEST_P(RestoredBatchTest, FreshActivationsThatLeaveGiveTheSame) {
  const std::vector<double> fresh = gradient({}, {}, 0);
  for (const std::int32_t layers : {2, 1}) {
    EXPECT_EQ(difference(gradient({}, {}, 0, 100, layers), fresh), 0) << layers;
    EXPECT_LT(difference(gradient(recorded(false, false), {}, 0, 5, layers), fresh), kSummation) << layers;
  }
  move_to_host(0);
  move_to_host(1);
  for (const std::int32_t meeting : {0, 2}) {
    EXPECT_LT(difference(gradient(recorded(true, true), plan({1, 1, 0.5}), meeting, 6, 1), fresh), kSummation)
        << meeting;
  }
}

// One value that is off by 0.1, of all that come back: a million times what summation in another order does.
TEST_P(RestoredBatchTest, APlantedErrorInOneReloadedLayerShows) {
  const std::vector<double> fresh = gradient({}, {}, 0);
  move_to_host(0);
  const RecordTable::Entry& entry = records_.entry(RecordId(0));
  const ByteRange x = layout_.range(RecordKind::kMinimal, RecordTensor::kXMid, 4);
  const std::int64_t at = layout_.bytes_per_token(RecordKind::kMinimal) * 4 + x.begin;  // layer 1 of the first chunk
  const std::int64_t page = pool_.memory().page_bytes;
  std::byte* byte = pool_.memory().base + entry.host_pages[static_cast<std::size_t>(at / page)] * page + at % page;
  double value;
  std::memcpy(&value, byte, sizeof value);
  value += 0.1;
  std::memcpy(byte, &value, sizeof value);
  EXPECT_GT(difference(gradient(recorded(true, false), plan({1, 1, 1}), 0), fresh), 1e-6);
}

// Its activations are made or brought again for the layers that are left; the gradient is the same to the bit.
TEST_P(RestoredBatchTest, AMicroBatchThatGaveWayGivesTheSameGradient) {
  move_to_host(0);
  const StepOfBatch whole;
  for (const std::vector<std::int32_t>& stops : {std::vector{3}, {2}, {1}, {3, 2, 1}}) {
    StepOfBatch stopped;
    stopped.stops_above = stops;
    for (const std::int32_t recompute_below : {0, 2, 3}) {
      for (const std::int32_t fresh_layers : {3, 1}) {
        const auto of = [&](const StepOfBatch& step) {
          return gradient(recorded(true, false), plan({1, 0.5, 1}), recompute_below, 100, fresh_layers, step);
        };
        EXPECT_EQ(difference(of(stopped), of(whole)), 0) << stops.size() << " stops, the first above " << stops[0];
      }
    }
  }
}

// Bytes that come over the link for a layer: of 11 tokens all but gate and up, and gate and up of floor(11 * 0.5) = 5.
TEST_P(RestoredBatchTest, CopiesAreAsLargeAsPlanned) {
  move_to_host(0);
  const std::vector<RecordedTokens> parts = {recorded(true, false)[0]};
  const std::vector<LayerPlan> restore = plan({1, 1, 0.5});
  std::vector<BlockId> pages;
  for (std::int32_t i = next_page_; i < TestDecoder<double>::kPages; ++i) pages.emplace_back(i);
  MicroBatchWork work;
  work.samples = samples_;
  work.step_targets = 4 + 3;
  work.recorded = parts;
  work.pages = pages;
  work.restore = restore;
  work.fresh_layers = 3;
  work.key_layers = 2;
  work.layers = 3;
  const RestoredBatch batch(work, texts_, records_);
  std::int64_t bytes = 0;
  for (const CopySegment& segment : batch.copy_in(2)) bytes += segment.bytes;
  const std::int64_t lean = layout_.bytes_per_token(RecordKind::kLean);
  EXPECT_EQ(bytes, 11 * lean + 5 * (layout_.bytes_per_token(RecordKind::kMinimal) - lean));
  bytes = 0;
  for (const CopySegment& segment : batch.copy_in_keys(2)) bytes += segment.bytes;
  EXPECT_EQ(bytes, 11 * layout_.row_bytes(RecordTensor::kKeyValue));
}

// All layers of the record come before backward begins, so that none may lie where another still does.
TEST_P(RestoredBatchTest, LayersThatComeAheadHavePlacesOfTheirOwn) {
  const std::vector<double> fresh = gradient({}, {}, 0);
  move_to_host(0);
  for (const std::int32_t meeting_layer : {0, 1}) {
    const std::vector<double> restored =
        gradient(recorded(true, false), plan({1, 1, 1}), meeting_layer, 100, 3, {.copies_first = true});
    EXPECT_LT(difference(restored, fresh), kSummation) << meeting_layer;
  }
}

// The loss is the mean over the targets of the step: with as many again in other micro-batches, half of the gradient.
TEST_P(RestoredBatchTest, TheLossIsTheMeanOverTheStep) {
  std::vector<double> half = gradient({}, {}, 0);
  for (double& g : half) g /= 2;
  EXPECT_LT(difference(gradient({}, {}, 0, 100, 3, {.targets = 14}), half), kSummation);
}

// Tokens 3 .. 12 of the first sample are tokens 2 .. 11 of its record, which begins with token 1.
TEST_P(RestoredBatchTest, ARecordIsUsedFromItsMiddle) {
  const std::vector<double> fresh = gradient({}, {}, 0);
  std::vector<RecordedTokens> parts = recorded(false, false);
  parts[0] = {0, 3, 9, RecordId(0), 2, false, false};
  EXPECT_LT(difference(gradient(parts, {}, 0), fresh), kSummation);
}

TEST_P(RestoredBatchTest, AForgottenRecordGivesItsHostPagesBack) {
  const std::int64_t before = pool_.free();
  move_to_host(0);
  EXPECT_LT(pool_.free(), before);
  records_.forget(RecordId(0));
  EXPECT_EQ(pool_.free(), before);
}

}  // namespace
}  // namespace alchemist
