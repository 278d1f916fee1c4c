#include "sim/app/policy_config.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "sim/app/config_paths.h"
#include "sim/app/policy_key.h"
#include "sim/policy/decision_registry.h"
#include "tests/app/support.h"

namespace alchemist {
namespace {

PolicyChoice choice_of(const std::string& text) { return read_policy(YamlValue::parse(text, "e.yaml")); }

std::string written(const PolicyChoice& choice) {
  YAML::Emitter out;
  emit_policy(out, choice);
  return out.c_str();
}

// With every key but those of the next two, none at its default.
constexpr const char* kWholePolicy =
    "description: \"more: of, [all] #1\\nand so on\"\nrecord: lean\nplace: tiered\nevict: oldest\nrestore: race\n"
    "train: headroom\nfresh: offload\nsamples: recorded\nstretch: 0.07\ngpu_record_share: 0.3\nspare_memory: true\n"
    "host_record_share: 0.123456789\nrecord_answers: true\nkeep_for: 90500 ms\nmicro_batch_tokens: 512\n"
    "window_layers: 3\n";
constexpr const char* kBeside =
    "description: d\nrecord: none\nplace: none\nevict: none\nrestore: none\ntrain: beside\nsm_share: 0.3\n";

constexpr const char* kSeparate =
    "description: d\nrecord: none\nplace: none\nevict: none\nrestore: none\ntrain: idle\nseparate: true\n";

void expect_same(const PolicySpec& a, const PolicySpec& b) {
  EXPECT_EQ(policy_keys(a), policy_keys(b));
  EXPECT_EQ(a.description, b.description);
  EXPECT_EQ(a.sm_share, b.sm_share);
  EXPECT_EQ(a.keep_for, b.keep_for);
  EXPECT_EQ(a.host_record_share, b.host_record_share);
}

// What is written is the policy as it was, whatever becomes of its file.
TEST(PolicyFile, IsNotNeededAgain) {
  const TemporaryFolder folder;
  for (const char* text : {kWholePolicy, kBeside}) {
    const std::string file = folder.write("mine.yaml", text);
    const PolicySpec spec = load_policy(file);
    const PolicyChoice whole = choice_of(file), changed = choice_of("{base: " + file + ", window_layers: 5}");
    std::filesystem::remove(file);
    EXPECT_EQ(whole.name, file);
    expect_same(load_policy(whole), spec);
    PolicySpec expected = spec;
    expected.window_layers = 5;
    expect_same(load_policy(changed), expected);
    for (const PolicyChoice& choice : {whole, changed}) {
      const PolicyChoice again = choice_of(written(choice));
      EXPECT_EQ(again, choice);
      EXPECT_EQ(written(again), written(choice));
    }
  }
}

// A key that is read and not written would be ignored in every policy that comes from a file.
TEST(PolicyKeys, AreWrittenAsTheyAreRead) {
  const TemporaryFolder folder;
  for (const char* text : {kWholePolicy, kBeside, kSeparate}) {
    const YAML::Node given = YAML::Load(text);
    const YAML::Node written = YAML::Load(policy_keys(load_policy(folder.write("p.yaml", text))));
    for (const auto& entry : given) {
      const auto key = entry.first.as<std::string>();
      ASSERT_TRUE(written[key]) << key << " is not written (sim/app/policy_key.cc)";
      EXPECT_EQ(written[key].as<std::string>(), entry.second.as<std::string>()) << key;
    }
  }
  const auto keys =
      known_keys(message_of([&] { load_policy(folder.write("p.yaml", std::string(kBeside) + "x: 1\n")); }));
  EXPECT_GT(keys.size(), 10u);
  for (const std::string& key : keys) {
    bool tested = key == "base";
    for (const char* text : {kWholePolicy, kBeside, kSeparate}) tested = tested || YAML::Load(text)[key];
    EXPECT_TRUE(tested) << key << " is missing in kWholePolicy";
  }
}

// A key that says the same of two policies would hide what it decides.
TEST(PolicyKeys, AreToldToPeople) {
  const TemporaryFolder folder;
  std::ifstream file(std::filesystem::path(ALCHEMIST_SOURCE_DIR) / "README.md");
  const std::string readme(std::istreambuf_iterator<char>(file), {});
  for (const PolicyKey& key : other_policy_keys()) {
    EXPECT_NE(readme.find(fmt::format("`{}`", key.name)), std::string::npos) << key.name << " is missing in README.md";
    for (const char* text : {kWholePolicy, kBeside, kSeparate}) {
      YAML::Node keys = YAML::Load(text);
      if (!keys[key.name]) continue;
      const std::string told = key.tell(load_policy(folder.write("p.yaml", text)));
      keys.remove(key.name);
      if (std::string_view(key.name) == "sm_share") keys[key.name] = 0.5;  // has no default
      EXPECT_NE(key.tell(load_policy(folder.write("p.yaml", flow_text(keys)))), told) << key.name;
    }
  }
}

TEST(PolicyKeys, SayAllOfEveryPolicy) {
  const TemporaryFolder folder;
  for (const std::string& name : list_configs("policies")) {
    const PolicySpec spec = load_policy(name);
    expect_same(load_policy(folder.write(name + ".yaml", policy_keys(spec))), spec);
  }
}

TEST(PolicyName, IsWhatTheKeySays) {
  const PolicyChoice choice = choice_of("{name: mine, base: alchemist}");
  EXPECT_EQ(choice.name, "mine");
  EXPECT_EQ(load_policy(choice).name, "mine");
  EXPECT_EQ(policy_keys(load_policy(choice)), policy_keys(load_policy("alchemist")));
  EXPECT_EQ(choice_of(written(choice)), choice);
  EXPECT_EQ(written(choice_of("alchemist")), "alchemist");
  EXPECT_EQ(written(choice_of("{base: alchemist}")), "alchemist");
}

TEST(PolicyKeys, ThatContradictEachOtherAreRefused) {
  const auto error = [](const std::string& text) { return message_of([&] { choice_of(text); }); };
  EXPECT_THAT(error("{base: reuse, train: none}"),
              ::testing::HasSubstr("records that nobody trains on: train is none"));
  EXPECT_THAT(error("{base: beside, separate: true}"), ::testing::HasSubstr("shares the SMs with serving"));
  EXPECT_THAT(error("{base: temporal, spare_memory: true}"),
              ::testing::HasSubstr("spare_memory: true is memory for records"));
}

// As hardware and workloads do; what it does not say, its own description too, is the base's.
TEST(PolicyFile, MayChangeKeysOfAnother) {
  const TemporaryFolder folder;
  const std::string file = folder.write("mine.yaml", "base: alchemist\ngpu_record_share: 0.2\n");
  const PolicySpec spec = load_policy(file);
  EXPECT_EQ(spec.name, "mine");
  PolicySpec expected = load_policy("alchemist");
  expected.gpu_record_share = 0.2;
  expect_same(spec, expected);
  folder.write("two.yaml", "base: mine.yaml\ndescription: Mine.\nstretch: 0.1\n");
  const PolicyChoice choice = choice_of((folder.path() / "two.yaml").string());
  expected.description = "Mine.";
  expected.stretch = 0.1;
  expect_same(load_policy(choice), expected);
  EXPECT_EQ(choice_of(written(choice)), choice);
  const std::string own = folder.write("own.yaml", "base: own.yaml\n");
  EXPECT_EQ(message_of([&] { load_policy(own); }),
            own + ":1: key base: expected fewer files upon each other; does one name itself as its base?");
}

// Whatever is in the tables.
TEST(PolicySpecs, SayWhatTheirDecisionsSay) {
  PolicySpec spec;
  for (const DecisionName& choice : place_decisions()) {
    spec.place = choice.name;
    const auto place = make_place_decision(choice.name);
    EXPECT_EQ(spec.records_on_host(), place != nullptr && place->uses_host()) << choice.name;
  }
  for (const DecisionName& choice : train_decisions()) {
    spec.train = choice.name;
    const auto train = make_train_decision(choice.name);
    EXPECT_EQ(spec.beside(), train != nullptr && train->beside_serving()) << choice.name;
    EXPECT_EQ(spec.heeds_max_itl(), train != nullptr && train->heeds_max_itl()) << choice.name;
  }
  for (const DecisionName& choice : record_decisions()) {
    spec.record = choice.name;
    const auto record = make_record_decision(choice.name);
    EXPECT_EQ(spec.clairvoyant(), record != nullptr && record->clairvoyant()) << choice.name;
  }
  spec.record = "none";
  for (const DecisionName& choice : evict_decisions()) {
    spec.evict = choice.name;
    const auto evict = make_evict_decision(choice.name);
    EXPECT_EQ(spec.clairvoyant(), evict != nullptr && evict->clairvoyant()) << choice.name;
  }
}

TEST(PolicySpecs, OfThoseThatShip) {
  EXPECT_TRUE(load_policy("oracle").clairvoyant());
  EXPECT_TRUE(load_policy("beside").beside());
  EXPECT_TRUE(load_policy("elastic").records_on_host());
  EXPECT_FALSE(load_policy("reuse").records_on_host());
  EXPECT_TRUE(load_policy("alchemist").heeds_max_itl());
  EXPECT_FALSE(load_policy("token_fill").heeds_max_itl());
  EXPECT_FALSE(load_policy("alchemist").clairvoyant());
}

}  // namespace
}  // namespace alchemist
