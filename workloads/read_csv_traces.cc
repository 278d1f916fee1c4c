// The three CSV formats: Vidur/Sarathi, Azure LLM inference, BurstGPT.
#include <array>
#include <charconv>
#include <chrono>
#include <cmath>

#include "sim/base/check.h"
#include "workloads/read_trace.h"

namespace alchemist {
namespace {

std::optional<int> digits(std::string_view text) {
  int value = 0;
  for (char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = 10 * value + (c - '0');
  }
  return value;
}

// "2023-11-16 18:15:46.6805900", also with T and a trailing Z or offset of +00:00, as nanoseconds of the Unix clock.
std::optional<Duration> parse_timestamp(std::string_view text) {
  if (text.ends_with("Z")) text.remove_suffix(1);
  if (text.ends_with("+00:00")) text.remove_suffix(6);
  if (text.size() < 19 || text[4] != '-' || text[7] != '-' || (text[10] != ' ' && text[10] != 'T') || text[13] != ':' ||
      text[16] != ':') {
    return std::nullopt;
  }
  std::array<int, 6> part{};
  constexpr std::array<std::pair<int, int>, 6> kPlaces{{{0, 4}, {5, 2}, {8, 2}, {11, 2}, {14, 2}, {17, 2}}};
  for (std::size_t i = 0; i < part.size(); ++i) {
    const auto value =
        digits(text.substr(static_cast<std::size_t>(kPlaces[i].first), static_cast<std::size_t>(kPlaces[i].second)));
    if (!value) return std::nullopt;
    part[i] = *value;
  }
  const std::chrono::year_month_day day{std::chrono::year(part[0]), std::chrono::month(static_cast<unsigned>(part[1])),
                                        std::chrono::day(static_cast<unsigned>(part[2]))};
  if (!day.ok() || part[0] < 1900 || part[0] > 2150 || part[3] > 23 || part[4] > 59 || part[5] > 60)
    return std::nullopt;
  std::int64_t ns = 0;
  if (text.size() > 19) {
    const std::string_view fraction = text.substr(20);
    if (text[19] != '.' || fraction.empty() || fraction.size() > 9 || !digits(fraction)) return std::nullopt;
    ns = *digits(fraction);
    for (std::size_t i = fraction.size(); i < 9; ++i) ns *= 10;
  }
  const std::int64_t days = std::chrono::sys_days(day).time_since_epoch().count();
  const std::int64_t seconds = ((days * 24 + part[3]) * 60 + part[4]) * 60 + part[5];
  return Duration::nanoseconds(seconds * 1'000'000'000 + ns);
}

Duration seconds(const CsvReader& csv, std::size_t column) {
  const auto time = clock_time(csv.number(column));
  if (!time) csv.fail_field(column, "a time within 200 years");
  return *time;
}

}  // namespace

void read_vidur(const TraceSpec& spec, Trace& trace) {
  CsvReader csv(spec.path);
  const std::size_t prompt = csv.column({"num_prefill_tokens"});
  const std::size_t output = csv.column({"num_decode_tokens"});
  const auto arrival = csv.find_column({"arrived_at", "arrived_s"});
  const auto session = csv.find_column({"session_id", "conversation"});
  const auto turn = csv.find_column({"turn"});
  if (turn && !session) csv.fail("has a column \"turn\": expected also \"session_id\" or \"conversation\"");
  trace.has_arrivals = arrival.has_value();
  TurnRows rows;
  while (csv.next()) {
    const Duration at = arrival ? seconds(csv, *arrival) : Duration();
    rows.add(csv.line(), session ? csv.field(*session) : std::string(), turn ? csv.tokens(*turn) : 0, at,
             csv.tokens(prompt), csv.tokens(output));
  }
  rows.build(trace);
}

void read_azure(const TraceSpec& spec, Trace& trace) {
  CsvReader csv(spec.path);
  const std::size_t time = csv.column({"TIMESTAMP"});
  const std::size_t prompt = csv.column({"ContextTokens"});
  const std::size_t output = csv.column({"GeneratedTokens"});
  TraceBuilder builder(trace);
  while (csv.next()) {
    const auto at = parse_timestamp(csv.field(time));
    if (!at) csv.fail("column \"TIMESTAMP\": expected YYYY-MM-DD HH:MM:SS.fffffff, got \"" + csv.field(time) + "\"");
    builder.add(*at, csv.tokens(prompt), csv.tokens(output));
  }
}

void read_burstgpt(const TraceSpec& spec, Trace& trace) {
  CsvReader csv(spec.path);
  const std::size_t time = csv.column({"Timestamp"});
  const std::size_t prompt = csv.column({"Request tokens"});
  const std::size_t output = csv.column({"Response tokens"});
  const auto session = csv.find_column({"Session ID", "SessionID", "Session_ID"});
  TurnRows rows;
  while (csv.next()) {
    const std::int32_t in = csv.tokens(prompt);
    const std::int32_t out = csv.tokens(output);
    rows.add(csv.line(), session ? csv.field(*session) : std::string(), 0, seconds(csv, time), in, out);
  }
  rows.build(trace);
}

}  // namespace alchemist
