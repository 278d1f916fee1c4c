#include "sim/app/sweep_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/app/config_paths.h"
#include "sim/app/sweep_points.h"
#include "sim/base/error.h"
#include "tests/app/support.h"

namespace alchemist {
namespace {

constexpr const char* kExperiment =
    "model: tiny\nhardware: cpu-2core\nworkload: {arrivals: {poisson: {rate: 4}}, lengths: {fixed: {prompt: 100, "
    "output: 10}}, requests: 50}\nseed: 7\n";

class SweepConfig : public testing::Test {
 protected:
  SweepConfig() { folder_.write("experiment.yaml", kExperiment); }
  std::string write(const std::string& rest) { return folder_.write("s.yaml", "base: ./experiment.yaml\n" + rest); }
  SweepSpec load(const std::string& rest) { return load_sweep(write(rest)); }

  TemporaryFolder folder_;
};

std::vector<std::string> labels(const SweepPoint& point) {
  std::vector<std::string> result;
  for (const SweepValue& value : point.values) result.push_back(value.label);
  return result;
}

// The last key changes fastest; zipped keys advance together.
TEST_F(SweepConfig, GridAndZip) {
  const SweepSpec spec = load(
      "grid: {workload.rate: [1, 2], policy: [serve_only, temporal]}\n"
      "zip: {serving.max_num_seqs: [8, 16], training.batch_tokens: [100, 200]}\nseeds: [5, 3]\n");
  EXPECT_THAT(axis_keys(spec),
              testing::ElementsAre("workload.rate", "policy", "serving.max_num_seqs", "training.batch_tokens"));
  const std::vector<SweepPoint> points = grid_points(spec);
  ASSERT_EQ(points.size(), 8U);
  EXPECT_THAT(labels(points[0]), testing::ElementsAre("1", "serve_only", "8", "100"));
  EXPECT_THAT(labels(points[1]), testing::ElementsAre("1", "serve_only", "16", "200"));
  EXPECT_THAT(labels(points[2]), testing::ElementsAre("1", "temporal", "8", "100"));
  EXPECT_THAT(labels(points[7]), testing::ElementsAre("2", "temporal", "16", "200"));
  EXPECT_THAT(spec.seeds, testing::ElementsAre(5, 3));
  EXPECT_EQ(spec.baseline, "serve_only");
}

TEST_F(SweepConfig, WithoutAxesThereIsOnePointWithTheBaseSeed) {
  const SweepSpec spec = load("");
  EXPECT_EQ(grid_points(spec).size(), 1U);
  EXPECT_THAT(spec.seeds, testing::ElementsAre(7));
  EXPECT_EQ(spec.baseline, "");
}

// A rate that stands before the workload it belongs to still applies to it.
TEST_F(SweepConfig, PartsComeAfterTheWhole) {
  const SweepSpec spec =
      load("grid: {workload.rate: [9], workload: [{base: chat, requests: 5}]}\nset: {slo.ttft: 2 s}\n");
  const std::vector<YamlOverride> overrides = point_overrides(spec, grid_points(spec)[0], 11);
  std::vector<std::string> keys;
  for (const YamlOverride& o : overrides) keys.push_back(o.key_path);
  EXPECT_THAT(keys, testing::ElementsAre("workload", "seed", "slo.ttft", "workload.rate"));
  const Experiment e = read_experiment(spec.base->text, spec.base->origin, overrides);
  EXPECT_EQ(e.workload.requests, 5);
  EXPECT_EQ(e.seed, 11);
  EXPECT_EQ(e.slo.ttft, Duration::seconds(2));
}

class SweepOptionsOfTheCommandLine : public SweepConfig {
 protected:
  SweepSpec load(const std::string& rest, const SweepOverrides& overrides) {
    return load_sweep(write(rest), overrides);
  }
  std::string message(const std::string& rest, const SweepOverrides& overrides) {
    return message_of([&] { load(rest, overrides); });
  }
  static std::vector<Experiment> points(const SweepSpec& spec) {
    std::vector<Experiment> read;
    for (const SweepPoint& point : grid_points(spec))
      read.push_back(
          read_experiment(spec.base->text, spec.base->origin, point_overrides(spec, point, spec.seeds.front())));
    return read;
  }
};

TEST_F(SweepOptionsOfTheCommandLine, ChangeAllPoints) {
  const SweepSpec spec =
      load("set: {workload.requests: 40, slo: {ttft: 2 s, itl: 50 ms}}\ngrid: {policy: [reuse, temporal]}\n",
           {.sets = {"workload.requests=30", "slo.ttft=3 s", "serving.block_size=8", "serving.block_size=32",
                     "policy.gpu_record_share=0.3"},
            .trace = {},
            .grids = {},
            .seeds = {}});
  const std::vector<Experiment> all = points(spec);
  ASSERT_EQ(all.size(), 2U);
  for (const Experiment& e : all) {
    EXPECT_EQ(e.workload.requests, 30);
    EXPECT_EQ(e.slo.ttft, Duration::seconds(3)) << "a part comes after the whole";
    EXPECT_EQ(e.slo.itl, Duration::milliseconds(50));
    EXPECT_EQ(e.serving.block_size, 32) << "the last of two";
    EXPECT_EQ(e.seed, 7);
  }
}

TEST_F(SweepOptionsOfTheCommandLine, ReplaceAndAddAxes) {
  const SweepSpec spec = load(
      "set: {serving.block_size: 8}\ngrid: {workload.rate: [1, 2], policy: [serve_only, temporal]}\n"
      "zip: {serving.max_num_seqs: [8, 16], training.batch_tokens: [100, 200]}\nseeds: [5, 3]\n",
      {.sets = {}, .trace = {}, .grids = {"workload.rate=[9, 3, 6]", "serving.block_size=[16, 32]"}, .seeds = {4}});
  EXPECT_THAT(axis_keys(spec), testing::ElementsAre("workload.rate", "policy", "serving.block_size",
                                                    "serving.max_num_seqs", "training.batch_tokens"));
  const std::vector<SweepPoint> all = grid_points(spec);
  ASSERT_EQ(all.size(), 3U * 2U * 2U * 2U);
  EXPECT_THAT(labels(all.front()), testing::ElementsAre("9", "serve_only", "16", "8", "100"));
  EXPECT_THAT(labels(all.back()), testing::ElementsAre("6", "temporal", "32", "16", "200"));
  EXPECT_EQ(points(spec).back().serving.block_size, 32);
  EXPECT_THAT(spec.seeds, testing::ElementsAre(4));
  EXPECT_EQ(emit_sweep(load_sweep(folder_.write("again/sweep.yaml", emit_sweep(spec)))), emit_sweep(spec));
}

// The sweep's own as long as it is among them, else the first.
TEST_F(SweepOptionsOfTheCommandLine, BaselineIsOneOfTheNewPolicies) {
  const auto baseline = [&](const std::string& rest) {
    return load("grid: {policy: [serve_only, temporal]}\n" + rest,
                {.sets = {}, .trace = {}, .grids = {"policy=[reuse, temporal]"}, .seeds = {}})
        .baseline;
  };
  EXPECT_EQ(baseline(""), "reuse");
  EXPECT_EQ(baseline("baseline: temporal\n"), "temporal");
  EXPECT_EQ(baseline("baseline: serve_only\n"), "reuse");
}

TEST_F(SweepOptionsOfTheCommandLine, TraceStandsInForTheWorkload) {
  const std::string trace =
      folder_.write("t.csv", "arrived_at,num_prefill_tokens,num_decode_tokens\n0.0,10,5\n0.5,20,3\n1.0,20,3\n");
  const SweepSpec spec = load("set: {workload: chat, workload.requests: 2}\ngrid: {workload.rate: [1, 2]}\n",
                              {.sets = {}, .trace = trace, .grids = {}, .seeds = {}});
  const std::vector<Experiment> all = points(spec),
                                expected = points(load("set: {workload: " + trace +
                                                           ", workload.requests: 2}\ngrid: {workload.rate: [1, 2]}\n",
                                                       {}));
  ASSERT_EQ(all.size(), 2U);
  for (std::size_t i = 0; i < all.size(); ++i) EXPECT_EQ(emit_experiment(all[i]), emit_experiment(expected[i]));
}

TEST_F(SweepOptionsOfTheCommandLine, MistakesNameTheOption) {
  const std::string grid =
      "grid: {workload.rate: [1, 2]}\nzip: {serving.max_num_seqs: [8, 16], training.batch_tokens: [100, 200]}\n";
  const std::string search = grid +
                             "maximise: slo.ttft\nsubject_to: {p99_ttft_ms: \"<= 9\"}\n"
                             "search: {slo.ttft: {low: 1 s, high: 9 s, tolerance: 1 s}}\n"
                             "halving: {workload.requests: [20, 40]}\n";
  const auto by_set = [&](const std::string& text) {
    return message(search, {.sets = {text}, .trace = {}, .grids = {}, .seeds = {}});
  };
  const auto by_grid = [&](const std::string& text) {
    return message(search, {.sets = {}, .trace = {}, .grids = {text}, .seeds = {}});
  };
  EXPECT_EQ(by_set("workload.rate=3"),
            "--set workload.rate=3: the sweep varies workload.rate; expected --grid 'workload.rate=[VALUE, ...]' for "
            "other values");
  EXPECT_EQ(by_set("slo.ttft=3 s"), "--set slo.ttft=3 s: the sweep searches along slo.ttft, expected another key");
  EXPECT_EQ(by_set("seed=3"), "--set seed=3: expected the seeds as --seeds 1,2,3");
  EXPECT_EQ(by_set("seed"), "--set seed: expected KEY.PATH=VALUE");
  EXPECT_THAT(by_set("serving.block_sise=3"), testing::HasSubstr("did you mean \"block_size\"?"));
  EXPECT_EQ(by_grid("workload.requests=[9]"),
            "--grid workload.requests=[9]: the sweep searches along workload.requests, expected another key");
  EXPECT_EQ(by_grid("slo.ttft=[9 s]"),
            "--grid slo.ttft=[9 s]: the sweep searches along slo.ttft, expected another key");
  EXPECT_EQ(
      by_grid("serving.max_num_seqs=[4, 5]"),
      "--grid serving.max_num_seqs=[4, 5]: serving.max_num_seqs advances with other keys (zip), expected a key of "
      "its own");
  EXPECT_EQ(by_grid("workload.rate"), "--grid workload.rate: expected KEY.PATH=[VALUE, ...]");
  EXPECT_EQ(by_grid("workload.rate.=[3]"), "--grid workload.rate.=[3]: expected KEY.PATH=VALUE") << "the same key";
  EXPECT_EQ(by_grid("workload.rate="), "--grid workload.rate=: key workload.rate: expected a value, got nothing");
  EXPECT_EQ(by_grid("workload.rate=3"), "--grid workload.rate=3: key workload.rate: expected a list, got \"3\"");
  EXPECT_EQ(by_grid("workload.rate=[]"), "--grid workload.rate=[]: key workload.rate: expected at least one value");
  EXPECT_EQ(by_grid("workload.rate=[3, 3.0]"),
            "--grid workload.rate=[3, 3.0]: key workload.rate: has the value 3.0 twice, also as 3");
  EXPECT_EQ(by_grid("seed=[3]"), "--grid seed=[3]: expected the seeds as --seeds 1,2,3");
  EXPECT_THAT(by_grid("serving.block_size=[16, x]"), testing::StartsWith("--grid serving.block_size=[16, x]: "));
  EXPECT_THAT(by_grid("workload.rate=[3"), testing::StartsWith("--grid workload.rate=[3:1: not valid YAML"));
  EXPECT_EQ(message(grid, {.sets = {}, .trace = {}, .grids = {}, .seeds = {3, 1, 3}}), "--seeds: 3 is given twice");
}

TEST_F(SweepConfig, PathsAreRelativeToTheSweep) {
  folder_.write("mine.yaml", "description: d\nrecord: none\nplace: none\nevict: none\nrestore: none\ntrain: none\n");
  const SweepSpec spec = load("grid: {policy: [./mine.yaml, serve_only]}\n");
  EXPECT_EQ(spec.groups[0][0].values[0].label, "./mine.yaml");
  EXPECT_EQ(first_experiment(spec).policy.name, (folder_.path() / "mine.yaml").string());
}

// A value that cannot be read is a mistake; one that cannot work, by itself or with others, is a point that fails.
TEST_F(SweepConfig, ValuesThatCannotBeReadAreRefused) {
  const auto message = [&](const std::string& rest) {
    try {
      load(rest);
      return std::string("accepted");
    } catch (const ConfigError& error) { return std::string(error.what()); }
  };
  EXPECT_EQ(message("grid: {policy: [serve_only, separate]}\n"), "accepted");
  EXPECT_EQ(message("grid: {serving.kv_cache_tokens: [1000, 1]}\n"), "accepted") << "one token is less than a block";
  EXPECT_THAT(message("grid: {policy: [serve_only, seperate]}\n"), testing::HasSubstr("did you mean \"separate\"?"));
  EXPECT_THAT(message("grid:\n  serving.max_num_seqs: [8, 9]\n  serving.block_size: [16,\n    0]\n"),
              testing::HasSubstr("s.yaml:5: "));
  EXPECT_THAT(message("zip: {serving.max_num_seqs: [8, 16], training.batch_tokens: [100, x]}\n"),
              testing::HasSubstr("training.batch_tokens"));
}

// A policy's results under another's name.
TEST_F(SweepConfig, BaseOfWhatIsVariedIsRefused) {
  const std::string axis = "grid: {policy: [serve_only, temporal]}\n";
  const std::string rest = ": key policy.base: takes the place of every value of policy, which the sweep varies";
  EXPECT_THAT(message_of([&] { load(axis + "set: {policy.base: reuse}\n"); }), testing::EndsWith("s.yaml:3" + rest));
  EXPECT_THAT(message_of([&] { load("grid: {policy.base: [reuse], policy: [serve_only, temporal]}\n"); }),
              testing::EndsWith("s.yaml:2" + rest));
  const SweepOverrides overrides{.sets = {"policy.base=reuse"}, .trace = {}, .grids = {}, .seeds = {}};
  EXPECT_EQ(message_of([&] { load_sweep(write(axis), overrides); }), "--set policy.base=reuse" + rest);
  EXPECT_EQ(load("set: {policy.base: reuse}\ngrid: {policy.gpu_record_share: [0.1, 0.2]}\n").groups.size(), 1U);
}

// What every point resolves to.
std::vector<std::string> experiments(const SweepSpec& spec) {
  std::vector<std::string> texts;
  for (const SweepPoint& point : grid_points(spec))
    texts.push_back(
        emit_experiment(read_experiment(spec.base->text, spec.base->origin, point_overrides(spec, point, 1))));
  return texts;
}

TEST_F(SweepConfig, WrittenSweepReadsBackTheSame) {
  folder_.write("trace.csv", "arrived_at,num_prefill_tokens,num_decode_tokens\n0.0,10,5\n0.5,20,3\n");
  for (const std::string rest :
       {"", "grid: {workload.lengths.fixed.prompt: [10, 20]}\n", "set: {workload: {base: chat, requests: 5}}\n",
        "set: {workload: ./trace.csv}\ngrid: {workload.rate: [1, 2]}\n",
        "set: {workload.requests: 40, slo.ttft: 2 s}\ngrid: {workload: [chat, ./trace.csv]}\n",
        "grid: {policy: [serve_only, temporal], slo.ttft: [1 s, 500 ms]}\nseeds: [1, 2]\nkeep_files: true\n",
        "zip: {policy: [serve_only, temporal], workload.rate: [1, 2]}\nbaseline: temporal\n",
        "set: {training.batch_tokens: 512}\ngrid: {policy: [serve_only, temporal]}\nmaximise: workload.rate\n"
        "subject_to: {p99_ttft_ms: \"<= 1000\", request_goodput: \"> 0.5\"}\n"
        "search: {workload.rate: {low: 0.5, high: 8, tolerance: 0.25}}\nhalving: {workload.requests: [20, 40]}\n"}) {
    const SweepSpec spec = load(rest), again = load_sweep(folder_.write("again/sweep.yaml", emit_sweep(load(rest))));
    EXPECT_EQ(emit_sweep(again), emit_sweep(spec));
    EXPECT_EQ(experiments(again), experiments(spec)) << rest;
  }
}

TEST_F(SweepConfig, ASearchKeepsItsUnitAndItsGoal) {
  const SweepSpec spec = load(
      "grid: {policy: [temporal, reuse]}\nminimise: p99_ttft_ms\nsubject_to: {train_tokens_per_s: \">= 1\"}\n"
      "search: {training.max_itl: {low: 0.5 ms, high: 8ms, tolerance: 0.25 ms}}\n");
  const SweepSpec again = load_sweep(folder_.write("again/sweep.yaml", emit_sweep(spec)));
  EXPECT_EQ(emit_sweep(again), emit_sweep(spec));
  EXPECT_TRUE(again.goal->minimise);
  EXPECT_EQ(again.goal->metric, "p99_ttft_ms");
  EXPECT_EQ(search_value(again, 2.25).label, "2.25 ms");
  EXPECT_FALSE(again.minimises_search_key());
}

// A policy with changed keys is named as it stands in the list, which is how a written sweep names it.
TEST_F(SweepConfig, ABaselineMayBeAPolicyWithChangedKeys) {
  const std::string policies = "grid: {policy: [temporal, {base: alchemist, gpu_record_share: 0.2}]}\n";
  const SweepSpec spec = load(policies + "baseline: {base: alchemist, gpu_record_share: 0.2}\n");
  EXPECT_EQ(spec.baseline, grid_points(spec)[1].values[0].label);
  EXPECT_THROW(load(policies + "baseline: {base: alchemist, gpu_record_share: 0.3}\n"), ConfigError);
}

TEST_F(SweepConfig, APolicyWithANameGoesByIt) {
  const std::string policies = "grid: {policy: [temporal, {base: alchemist, gpu_record_share: 0.2, name: wide}]}\n";
  for (const char* baseline : {"wide", "{base: alchemist, gpu_record_share: 0.2, name: wide}"}) {
    const SweepSpec spec = load(policies + "baseline: " + baseline + "\n");
    EXPECT_EQ(grid_points(spec)[1].values[0].label, "wide");
    EXPECT_EQ(spec.baseline, "wide");
    const SweepSpec again = load_sweep(folder_.write("again/sweep.yaml", emit_sweep(spec)));
    EXPECT_EQ(emit_sweep(again), emit_sweep(spec));
    EXPECT_EQ(again.baseline, "wide");
  }
  EXPECT_THROW(load("grid: {policy: [{base: alchemist, name: a}, {base: temporal, name: a}]}\n"), ConfigError);
}

TEST_F(SweepConfig, ABaselineThatComesTwiceIsWrittenOnce) {
  const SweepSpec spec =
      load("zip: {policy: [temporal, reuse, temporal, reuse], workload.rate: [1, 1, 2, 2]}\nbaseline: reuse\n");
  const SweepSpec again = load_sweep(folder_.write("again/sweep.yaml", emit_sweep(spec)));
  EXPECT_EQ(again.baseline, "reuse");
  EXPECT_EQ(emit_sweep(again), emit_sweep(spec));
}

// What lies between the ends must be readable too.
TEST_F(SweepConfig, ASearchOverWholeNumbersLooksAtNoOthers) {
  const std::string goal = "maximise: output_throughput\nsubject_to: {saturated: \"<= 0\"}\n";
  EXPECT_NO_THROW(load(goal + "search: {serving.max_num_seqs: {low: 1, high: 64, tolerance: 4}}\n"));
  EXPECT_THROW(load(goal + "search: {serving.max_num_seqs: {low: 1, high: 64, tolerance: 0.5}}\n"), ConfigError);
  EXPECT_NO_THROW(load(goal + "search: {workload.rate: {low: 1, high: 64, tolerance: 0.5}}\n"));
  EXPECT_THROW(load(goal + "search: {workload.rate: {low: 1, high: 64, tolerance: 0.00001}}\n"), ConfigError)
      << "more than twenty halvings";
}

TEST_F(SweepConfig, Bounds) {
  const SweepSpec spec = load("maximise: completed\nsubject_to: {p99_ttft_ms: \"<= 10\", completed: \">3\"}\n");
  ASSERT_EQ(spec.goal->subject_to.size(), 2U);
  EXPECT_TRUE(spec.goal->subject_to[0].holds(10));
  EXPECT_FALSE(spec.goal->subject_to[0].holds(10.5));
  EXPECT_FALSE(spec.goal->subject_to[1].holds(3));
  EXPECT_TRUE(spec.goal->subject_to[1].holds(4));
  EXPECT_EQ(spec.goal->subject_to[1].text(), "> 3");
  const SweepSpec others = load("maximise: completed\nsubject_to: {p99_ttft_ms: \"< 10\", completed: \">=3\"}\n");
  EXPECT_FALSE(others.goal->subject_to[0].holds(10));
  EXPECT_TRUE(others.goal->subject_to[0].holds(9.5));
  EXPECT_TRUE(others.goal->subject_to[1].holds(3));
  EXPECT_FALSE(others.goal->subject_to[1].holds(2));
}

TEST(ShippedSweeps, AreSoundAndReadBack) {
  const std::vector<std::string> names = list_configs("sweeps");
  EXPECT_GE(names.size(), 8U);
  for (const std::string& name : names) {
    TemporaryFolder folder;
    const SweepSpec spec = load_sweep(name), again = load_sweep(folder.write("sweep.yaml", emit_sweep(spec)));
    EXPECT_EQ(emit_sweep(again), emit_sweep(spec)) << name;
    EXPECT_EQ(experiments(again), experiments(spec)) << name;
  }
}

struct Mistake {
  const char* name;
  const char* text;                   // after the line of the base
  std::vector<std::string> expected;  // in the message
};

class BadSweeps : public testing::TestWithParam<Mistake> {};

TEST_P(BadSweeps, AreRefusedWithPlaceAndReason) {
  TemporaryFolder folder;
  folder.write("experiment.yaml", kExperiment);
  const std::string file = folder.write("s.yaml", std::string("base: ./experiment.yaml\n") + GetParam().text);
  const std::string message = message_of([&] { load_sweep(file); });
  EXPECT_THAT(message, testing::StartsWith(file + ":"));
  for (const std::string& part : GetParam().expected) EXPECT_THAT(message, testing::HasSubstr(part));
}

INSTANTIATE_TEST_SUITE_P(
    Table, BadSweeps,
    testing::Values(
        Mistake{"unknown_key", "gird: {policy: [separate]}\n", {":2: ", "gird", "did you mean \"grid\""}},
        Mistake{"key_of_no_experiment", "grid: {workload.rat: [1, 2]}\n", {":2: ", "workload.rat", "unknown key"}},
        Mistake{"no_list", "grid: {workload.rate: 4}\n", {":2: ", "workload.rate", "expected a list"}},
        Mistake{"no_value", "grid: {workload.rate: []}\n", {":2: ", "at least one value"}},
        Mistake{"empty_value", "grid: {workload.rate: [~]}\n", {":2: ", "expected a value"}},
        Mistake{"value_twice", "grid: {workload.rate: [4, 4]}\n", {":2: ", "value 4 twice"}},
        Mistake{"values_twice_together",
                "zip: {workload.rate: [1, 2, 1.0], seed_of: [5, 5, 5]}\n",
                {":2: ", "has the values 1, 5 twice, as their number 3"}},
        Mistake{"value_twice_written_otherwise",
                "grid: {workload.rate: [1, 2, 1.0]}\n",
                {":2: ", "value 1.0 twice, also as 1"}},
        Mistake{"axis_twice",
                "grid: {workload.rate: [4]}\nzip: {workload.rate: [1], slo.ttft: [1 s]}\n",
                {":3: ", "varied or set twice"}},
        Mistake{"set_and_varied", "set: {workload.rate: 4}\ngrid: {workload.rate: [4]}\n", {":3: ", "twice"}},
        Mistake{"zip_of_one", "zip: {workload.rate: [4]}\n", {":2: ", "at least two keys"}},
        Mistake{"zip_lengths",
                "zip: {workload.rate: [4, 5], slo.ttft: [1 s]}\n",
                {":2: ", "slo.ttft", "as many values as workload.rate has: 2, got 1"}},
        Mistake{"seed_axis", "grid: {seed: [1, 2]}\n", {":2: ", "under the key seeds"}},
        Mistake{"seed_twice", "seeds: [1, 2, 1]\n", {":2: ", "given twice"}},
        Mistake{"no_seed", "seeds: []\n", {":2: ", "at least one seed"}},
        Mistake{"bad_seed", "seeds: [-1]\n", {":2: ", "whole number"}},
        Mistake{"baseline", "grid: {policy: [separate, temporal]}\nbaseline: reuse\n", {":3: ", "not among"}},
        Mistake{"baseline_alone", "baseline: reuse\n", {":2: ", "needs an axis policy"}},
        Mistake{"metric", "maximise: train_token_per_s\n", {":2: ", "did you mean \"train_tokens_per_s\""}},
        Mistake{"bound", "maximise: completed\nsubject_to: {p99_ttft_ms: 1000}\n", {":3: ", "expected a bound"}},
        Mistake{"bound_number", "maximise: completed\nsubject_to: {p99_ttft_ms: \"<= 1 s\"}\n", {":3: ", "<= 1 s"}},
        Mistake{"bound_metric",
                "maximise: completed\nsubject_to: {p98_ttft_ms: \"<= 1\"}\n",
                {":3: ", "\"p98_ttft_ms\" is no result of a run"}},
        Mistake{"search_alone",
                "search: {workload.rate: {low: 1, high: 2, tolerance: 0.1}}\n",
                {":2: ", "needs the key maximise or minimise"}},
        Mistake{"two_goals", "maximise: completed\nminimise: p99_ttft_ms\n", {":3: ", "one goal"}},
        Mistake{"search_units",
                "minimise: p99_ttft_ms\nsubject_to: {completed: \"> 1\"}\n"
                "search: {training.max_itl: {low: 2 ms, high: 1 s, tolerance: 0.1 ms}}\n",
                {":4: ", "search.training.max_itl.high", "the unit that low has, \"ms\""}},
        Mistake{"search_number",
                "minimise: p99_ttft_ms\nsubject_to: {completed: \"> 1\"}\n"
                "search: {training.max_itl: {low: hidden, high: 1 s, tolerance: 0.1 s}}\n",
                {":4: ", "search.training.max_itl.low", "expected a number", "hidden"}},
        Mistake{"search_without_bounds",
                "maximise: completed\nsearch: {workload.rate: {low: 1, high: 2, tolerance: 0.1}}\n",
                {":3: ", "needs the key subject_to"}},
        Mistake{"search_range",
                "maximise: completed\nsubject_to: {completed: \"> 1\"}\n"
                "search: {workload.rate: {low: 2, high: 1, tolerance: 0.1}}\n",
                {":4: ", "search.workload.rate.high", "at least 2"}},
        Mistake{"search_tolerance",
                "maximise: completed\nsubject_to: {completed: \"> 1\"}\n"
                "search: {workload.rate: {low: 1, high: 2, tolerance: 0}}\n",
                {":4: ", "tolerance", "a millionth"}},
        Mistake{"halving", "maximise: completed\nhalving: {a: [1], b: [2]}\n", {":3: ", "expected one key"}},
        Mistake{"too_many", "grid: {a: [1, 2]}\nseeds: [1]\nset: {}\nzip: 3\n", {":5: ", "expected a mapping"}},
        // Every point fails, which one message says.
        Mistake{"no_point_runs", "grid: {policy: [reus, temporl]}\n", {":2: ", "did you mean \"reuse\""}}),
    [](const auto& mistake) { return std::string(mistake.param.name); });

}  // namespace
}  // namespace alchemist
