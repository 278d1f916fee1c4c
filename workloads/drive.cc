#include "workloads/drive.h"

#include <queue>
#include <utility>
#include <vector>

#include "sim/base/error.h"
#include "sim/base/longest_run.h"
#include "workloads/trace_source.h"
#include "workloads/workload_source.h"

namespace alchemist {
namespace {

struct Answer {
  Time at;
  std::uint64_t order;  // breaks ties
  SessionId session;
  std::int32_t turn;
  bool operator>(const Answer& o) const { return at != o.at ? at > o.at : order > o.order; }
};

void drive(WorkloadSource& source, const SessionSpec& nominal, const std::function<void(const WorkloadRequest&)>& use) {
  std::priority_queue<Answer, std::vector<Answer>, std::greater<>> answers;
  std::uint64_t order = 0;
  while (!source.exhausted()) {
    const auto next = source.peek();
    if (!answers.empty() && (!next || answers.top().at <= *next)) {
      const Answer answer = answers.top();
      answers.pop();
      source.on_finished(answer.session, answer.turn, answer.at);
      continue;
    }
    if (!next) return;
    const WorkloadRequest request = source.next();
    if (request.arrival.since_start() > kLongestRun) {
      throw ConfigError("the workload goes on for more than 100 years: expected a higher rate or fewer requests");
    }
    use(request);
    const Duration takes = nominal.answer_delay + nominal.answer_time_per_token * request.output_tokens;
    answers.push({request.arrival + takes, order++, request.session, request.turn});
  }
}

}  // namespace

bool for_each_request(const WorkloadSpec& spec, std::uint64_t seed,
                      const std::function<void(const WorkloadRequest&)>& use) {
  SessionSpec nominal;
  bool has_arrivals = true;
  std::unique_ptr<WorkloadSource> source;
  if (const auto* replay = std::get_if<TraceSpec>(&spec.source)) {
    Trace trace = read_trace(*replay, RateOf::requests, spec.requests);
    has_arrivals = trace.has_arrivals;
    trace.has_arrivals = true;  // the rows stand at 0
    source = std::make_unique<TraceSource>(std::move(trace), spec.requests, spec.duration);
  } else {
    const auto& generated = std::get<GeneratedWorkload>(spec.source);
    if (generated.sessions) nominal = *generated.sessions;
    source = make_source(spec, seed);
  }
  drive(*source, nominal, use);
  return has_arrivals;
}

}  // namespace alchemist
