#include "sim/app/experiment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <variant>

#include "sim/app/config_paths.h"
#include "sim/app/hardware_config.h"
#include "sim/app/model_config.h"
#include "tests/app/support.h"

namespace alchemist {
namespace {

constexpr const char* kWorkload =
    "{arrivals: {poisson: {rate: 4}}, lengths: {fixed: {prompt: 100, output: 10}}, requests: 50}";

std::string small_experiment(const std::string& rest) {
  return "model: llama-3.1-8b\nhardware: h200\nworkload: " + std::string(kWorkload) + "\n" + rest;
}

Experiment read(const std::string& text) { return read_experiment(YamlValue::parse(text, "e.yaml")); }

// The defaults are those of the documentation.
TEST(Experiment, DefaultsFillWhatIsNotGiven) {
  const Experiment e = read(small_experiment(""));
  EXPECT_EQ(e.model, load_model("llama-3.1-8b"));
  EXPECT_EQ(e.hardware, load_hardware("h200"));
  EXPECT_EQ(e.serving.max_num_seqs, 256);
  EXPECT_EQ(e.serving.max_num_batched_tokens, 2048);
  EXPECT_EQ(e.serving.block_size, 16);
  EXPECT_EQ(e.serving.kv_cache_tokens, std::nullopt);
  EXPECT_EQ(e.training.lora_rank, 16);
  EXPECT_EQ(e.training.lora_modules, all_linear_modules());
  EXPECT_EQ(e.training.feedback.delay.mean, Duration::seconds(60));
  EXPECT_EQ(e.cluster, ClusterConfig{});
  EXPECT_EQ(e.slo.ttft, Duration::seconds(1));
  EXPECT_EQ(e.slo.itl, Duration::milliseconds(100));
  EXPECT_EQ(e.slo.e2e, std::nullopt);
  EXPECT_EQ(e.seed, 42);
  // The model has 131,072 positions and the KV cache more.
  EXPECT_EQ(max_model_len(e), 131'072);
}

constexpr const char* kEveryKey = R"(serving:
  max_num_seqs: 64
  max_num_batched_tokens: 4096
  block_size: 32
  kv_cache_tokens: 64000
  gpu_memory_utilization: 0.85
  prefix_caching: false
  chunked_prefill: false
  reserve_full_prompt: false
  tensor_parallel: 2
  async_scheduling: false
  cuda_graphs: false
  max_model_len: 4096
training:
  method: full
  lora_rank: 8
  lora_modules: [v, q]
  objective: dpo
  batch_tokens: 1024
  feedback: {share: 0.25, delay: {lognormal: {median: 1.5 s, sigma: 0.7}}}
  max_version_lag: 3
  sequence_parallel: true
  max_itl: 12.5 ms
cluster: {gpus: 6, training_gpus: 2, routing: prefix_aware}
policy: serve_only
slo: {tpot: 33.333 ms, e2e: 30 s}
seed: 7
)";

TEST(Experiment, EveryKeyIsRead) {
  const Experiment e = read(small_experiment(kEveryKey));
  EXPECT_THAT(e.training.lora_modules, testing::ElementsAre(LinearModule::kQ, LinearModule::kV));
  EXPECT_EQ(e.serving.kv_cache_tokens, 64'000);
  EXPECT_FALSE(e.serving.prefix_caching || e.serving.chunked_prefill || e.serving.reserve_full_prompt ||
               e.serving.async_scheduling || e.serving.cuda_graphs);
  EXPECT_EQ(e.training.method, TrainingMethod::full);
  EXPECT_EQ(e.training.objective, TrainingObjective::dpo);
  EXPECT_TRUE(e.training.sequence_parallel);
  EXPECT_EQ(e.training.feedback.delay.kind, DurationDistribution::Kind::lognormal);
  EXPECT_EQ(e.training.feedback.delay.mean.count_ns(), 1'500'000'000);
  EXPECT_EQ(e.cluster.routing, Routing::kPrefixAware);
  EXPECT_EQ(e.slo.ttft, std::nullopt);  // a given section stands for itself
  EXPECT_EQ(e.slo.tpot->count_ns(), 33'333'000);
  EXPECT_EQ(max_model_len(e), 4096);
}

void expect_same(const Experiment& a, const Experiment& b) {
  EXPECT_EQ(a.model, b.model);
  EXPECT_EQ(a.hardware, b.hardware);
  EXPECT_EQ(a.profile, b.profile);
  EXPECT_EQ(a.serving, b.serving);
  EXPECT_EQ(a.training, b.training);
  EXPECT_EQ(a.cluster, b.cluster);
  EXPECT_EQ(a.policy, b.policy);
  EXPECT_EQ(a.slo, b.slo);
  EXPECT_EQ(a.seed, b.seed);
  EXPECT_EQ(emit_experiment(a), emit_experiment(b));  // the workload, too
}

TEST(Experiment, WrittenExperimentReadsBackTheSame) {
  for (const std::string rest :
       {"", kEveryKey, "slo: {}\ntraining: {feedback: {delay: {uniform: {low: 1 s, high: 2 s}}}}\n",
        "training: {feedback: {delay: {fixed: 90 s}}}\n"}) {
    const Experiment e = read(small_experiment(rest));
    expect_same(read(emit_experiment(e)), e);
  }
}

constexpr const char* kOtherKeys =
    "serving: {reset_prefix_cache: true, enable_lora: true}\n"
    "training: {objective: grpo, reference_model: false, group_size: 4, backward: recorded}\nslo: {ttft: 2 s, itl: 50 "
    "ms}\n";

// What is read and not written is lost where a run is made again from its config.yaml.
TEST(Experiment, EveryKeyIsWritten) {
  const auto written = [](const std::string& rest) {
    return YAML::Load(emit_experiment(read(small_experiment(rest))));
  };
  const YAML::Node usual = written(""), some = written(kEveryKey), others = written(kOtherKeys);
  for (const std::string section : {"serving", "training", "cluster", "slo"}) {
    const auto keys = known_keys(message_of([&] { read(small_experiment(section + ": {x: 1}\n")); }));
    EXPECT_GT(keys.size(), 2u);
    for (const std::string& key : keys) {
      const auto is_changed = [&](const YAML::Node& experiment) {
        const YAML::Node value = experiment[section][key], before = usual[section][key];
        return value && !(before && YAML::Dump(value) == YAML::Dump(before));
      };
      EXPECT_TRUE(is_changed(some) || is_changed(others))
          << section << "." << key << " is missing in sim/app/experiment_writer.cc, or in kEveryKey and kOtherKeys";
    }
  }
}

TEST(Experiment, ShippedOnesReadAndReadBack) {
  for (const std::string& name : list_configs("experiments")) {
    const YamlValue file = YamlValue::load((configs_directory() / "experiments" / (name + ".yaml")).string());
    YamlMap map(file);
    if (auto profile = map.optional("profile")) {
      const auto path = (configs_directory() / "experiments" / profile->as_string()).lexically_normal();
      if (!std::filesystem::exists(path)) {  // reference data that do not belong to the project
        EXPECT_EQ(message_of([&] { load_experiment(name); }),
                  file.origin() + ":" + std::to_string(profile->line()) +
                      ": key profile: no such file or folder: " + path.string());
        continue;
      }
    }
    const Experiment e = load_experiment(name);
    expect_same(read(emit_experiment(e)), e);
  }
}

struct BadExperiment {
  const char* name;
  const char* rest;
  const char* message;
};

class BadExperiments : public testing::TestWithParam<BadExperiment> {};

TEST_P(BadExperiments, AreRefusedWithPlaceAndReason) {
  EXPECT_THAT(message_of([] { read(small_experiment(GetParam().rest)); }), testing::HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    Table, BadExperiments,
    testing::Values(
        BadExperiment{"unknown_key", "serving: {max_num_seq: 3}\n",
                      "e.yaml:4: key serving.max_num_seq: unknown key; did you mean \"max_num_seqs\"?"},
        BadExperiment{"unknown_section", "servings: {}\n",
                      "e.yaml:4: key servings: unknown key; did you mean \"serving\"?"},
        BadExperiment{"kept_of_all_weights", "training: {method: full, backward: recorded}\n",
                      "backward: recorded keeps the adapters that records were made under, expected method lora"},
        BadExperiment{"no_module", "training: {lora_modules: []}\n",
                      "lora_modules: expected at least one of q, k, v, o, gate, up, down"},
        BadExperiment{"module_twice", "training: {lora_modules: [q, q]}\n", "lora_modules[1]: is there twice"},
        BadExperiment{"unknown_module", "training: {lora_modules: [q, router]}\n",
                      "lora_modules[1]: expected one of q, k, v"},
        BadExperiment{"size_zero", "serving: {max_num_seqs: 0}\n",
                      "e.yaml:4: key serving.max_num_seqs: expected a whole number from 1 to"},
        BadExperiment{"budget", "serving:\n  max_num_batched_tokens: 100\n",
                      "e.yaml:5: key serving.max_num_batched_tokens: 100 is below max_num_seqs (256)"},
        BadExperiment{"budget_by_default", "serving:\n  max_num_seqs: 4096\n",
                      "e.yaml:5: key serving.max_num_batched_tokens: 2048 is below max_num_seqs (4096)"},
        BadExperiment{"no_serving_gpu", "cluster: {gpus: 2, training_gpus: 2}\npolicy: separate\n",
                      "e.yaml:4: key cluster.training_gpus: 2 of 2 GPUs for training leave none to serve"},
        BadExperiment{"tensor_parallel", "serving: {tensor_parallel: 2}\ncluster: {gpus: 3}\n",
                      "e.yaml:4: key serving.tensor_parallel: 2 does not divide the GPUs: 3 in all, 3 of them serve"},
        BadExperiment{"heads", "serving: {tensor_parallel: 3}\ncluster: {gpus: 3}\n",
                      "e.yaml:4: key serving.tensor_parallel: 3 does not divide the 32 query heads of llama-3.1-8b"},
        BadExperiment{"one_block", "serving: {kv_cache_tokens: 15}\n",
                      "e.yaml:4: key serving.kv_cache_tokens: 15 tokens are less than one block of 16"},
        BadExperiment{"too_many_kv_tokens", "serving: {kv_cache_tokens: 2000000}\n",
                      "e.yaml:4: key serving.kv_cache_tokens: weights and KV cache of llama-3.1-8b do not fit a h200"},
        BadExperiment{"too_long", "serving: {max_model_len: 200000}\n",
                      "e.yaml:4: key serving.max_model_len: 200000 is beyond the 131072 positions of llama-3.1-8b"},
        BadExperiment{"longer_than_kv", "serving: {max_model_len: 2000, kv_cache_tokens: 1600}\n",
                      "e.yaml:4: key serving.max_model_len: one request of 2000 tokens needs 0.2 GiB of KV cache, but "
                      "1600 tokens"},
        BadExperiment{
            "whole_prompts", "serving: {chunked_prefill: false}\n",
            "e.yaml:4: key serving.chunked_prefill: without chunked prefill a whole prompt must fit one step, "
            "but max_num_batched_tokens is 2048 and requests may have 131072 tokens"},
        BadExperiment{"utilisation", "serving: {gpu_memory_utilization: 0}\n",
                      "e.yaml:4: key serving.gpu_memory_utilization: expected more than 0"},
        BadExperiment{"share", "training: {feedback: {share: 1.5}}\n",
                      "key training.feedback.share: expected a number"},
        BadExperiment{"delay", "training: {feedback: {delay: 60 s}}\n",
                      "key training.feedback.delay: expected a mapping of keys to values, got \"60 s\""},
        BadExperiment{"delay_unit", "training: {feedback: {delay: {exponential: 60}}}\n",
                      "key training.feedback.delay.exponential: expected a length of time such as"},
        BadExperiment{"method", "training: {method: Lora}\n",
                      "key training.method: expected one of lora, full, got \"Lora\"; did you mean \"lora\"?"},
        BadExperiment{"routing", "cluster: {routing: random}\n", "key cluster.routing: expected one of round_robin"},
        BadExperiment{"policy", "policy: serve_onli\n",
                      "e.yaml:4: key policy: \"serve_onli\" is not among the built-in policies; did you mean "
                      "\"serve_only\"?"},
        BadExperiment{"no_training_gpu", "seed: 1\npolicy: separate\ncluster: {gpus: 2}\n",
                      "e.yaml:5: key policy: separate needs at least one GPU for each side; cluster.gpus is 2"},
        BadExperiment{"full_training_of_8b",
                      "policy: temporal\ntraining: {method: full}\nserving: "
                      "{gpu_memory_utilization: 0.5}\n",
                      "e.yaml:5: key training: does not fit: of"},
        BadExperiment{"profile", "profile: no/such\n", "e.yaml:4: key profile: no such file or folder: no/such"},
        BadExperiment{"slo", "slo: {ttft: 1}\n", "e.yaml:4: key slo.ttft: expected a length of time"},
        BadExperiment{"seed", "seed: -1\n", "e.yaml:4: key seed: expected a whole number of at least 0, got \"-1\""}),
    [](const auto& test_case) { return std::string(test_case.param.name); });

TEST(Experiment, AdaptersAreServedWhereTheyAreTrained) {
  const auto served = [](const std::string& rest) { return read(small_experiment(rest)).serving.enable_lora; };
  EXPECT_TRUE(served("training: {method: lora}\n"));
  EXPECT_FALSE(served("training: {method: full}\n"));
  EXPECT_FALSE(served("training: {method: full}\nserving: {enable_lora: true}\n"));
  EXPECT_FALSE(served("training: {method: lora}\nserving: {enable_lora: false}\n"));
}

// What a calibration measured of the host holds for hardware that is named, not for what is written out in full, as in
// the configuration of a run that is to be had again.
TEST(Experiment, AProfileTellsOfTheHostOnlyWhereTheExperimentDoesNot) {
  const TemporaryFolder folder;
  folder.write("profile/host.yaml", "link_latency: 99 us\n");
  const std::string profile = "profile: " + (folder.path() / "profile").string() + "\n";
  const auto latency = [](const std::string& text) {
    return read_keys(YamlValue::parse(text, "e.yaml")).hardware.link_latency;
  };
  EXPECT_EQ(latency(small_experiment(profile)), Duration::nanoseconds(99'000));
  EXPECT_EQ(latency(emit_experiment(read(small_experiment(""))) + profile), load_hardware("h200").link_latency);
}

TEST(Experiment, LimitsMayBeReached) {
  for (const char* rest :
       {"serving: {max_num_seqs: 300, max_num_batched_tokens: 300}\n", "serving: {max_model_len: 131072}\n",
        "serving: {max_model_len: 1600, kv_cache_tokens: 1600}\n",
        "serving: {chunked_prefill: false, max_model_len: 2048, max_num_batched_tokens: 2048}\n"}) {
    EXPECT_EQ(message_of([&] { read(small_experiment(rest)); }), "") << rest;
  }
  EXPECT_EQ(max_model_len(read(small_experiment("serving: {kv_cache_tokens: 1600}\n"))), 1600);
  EXPECT_EQ(max_model_len(read(small_experiment(""))), 131072) << "the model's";
}

TEST(Experiment, NothingIsNoObjectiveAndNoMemory) {
  const auto error = [](const std::string& rest) { return message_of([&] { read(small_experiment(rest)); }); };
  EXPECT_THAT(error("slo: {ttft: 0 s}\n"), testing::HasSubstr("slo.ttft: expected more than 0"));
  EXPECT_THAT(error("serving: {gpu_memory_utilization: 0}\n"), testing::HasSubstr("expected more than 0"));
}

TEST(Experiment, ModelThatDoesNotFitSaysWhatWouldHelp) {
  const std::string message =
      message_of([] { read("model: llama-2-70b\nhardware: rtx4090\nworkload: " + std::string(kWorkload) + "\n"); });
  EXPECT_THAT(message, testing::StartsWith("e.yaml:1: key model: llama-2-70b does not fit a rtx4090: of 0.9 x 23.5 GiB "
                                           "= 21.2 GiB on each GPU, weights take 128.5 GiB"));
  EXPECT_THAT(message, testing::HasSubstr("raise serving.tensor_parallel (now 1)"));
}

class Overrides : public testing::Test {
 protected:
  const TemporaryFolder folder_;
  const std::string file_ = folder_.write("e.yaml", small_experiment("serving: {max_num_seqs: 8}\n"));
};

TEST_F(Overrides, ReplaceValuesAndReachIntoNames) {
  ExperimentOverrides overrides;
  overrides.sets = {"serving.max_num_seqs=16", "model.layers=4", "hardware.memory=40 GiB",
                    "training.feedback.delay={fixed: 5 s}", "workload.arrivals.poisson.rate=9"};
  overrides.seed = 5;
  overrides.policy = "serve_only";
  const Experiment e = load_experiment(file_, overrides);
  EXPECT_EQ(e.serving.max_num_seqs, 16);
  EXPECT_EQ(e.model.layers, 4);
  EXPECT_EQ(e.model.hidden, 4096);
  EXPECT_EQ(e.hardware.memory.count(), 40LL << 30);
  EXPECT_EQ(e.training.feedback.delay.kind, DurationDistribution::Kind::fixed);
  EXPECT_EQ(std::get<PoissonArrivals>(std::get<GeneratedWorkload>(e.workload.source).arrivals).rate, 9);
  EXPECT_EQ(e.seed, 5);
}

TEST_F(Overrides, PoliciesAreChangedByKeys) {
  ExperimentOverrides overrides;
  overrides.policy = "alchemist";
  overrides.sets = {"policy.gpu_record_share=0.2", "policy.description='with: more'"};
  const Experiment e = load_experiment(file_, overrides);
  EXPECT_EQ(e.policy.name, "alchemist");
  const PolicySpec spec = load_policy(e.policy);
  EXPECT_EQ(spec.name, "alchemist");
  EXPECT_EQ(spec.gpu_record_share, 0.2);
  EXPECT_EQ(spec.description, "with: more");
  EXPECT_EQ(spec.record, load_policy("alchemist").record);
  const std::string text = emit_experiment(e);
  const Experiment again = read_experiment(text, "again.yaml", {});
  EXPECT_EQ(again.policy, e.policy);
  EXPECT_EQ(emit_experiment(again), text);
}

TEST_F(Overrides, WrongOnesAreNamed) {
  const auto message = [this](const std::string& set) {
    return message_of([&] { load_experiment(file_, {.sets = {set}, .trace = {}, .policy = {}, .seed = {}}); });
  };
  EXPECT_THAT(message("serving.max_num_seqs=0"),
              testing::StartsWith("--set serving.max_num_seqs=0: key serving.max_num_seqs: expected a whole number"));
  EXPECT_THAT(message("serving.max_seqs=3"),
              testing::StartsWith("--set serving.max_seqs=3: key serving.max_seqs: unknown"));
  EXPECT_EQ(message("serving.max_num_seqs"), "--set serving.max_num_seqs: expected KEY.PATH=VALUE");
  EXPECT_THAT(message("serving.max_num_seqs.x=1"), testing::HasSubstr("not a mapping"));
  EXPECT_THAT(message("model=llama"), testing::StartsWith("--set model=llama: key model: \"llama\" is not among"));
}

TEST_F(Overrides, TraceReplacesTheWorkload) {
  const std::string trace =
      folder_.write("it's a trace.csv", "arrived_at,num_prefill_tokens,num_decode_tokens\n0,5,5\n");
  ExperimentOverrides overrides;
  overrides.trace = trace;
  const Experiment e = load_experiment(file_, overrides);
  EXPECT_EQ(std::get<TraceSpec>(e.workload.source).path, trace);
  overrides.trace = "no/such.csv";
  EXPECT_THAT(message_of([&] { load_experiment(file_, overrides); }), testing::HasSubstr("no/such.csv"));
}

// Paths in a file are relative to that file, wherever the program runs.
TEST(Experiment, PathsAreRelativeToTheirFile) {
  const TemporaryFolder folder;
  folder.write("parts/model.yaml", "base: tiny\nlayers: 2\n");
  folder.write("profile/meta.yaml", "x: 1\n");
  const std::string file =
      folder.write("runs/e.yaml", "model: ../parts/model.yaml\nhardware: cpu-2core\nprofile: ../profile\nworkload: " +
                                      std::string(kWorkload) + "\n");
  const Experiment e = load_experiment(file);
  EXPECT_EQ(e.model.layers, 2);
  EXPECT_EQ(*e.profile, folder.path() / "profile");
}

}  // namespace
}  // namespace alchemist
