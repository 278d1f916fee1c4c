// Ctrl-C, and the end that a batch system or mpirun asks for, noticed where it can be answered well.
#pragma once

#include <cstdint>

#include "sim/base/error.h"
#include "sim/base/observer.h"

namespace alchemist {

class Interrupted : public ConfigError {
 public:
  using ConfigError::ConfigError;
};

// From its making on, SIGINT and SIGTERM wait for throw_if_asked() in this thread and in those that it starts.
class Interruption {
 public:
  Interruption();
  ~Interruption();
  Interruption(const Interruption&) = delete;
  Interruption& operator=(const Interruption&) = delete;

  void throw_if_asked();  // Interrupted "stopped by SIGTERM"

 private:
  int descriptor_;
};

// Looks from within a run, so that it ends as one that fails does: without files that are half written.
class InterruptionWatch final : public RunObserver {
 public:
  explicit InterruptionWatch(Interruption& interruption) : interruption_(interruption) {}
  void on_serving_span(const ServingSpan&) override {
    constexpr std::int64_t kSpans = 1024;  // take a millisecond or so
    if (++spans_ % kSpans == 0) interruption_.throw_if_asked();
  }

 private:
  Interruption& interruption_;
  std::int64_t spans_ = 0;
};

}  // namespace alchemist
