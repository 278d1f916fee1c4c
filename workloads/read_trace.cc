#include "workloads/read_trace.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <limits>
#include <utility>

#include "sim/base/error.h"
#include "sim/base/longest_run.h"
#include "workloads/json_line.h"

namespace alchemist {
namespace {

constexpr std::array<std::pair<std::string_view, TraceFormat>, 8> kFormats{
    {{"auto", TraceFormat::automatic},
     {"vidur", TraceFormat::vidur},
     {"azure", TraceFormat::azure},
     {"burstgpt", TraceFormat::burstgpt},
     {"mooncake", TraceFormat::mooncake},
     {"llmservingsim", TraceFormat::llmservingsim},
     {"vllm_bench", TraceFormat::vllm_bench},
     {"sharegpt", TraceFormat::sharegpt}}};

// Counts arrivals from the first and applies the rate scaling. Requests that follow others come at the rate at which
// their chains begin, each as often as its chain is long.
void normalise(const TraceSpec& spec, RateOf rate_of, Trace& trace) {
  Duration first = Duration::max();
  Duration last = Duration::nanoseconds(std::numeric_limits<std::int64_t>::min());
  std::int64_t count = 0;
  for (const TraceRow& row : trace.rows) {
    if (row.after_previous) continue;
    first = std::min(first, row.arrival);
    last = std::max(last, row.arrival);
    ++count;
  }
  double scale = spec.rate_scale;
  const double seconds = count > 0 ? last.in_seconds() - first.in_seconds() : 0;
  if (spec.rate) {
    if (count < 2 || seconds == 0) {
      throw ConfigError(spec.path + ": has no rate that could be set: all its requests arrive at once");
    }
    const auto requests = rate_of == RateOf::requests ? std::ssize(trace.rows) : count;
    const double per_arrival = static_cast<double>(requests) / static_cast<double>(count);
    scale = *spec.rate * seconds / (static_cast<double>(count - 1) * per_arrival);
  }
  if (seconds / scale > kLongestRun.in_seconds()) {
    throw ConfigError::at(spec.path, 0, "goes on for more than 100 years, with its rate as set");
  }
  for (TraceRow& row : trace.rows) {
    const Duration since_first = row.arrival - first;
    // Without scaling the nanoseconds stay as they are.
    row.arrival = scale == 1.0 ? since_first : Duration::seconds(since_first.in_seconds() / scale);
  }
}

// By arrival, without separating the turns that follow others from them.
void sort_rows(Trace& trace) {
  Duration latest;
  for (TraceRow& row : trace.rows) {
    if (row.after_previous) row.arrival = latest;  // the start of its session, for the order only
    latest = row.arrival;
  }
  std::stable_sort(trace.rows.begin(), trace.rows.end(),
                   [](const TraceRow& a, const TraceRow& b) { return a.arrival < b.arrival; });
}

}  // namespace

std::optional<TraceFormat> parse_format(std::string_view name) {
  for (const auto& [text, format] : kFormats) {
    if (text == name) return format;
  }
  return std::nullopt;
}

std::string_view format_name(TraceFormat format) {
  for (const auto& [text, value] : kFormats) {
    if (value == format) return text;
  }
  return "auto";
}

std::string format_names(bool (*is_meant)(TraceFormat)) {
  std::string text;
  std::string_view last;
  for (const auto& [name, format] : kFormats) {
    if (!is_meant(format)) continue;
    if (!last.empty()) text += (text.empty() ? "" : ", ") + std::string(last);
    last = name;
  }
  return text + " or " + std::string(last);
}

TraceFormat detect_format(const std::string& path) {
  LineReader lines(path);
  if (!lines.next()) throw ConfigError::at(path, 0, "is empty: expected a trace");
  const std::string& text = lines.text();
  const auto start = text.find_first_not_of(" \t\r");
  if (text[start] == '[') return TraceFormat::sharegpt;
  if (text[start] == '{') {
    const JsonLine json(lines);
    if (json.has("input_toks") || json.has("sub_requests")) return TraceFormat::llmservingsim;
    if (json.has("input_length")) return TraceFormat::mooncake;
    if (json.has("input_lens") || json.has("total_input_tokens")) return TraceFormat::vllm_bench;
    lines.fail(
        "expected a request with input_length (Mooncake) or input_toks or sub_requests (LLMServingSim), or a run of "
        "`vllm bench serve` with input_lens");
  }
  const CsvReader csv(path);
  if (csv.find_column({"num_prefill_tokens"})) return TraceFormat::vidur;
  if (csv.find_column({"ContextTokens"})) return TraceFormat::azure;
  if (csv.find_column({"Request tokens"})) return TraceFormat::burstgpt;
  lines.fail(
      "expected a trace: CSV with a header of Vidur (arrived_at, num_prefill_tokens, num_decode_tokens), Azure "
      "(TIMESTAMP, ContextTokens, GeneratedTokens) or BurstGPT (Timestamp, Request tokens, Response tokens), JSON "
      "lines "
      "of Mooncake (timestamp, input_length, output_length) or LLMServingSim, JSON of `vllm bench serve "
      "--save-detailed`, or ShareGPT JSON");
}

Trace read_trace(const TraceSpec& spec, RateOf rate_of, std::optional<std::int64_t> requests) {
  Trace trace;
  trace.path = spec.path;
  trace.format = spec.format == TraceFormat::automatic ? detect_format(spec.path) : spec.format;
  switch (trace.format) {
    case TraceFormat::automatic:
      break;
    case TraceFormat::vidur:
      read_vidur(spec, trace);
      break;
    case TraceFormat::azure:
      read_azure(spec, trace);
      break;
    case TraceFormat::burstgpt:
      read_burstgpt(spec, trace);
      break;
    case TraceFormat::mooncake:
      read_mooncake(spec, trace);
      break;
    case TraceFormat::llmservingsim:
      read_llmservingsim(spec, trace);
      break;
    case TraceFormat::vllm_bench:
      read_vllm_bench(spec, trace);
      break;
    case TraceFormat::sharegpt:
      read_sharegpt(spec, trace);
      break;
  }
  if (trace.rows.empty()) {
    throw ConfigError::at(spec.path, 0,
                          trace.skipped_rows > 0 ? "every request has no prompt or no output tokens: nothing to serve"
                                                 : "has no requests");
  }
  if (trace.has_arrivals) sort_rows(trace);
  // Which ones come first is open where some wait for the end of others.
  const bool chained =
      std::ranges::any_of(trace.rows, [](const TraceRow& row) { return row.after_previous.has_value(); });
  if (requests && !chained && *requests < std::ssize(trace.rows))
    trace.rows.resize(static_cast<std::size_t>(*requests));
  if (trace.has_arrivals) {
    normalise(spec, rate_of, trace);
  } else if (spec.rate || spec.rate_scale != 1.0) {
    throw ConfigError::at(spec.path, 0, "has no arrival times whose rate could be set");
  }
  return trace;
}

TraceRow* TraceBuilder::add(Duration arrival, std::int32_t prompt_tokens, std::int32_t output_tokens) {
  if (prompt_tokens == 0 || output_tokens == 0) {
    ++trace_.skipped_rows;
    return nullptr;
  }
  TraceRow row;
  row.arrival = arrival;
  row.session = next_session_++;
  row.content = next_content_++;
  row.prompt_tokens = prompt_tokens;
  row.output_tokens = output_tokens;
  trace_.rows.push_back(row);
  return &trace_.rows.back();
}

TraceRow* TraceBuilder::add_turn(const std::string& name, Duration arrival, std::int32_t prompt_tokens,
                                 std::int32_t output_tokens) {
  TraceRow* row = add(arrival, prompt_tokens, output_tokens);
  if (!row || name.empty()) return row;
  trace_.has_sessions = true;
  const auto [at, is_new] = sessions_.try_emplace(name, Session{row->session, row->content, 0, 0});
  Session& session = at->second;
  if (!is_new) --next_session_;
  if (prompt_tokens > session.history) {
    if (!is_new) --next_content_;
  } else {
    session.content = row->content;
  }
  row->session = session.number;
  row->content = session.content;
  row->turn = session.turns++;
  session.history = std::int64_t{prompt_tokens} + output_tokens;
  return row;
}

// Of rows that arrive together: those of a session keep their places, and change them among each other.
void TurnRows::order_turns(std::span<Row> rows) {
  std::unordered_map<std::string_view, std::vector<std::size_t>> places;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (!rows[i].session.empty()) places[rows[i].session].push_back(i);
  }
  std::vector<std::pair<std::size_t, std::size_t>> moves;  // to, from
  for (const auto& [session, at] : places) {
    std::vector<std::size_t> by_turn = at;
    std::ranges::stable_sort(by_turn, {}, [&](std::size_t i) { return rows[i].turn; });
    for (std::size_t i = 0; i < at.size(); ++i) {
      if (by_turn[i] != at[i]) moves.emplace_back(at[i], by_turn[i]);
    }
  }
  if (moves.empty()) return;
  const std::vector<Row> before(rows.begin(), rows.end());
  for (const auto& [to, from] : moves) rows[to] = before[from];
}

void TurnRows::count_late(Trace& trace) const {
  std::unordered_map<std::string_view, std::int32_t> latest;
  for (const Row& row : rows_) {
    if (row.session.empty()) continue;
    std::int32_t& turn = latest.try_emplace(row.session, row.turn).first->second;
    if (row.turn < turn && ++trace.late_turns == 1) trace.first_late_line = row.line;
    turn = std::max(turn, row.turn);
  }
}

void TurnRows::build(Trace& trace) {
  std::ranges::stable_sort(rows_, {}, &Row::arrival);
  const std::span<Row> all = rows_;
  for (std::size_t begin = 0, end = 0; begin < all.size(); begin = end) {
    while (end < all.size() && all[end].arrival == all[begin].arrival) ++end;
    if (end - begin > 1) order_turns(all.subspan(begin, end - begin));
  }
  count_late(trace);
  TraceBuilder builder(trace);
  for (const Row& row : rows_) builder.add_turn(row.session, row.arrival, row.prompt_tokens, row.output_tokens);
}

void TraceBuilder::set_chain(TraceRow& row, const std::vector<std::uint64_t>& ids) {
  row.chain_begin = static_cast<std::uint32_t>(trace_.chain_ids.size());
  row.chain_count = static_cast<std::uint32_t>(ids.size());
  trace_.chain_ids.insert(trace_.chain_ids.end(), ids.begin(), ids.end());
}

std::optional<Duration> clock_time(double seconds) {
  constexpr double kLimit = 6e9;  // seconds
  if (!(std::fabs(seconds) <= kLimit)) return std::nullopt;
  return Duration::seconds(seconds);
}

std::vector<std::vector<Turn>> conversations_of(const Trace& trace) {
  std::vector<std::vector<Turn>> conversations;
  struct Open {
    std::size_t index;
    std::int64_t history;
  };
  std::unordered_map<std::uint64_t, Open> by_content;
  for (const TraceRow& row : trace.rows) {
    const auto [at, is_new] = by_content.try_emplace(row.content, Open{conversations.size(), 0});
    if (is_new) conversations.emplace_back();
    Open& open = at->second;
    Turn turn;
    turn.new_tokens = static_cast<std::int32_t>(row.prompt_tokens - open.history);
    turn.output_tokens = row.output_tokens;
    conversations[open.index].push_back(turn);
    open.history = std::int64_t{row.prompt_tokens} + row.output_tokens;
  }
  return conversations;
}

}  // namespace alchemist
