#include "sim/report/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>

#include "sim/base/error.h"
#include "sim/report/distribution.h"
#include "sim/report/json_text.h"
#include "sim/report/output_file.h"

namespace alchemist {
namespace {

struct Metric {
  std::string_view name;
  std::string_view label;
  double (RequestTimes::*value)() const;  // null: of gaps, not of requests
};
constexpr std::array<Metric, 4> kMetrics{{{"ttft", "TTFT", &RequestTimes::ttft_ms},
                                          {"tpot", "TPOT", &RequestTimes::tpot_ms},
                                          {"itl", "ITL", nullptr},
                                          {"e2el", "E2E", &RequestTimes::e2el_ms}}};
constexpr std::size_t kDistributionSteps = 1000;

struct Statistic {
  std::string_view name;
  std::optional<double> quantile;  // none: the mean
};
constexpr std::array<Statistic, 5> kStatistics{
    {{"mean", std::nullopt}, {"p50", 0.5}, {"p90", 0.9}, {"p95", 0.95}, {"p99", 0.99}}};

std::vector<double> sorted_values(const RunTimes& run, const Metric& metric) {
  std::vector<double> values;
  if (metric.value == nullptr) {
    values = run.gaps_ms;
  } else {
    for (const RequestTimes& r : run.requests) values.push_back((r.*metric.value)());
  }
  std::sort(values.begin(), values.end());
  return values;
}

double evaluate(const Statistic& statistic, std::span<const double> sorted) {
  if (statistic.quantile) return sorted_quantile(sorted, *statistic.quantile);
  double sum = 0;
  for (double v : sorted) sum += v;
  return sum / static_cast<double>(sorted.size());
}

void require_same_requests(std::span<const RequestTimes> measured, std::span<const RequestTimes> simulated) {
  if (measured.size() != simulated.size()) {
    throw ConfigError(
        fmt::format("the measured run has {} requests, the simulated run {}", measured.size(), simulated.size()));
  }
  if (measured.empty()) throw ConfigError("there is no request to compare");
  for (std::size_t i = 0; i < measured.size(); ++i) {
    const RequestTimes &m = measured[i], &s = simulated[i];
    if (m.request != s.request || m.input_tokens != s.input_tokens || m.output_tokens != s.output_tokens) {
      throw ConfigError(
          fmt::format("not the same workload: measured request {} has {} prompt and {} output tokens, "
                      "simulated request {} has {} and {}",
                      m.request, m.input_tokens, m.output_tokens, s.request, s.input_tokens, s.output_tokens));
    }
  }
}

}  // namespace

void RequestTimesRecorder::on_request_outcome(const RequestOutcome& o) {
  const Time arrived = clock_ == ArrivalClock::kEngine ? o.queued : o.arrived;
  run_.requests.push_back({o.id.value(), o.prompt_tokens, o.output_tokens, arrived.in_seconds(),
                           o.scheduled.in_seconds(), o.first_token.in_seconds(), o.finished.in_seconds()});
}

void RequestTimesRecorder::on_token_gap(Time, Duration gap, std::int64_t count) {
  run_.gaps_ms.insert(run_.gaps_ms.end(), static_cast<std::size_t>(count), gap.in_seconds() * 1e3);
}

RunTimes RequestTimesRecorder::take() {
  std::sort(run_.requests.begin(), run_.requests.end(),
            [](const RequestTimes& a, const RequestTimes& b) { return a.request < b.request; });
  return std::move(run_);
}

Comparison compare_runs(const RunTimes& measured, const RunTimes& simulated) {
  require_same_requests(measured.requests, simulated.requests);
  Comparison c;
  c.requests = static_cast<std::int64_t>(measured.requests.size());
  double sum = 0;
  int errors = 0;
  for (const Metric& metric : kMetrics) {
    const std::vector<double> real = sorted_values(measured, metric), ours = sorted_values(simulated, metric);
    if (real.empty() || ours.empty()) continue;
    for (const Statistic& statistic : kStatistics) {
      ComparisonRow row{std::string(metric.name), std::string(statistic.name), evaluate(statistic, real),
                        evaluate(statistic, ours), std::nullopt};
      if (row.measured_ms > 0) {
        row.error = (row.simulated_ms - row.measured_ms) / row.measured_ms;
        sum += std::abs(*row.error);
        ++errors;
        c.largest_absolute_error = std::max(c.largest_absolute_error, std::abs(*row.error));
      }
      c.rows.push_back(std::move(row));
    }
  }
  if (errors > 0) c.mean_absolute_error = sum / errors;
  return c;
}

std::string comparison_table(const Comparison& c) {
  std::string text = fmt::format("{:<12}{:>16}{:>16}{:>10}\n", "ms", "measured", "simulated", "error");
  for (std::size_t i = 0; i < c.rows.size(); ++i) {
    const ComparisonRow& row = c.rows[i];
    if (i > 0 && row.metric != c.rows[i - 1].metric) text += '\n';
    const auto metric =
        std::find_if(kMetrics.begin(), kMetrics.end(), [&](const Metric& m) { return m.name == row.metric; });
    const std::string error = row.error ? fmt::format("{:+.2f} %", 100 * *row.error) : "-";
    text += fmt::format("{:<5}{:<7}{:>16.2f}{:>16.2f}{:>10}\n", metric->label, row.statistic, row.measured_ms,
                        row.simulated_ms, error);
  }
  return text + fmt::format("\n{} requests; mean absolute error {:.2f} %, largest {:.2f} %\n", c.requests,
                            100 * c.mean_absolute_error, 100 * c.largest_absolute_error);
}

std::string comparison_json(const Comparison& c) {
  std::string text = fmt::format(
      "{{\n  \"schema\": 1,\n  \"requests\": {},\n  \"mean_absolute_error\": {},\n  \"largest_absolute_error\": {},\n"
      "  \"metrics\": [",
      c.requests, json_number(c.mean_absolute_error), json_number(c.largest_absolute_error));
  std::string_view separator = "\n";
  for (const ComparisonRow& row : c.rows) {
    text += fmt::format(
        "{}    {{\"metric\": {}, \"statistic\": {}, \"measured_ms\": {}, \"simulated_ms\": {}, \"error\": {}}}",
        separator, json_string(row.metric), json_string(row.statistic), json_number(row.measured_ms),
        json_number(row.simulated_ms), row.error ? json_number(*row.error) : "null");
    separator = ",\n";
  }
  return text + "\n  ]\n}\n";
}

std::string comparison_csv(const Comparison& c) {
  std::string text = "metric,statistic,measured_ms,simulated_ms,error\n";
  for (const ComparisonRow& row : c.rows) {
    text += fmt::format("{},{},{},{},{}\n", row.metric, row.statistic, row.measured_ms, row.simulated_ms,
                        row.error ? fmt::format("{}", *row.error) : "");
  }
  return text;
}

std::string distribution_csv(const RunTimes& measured, const RunTimes& simulated) {
  std::string text = "metric,run,value_ms,fraction\n";
  for (const Metric& metric : kMetrics) {
    if (metric.value == nullptr && (measured.gaps_ms.empty() || simulated.gaps_ms.empty())) continue;
    const auto append = [&](std::string_view run, const RunTimes& times) {
      const std::vector<double> values = sorted_values(times, metric);
      const std::size_t each = std::max<std::size_t>(1, values.size() / kDistributionSteps);
      std::size_t told = 0;
      for (std::size_t i = 0; i < values.size(); ++i) {
        const bool last = i + 1 == values.size();
        if (!last && values[i + 1] == values[i]) continue;  // the step is at the last of equal ones
        if (!last && i + 1 - told < each) continue;
        told = i + 1;
        fmt::format_to(std::back_inserter(text), "{},{},{:.6f},{}\n", metric.name, run, values[i],
                       static_cast<double>(i + 1) / static_cast<double>(values.size()));
      }
    };
    append("measured", measured);
    append("simulated", simulated);
  }
  return text;
}

Comparison write_comparison(const std::filesystem::path& directory, const RunTimes& measured,
                            const RunTimes& simulated) {
  Comparison comparison = compare_runs(measured, simulated);
  ResultDirectory files(directory);
  files.create("comparison.json").write(comparison_json(comparison));
  files.create("comparison.csv").write(comparison_csv(comparison));
  files.create("distribution.csv").write(distribution_csv(measured, simulated));
  files.commit();
  return comparison;
}

}  // namespace alchemist
