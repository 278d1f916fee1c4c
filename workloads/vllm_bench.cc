#include "workloads/vllm_bench.h"

#include <fmt/format.h>

#include "workloads/json_line.h"
#include "workloads/read_trace.h"

namespace alchemist {
namespace {

void check_count(const LineReader& lines, const char* key, std::size_t count, std::size_t requests) {
  if (count == requests) return;
  lines.fail(fmt::format("key \"{}\": expected {} entries, as many as input_lens has, got {}", key, requests, count));
}

void check_not_negative(const LineReader& lines, const char* key, const std::vector<double>& times) {
  for (const double seconds : times) {
    if (seconds < 0) lines.fail(fmt::format("key \"{}\": expected times of 0 or more, got {}", key, seconds));
  }
}

}  // namespace

std::vector<BenchRequest> read_bench_requests(const std::string& path) {
  LineReader lines(path);
  if (!lines.next()) lines.fail("is empty: expected what `vllm bench serve --save-result --save-detailed` writes");
  const JsonLine json(lines);
  if (!json.has("input_lens") && json.has("total_input_tokens")) {
    lines.fail("says nothing of single requests: expected a run of `vllm bench serve` with --save-detailed");
  }
  const std::vector<std::int32_t> inputs = json.token_counts("input_lens"), outputs = json.token_counts("output_lens");
  const std::vector<double> ttfts = json.numbers("ttfts");
  const std::vector<std::vector<double>> itls = json.number_lists("itls");
  std::optional<std::vector<double>> starts;
  if (json.has("start_times")) starts = json.numbers("start_times");
  check_count(lines, "output_lens", outputs.size(), inputs.size());
  check_count(lines, "ttfts", ttfts.size(), inputs.size());
  check_count(lines, "itls", itls.size(), inputs.size());
  if (starts) check_count(lines, "start_times", starts->size(), inputs.size());
  check_not_negative(lines, "ttfts", ttfts);
  std::vector<BenchRequest> requests;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    check_not_negative(lines, "itls", itls[i]);
    BenchRequest& request = requests.emplace_back(BenchRequest{inputs[i], outputs[i], std::nullopt, ttfts[i], itls[i]});
    if (starts) request.start_s = (*starts)[i];
  }
  if (lines.next())
    lines.fail("goes on behind the run: expected one, as `vllm bench serve` writes it without --append-result");
  return requests;
}

bool begins_with_object(const std::string& path) {
  LineReader lines(path);
  if (!lines.next()) return false;
  return lines.text()[lines.text().find_first_not_of(" \t\r")] == '{';
}

// Nothing says which prompts begin alike.
void read_vllm_bench(const TraceSpec& spec, Trace& trace) {
  const std::vector<BenchRequest> requests = read_bench_requests(spec.path);
  TraceBuilder builder(trace);
  for (const BenchRequest& request : requests) {
    trace.has_arrivals = request.start_s.has_value();
    const std::optional<Duration> arrival = clock_time(request.start_s.value_or(0));
    if (!arrival) throw ConfigError::at(spec.path, 1, "key \"start_times\": expected times within 200 years");
    builder.add(*arrival, request.input_tokens, request.output_tokens);
  }
}

}  // namespace alchemist
