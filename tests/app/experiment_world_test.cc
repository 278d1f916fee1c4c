// What an experiment's keys become in the world that runs it: nothing that a user sets is lost on the way.
#include "sim/app/experiment_world.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "sim/app/run_experiment.h"
#include "tests/app/support.h"

namespace alchemist {
namespace {

// Llama-3.2-1B on two H200, of which a policy with GPUs apart trains on one; with these lines more.
Experiment on_two_gpus(const std::string& policy, const std::string& more = "", const std::string& hardware = "") {
  return read_experiment(
      YamlValue::parse("model: llama-3.2-1b\nhardware: {base: h200" + hardware +
                           "}\nworkload: {arrivals: {fixed: {rate: 2}}, lengths: {fixed: {prompt: 900, output: 200}}, "
                           "requests: 10}\ncluster: {gpus: 2, training_gpus: 1}\npolicy: " +
                           policy + "\n" + more,
                       "e.yaml"));
}

constexpr const char* kManyPolicyKeys =
    "{base: elastic, record_answers: true, gpu_record_share: 0.3, host_record_share: 0.25, micro_batch_tokens: 512, "
    "window_layers: 3, stretch: 0.07, keep_for: 90500 ms}";

TEST(ExperimentWorld, APolicyHasWhatItsKeysSay) {
  const Policy policy = make_policy(load_policy(on_two_gpus(kManyPolicyKeys).policy));
  EXPECT_EQ(policy.stretch, 0.07);
  EXPECT_EQ(policy.keep_for, Duration::milliseconds(90'500));
  EXPECT_EQ(policy.fresh, FreshActivations::kSpill);
  EXPECT_EQ(policy.samples, SampleOrder::kRecorded);
  EXPECT_TRUE(policy.record_answers);
  const Policy other = make_policy(load_policy(on_two_gpus("temporal").policy));
  EXPECT_EQ(other.keep_for, Duration::max());
  EXPECT_EQ(other.samples, SampleOrder::kOldest);
  EXPECT_FALSE(other.record_answers);
}

TEST(ExperimentWorld, MemoryAndPiecesAreAsThePolicySays) {
  const Experiment e = on_two_gpus(kManyPolicyKeys, "training: {batch_tokens: 4096}\nseed: 77\n", ", token_tile: 64");
  const ExperimentWorld world(e);
  const SimulationConfig& config = world.config();
  EXPECT_EQ(config.seed, 77u);
  const StoreConfig& store = config.training->store;
  EXPECT_EQ(store.max_pages, static_cast<std::int32_t>(config.kv_blocks * 0.3));
  EXPECT_EQ(store.host_capacity, Bytes(std::int64_t{64} << 30)) << "of 256 GiB";
  EXPECT_TRUE(store.spare_memory);
  const TrainerConfig& trainer = config.training->trainer;
  EXPECT_EQ(trainer.micro_batch_tokens, 512);
  EXPECT_EQ(trainer.reserved_tokens, 512);
  EXPECT_EQ(trainer.window_layers, 3);
  EXPECT_EQ(trainer.token_tile, 64);
  EXPECT_EQ(trainer.gpu_share, 1);
  const ExperimentWorld small(on_two_gpus("alchemist", "training: {batch_tokens: 256}\n"));
  EXPECT_EQ(small.config().training->trainer.reserved_tokens, 256) << "a micro-batch is no larger than a batch";
  EXPECT_FALSE(small.config().training->store.spare_memory);
  const ExperimentWorld beside(on_two_gpus("{base: beside, sm_share: 0.3}"));
  EXPECT_EQ(beside.config().training->trainer.gpu_share, 0.3);
}

// What is short is said in figures, and no way out that has been taken already.
TEST(ExperimentWorld, NoRoomIsAccountedFor) {
  const auto refusal = [](const char* policy, const char* method) {
    return message_of([&] {
      const ExperimentWorld world(
          on_two_gpus(policy, std::string("training: {method: ") + method + "}\n", ", memory: 4 GiB"));
    });
  };
  for (const char* policy : {"temporal", "{base: separate, micro_batch_tokens: 8192}"}) {
    EXPECT_THAT(refusal(policy, "full"), testing::HasSubstr("use training.method lora, a"));
    const std::string lora = refusal(policy, "lora");
    EXPECT_THAT(lora, testing::AllOf(testing::HasSubstr("weights take 2.3 GiB"), testing::HasSubstr("; use a ")));
  }
}

// vLLM counts a block that no request gets: of 16,000 tokens asked for 999 blocks of 16 can be used.
TEST(ExperimentWorld, OneBlockIsNobodys) {
  EXPECT_EQ(ExperimentWorld(on_two_gpus("serve_only", "serving: {kv_cache_tokens: 16000}\n")).config().kv_blocks, 999);
}

// What a policy believes of the link: to the host it is slower here, each copy takes 10 us before it begins, and
// kernels do 1 / 1.25 of their work meanwhile.
TEST(ExperimentWorld, PoliciesKnowTheLink) {
  const ExperimentWorld world(
      on_two_gpus("alchemist", "", ", link_h2d_bandwidth: 50 GB/s, link_d2h_bandwidth: 40 GB/s, copy_slowdown: 1.25"));
  const TrainingSetup& setup = *world.config().training;
  EXPECT_EQ(setup.store.link_bandwidth, 40e9);
  EXPECT_NEAR(setup.store.copy_costs, 0.2, 1e-12);
  EXPECT_EQ(setup.estimator->copy(LinkDirection::kHostToDevice, Bytes(50'000'000)), Duration::microseconds(1'010));
  EXPECT_EQ(setup.estimator->copy(LinkDirection::kDeviceToHost, Bytes(40'000'000)), Duration::microseconds(1'010));
}

// Of all layers: what recording a token adds to a step, and what its forward takes.
TEST(ExperimentWorld, PoliciesKnowWhatARecordCostsAndSaves) {
  const Experiment e = on_two_gpus("answers");
  const ExperimentWorld world(e);
  const TrainingSetup& setup = *world.config().training;
  const TrainingCost cost(e.hardware, e.model, training_shape_of(e.training), 2);
  EXPECT_EQ(setup.store.minimal_per_token, cost.record_bytes().minimal * e.model.layers);
  EXPECT_EQ(setup.store.record_step_s, cost.recording(setup.store.minimal_per_token).in_seconds());
  TrainingPiece prompt;
  prompt.tokens = 1'024;
  prompt.attended_keys = 1'024 * 1'025 / 2.0;
  EXPECT_NEAR(setup.store.forward_per_token_s * 1'024,
              static_cast<double>(e.model.layers) * cost.piece(prompt).in_seconds(), 1e-12);
}

// New weights go to serving that is elsewhere, over the interconnect: 2 bytes of each parameter.
TEST(ExperimentWorld, SeparateTrainingSendsItsWeights) {
  const auto update = [](const std::string& policy, const std::string& more) {
    const ExperimentWorld world(on_two_gpus(policy, more));
    TrainingPiece optimizer;
    optimizer.kind = PieceKind::kOptimizer;
    optimizer.parameters = world.config().training->trainer.trained_parameters;
    return world.config().training->cost->piece(optimizer).in_seconds();
  };
  const auto parameters = ExperimentWorld(on_two_gpus("temporal")).config().training->trainer.trained_parameters;
  const Experiment alone = on_two_gpus("temporal");
  const TrainingCost cost(alone.hardware, alone.model, training_shape_of(alone.training), 1);
  TrainingPiece optimizer;
  optimizer.kind = PieceKind::kOptimizer;
  optimizer.parameters = parameters;
  EXPECT_NEAR(update("separate", "") - cost.piece(optimizer).in_seconds(), static_cast<double>(2 * parameters) / 450e9,
              2e-9);
}

// Preference pairs compare with the model as it was. For LoRA that is the one that is served, without its adapters;
// where all weights are trained it is another one.
TEST(ExperimentWorld, AReferenceModelTakesMemoryWhereAllWeightsAreTrained) {
  const auto held = [](const std::string& training) {
    return ExperimentWorld(on_two_gpus("temporal", "training: {objective: dpo, " + training + "}\n"))
        .held_by_training();
  };
  const Bytes weights = memory_plan(on_two_gpus("temporal")).weights;
  EXPECT_EQ(held("method: full"), held("method: full, reference_model: false") + weights);
  EXPECT_EQ(held("method: lora"), held("method: lora, reference_model: false"));
}

// A copy of the adapters, 2 bytes of each parameter, for each version that a record may be old. Who records nothing has
// none.
TEST(ExperimentWorld, OldAdaptersTakeMemory) {
  const auto world = [](const char* policy, const std::string& more) {
    return ExperimentWorld(on_two_gpus(policy, "training: {max_version_lag: 5" + more + "}\n"));
  };
  const ExperimentWorld without = world("alchemist", ""), with = world("alchemist", ", backward: recorded");
  const TrainerConfig& trainer = with.config().training->trainer;
  EXPECT_EQ(trainer.kept_versions, 5);
  EXPECT_EQ(without.config().training->trainer.kept_versions, 0);
  EXPECT_EQ(with.held_by_training(), without.held_by_training() + Bytes(5 * 2 * trainer.trained_parameters));
  TrainingPiece optimizer;
  optimizer.kind = PieceKind::kOptimizer;
  optimizer.parameters = trainer.trained_parameters;
  EXPECT_GT(with.config().training->cost->piece(optimizer), without.config().training->cost->piece(optimizer));
  EXPECT_EQ(world("temporal", ", backward: recorded").held_by_training(), world("temporal", "").held_by_training());
  EXPECT_THAT(
      message_of([&] { world("alchemist", "0000, backward: recorded"); }),
      testing::HasSubstr("use less than training.max_version_lag 50000 (each version takes 0.0 GiB), a higher"));
}

TEST(ExperimentWorld, TheObjectiveIsThatOfTheTraining) {
  const Experiment e = on_two_gpus("temporal",
                                   "training: {objective: grpo, group_size: 5, reference_model: false, "
                                   "lora_rank: 4, lora_modules: [o]}\n");
  const TrainingShape shape = training_shape_of(e.training);
  EXPECT_EQ(shape.objective, TrainingObjective::grpo);
  EXPECT_EQ(shape.group_size, 5);
  EXPECT_EQ(shape.lora_rank, 4);
  EXPECT_THAT(shape.lora_modules, testing::ElementsAre(LinearModule::kO));
  EXPECT_FALSE(shape.reference_model);
}

// The bound is of every GPU there is, whoever serves on it: all could train.
TEST(ExperimentWorld, TheBoundIsOfAllGpus) {
  SimulationTotals totals;
  totals.end = Time() + Duration::seconds(1);
  totals.feedback_tokens = 1'000'000'000'000;
  const auto bound = [&](const char* policy) {
    return ExperimentWorld(on_two_gpus(policy)).training()->bound_tokens_per_s(totals);
  };
  EXPECT_GT(bound("temporal"), 0);
  EXPECT_EQ(bound("separate"), bound("temporal"));
}

// The largest batch has what serving left at its peak. Where each layer's input alone is kept, a token takes those and,
// while it is worked on, one layer's activations. Of recorded samples the answers, here a quarter, have no record.
TEST(ExperimentWorld, TheLargestBatchHasWhatServingLeaves) {
  const auto largest = [](const ExperimentWorld& world, const SimulationTotals& totals) {
    return world.training()->largest_batch(world.config().kv_blocks, totals);
  };
  SimulationTotals nothing, served;
  served.peak_kv = Bytes(std::int64_t{1} << 30);
  const ExperimentWorld kept(on_two_gpus("temporal"));
  const TrainingSetup& setup = *kept.config().training;
  const Bytes room = kept.kv_bytes();
  EXPECT_EQ(largest(kept, nothing), 2 * (room / setup.store.minimal_per_token));
  EXPECT_EQ(largest(kept, served), 2 * ((room - served.peak_kv) / setup.store.minimal_per_token));

  const std::int64_t layers = on_two_gpus("temporal").model.layers;
  const ExperimentWorld checkpointed(on_two_gpus("{base: temporal, fresh: checkpoint}"));
  const Bytes token = setup.trainer.bytes.input + Bytes(setup.trainer.bytes.minimal.count() / layers);
  EXPECT_EQ(largest(checkpointed, nothing), 2 * (room / token));

  SimulationTotals rated;
  rated.feedback_tokens = 400;
  rated.feedback_prompt_tokens = 300;
  rated.feedback_answer_tokens = 100;
  const ExperimentWorld hedged(on_two_gpus("{base: alchemist, fresh: keep, host_record_share: 1, window_layers: 4}"));
  const double share = 0.25 + 0.75 * 4 / static_cast<double>(layers);
  EXPECT_NEAR(static_cast<double>(largest(hedged, rated)),
              2 * room.as_double() / setup.store.minimal_per_token.as_double() / share, 3);
}

TEST(ExperimentWorld, TargetsAreThoseOfTheExperiment) {
  const Slo slo = run_info(on_two_gpus("temporal", "slo: {ttft: 1 s, tpot: 2 s, itl: 3 s, e2e: 4 s}\n")).slo;
  EXPECT_EQ(slo.ttft, Duration::seconds(1));
  EXPECT_EQ(slo.tpot, Duration::seconds(2));
  EXPECT_EQ(slo.itl, Duration::seconds(3));
  EXPECT_EQ(slo.e2el, Duration::seconds(4));
}

}  // namespace
}  // namespace alchemist
