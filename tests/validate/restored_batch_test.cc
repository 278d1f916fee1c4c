// A micro-batch over real memory: whatever way its activations come (resident, over the link in part or whole,
// recomputed, or fresh), the gradient is that of a fresh forward. In double over plain loops.
#include "tests/validate/restored_world.h"

namespace alchemist {
namespace {

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
