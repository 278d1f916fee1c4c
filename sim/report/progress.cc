#include "sim/report/progress.h"

#include <fmt/format.h>
#include <unistd.h>

namespace alchemist {
namespace {

constexpr std::int64_t kCallsBetweenLooks = 1024;  // at the wall clock
constexpr std::chrono::milliseconds kBetweenLines{250};
constexpr std::string_view kClearLine = "\r\033[K";

}  // namespace

ProgressLine::ProgressLine(std::optional<std::int64_t> total_requests, std::FILE* out)
    : total_(total_requests),
      out_(out),
      enabled_(isatty(fileno(out)) == 1),
      start_(Clock::now()),
      last_shown_(start_) {}

ProgressLine::~ProgressLine() {
  if (shown_) std::fwrite(kClearLine.data(), 1, kClearLine.size(), out_);
}

void ProgressLine::on_request_outcome(const RequestOutcome& outcome) {
  ++finished_;
  tick(outcome.finished);
}

void ProgressLine::on_serving_span(const ServingSpan& span) { tick(span.end); }

void ProgressLine::tick(Time now) {
  if (!enabled_ || ++calls_ % kCallsBetweenLooks != 0) return;
  const Clock::time_point wall = Clock::now();
  if (wall - last_shown_ < kBetweenLines) return;
  last_shown_ = wall;
  show(now, wall);
}

void ProgressLine::show(Time now, Clock::time_point wall) {
  const double elapsed = std::chrono::duration<double>(wall - start_).count();
  std::string line = fmt::format("{}{:.0f} s simulated, {} ", kClearLine, now.in_seconds(), finished_);
  if (total_) line += fmt::format("of {} ", *total_);
  line += fmt::format("requests done, {:.0f}x real time", now.in_seconds() / elapsed);
  std::fwrite(line.data(), 1, line.size(), out_);
  std::fflush(out_);
  shown_ = true;
}

}  // namespace alchemist
