// A run's results directory.
#pragma once

#include <filesystem>
#include <optional>
#include <string_view>
#include <vector>

#include "sim/base/observer.h"
#include "sim/report/csv_files.h"
#include "sim/report/memory_series.h"
#include "sim/report/output_file.h"
#include "sim/report/phase_peaks.h"
#include "sim/report/summary.h"
#include "sim/report/trace_events.h"

namespace alchemist {

// Streams requests.csv, steps.csv and (if asked for) trace.json while the run goes on; memory.csv, memory_phases.csv,
// config.yaml and summary.json come at the end. Files of an earlier run in the same directory stay untouched until
// commit(); without a commit nothing of this run is left. Throws ConfigError where the directory cannot be written.
class ResultWriter final : public RunObserver {
 public:
  ResultWriter(const std::filesystem::path& directory, const Slo& slo, bool trace_events);

  void on_request_outcome(const RequestOutcome& outcome) override;
  void on_preemption(ReplicaId replica, RequestId request, Time now) override;
  void on_serving_span(const ServingSpan& span) override;
  void on_memory(ReplicaId replica, Time now, const MemoryUse& use) override;
  void on_transfer(const TransferSpan& span) override;
  void on_training_span(const TrainingSpan& span) override;
  void on_training_step(const TrainingStep& step) override;

  // `config` is the text of config.yaml.
  void commit(const Summary& summary, std::string_view config);

 private:
  ResultDirectory directory_;
  Slo slo_;
  OutputFile& requests_;
  OutputFile& steps_;
  std::int64_t steps_written_ = 0;
  std::vector<MemorySeries> memory_;  // by replica
  PhasePeaks phase_peaks_;
  std::optional<TraceEvents> trace_;
};

}  // namespace alchemist
