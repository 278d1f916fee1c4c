#include "sim/app/measured_requests.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "sim/base/error.h"
#include "sim/base/time.h"
#include "workloads/vllm_bench.h"

namespace alchemist {

MeasuredRequests read_measured(const std::string& path) {
  if (!begins_with_object(path)) return {{read_measured_requests(path), {}}, ArrivalClock::kEngine};
  RunTimes run;
  std::int64_t position = -1;
  for (const BenchRequest& sent : read_bench_requests(path)) {
    ++position;
    if (sent.failed()) continue;
    if (!sent.start_s) {
      throw ConfigError::at(path, 1, "has no start_times: expected a run of a `vllm bench serve` that writes them");
    }
    if (sent.ttft_s <= 0) {
      throw ConfigError::at(path, 1,
                            fmt::format("key \"ttfts\": expected a time above 0 for entry {}, which has an answer (was "
                                        "it streamed?)",
                                        position));
    }
    const double first_s = *sent.start_s + sent.ttft_s;
    double last_s = first_s;
    for (const double gap : sent.gaps_s) {
      last_s += gap;
      run.gaps_ms.push_back(gap * 1e3);
    }
    run.requests.push_back({0, sent.input_tokens, sent.output_tokens, *sent.start_s, *sent.start_s, first_s, last_s});
  }
  if (run.requests.empty()) throw ConfigError::at(path, 0, "holds no request that was answered");
  // In nanoseconds, as the replayed trace is sorted.
  const auto arrival = [](const RequestTimes& r) { return Duration::seconds(r.arrived_s); };
  std::ranges::stable_sort(run.requests, {}, arrival);
  for (std::size_t i = 0; i < run.requests.size(); ++i) run.requests[i].request = static_cast<std::int64_t>(i);
  return {std::move(run), ArrivalClock::kClient};
}

}  // namespace alchemist
