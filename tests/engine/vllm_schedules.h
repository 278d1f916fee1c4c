// Reads tests/engine/vllm_schedules.txt, whose head says what its lines mean.
#pragma once

#include <array>
#include <cstdint>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "sim/base/check.h"
#include "tests/engine/support.h"

namespace alchemist::testing {

// Of one step, as texts: of the file's, or as ours would be written there.
struct ScheduledStep {
  static constexpr std::array<const char*, 5> kColumns = {"planned at", "start", "end", "free blocks", "work"};
  std::array<std::string, 5> columns;
};

struct FrozenWorkload {
  std::string name;
  SimulationConfig config;
  std::vector<WorkloadRequest> requests;  // their chain ids are those below
  std::vector<std::vector<std::uint64_t>> chains;
  std::vector<ScheduledStep> steps;
  std::vector<std::string> answers;
};

class FrozenWorkloadReader {
 public:
  explicit FrozenWorkloadReader(const std::string& path) : file_(path) { check(file_.is_open(), "the file is there"); }

  // False behind the last one.
  bool read(FrozenWorkload& workload) {
    workload = {};
    std::string line = "#";
    while (line.empty() || line.front() == '#') {
      if (!std::getline(file_, line)) return false;
    }
    workload.name = after(line, "workload ");
    read_config(workload.config);
    for (const std::string& request : section("requests ")) read_request(request, workload);
    for (std::size_t i = 0; i < workload.requests.size(); ++i) {
      PromptContent& content = workload.requests[i].content;
      content.chain_ids = workload.chains[i];
      content.chain_block_tokens = workload.chains[i].empty() ? 0 : 16;
    }
    for (const std::string& step : section("steps ")) workload.steps.push_back(parse_step(step));
    workload.answers = section("answers ");
    return true;
  }

 private:
  static std::string after(const std::string& line, const std::string& word) {
    check(line.starts_with(word), "the sections are in order");
    return line.substr(word.size());
  }
  std::string next_line() {
    std::string line;
    check(static_cast<bool>(std::getline(file_, line)), "the file is complete");
    return line;
  }
  // As many lines as its head says.
  std::vector<std::string> section(const std::string& word) {
    std::vector<std::string> lines(std::stoul(after(next_line(), word)));
    for (std::string& line : lines) line = next_line();
    return lines;
  }

  void read_config(SimulationConfig& config) {
    std::istringstream words(next_line());
    std::map<std::string, std::int32_t> values;
    for (std::string name; words >> name;) words >> values[name];
    config.kv_blocks = values.at("kv_blocks");
    config.kv_block_bytes = Bytes(1);
    ServingConfig& serving = config.serving;
    serving.block_size = values.at("block_size");
    serving.max_num_seqs = values.at("max_num_seqs");
    serving.max_num_batched_tokens = values.at("max_num_batched_tokens");
    serving.async_scheduling = values.at("async_scheduling") != 0;
    serving.prefix_caching = values.at("prefix_caching") != 0;
    serving.chunked_prefill = values.at("chunked_prefill") != 0;
    serving.reserve_full_prompt = values.at("reserve_full_prompt") != 0;
  }

  static void read_request(const std::string& line, FrozenWorkload& workload) {
    std::istringstream words(line);
    std::int64_t arrival = 0;
    std::int32_t prompt = 0, answer = 0;
    std::uint64_t content = 0;
    check(static_cast<bool>(words >> arrival >> prompt >> answer >> content), "a request has four numbers");
    workload.requests.push_back(make_request(Time() + Duration::nanoseconds(arrival), prompt, answer, content));
    std::vector<std::uint64_t>& chain = workload.chains.emplace_back();
    for (std::uint64_t id = 0; words >> id;) chain.push_back(id);
  }

  static ScheduledStep parse_step(const std::string& line) {
    std::istringstream words(line);
    ScheduledStep step;
    for (std::size_t i = 0; i + 1 < step.columns.size(); ++i) words >> step.columns[i];
    words.ignore(1);
    std::getline(words, step.columns.back());
    return step;
  }

  std::ifstream file_;
};

}  // namespace alchemist::testing
