#include "sim/report/result_writer.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "sim/base/error.h"
#include "sim/report/metrics.h"
#include "tests/report/fixtures.h"

namespace alchemist {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::vector<std::string> files_in(const fs::path& directory) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(directory)) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

Summary empty_summary() { return RunMetrics(RunInfo{}).summary(); }

// Two requests (one trained on), one step, changes of memory, two of them at once: every table to the letter. What the
// categories had at most is more than they ever had together.
TEST(ResultWriter, TablesToTheLetter) {
  const TemporaryDirectory temporary("tables");
  const fs::path out = temporary.path() / "a" / "b";
  ResultWriter writer(out, Slo{.ttft = Duration::milliseconds(200)}, false);
  RequestOutcome first = outcome(0, 0, 50, 100, 10, 11);
  first.arrived = Time::from_ns(1);
  first.recorded_tokens = 61;
  first.recorded_bytes = Bytes(6100);
  first.trained_at = at_ms(5000);
  first.version_lag = 1;
  first.turn = 2;
  first.prefix_hit_tokens = 16;
  first.preemptions = 1;
  writer.on_request_outcome(first);
  writer.on_request_outcome(outcome(1, 1600, 0, 300, 20, 1));
  writer.on_training_step({.version = WeightVersion(1),
                           .start = at_ms(100),
                           .end = at_ms(400),
                           .tokens = 1000,
                           .samples = 4,
                           .restore_stall = Duration::milliseconds(20),
                           .forward = Duration::nanoseconds(60'000'001),
                           .backward = Duration::milliseconds(100),
                           .gradient_wait = Duration::milliseconds(7),
                           .optimizer = Duration::milliseconds(10),
                           .reused_tokens = 600,
                           .recomputed_tokens = 400,
                           .dropped_tokens = 50,
                           .reusing_samples = 1,
                           .version_lag_sum = 3});
  writer.on_memory(ReplicaId(1), at_ms(2), {.weights = Bytes(10), .kv = Bytes(5), .host = Bytes(3)});
  writer.on_memory(ReplicaId(0), at_ms(1), {.weights = Bytes(10)});
  writer.on_memory(ReplicaId(0), at_ms(1), {.weights = Bytes(4), .kv = Bytes(8)});
  writer.on_memory(ReplicaId(0), at_ms(3), {.weights = Bytes(6), .kv = Bytes(3)});
  writer.on_serving_span({.replica = ReplicaId(1), .start = at_ms(2), .end = at_ms(3), .prefill_tokens = 4});
  writer.on_training_span({ReplicaId(0), TrainingPhase::kBackward, at_ms(1), at_ms(3)});
  writer.commit(empty_summary(), "seed: 1\n");

  EXPECT_EQ(files_in(out), (std::vector<std::string>{"config.yaml", "memory.csv", "memory_phases.csv", "requests.csv",
                                                     "steps.csv", "summary.json"}));
  EXPECT_EQ(read_text(out / "requests.csv"),
            "request_id,session_id,turn,arrived_s,scheduled_s,first_token_s,finished_s,num_prefill_tokens,"
            "num_decode_tokens,prefix_hit_tokens,num_preemptions,ttft_ms,tpot_ms,e2el_ms,slo_met,recorded_tokens,"
            "recorded_bytes,trained_at_s,version_lag\n"
            "0,100,2,0.000000001,0.050000000,0.100000000,0.200000000,50,11,16,1,99.999999,10.000000,199.999999,true,"
            "61,6100,5.000000000,1\n"
            "1,101,0,1.600000000,1.600000000,1.900000000,1.900000000,50,1,0,0,300.000000,0.000000,300.000000,false,"
            "0,0,,\n");
  EXPECT_EQ(read_text(out / "steps.csv"),
            "step,version,start_s,end_s,tokens,samples,restore_ms,forward_ms,backward_ms,gradient_wait_ms,"
            "optimizer_ms,reused_tokens,recomputed_tokens,dropped_tokens,mean_version_lag\n"
            "0,1,0.100000000,0.400000000,1000,4,20.000000,60.000001,100.000000,7.000000,10.000000,600,400,50,3\n");
  EXPECT_EQ(read_text(out / "memory.csv"),
            "time_s,replica,weights_bytes,kv_bytes,activations_bytes,training_bytes,total_bytes,host_bytes\n"
            "0.001000000,0,10,8,0,0,12,0\n"
            "0.002000000,1,10,5,0,0,15,3\n"
            "0.003000000,0,6,3,0,0,9,0\n");
  EXPECT_EQ(read_text(out / "memory_phases.csv"),
            "phase,operations,weights_bytes,kv_bytes,activations_bytes,training_bytes,total_bytes,host_bytes\n"
            "prefill,1,10,5,0,0,15,3\n"
            "backward,1,6,8,0,0,12,0\n");
  EXPECT_EQ(read_text(out / "config.yaml"), "seed: 1\n");
}

TEST(ResultWriter, SloColumnIsEmptyWithoutTargets) {
  const TemporaryDirectory temporary("slo");
  ResultWriter writer(temporary.path(), Slo{}, false);
  writer.on_request_outcome(outcome(0, 0, 0, 1, 1, 1));
  writer.commit(empty_summary(), "");
  EXPECT_NE(read_text(temporary.path() / "requests.csv").find(",1.000000,0.000000,1.000000,,0,0,,\n"),
            std::string::npos);
}

// Without a commit nothing is left, not even the directories made for it; what was there before stays.
TEST(ResultWriter, LeavesNothingWithoutCommit) {
  const TemporaryDirectory temporary("abandoned");
  {
    ResultWriter writer(temporary.path() / "new" / "deeper", Slo{}, true);
    writer.on_request_outcome(outcome(0, 0, 0, 1, 1, 1));
  }
  EXPECT_TRUE(files_in(temporary.path()).empty());

  std::ofstream(temporary.path() / "summary.json") << "earlier";
  {
    ResultWriter writer(temporary.path(), Slo{}, true);
    EXPECT_GT(files_in(temporary.path()).size(), 1u);
  }
  EXPECT_EQ(files_in(temporary.path()), std::vector<std::string>{"summary.json"});
  EXPECT_EQ(read_text(temporary.path() / "summary.json"), "earlier");
}

// A run without trace events replaces one with them: no stale trace stays beside the new tables.
TEST(ResultWriter, DropsTheTraceOfAnEarlierRun) {
  const TemporaryDirectory temporary("stale");
  ResultWriter(temporary.path(), Slo{}, true).commit(empty_summary(), "");
  EXPECT_TRUE(fs::exists(temporary.path() / "trace.json"));
  ResultWriter(temporary.path(), Slo{}, false).commit(empty_summary(), "");
  EXPECT_FALSE(fs::exists(temporary.path() / "trace.json"));
}

TEST(ResultWriter, SaysWhyADirectoryCannotBeWritten) {
  const TemporaryDirectory temporary("unwritable");
  std::ofstream(temporary.path() / "file") << "x";
  for (const char* name : {"file", "file/below"}) {
    try {
      ResultWriter writer(temporary.path() / name, Slo{}, false);
      FAIL() << "no error for " << name;
    } catch (const ConfigError& e) { EXPECT_NE(std::string(e.what()).find("file"), std::string::npos) << e.what(); }
  }
  EXPECT_EQ(files_in(temporary.path()), std::vector<std::string>{"file"});
}

// Where a name leads elsewhere, that is where the results go.
TEST(ResultDirectory, ALinkStaysAndLeadsToTheNewFile) {
  const TemporaryDirectory temporary("link");
  std::ofstream(temporary.path() / "target.csv") << "old";
  fs::create_symlink("target.csv", temporary.path() / "link.csv");
  ResultDirectory files(temporary.path());
  files.create("link.csv").write("new");
  files.commit();
  EXPECT_TRUE(fs::is_symlink(temporary.path() / "link.csv"));
  EXPECT_EQ(read_text(temporary.path() / "target.csv"), "new");
}

// /dev/full takes nothing: the error comes at the first flush or at close, and names the file and the cause.
TEST(OutputFile, NoticesAFullDisk) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  OutputFile small("/dev/full");
  small.write("x");
  try {
    small.close();
    FAIL() << "a full disk went unnoticed";
  } catch (const ConfigError& e) { EXPECT_STREQ(e.what(), "cannot write /dev/full: No space left on device"); }
  OutputFile large("/dev/full");
  EXPECT_THROW(large.write(std::string(1 << 20, 'x')), ConfigError);
}

// The trace is JSON; every lane is named; spans of one lane do not overlap, although two transfers share the link.
TEST(TraceEvents, LanesAreNamedAndDoNotOverlap) {
  const TemporaryDirectory temporary("trace");
  ResultWriter writer(temporary.path(), Slo{}, true);
  writer.on_serving_span({ReplicaId(0), at_ms(0), at_ms(10), 1, 100, 0, 1, 2});
  writer.on_serving_span({ReplicaId(1), at_ms(5), at_ms(9), 3, 0, 4, 4, 0});
  writer.on_preemption(ReplicaId(0), RequestId(7), at_ms(10));
  writer.on_training_span({ReplicaId(0), TrainingPhase::kBackward, Time::from_ns(10'000'001), at_ms(20)});
  writer.on_transfer({ReplicaId(0), LinkDirection::kHostToDevice, at_ms(0), at_ms(10), Bytes(1)});
  writer.on_transfer({ReplicaId(0), LinkDirection::kHostToDevice, at_ms(5), at_ms(12), Bytes(2)});
  writer.on_transfer({ReplicaId(0), LinkDirection::kHostToDevice, at_ms(10), at_ms(13), Bytes(3)});
  writer.on_transfer({ReplicaId(0), LinkDirection::kDeviceToHost, at_ms(5), at_ms(12), Bytes(4)});
  writer.on_memory(ReplicaId(0), at_ms(3), {.weights = Bytes(10), .kv = Bytes(5)});
  writer.commit(empty_summary(), "");

  const json trace = json::parse(read_text(temporary.path() / "trace.json"));
  std::map<std::pair<int, int>, std::string> lanes;
  std::map<std::pair<int, int>, double> free_at;
  std::map<std::string, int> counters;
  int spans = 0;
  for (const json& e : trace["traceEvents"]) {
    const std::string phase = e["ph"];
    // Viewers keep process 0 and thread 0 for the idle operating system.
    EXPECT_GT(e["pid"], 0);
    if (phase != "C") { EXPECT_GT(e["tid"], 0); }
    if (phase != "M") { EXPECT_GE(e["ts"], 0); }
    if (phase == "M" && e["name"] == "thread_name") lanes[{e["pid"], e["tid"]}] = e["args"]["name"];
    if (phase == "C") ++counters[e["name"]];
    if (phase != "X") continue;
    ++spans;
    const std::pair<int, int> lane{e["pid"], e["tid"]};
    ASSERT_TRUE(lanes.contains(lane)) << "named before use";
    EXPECT_GE(e["ts"].get<double>(), free_at[lane]) << lanes[lane];
    free_at[lane] = e["ts"].get<double>() + e["dur"].get<double>();
  }
  EXPECT_EQ(spans, 7);
  const auto lane = [&](int pid, int tid) { return lanes[{pid, tid}]; };
  EXPECT_EQ(lane(1, 100), "serving");
  EXPECT_EQ(lane(1, 200), "training");
  EXPECT_EQ(lane(1, 300), "host-to-device");
  EXPECT_EQ(lane(1, 301), "host-to-device 2");
  EXPECT_EQ(lane(1, 400), "device-to-host");
  EXPECT_EQ(lane(2, 100), "serving");
  EXPECT_EQ(lanes.size(), 9u);  // four for each replica and one beside
  EXPECT_EQ(counters["GPU memory"], 1);
  EXPECT_EQ(counters["requests"], 2);
  std::map<std::string, std::multiset<std::string>> told;  // by kind, at which microseconds and what
  for (const json& e : trace["traceEvents"]) {
    if (e["ph"] == "M") continue;
    const std::string detail = e.contains("args") ? e["args"].dump() : "";
    told[e["name"]].insert(fmt::format("{:g} {}", e["ts"].get<double>(), detail));
  }
  using Told = std::multiset<std::string>;
  EXPECT_EQ(told["reload"], (Told{"0 {\"bytes\":1}", "5000 {\"bytes\":2}", "10000 {\"bytes\":3}"}));
  EXPECT_EQ(told["offload"], Told{"5000 {\"bytes\":4}"});
  EXPECT_EQ(told["prefill"], Told{"0 {\"decodes\":0,\"prefill_tokens\":100,\"steps\":1}"});
  EXPECT_EQ(told["decode"], Told{"5000 {\"decodes\":4,\"prefill_tokens\":0,\"steps\":3}"});
  EXPECT_EQ(told["requests"], (Told{"0 {\"running\":1,\"waiting\":2}", "5000 {\"running\":4,\"waiting\":0}"}));
  // 10,000,001 ns is 10000.001 microseconds.
  EXPECT_NE(read_text(temporary.path() / "trace.json").find("\"ts\":10000.001,\"dur\":9999.999"), std::string::npos);
}

// Each category of the GPU's memory is a line of the counter, whichever of them alone has changed; the host's is
// another counter. What is told twice is drawn once.
TEST(TraceEvents, MemoryIsDrawnWhereverItChanges) {
  const TemporaryDirectory temporary("memory_counters");
  ResultWriter writer(temporary.path(), Slo{}, true);
  MemoryUse use;
  std::int64_t now = 0;
  const auto tell = [&] { writer.on_memory(ReplicaId(0), at_ms(now++), use); };
  tell();
  for (Bytes MemoryUse::*category :
       {&MemoryUse::weights, &MemoryUse::kv, &MemoryUse::activations, &MemoryUse::training, &MemoryUse::host}) {
    use.*category = Bytes(7);
    tell();
    tell();
  }
  writer.commit(empty_summary(), "");
  std::map<std::string, int> drawn;
  const json trace = json::parse(read_text(temporary.path() / "trace.json"));
  for (const json& e : trace["traceEvents"]) {
    if (e["ph"] == "C") ++drawn[e["name"]];
  }
  EXPECT_EQ(drawn["GPU memory"], 1 + 4);
  EXPECT_EQ(drawn["host memory"], 1 + 1);
  EXPECT_NE(trace.dump().find("{\"pinned\":7}"), std::string::npos);
}

// How many wait is drawn where that alone has changed.
TEST(TraceEvents, TheQueueIsDrawnWhereItChanges) {
  const TemporaryDirectory temporary("queue");
  ResultWriter writer(temporary.path(), Slo{}, true);
  for (const auto& [running, waiting] : {std::pair(1, 2), {1, 2}, {1, 3}, {2, 3}}) {
    writer.on_serving_span({ReplicaId(0), at_ms(0), at_ms(1), 1, 100, 4, running, waiting});
  }
  writer.commit(empty_summary(), "");
  const std::string text = read_text(temporary.path() / "trace.json");
  std::size_t drawn = 0;
  for (std::size_t at = 0; (at = text.find("{\"name\":\"requests\"", at)) != std::string::npos; ++at) ++drawn;
  EXPECT_EQ(drawn, 3u);
  EXPECT_NE(text.find("\"prefill + decode\""), std::string::npos);
}

}  // namespace
}  // namespace alchemist
