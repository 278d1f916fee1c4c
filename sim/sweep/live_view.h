// What a sweep is doing, on stderr.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>

namespace alchemist {

// On a terminal one line that is rewritten; elsewhere (a batch job's log) a line now and then. Wall-clock time goes
// nowhere else.
class LiveView {
 public:
  explicit LiveView(std::FILE* out = stderr);
  ~LiveView();
  LiveView(const LiveView&) = delete;
  LiveView& operator=(const LiveView&) = delete;

  void add_runs(std::int64_t count) { total_ += count; }   // that are known to come
  void add_found(std::int64_t count) { found_ += count; }  // of them, whose results were there already
  void finished(bool ok) { ++(ok ? done_ : failed_); }
  void show(std::int64_t running);
  void message(const std::string& line);  // stays on the screen
  // "CAUSE; 12 of 108 runs are done and kept, --resume goes on from there".
  std::string summary(const std::string& cause) const;

 private:
  using Clock = std::chrono::steady_clock;
  std::string line(std::int64_t running, Clock::time_point now) const;
  void clear();

  std::FILE* out_;
  bool terminal_;
  bool shown_ = false;
  std::int64_t total_ = 0, found_ = 0, done_ = 0, failed_ = 0;
  Clock::time_point start_;
  Clock::time_point last_shown_;
};

}  // namespace alchemist
