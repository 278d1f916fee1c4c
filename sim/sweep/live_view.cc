#include "sim/sweep/live_view.h"

#include <fmt/format.h>
#include <unistd.h>

namespace alchemist {

namespace {

constexpr std::chrono::milliseconds kBetweenRewrites{200};
constexpr std::chrono::seconds kBetweenLines{10};
constexpr const char* kClearLine = "\r\033[K";

std::string time_text(double seconds) {
  const auto whole = static_cast<std::int64_t>(seconds + 0.5);
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3600) return fmt::format("{} min {} s", whole / 60, whole % 60);
  return fmt::format("{} h {} min", whole / 3600, whole / 60 % 60);
}

}  // namespace

LiveView::LiveView(std::FILE* out)
    : out_(out), terminal_(isatty(fileno(out)) == 1), start_(Clock::now()), last_shown_(start_) {}

LiveView::~LiveView() { clear(); }

void LiveView::clear() {
  if (shown_) fmt::print(out_, "{}", kClearLine);
  shown_ = false;
}

std::string LiveView::line(std::int64_t running, Clock::time_point now) const {
  const std::int64_t over = done_ + failed_, left = total_ - found_ - over;
  std::string text = fmt::format("{} of {} runs done, {} running, {} failed", found_ + over, total_, running, failed_);
  if (over > 0 && left > 0) {
    const double elapsed = std::chrono::duration<double>(now - start_).count();
    text += ", about " + time_text(elapsed / static_cast<double>(over) * static_cast<double>(left)) + " left";
  }
  return text;
}

void LiveView::show(std::int64_t running) {
  const Clock::time_point now = Clock::now();
  if (terminal_ ? now - last_shown_ < kBetweenRewrites : now - last_shown_ < kBetweenLines) return;
  last_shown_ = now;
  if (terminal_) {
    fmt::print(out_, "{}{}", kClearLine, line(running, now));
    std::fflush(out_);
    shown_ = true;
  } else {
    fmt::print(out_, "alchemist: {}\n", line(running, now));
  }
}

void LiveView::message(const std::string& text) {
  clear();
  fmt::print(out_, "alchemist: {}\n", text);
}

std::string LiveView::summary(const std::string& cause) const {
  return fmt::format("{}; {} of {} runs are done and kept, --resume goes on from there", cause, found_ + done_, total_);
}

}  // namespace alchemist
