#include "sim/report/result_writer.h"

namespace alchemist {

ResultWriter::ResultWriter(const std::filesystem::path& directory, const Slo& slo, bool trace_events)
    : directory_(directory),
      slo_(slo),
      requests_(directory_.create("requests.csv")),
      steps_(directory_.create("steps.csv")) {
  write_requests_header(requests_);
  write_steps_header(steps_);
  if (trace_events) {
    trace_.emplace(directory_.create("trace.json"));
  } else {
    directory_.drop("trace.json");
  }
}

void ResultWriter::on_request_outcome(const RequestOutcome& outcome) { write_request(requests_, outcome, slo_); }

void ResultWriter::on_preemption(ReplicaId replica, RequestId request, Time now) {
  if (trace_) trace_->on_preemption(replica, request, now);
}

void ResultWriter::on_serving_span(const ServingSpan& span) {
  phase_peaks_.on_serving_span(span);
  if (trace_) trace_->on_serving_span(span);
}

void ResultWriter::on_memory(ReplicaId replica, Time now, const MemoryUse& use) {
  if (replica.value() >= memory_.size()) memory_.resize(replica.value() + 1);
  memory_[replica.value()].add(now, use);
  phase_peaks_.on_memory(replica, now, use);
  if (trace_) trace_->on_memory(replica, now, use);
}

void ResultWriter::on_transfer(const TransferSpan& span) {
  if (trace_) trace_->on_transfer(span);
}

void ResultWriter::on_training_span(const TrainingSpan& span) {
  phase_peaks_.on_training_span(span);
  if (trace_) trace_->on_training_span(span);
}

void ResultWriter::on_training_step(const TrainingStep& step) { write_step(steps_, steps_written_++, step); }

void ResultWriter::commit(const Summary& summary, std::string_view config) {
  if (trace_) trace_->finish();
  write_memory(directory_.create("memory.csv"), memory_);
  write_memory_phases(directory_.create("memory_phases.csv"), phase_peaks_);
  directory_.create("config.yaml").write(config);
  directory_.create("summary.json").write(summary_json(summary));
  directory_.commit();
}

}  // namespace alchemist
