#include "sim/report/measured_run.h"

#include <fmt/format.h>

#include <algorithm>

#include "sim/base/error.h"
#include "sim/base/line_reader.h"

namespace alchemist {

std::vector<RequestTimes> read_measured_requests(const std::string& path) {
  CsvReader csv(path);
  const std::size_t request = csv.column({"request"}), input = csv.column({"input_length"}),
                    output = csv.column({"output_length"}), queued = csv.column({"queued_s"}),
                    scheduled = csv.column({"scheduled_s"}), first = csv.column({"first_token_s"}),
                    last = csv.column({"last_token_s"});
  std::vector<RequestTimes> requests;
  while (csv.next()) {
    const RequestTimes r{csv.tokens(request),   csv.tokens(input), csv.tokens(output), csv.number(queued),
                         csv.number(scheduled), csv.number(first), csv.number(last)};
    if (r.input_tokens < 1 || r.output_tokens < 1) csv.fail("expected at least one token of input and of output");
    if (r.arrived_s > r.scheduled_s || r.scheduled_s > r.first_token_s || r.first_token_s > r.last_token_s) {
      csv.fail("expected queued_s <= scheduled_s <= first_token_s <= last_token_s");
    }
    requests.push_back(r);
  }
  if (requests.empty()) throw ConfigError::at(path, 0, "holds no request");
  std::sort(requests.begin(), requests.end(),
            [](const RequestTimes& a, const RequestTimes& b) { return a.request < b.request; });
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const std::int64_t expected = static_cast<std::int64_t>(i);
    if (requests[i].request == expected) continue;
    const bool twice = requests[i].request < expected;
    throw ConfigError::at(
        path, 0,
        fmt::format("request {} is {}; expected the requests 0..{}, each once", twice ? requests[i].request : expected,
                    twice ? "there twice" : "missing", requests.size() - 1));
  }
  return requests;
}

}  // namespace alchemist
