#include "sim/app/workload_config.h"

#include <gmock/gmock.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "sim/app/config_paths.h"
#include "sim/app/conversation_model_config.h"
#include "sim/app/workload_summary.h"
#include "tests/app/support.h"
#include "tests/shared_data.h"
#include "workloads/conversations.h"
#include "workloads/drive.h"
#include "workloads/trace.h"
#include "workloads/workload_source.h"

namespace alchemist {
namespace {

using testing::HasSubstr;

WorkloadSpec read_spec(const std::string& text) { return read_workload(YamlValue::parse(text, "test.yaml")); }

std::string error(const std::string& text) {
  return message_of([&] { read_spec(text); });
}

std::string emitted(const WorkloadSpec& spec) {
  YAML::Emitter out;
  emit_workload(out, spec);
  return out.c_str();
}

TEST(WorkloadConfig, EveryBuiltInIsReadAndReadsBackTheSame) {
  const auto names = list_configs("workloads");
  ASSERT_GE(names.size(), 6U);
  for (const std::string& name : names) {
    const WorkloadSpec spec = read_spec(name);
    EXPECT_EQ(spec.name, name);
    const std::string text = emitted(spec);
    EXPECT_EQ(emitted(read_spec(text)), text) << name;
    const auto source = make_source(spec, 1);
    ASSERT_TRUE(source->peek().has_value()) << name;
  }
}

TEST(WorkloadConfig, TheDesignsExampleInline) {
  const WorkloadSpec spec = read_spec(
      "arrivals: {poisson: {rate: 4}}\n"
      "lengths: {lognormal: {prompt: {median: 900, sigma: 0.8}, output: {median: 250, sigma: 0.7}}}\n"
      "requests: 10000\n");
  const auto& generated = std::get<GeneratedWorkload>(spec.source);
  EXPECT_EQ(std::get<PoissonArrivals>(generated.arrivals).rate, 4);
  EXPECT_EQ(std::get<LognormalTokens>(std::get<IndependentLengths>(generated.lengths).output).median, 250);
  EXPECT_EQ(spec.requests, 10000);
}

TEST(WorkloadConfig, EveryShapeReadsBackTheSame) {
  for (const char* text :
       {"arrivals: {gamma: {rate: 2.5, cv: 3}}\nlengths: {uniform: {prompt: {low: 1, high: 9}, output: {low: 2, high: "
        "2}}}\nduration: 24 h",
        "arrivals: {on_off: {rate_on: 9, rate_off: 0.5, mean_on: 30 s, mean_off: 90 s}}\nlengths: {zipf: {prompt: "
        "{exponent: 1.2, low: 1, high: 90}, output: {exponent: 0.6, low: 2, high: 20}}}\nrequests: 5",
        "arrivals: {diurnal: {rate: 3, peak_to_trough: 4, period: 12 h, peak_at: 5 h}}\nlengths: "
        "sharegpt\nmax_total_tokens: 4096\nrequests: 5",
        "arrivals: {closed_loop: {concurrent: 7}}\nlengths: {prompt: {fixed: 5}, output: {uniform: {low: 1, high: "
        "3}}}\nsessions: {turns: {geometric: 4}, think_time: {exponential: 30 s}}\nrequests: 5"}) {
    const std::string once = emitted(read_spec(text));
    EXPECT_EQ(emitted(read_spec(once)), once);
  }
  // The peak is in the middle of whatever period.
  const WorkloadSpec night = read_spec("arrivals: {diurnal: {rate: 3, period: 2 h}}\nlengths: sharegpt\nrequests: 5");
  EXPECT_EQ(std::get<DiurnalArrivals>(std::get<GeneratedWorkload>(night.source).arrivals).peak_at,
            Duration::seconds(3600));
}

TEST(WorkloadConfig, BaseAndRate) {
  const WorkloadSpec spec = read_spec("{base: bursty, rate: 13, requests: 7}");
  const auto& arrivals = std::get<OnOffArrivals>(std::get<GeneratedWorkload>(spec.source).arrivals);
  EXPECT_DOUBLE_EQ(arrivals.rate_on, 40);  // bursty has 6.5 requests/s with 20 in a burst
  EXPECT_EQ(spec.requests, 7);
  const WorkloadSpec timed = read_spec("{base: sharegpt, duration: 2 h}");
  EXPECT_FALSE(timed.requests.has_value());
  EXPECT_FALSE(read_spec("{base: diurnal, requests: 7}").duration.has_value()) << "it has a day";
}

TEST(WorkloadConfig, Mistakes) {
  const std::string lengths = "lengths: {fixed: {prompt: 5, output: 5}}\nrequests: 3\n";
  EXPECT_THAT(error("arrivals: {poison: {rate: 4}}\n" + lengths), HasSubstr("test.yaml:1"));
  EXPECT_THAT(error("arrivals: {poisson: {rate: -4}}\n" + lengths), HasSubstr("arrivals.poisson.rate"));
  EXPECT_THAT(error("arrivals: {poisson: {rate: 4, cv: 2}}\n" + lengths), HasSubstr("cv"));
  EXPECT_THAT(error(lengths), HasSubstr("arrivals"));
  EXPECT_THAT(error("arrivals: {poisson: {rate: 4}}\nlengths: {fixed: {prompt: 0, output: 5}}\nrequests: 3"),
              HasSubstr("test.yaml:2"));
  EXPECT_THAT(error("arrivals: {poisson: {rate: 4}}\nlengths: sharegpt\n"), HasSubstr("\"requests\" or \"duration\""));
  EXPECT_THAT(error("arrivals: {poisson: {rate: 4}}\nlengths: sharegpt\nduration: 24\n"), HasSubstr("duration"));
  EXPECT_THAT(error("arrivals: {closed_loop: {concurrent: 4}}\n" + lengths), HasSubstr("sessions"));
  EXPECT_THAT(error("{base: closed-loop, rate: 3}"), HasSubstr("rate"));
  const std::string poisson = "arrivals: {poisson: {rate: 4}}\n";
  EXPECT_THAT(
      error(poisson + "lengths: {uniform: {prompt: {low: 9, high: 5}, output: {low: 1, high: 2}}}\nrequests: 3"),
      HasSubstr("expected high not below low"));
  EXPECT_THAT(error("arrivals: {on_off: {rate_on: 0, mean_on: 1 s, mean_off: 1 s}}\n" + lengths),
              HasSubstr("expected a rate above 0 in one of the two states"));
  EXPECT_THAT(error(poisson + lengths + "sessions: {think_time: {uniform: {low: 5 s, high: 2 s}}}"),
              HasSubstr("expected low not above high"));
  EXPECT_THAT(error(poisson + lengths + "max_total_tokens: 1"), HasSubstr("from 2 to")) << "a prompt and an answer";
  EXPECT_THAT(error("sharegtp"), HasSubstr("sharegpt"));
  EXPECT_THAT(error("nowhere/trace.csv"), HasSubstr("nowhere/trace.csv"));
  EXPECT_THAT(error("trace: {file: none.jsonl}"), HasSubstr("none.jsonl"));
}

TEST(WorkloadConfig, PathsAreRelativeToTheirFile) {
  const TemporaryFolder folder;
  folder.write("traces/t.csv", "arrived_at,num_prefill_tokens,num_decode_tokens\n0,3,4\n2,3,4\n");
  const std::string file = folder.write("w.yaml", "trace: {file: traces/t.csv, rate_scale: 2}\n");
  const WorkloadSpec spec = read_workload(YamlValue::parse(file, "test.yaml"));
  int count = 0;
  for_each_request(spec, 1,
                   [&](const WorkloadRequest& r) { EXPECT_EQ(r.arrival, Time() + Duration::seconds(count++)); });
  EXPECT_EQ(count, 2);
  const std::string loop = folder.write("loop.yaml", "base: ./loop.yaml\n");
  EXPECT_THAT(message_of([&] { read_workload(YamlValue::parse(loop, "test.yaml")); }), HasSubstr("base"));
}

// The later of two that say at which rate a trace is played; both at once contradict each other.
TEST(WorkloadConfig, OneRateOfATrace) {
  const TemporaryFolder folder;
  folder.write("t.csv", "arrived_at,num_prefill_tokens,num_decode_tokens\n0,3,4\n2,3,4\n");
  const std::string at_rate = folder.write("rate.yaml", "trace: {file: t.csv, rate: 4}\n");
  const std::string at_scale = folder.write("scale.yaml", "trace: {file: t.csv, rate_scale: 4}\n");
  const auto last_arrival = [](const WorkloadSpec& spec) {
    Time last;
    for_each_request(spec, 1, [&](const WorkloadRequest& r) { last = r.arrival; });
    return last.since_start();
  };
  const WorkloadSpec scaled = read_spec("{base: " + at_rate + ", trace: {rate_scale: 2}}");
  EXPECT_EQ(last_arrival(scaled), Duration::seconds(1));
  EXPECT_EQ(emitted(read_spec(emitted(scaled))), emitted(scaled));
  for (const char* rate : {", trace: {rate: 2}}", ", rate: 2}"}) {
    const WorkloadSpec at_two = read_spec("{base: " + at_scale + rate);
    EXPECT_EQ(last_arrival(at_two), Duration::milliseconds(500));
    EXPECT_EQ(emitted(read_spec(emitted(at_two))), emitted(at_two)) << "with one of them";
  }
  EXPECT_THAT(error("{base: " + at_scale + ", trace: {rate: 2, rate_scale: 2}}"),
              HasSubstr("either rate or rate_scale"));
}

// Every stay in a state is drawn, also where another key makes arrivals rare.
TEST(WorkloadConfig, StaysAreNotFarMoreThanArrivals) {
  const auto bursts = [](const char* rate_on, const char* rate) {
    return error(std::string("arrivals: {on_off: {rate_on: ") + rate_on +
                 ", mean_on: 1 ms, mean_off: 1 ms}}\nlengths: {fixed: {prompt: 1, output: 1}}\nrequests: 3\n" + rate);
  };
  EXPECT_EQ(bursts("5", ""), "");
  EXPECT_THAT(bursts("1e-4", ""), HasSubstr("test.yaml:1: key arrivals.on_off: expected longer mean_on and mean_off"));
  EXPECT_THAT(bursts("5", "rate: 1e-4"), HasSubstr("test.yaml:4: key rate: expected a higher rate"));
}

std::vector<std::vector<Turn>> draw_conversations(std::size_t count) {
  const auto sampler = make_conversations(std::get<GeneratedWorkload>(read_spec("sharegpt").source), 9);
  std::vector<std::vector<Turn>> conversations(count);
  for (auto& turns : conversations) sampler->draw(turns);
  return conversations;
}

TEST(ShareGptModel, KeepsTheLimitAndTheHistory) {
  for (const auto& turns : draw_conversations(5'000)) {
    std::int64_t history = 0;
    ASSERT_FALSE(turns.empty());
    for (const Turn& turn : turns) {
      EXPECT_GE(turn.new_tokens, 1);
      EXPECT_GE(turn.output_tokens, 1);
      history += turn.new_tokens + turn.output_tokens;
    }
    EXPECT_LE(history, 8192);
  }
  std::map<std::uint64_t, std::int64_t> history;
  for_each_request(read_spec("{base: sharegpt, requests: 3000}"), 1, [&](const WorkloadRequest& r) {
    const auto known = history.find(r.session.value());
    if (known != history.end()) { EXPECT_GT(r.prompt_tokens, known->second); }
    history[r.session.value()] = r.prompt_tokens + r.output_tokens;
  });
}

// Against what the fit saw in the data (the comments of configs/workloads/models/sharegpt.yaml and the quantiles of the
// 4542 conversations). The data's own standard error of a median is 2-4 %, of a rank correlation 0.015.
TEST(ShareGptModel, QuantilesAndCorrelationsAreThoseOfTheData) {
  const auto conversations = draw_conversations(50'000);
  const auto json = ConversationComparison(conversations, conversations).json();
  const auto value = [&](const std::string& what, double quantile) {
    for (const auto& row : json) {
      if (row["what"] == what && (quantile < 0 || row["quantile"] == quantile)) return row["workload"].get<double>();
    }
    return std::nan("");
  };
  EXPECT_NEAR(value("turns", 0.5), 4, 0);
  EXPECT_NEAR(value("turns", 0.9), 12, 1);
  EXPECT_NEAR(value("first_prompt_tokens", 0.5), 64, 3);
  EXPECT_NEAR(value("first_prompt_tokens", 0.9), 601, 40);
  EXPECT_NEAR(value("new_user_tokens", 0.5), 26, 1.5);
  EXPECT_NEAR(value("new_user_tokens", 0.9), 235, 30);
  EXPECT_NEAR(value("answer_tokens", 0.5), 417, 12);
  EXPECT_NEAR(value("answer_tokens", 0.1), 84, 10);
  EXPECT_NEAR(value("answer, next answer", -1), 0.532, 0.02);
  EXPECT_NEAR(value("new user tokens, answer", -1), 0.148, 0.02);
  EXPECT_NEAR(value("turns, first answer", -1), -0.185, 0.02);
}

TEST(ShareGptModel, BrokenModelFile) {
  const TemporaryFolder folder;
  const auto path = folder.write("m.yaml", "limit: 8192\nprobabilities: [0, 0.5]\n");
  EXPECT_THAT(message_of([&] { read_conversation_model(path); }), HasSubstr("m.yaml:2"));
}

// One that does not fit is drawn again: this would go on for ever.
TEST(ShareGptModel, ALimitThatHardlyAnyConversationFits) {
  const TemporaryFolder folder;
  const auto message = [&folder](const std::string& limit) {
    const auto path =
        folder.write("m.yaml", "limit: " + limit +
                                   "\nprobabilities: [0, 0.1, 1]\nfirst_prompt: [1, 50, 90]\n"
                                   "new_user_tokens: [1, 2, 3]\nanswer: [1, 30, 90]\nmore_turns_than: [0.5]\n"
                                   "user_share: 0\nanswer_share: 0\nanswer_memory: 0\nsame_turn: 0\n"
                                   "traits: {turns_first_prompt: 0, turns_user: 0, turns_answer: 0, "
                                   "first_prompt_user: 0, first_prompt_answer: 0, user_answer: 0}\n");
    return message_of([&] { read_conversation_model(path); });
  };
  EXPECT_THAT(message("79"), HasSubstr("m.yaml:1: key limit: expected a limit that short prompts and answers"));
  EXPECT_EQ(message("81"), "");
}

TEST(WorkloadSummary, CountsSharingAndQuantiles) {
  // One session: 40 prompt + 10 answer, then 80: 50 known tokens are three full blocks of 16.
  WorkloadSummary summary;
  WorkloadRequest r;
  r.prompt_tokens = 40;
  r.output_tokens = 10;
  summary.add(r);
  r.arrival = Time() + Duration::seconds(2);
  r.turn = 1;
  r.prompt_tokens = 80;
  summary.add(r);
  const auto json = summary.json(true);
  EXPECT_DOUBLE_EQ(json["prefix_sharing_fraction"].get<double>(), 48.0 / 120.0);
  EXPECT_DOUBLE_EQ(json["requests_per_s"].get<double>(), 0.5);
  EXPECT_DOUBLE_EQ(json["new_user_tokens"]["mean"].get<double>(), 30);  // 80 - 50
  EXPECT_DOUBLE_EQ(json["prompt_tokens"]["p50"].get<double>(), 60);
}

}  // namespace
}  // namespace alchemist
