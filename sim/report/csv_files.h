// The tables of a run. Times are decimal seconds with all nine digits of their nanoseconds, milliseconds with six.
#pragma once

#include <vector>

#include "sim/base/observer.h"
#include "sim/report/memory_series.h"
#include "sim/report/output_file.h"
#include "sim/report/phase_peaks.h"
#include "sim/report/summary.h"

namespace alchemist {

// requests.csv, one line a finished request, in order of completion or, if feedback is to come, of training. `slo_met`
// (true, false) is empty without an SLO; `trained_at_s` is empty for a request that was not trained on, `version_lag`
// for one that was trained on without a record, too.
void write_requests_header(OutputFile& file);
void write_request(OutputFile& file, const RequestOutcome& outcome, const Slo& slo);

// steps.csv, one line a training step, numbered from 0. `restore_ms` is the GPU's wait for activations;
// `mean_version_lag` is over the samples of the step, empty if it used no record.
void write_steps_header(OutputFile& file);
void write_step(OutputFile& file, std::int64_t number, const TrainingStep& step);

// memory.csv, by time and replica; `series` by replica. See MemorySeries for what a row stands for.
void write_memory(OutputFile& file, const std::vector<MemorySeries>& series);

// memory_phases.csv, one line for each phase that there was. Peaks by category, each of the replica that had most; they
// need not have come together, so that the total is at most their sum.
void write_memory_phases(OutputFile& file, const PhasePeaks& peaks);

}  // namespace alchemist
