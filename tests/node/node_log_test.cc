// What a log has of each command: a replay compares these texts, so that a field that is in none is compared by nobody.
#include "sim/node/node_log.h"

#include <gtest/gtest.h>

#include <vector>

namespace alchemist {
namespace {

Time at_ns(std::int64_t ns) { return Time() + Duration::nanoseconds(ns); }

TEST(NodeLog, TextOfAServingOperation) {
  const std::vector<BlockId> blocks = {BlockId(7), BlockId(8)}, pages = {BlockId(10)},
                             of_answer = {BlockId(20), BlockId(21)};
  PrefillWork prefill;
  prefill.request = RequestHandle(4);
  prefill.chunk = {5, 6};
  prefill.target = 11;
  prefill.last = true;
  prefill.recorded = Bytes(4000);
  prefill.recorded_tokens = 3;
  prefill.stale_context = 25;
  prefill.blocks = blocks;
  prefill.record = RecordPart{RecordId(9), true, 2, pages};
  const RequestHandle preempted(12);
  const GrownTable grown{RequestHandle(13), BlockId(14)};
  const AnswerPart answer{RequestHandle(15), 16, 17, Bytes(18), {RecordId(19), false, 0, of_answer}};
  ServingOp op;
  op.prefills = {&prefill, 1};
  op.preempted = {&preempted, 1};
  op.grown = {&grown, 1};
  op.answers = {&answer, 1};
  op.recorded_per_step = Bytes(22);
  op.planned = at_ns(23);
  op.max_steps = 24;
  op.running = 2;
  op.waiting = 3;
  EXPECT_EQ(command_text(op),
            "serve 24 2 3 1 4 5 6 11 1 4000 3 25 2 7 8 1 9 1 2 1 10 1 12 1 13 14 1 15 16 17 18 19 0 0 2 20 21 22 23");
  prefill.record.reset();
  op.answers = {};
  EXPECT_EQ(command_text(op), "serve 24 2 3 1 4 5 6 11 1 4000 3 25 2 7 8 0 1 12 1 13 14 0 22 23");
}

TEST(NodeLog, TextOfAPieceAndOfACopy) {
  TrainingPiece piece;
  piece.kind = PieceKind::kBackward;
  piece.layer = 1;
  piece.first_token = 2;
  piece.tokens = 3;
  piece.parameters = 5;
  piece.attended_keys = 6.5;
  piece.rebuild_tokens = 7;
  piece.recorded_targets = 8;
  piece.checkpoint_tokens = 9;
  piece.adapter_changes = 10;
  piece.beside = true;
  EXPECT_EQ(command_text(piece), "piece 4 1 2 3 5 6.5 7 8 9 10 1");
  EXPECT_EQ(command_text(CopyOp{LinkDirection::kDeviceToHost, Bytes(2), RecordId(4), 3}), "copy 1 2 3 0 1 4");
  EXPECT_EQ(command_text(CopyOp{LinkDirection::kHostToDevice, Bytes(2), {}, 3, true}), "copy 0 2 3 1 0");
}

TEST(NodeLog, TextOfAMicroBatch) {
  const Feedback sample{RequestId(6), SessionId(7), 8, 9, 0, 0};
  const RecordedTokens recorded{0, 10, 11, RecordId(12), 13, true, false, 16};
  const std::vector<BlockId> pages = {BlockId(14), BlockId(15)};
  const LayerPlan layer{LayerSource::recompute, 0.25};
  MicroBatchWork work;
  work.samples = {&sample, 1};
  work.recorded = {&recorded, 1};
  work.pages = pages;
  work.restore = {&layer, 1};
  work.step_targets = 1;
  work.recompute_below = 2;
  work.fresh = FreshActivations::kOffload;
  work.fresh_layers = 3;
  work.key_layers = 4;
  work.layers = 5;
  work.resumes = true;
  EXPECT_EQ(command_text(work), "begin 1 2 2 3 4 5 1 1 6 7 8 9 1 0 10 11 12 13 1 0 16 2 14 15 1 2 0.25");
}

TEST(NodeLog, TextOfWhatANodeTells) {
  EXPECT_EQ(command_text(RecordId(3)), "forget 3");
  EXPECT_EQ(command_text(at_ns(4)), "wake_at 4");
  TrainingStep step;
  step.version = WeightVersion(1);
  step.start = at_ns(2);
  step.end = at_ns(3);
  step.tokens = 4;
  step.samples = 5;
  step.restore_stall = Duration::nanoseconds(6);
  step.forward = Duration::nanoseconds(7);
  step.backward = Duration::nanoseconds(8);
  step.gradient_wait = Duration::nanoseconds(9);
  step.optimizer = Duration::nanoseconds(10);
  step.gpu_time = Duration::nanoseconds(11);
  step.redundant_forward = Duration::nanoseconds(12);
  step.reused_tokens = 13;
  step.recomputed_tokens = 14;
  step.dropped_tokens = 15;
  step.reusing_samples = 16;
  step.version_lag_sum = 17;
  // Of a record of this very version, of an older one, and of none.
  const std::vector<TrainedSample> samples = {{RequestId(18), 0}, {RequestId(19), 20}, {RequestId(21), {}}};
  EXPECT_EQ(command_text(step, samples), "trained 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 3 18 0 19 20 21 -");
}

}  // namespace
}  // namespace alchemist
