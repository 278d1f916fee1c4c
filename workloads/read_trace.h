// What the readers of the trace formats share. Each reads one file into rows in the order of the file, with arrivals as
// the file says (not yet counted from the first).
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "sim/base/line_reader.h"
#include "workloads/trace.h"

namespace alchemist {

// Collects rows: numbers sessions and turns, skips rows without tokens, decides which turns share history.
class TraceBuilder {
 public:
  explicit TraceBuilder(Trace& trace) : trace_(trace) {}

  // A request of its own. Returns the row (chain ids still to be added), or null if it is skipped.
  TraceRow* add(Duration arrival, std::int32_t prompt_tokens, std::int32_t output_tokens);
  // The next turn of the session that the file calls `name`. An empty name is a session of its own.
  TraceRow* add_turn(const std::string& name, Duration arrival, std::int32_t prompt_tokens, std::int32_t output_tokens);
  // Appends the ids to the trace and points the row at them.
  void set_chain(TraceRow& row, const std::vector<std::uint64_t>& ids);

 private:
  struct Session {
    std::uint64_t number = 0;
    std::uint64_t content = 0;
    std::int32_t turns = 0;
    std::int64_t history = 0;  // tokens: previous prompt and answer
  };
  Trace& trace_;
  std::unordered_map<std::string, Session> sessions_;
  std::uint64_t next_session_ = 0;
  std::uint64_t next_content_ = 0;
};

// The turns of sessions as a file lists them, in any order: the builder is given them by arrival, those of one moment
// in the order of the file, except that a session's go by the numbers that the file gives them (all of them where it
// has no arrival times).
class TurnRows {
 public:
  // `line`: of the file.
  void add(int line, std::string session, std::int32_t turn, Duration arrival, std::int32_t prompt_tokens,
           std::int32_t output_tokens) {
    rows_.push_back({line, std::move(session), turn, arrival, prompt_tokens, output_tokens});
  }
  void build(Trace& trace);

 private:
  struct Row {
    int line;
    std::string session;
    std::int32_t turn;
    Duration arrival;
    std::int32_t prompt_tokens, output_tokens;
  };
  static void order_turns(std::span<Row> rows);
  void count_late(Trace& trace) const;
  std::vector<Row> rows_;
};

// Seconds to the clock; none beyond +-200 years.
std::optional<Duration> clock_time(double seconds);

void read_vidur(const TraceSpec& spec, Trace& trace);
void read_azure(const TraceSpec& spec, Trace& trace);
void read_burstgpt(const TraceSpec& spec, Trace& trace);
void read_mooncake(const TraceSpec& spec, Trace& trace);
void read_llmservingsim(const TraceSpec& spec, Trace& trace);
void read_vllm_bench(const TraceSpec& spec, Trace& trace);
void read_sharegpt(const TraceSpec& spec, Trace& trace);

}  // namespace alchemist
