// Paths in what is put into an experiment, by --set or by a sweep, are relative to where that stands and not to the
// experiment: beside it lie other files of the same names.
#include <gtest/gtest.h>

#include <filesystem>
#include <iterator>

#include "sim/app/config_paths.h"
#include "sim/app/experiment.h"
#include "sim/app/sweep_config.h"
#include "sim/app/sweep_points.h"
#include "tests/app/support.h"

namespace alchemist {
namespace {

namespace fs = std::filesystem;

std::string text_of(const fs::path& file) {
  std::ifstream in(file);
  return {std::istreambuf_iterator<char>(in), {}};
}

struct Setting {
  const char* key;
  const char* value;  // with an @ before each path
};

class OverridePaths : public testing::TestWithParam<Setting> {
 protected:
  OverridePaths() {
    write_files("here", 2);
    write_files("base", 3);
    folder_.write("base/e.yaml",
                  "model: tiny\nhardware: cpu-2core\nworkload: {arrivals: {poisson: {rate: 4}}, lengths: {empirical: "
                  "{file: ./t.csv}}, requests: 5}\npolicy: temporal\n");
    fs::current_path(folder_.path() / "here");
  }
  ~OverridePaths() override { fs::current_path(before_); }

  void write_files(const std::string& where, int number) {
    const std::string n = std::to_string(number);
    folder_.write(where + "/m.yaml", "base: tiny\nlayers: " + n + "\n");
    folder_.write(where + "/hw.yaml", "base: cpu-2core\nhost_memory: 6" + n + " GiB\n");
    folder_.write(where + "/prof/meta.yaml", "x: 1\n");
    folder_.write(where + "/wl.yaml", "base: chat\nrequests: " + n + "\n");
    folder_.write(where + "/t.csv", "arrived_at,num_prefill_tokens,num_decode_tokens\n0,10,5\n0.5,20,3\n");
    folder_.write(where + "/talk.yaml", text_of(configs_directory() / "workloads/models/sharegpt.yaml"));
    folder_.write(where + "/p.yaml", text_of(configs_directory() / "policies/reuse.yaml") + "stretch: 0." + n + "\n");
  }
  // The value with its paths in `where`.
  static std::string with_paths(const std::string& where) {
    std::string text = GetParam().value;
    for (std::size_t at = text.find('@'); at != std::string::npos; at = text.find('@')) text.replace(at, 1, where);
    return text;
  }
  std::string in_folder(const std::string& name) const { return with_paths((folder_.path() / name).string() + "/"); }
  std::string by_set(const std::string& value) const {
    ExperimentOverrides overrides;
    overrides.sets = {std::string(GetParam().key) + "=" + value};
    return emit_experiment(load_experiment("../base/e.yaml", overrides));
  }
  SweepSpec sweep(const std::string& change, const SweepOverrides& overrides = {}) const {
    return load_sweep(folder_.write("here/s.yaml", "base: ../base/e.yaml\n" + change + "\n"), overrides);
  }

  const fs::path before_ = fs::current_path();
  const TemporaryFolder folder_;
};

TEST_P(OverridePaths, OfTheCommandLineAreRelativeToTheWorkingDirectory) {
  const std::string expected = by_set(in_folder("here"));
  ASSERT_NE(expected, by_set(in_folder("base"))) << "the files differ in something";
  EXPECT_EQ(by_set(with_paths("./")), expected);
  EXPECT_EQ(by_set(with_paths("")), expected);
}

TEST_P(OverridePaths, OfASweepsOptionsAreRelativeToTheWorkingDirectory) {
  const std::string expected = by_set(in_folder("here"));
  const std::string key = GetParam().key, value = with_paths("./");
  SweepOverrides set, grid;
  set.sets = {key + "=" + value};
  grid.grids = {key + "=[" + value + "]"};
  for (const SweepOverrides& overrides : {set, grid}) {
    const SweepSpec spec = sweep("", overrides);
    EXPECT_EQ(emit_experiment(first_experiment(spec)), expected);
    const SweepSpec elsewhere = load_sweep(folder_.write("elsewhere/sweep.yaml", emit_sweep(spec)));
    EXPECT_EQ(emit_experiment(first_experiment(elsewhere)), expected);
  }
}

TEST_P(OverridePaths, OfASweepAreRelativeToItsFile) {
  const std::string expected = by_set(in_folder("here"));
  fs::current_path(folder_.path());
  const std::string key = GetParam().key, value = with_paths("./");
  for (const std::string& change : {"set: {" + key + ": " + value + "}", "grid: {" + key + ": [" + value + "]}"}) {
    const SweepSpec spec = sweep(change);
    EXPECT_EQ(emit_experiment(first_experiment(spec)), expected) << change;
    const std::string text = emit_sweep(spec);
    const SweepSpec elsewhere = load_sweep(folder_.write("elsewhere/sweep.yaml", text));
    EXPECT_EQ(emit_experiment(first_experiment(elsewhere)), expected) << text;
    EXPECT_EQ(emit_sweep(elsewhere), text);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Forms, OverridePaths,
    testing::Values(
        Setting{"model", "@m.yaml"}, Setting{"model", "{base: @m.yaml, hidden: 256}"}, Setting{"model.base", "@m.yaml"},
        Setting{"hardware", "@hw.yaml"}, Setting{"hardware", "{base: @hw.yaml, token_tile: 64}"},
        Setting{"hardware.base", "@hw.yaml"}, Setting{"profile", "@prof"}, Setting{"workload", "@t.csv"},
        Setting{"workload", "@wl.yaml"}, Setting{"workload", "{base: @wl.yaml, rate: 3}"},
        Setting{"workload", "{base: @t.csv, rate: 3}"}, Setting{"workload", "{trace: @t.csv}"},
        Setting{"workload", "{trace: {file: @t.csv, rate: 2}}"}, Setting{"workload.arrivals", "{trace: @t.csv}"},
        Setting{"workload.arrivals", "{trace: {file: @t.csv, tokenizer: @tokens.model}}"},
        Setting{"workload.lengths", "{empirical: @t.csv}"},
        Setting{"workload.lengths", "{sharegpt: {model: @talk.yaml}}"}, Setting{"workload.lengths.empirical", "@t.csv"},
        Setting{"workload.lengths.empirical", "{file: @t.csv}"}, Setting{"workload.lengths.empirical.file", "@t.csv"},
        Setting{"workload.lengths.empirical.tokenizer", "@tokens.model"}, Setting{"policy", "@p.yaml"},
        Setting{"policy", "{base: @p.yaml, gpu_record_share: 0.1}"}, Setting{"policy.base", "@p.yaml"}));

// An option's value is a name or a path, whatever it would be as YAML.
TEST(PolicyOption, TakesAPathThatIsNoPlainYaml) {
  const TemporaryFolder folder;
  const std::string policy =
      folder.write("a: b #1.yaml", text_of(configs_directory() / "policies/temporal.yaml") + "stretch: 0.5\n");
  ExperimentOverrides overrides;
  overrides.policy = policy;
  EXPECT_EQ(load_policy(load_experiment("default", overrides).policy).stretch, 0.5);
}

}  // namespace
}  // namespace alchemist
