#include "sim/app/yaml_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "tests/app/support.h"

namespace alchemist {
namespace {

struct BadText {
  const char* name;
  const char* text;
  std::function<void(YamlMap&)> read;
  const char* message;
};

constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();

class YamlErrors : public testing::TestWithParam<BadText> {};

// Every error says where it is, which key, what was expected and what was found.
TEST_P(YamlErrors, NameFileLineAndKey) {
  const std::string message = message_of([] {
    YamlMap map(YamlValue::parse(GetParam().text, "f.yaml"));
    GetParam().read(map);
    map.finish();
  });
  EXPECT_THAT(message, testing::StartsWith(GetParam().message));
}

void read_nothing(YamlMap&) {}

INSTANTIATE_TEST_SUITE_P(
    Table, YamlErrors,
    testing::Values(
        BadText{"unknown_key", "block_size: 16\nblok_size: 3\n", [](YamlMap& m) { m.optional("block_size"); },
                "f.yaml:2: key blok_size: unknown key; did you mean \"block_size\"? (known: block_size)"},
        BadText{"unknown_key_inside", "a:\n  b: 1\n  c: 2\n",
                [](YamlMap& m) {
                  YamlMap a(m.required("a"));
                  a.required("b");
                  a.finish();
                },
                "f.yaml:3: key a.c: unknown key (known: b)"},
        BadText{"missing_key", "a: 1\n", [](YamlMap& m) { m.required("b"); }, "f.yaml:1: key b: missing"},
        BadText{"missing_unit", "\nx: 80\n", [](YamlMap& m) { m.required("x").as_bytes(); },
                "f.yaml:2: key x: expected an amount of memory such as \"80 GiB\" (units: B kB KB MB GB TB KiB MiB GiB "
                "TiB), got \"80\" without a unit"},
        BadText{"wrong_unit", "x: 80 GiB\n", [](YamlMap& m) { m.required("x").as_duration(); },
                "f.yaml:1: key x: expected a length of time such as \"2.5 ms\" (units: ns us ms s min h), got "
                "\"80 GiB\" with an unknown unit"},
        BadText{"negative_size", "x: -1 GiB\n", [](YamlMap& m) { m.required("x").as_bytes(); },
                "f.yaml:1: key x: expected an amount of memory"},
        BadText{"negative_number", "x: -1\n", [](YamlMap& m) { m.required("x").as_int(1, kMax); },
                "f.yaml:1: key x: expected a whole number of at least 1, got \"-1\""},
        BadText{"too_large", "x: 99999999999 TiB\n", [](YamlMap& m) { m.required("x").as_bytes(); },
                "f.yaml:1: key x: too large"},
        BadText{"fraction", "x: 1.5\n", [](YamlMap& m) { m.required("x").as_int(0, 9); },
                "f.yaml:1: key x: expected a whole number from 0 to 9, got \"1.5\""},
        BadText{"word_for_number", "x: many\n", [](YamlMap& m) { m.required("x").as_number(0, 1); },
                "f.yaml:1: key x: expected a number from 0 to 1, got \"many\""},
        BadText{"nan", "x: nan\n", [](YamlMap& m) { m.required("x").as_number(0, 1); }, "f.yaml:1: key x: expected"},
        BadText{"yes_for_true", "x: yes\n", [](YamlMap& m) { m.required("x").as_bool(); },
                "f.yaml:1: key x: expected true or false, got \"yes\""},
        BadText{"list_for_text", "x: [1]\n", [](YamlMap& m) { m.required("x").as_string(); },
                "f.yaml:1: key x: expected a text, got a list"},
        BadText{"nothing_for_text", "x:\n", [](YamlMap& m) { m.required("x").as_string(); },
                "f.yaml:1: key x: expected a text, got nothing"},
        BadText{"escape_in_name", "x: \"a\\e[31m\"\n", [](YamlMap& m) { m.required("x").as_name(); },
                "f.yaml:1: key x: expected a name without control characters"},
        BadText{"text_for_mapping", "x: 1\n", [](YamlMap& m) { YamlMap x(m.required("x")); },
                "f.yaml:1: key x: expected a mapping of keys to values, got \"1\""},
        BadText{"element_of_list", "x: [1,\n two]\n",
                [](YamlMap& m) {
                  for (const YamlValue& v : m.required("x").as_list()) v.as_int(0, 9);
                },
                "f.yaml:2: key x[1]: expected a whole number"},
        BadText{"two_choices", "x: {poisson: 1, gamma: 2}\n",
                [](YamlMap& m) {
                  YamlMap(m.required("x")).single_key({"gamma", "poisson"});
                },
                "f.yaml:1: key x: expected exactly one of gamma, poisson, got poisson, gamma"},
        BadText{"misspelt_choice", "x: {poison: 1}\n",
                [](YamlMap& m) {
                  YamlMap(m.required("x")).single_key({"gamma", "poisson"});
                },
                "f.yaml:1: key x: expected one of gamma, poisson, got \"poison\"; did you mean \"poisson\"?"},
        BadText{"duplicate_key", "a:\n  b: 1\n  b: 2\n", read_nothing, "f.yaml:3: key a.b: given twice"},
        BadText{"not_yaml", "a: [1, 2\nb: 3\n", read_nothing, "f.yaml:2: not valid YAML"},
        BadText{"list_as_key", "[1]: 2\n", read_nothing, "f.yaml:1: expected a word as a key, got a list"},
        BadText{"alias_to_itself", "a: &x [*x]\n", read_nothing, "f.yaml:1: nested too deeply"},
        BadText{"two_documents", "a: 1\n---\nb: 1\n", read_nothing, "f.yaml:3: expected one YAML document"},
        BadText{"no_mapping", "- 1\n", read_nothing, "f.yaml:1: expected a mapping"},
        BadText{"only_a_comment", "# nothing\n", read_nothing, "f.yaml: is empty"},
        BadText{"empty", "", read_nothing, "f.yaml: is empty"}),
    [](const auto& test_case) { return std::string(test_case.param.name); });

TEST(YamlFiles, MissingFileAndFolder) {
  EXPECT_EQ(message_of([] { YamlValue::load("no/such.yaml"); }), "no/such.yaml: no such file");
  EXPECT_EQ(message_of([] { YamlValue::load("/tmp"); }), "/tmp: is a folder, not a file");
}

// 1 KB = 1000 B and 1 KiB = 1024 B; whole numbers stay exact where a double could not hold them.
TEST(YamlQuantities, Units) {
  const YamlValue v = YamlValue::parse(
      "{a: 80 GiB, b: 16KB, c: 2.5 ms, d: 25 GB/s, e: 989 TFLOP/s, f: 9007199254740993 B, g: 24 h, h: 1.5 KiB}", "f");
  YamlMap map(v);
  EXPECT_EQ(map.required("a").as_bytes().count(), 85'899'345'920);
  EXPECT_EQ(map.required("b").as_bytes().count(), 16'000);
  EXPECT_EQ(map.required("c").as_duration().count_ns(), 2'500'000);
  EXPECT_EQ(map.required("d").as_rate(), 25e9);
  EXPECT_EQ(map.required("e").as_flops(), 989e12);
  EXPECT_EQ(map.required("f").as_bytes().count(), 9'007'199'254'740'993);
  EXPECT_EQ(map.required("g").as_duration().count_ns(), 86'400'000'000'000);
  EXPECT_EQ(map.required("h").as_bytes().count(), 1536);
  map.finish();
}

// To the nearest whole one; a year is not too long.
TEST(YamlQuantities, FractionsAndTheLongestTime) {
  const auto duration = [](const char* text) { return YamlValue::parse(text, "f").as_duration(); };
  EXPECT_EQ(duration("1.9999 us").count_ns(), 2000);
  EXPECT_EQ(duration("1.9994 us").count_ns(), 1999);
  EXPECT_EQ(YamlValue::parse("0.3 KiB", "f").as_bytes(), Bytes(307));  // 307.2
  EXPECT_EQ(YamlValue::parse("0.7 KiB", "f").as_bytes(), Bytes(717));  // 716.8
  EXPECT_EQ(duration("8760 h"), Duration::seconds(8760 * 3600.0));
}

TEST(YamlOverrides, ReplaceAddAndName) {
  const YamlValue file = YamlValue::parse("serving: {block_size: 16}\n", "f.yaml");
  const YamlValue v = file.with_overrides({{"serving.block_size", "zero", "--set serving.block_size=zero"},
                                           {"workload.arrivals.poisson.rate", "4", "--set …"}});
  YamlMap map(v);
  YamlMap serving(map.required("serving"));
  EXPECT_EQ(message_of([&] { serving.required("block_size").as_int(1, kMax); }),
            "--set serving.block_size=zero: key serving.block_size: expected a whole number of at least 1, got "
            "\"zero\"");
  YamlMap workload(map.required("workload")), arrivals(workload.required("arrivals"));
  EXPECT_EQ(YamlMap(arrivals.required("poisson")).required("rate").as_number(0, 9), 4);
  EXPECT_EQ(message_of([&] {
              v.with_overrides({{"serving.block_size.x", "1", "--set x"}});
            }),
            "--set x: key serving.block_size: holds \"zero\", not a mapping");
  EXPECT_THAT(message_of([&] {
                v.with_overrides({{"serving", "[1", "--set y"}});
              }),
              testing::StartsWith("--set y:1: not valid YAML"));
}

TEST(YamlOverrides, AMessageNamesTheOneThatHolds) {
  const YamlValue v = YamlValue::parse("a: 1\n", "f.yaml")
                          .with_overrides({{"serving.block_size", "4", "--set first"},
                                           {"serving", "{block_size: zero, max_num_seqs: none}", "--set second"},
                                           {"serving.max_num_seqs", "nought", "--set third"}});
  YamlMap map(v);
  YamlMap serving(map.required("serving"));
  EXPECT_THAT(message_of([&] { serving.required("block_size").as_int(1, kMax); }),
              testing::StartsWith("--set second:"));
  EXPECT_THAT(message_of([&] { serving.required("max_num_seqs").as_int(1, kMax); }),
              testing::StartsWith("--set third:"));
}

// What is wrong with a mapping that only the command line made is its mistake, and what it changed of one is told.
TEST(YamlOverrides, AMessageNamesThoseBelow) {
  const YamlValue v = YamlValue::parse("model: tiny\nhardware: {memory: 1 GiB}\nslo: {}\n", "f.yaml")
                          .with_overrides({{"model.heads", "7", "--set model.heads=7"},
                                           {"foo.bar", "1", "--set foo.bar=1"},
                                           {"hardware.memory", "2 GiB", "--set hardware.memory=2 GiB"},
                                           {"seed", "3", "--seed 3"}},
                                          {"model"});
  YamlMap map(v);
  const YamlValue model = map.required("model"), hardware = map.required("hardware"), slo = map.required("slo");
  EXPECT_EQ(message_of([&] { model.fail("odd"); }), "--set model.heads=7: key model: odd");
  EXPECT_EQ(message_of([&] { hardware.fail("odd"); }),
            "f.yaml:2: key hardware: odd (with --set hardware.memory=2 GiB)");
  map.required("seed");
  EXPECT_THAT(message_of([&] { map.finish(); }), testing::StartsWith("--set foo.bar=1: key foo: unknown key"));
  EXPECT_EQ(message_of([&] { slo.fail("odd"); }), "f.yaml:3: key slo: odd");
  EXPECT_EQ(message_of([&] { slo.fail_together("odd"); }),
            "f.yaml:3: key slo: odd (with --set model.heads=7, --set foo.bar=1, --set hardware.memory=2 GiB)");
}

TEST(YamlQuantities, AWordInTheirPlace) {
  YamlMap map(YamlValue::parse("a: hidden\nb: hiden\nc: auto2\n", "f.yaml"));
  YamlValue a = map.required("a"), b = map.required("b"), c = map.required("c");
  EXPECT_TRUE(a.is("hidden"));
  EXPECT_FALSE(b.is("hidden"));
  EXPECT_THAT(message_of([&] { b.as_duration(); }),
              testing::StartsWith("f.yaml:2: key b: expected hidden or a length of time such as"));
  EXPECT_FALSE(c.is("auto"));
  EXPECT_EQ(message_of([&] { c.as_int(1, 9); }),
            "f.yaml:3: key c: expected auto or a whole number from 1 to 9, got \"auto2\"");
}

TEST(NearestName, FindsTypingErrorsOnly) {
  EXPECT_EQ(nearest_name("polcy", {"policy", "seed"}), "policy");
  EXPECT_EQ(nearest_name("sede", {"policy", "seed"}), "seed");
  EXPECT_EQ(nearest_name("hardware", {"policy", "seed"}), std::nullopt);
}

}  // namespace
}  // namespace alchemist
