// The numbers of a run: what summary.json holds and what people read on the terminal.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "sim/base/bytes.h"
#include "sim/base/observer.h"
#include "sim/base/time.h"

namespace alchemist {

// Targets of the service; a request is good if it meets every one that is given.
struct Slo {
  std::optional<Duration> ttft;
  std::optional<Duration> tpot;
  std::optional<Duration> itl;  // for every gap of the request
  std::optional<Duration> e2el;
};

// None if no target is given. With a target for ITL the outcome must tell its longest gap.
std::optional<bool> meets(const Slo& slo, const RequestOutcome& outcome);

// What is known about a run before it starts.
struct RunInfo {
  std::uint64_t seed = 0;
  std::string hardware;
  std::string model;
  std::string policy;
  std::string device;  // of a real run, with its libraries and whether its link is emulated; empty: simulated
  Slo slo;
  std::int32_t replicas = 1;
  std::int32_t gpus_per_replica = 1;  // over which its layers are split; they hold and move equally much
  Bytes gpu_memory;                   // of one GPU
  double link_h2d_bandwidth = 0;      // bytes/s of one GPU's link, host to device; 0 if there is none
  double link_d2h_bandwidth = 0;      // bytes/s, device to host
};

// What the training side knows at the end beyond the steps that it has told its observers.
struct TrainingTotals {
  std::optional<std::int64_t> max_tokens;          // largest training batch that fits
  Bytes hedge_wasted_bytes;                        // copied to the host and never read, over all links
  Duration hedge_wasted_time;                      // for the same, at the links' rate, summed over them
  std::int64_t preemptions = 0;                    // micro-batches that gave their memory back to serving
  std::optional<double> bound_train_tokens_per_s;  // no policy can train more
};

// Mean and percentiles in milliseconds.
struct LatencySummary {
  double mean = 0, median = 0, p90 = 0, p95 = 0, p99 = 0;
};

// A rule for all of them: counts, bytes and rates of a run in which the thing did not happen are 0; means, percentiles,
// shares and bounds of nothing are none (null in JSON).
struct Summary {
  RunInfo info;
  std::int64_t completed = 0;
  std::int64_t refused = 0;               // requests longer than any may be; in no other number
  double duration_s = 0;                  // from time 0 to the end of the last request or training step
  double request_throughput = 0;          // completed requests a second
  std::optional<double> request_goodput;  // those that meet the SLO; none without an SLO
  double output_throughput = 0;           // output tokens a second
  std::optional<LatencySummary> ttft_ms, tpot_ms, itl_ms, e2el_ms;
  std::int64_t num_preemptions = 0;
  std::int64_t prefix_hit_tokens = 0;
  std::int64_t stale_prefix_tokens = 0;  // of them, whose keys and values older weights had computed
  bool saturated = false;                // see QueueTrend

  double train_tokens_per_s = 0;  // by the wall clock of the run
  // For each GPU-second spent training: pieces of training, waiting for activations with nothing else to do, and what
  // recording added to serving's steps.
  std::optional<double> train_tokens_per_gpu_s;
  std::int64_t train_samples = 0;
  std::int64_t feedback_samples = 0;  // whose feedback came, trained or not
  std::int64_t train_steps = 0;       // of all replicas together
  // Means over the steps and, but for the first, over the replicas.
  std::optional<double> train_step_ms;  // from the first replica's begin to the last one's end
  std::optional<double> train_forward_ms, train_restore_stall_ms;
  std::optional<double> train_backward_ms;       // with the output head's forward
  std::optional<double> train_gradient_wait_ms;  // for gradients of other replicas; serving goes on meanwhile
  std::optional<double> train_optimizer_ms;
  std::optional<double> train_recording_ms;  // what recording added to serving's steps, for each training step
  std::optional<double> train_redundant_forward_fraction;  // of the GPU time of training, recording left out
  std::int64_t train_tokens_reused = 0;
  std::int64_t train_tokens_recomputed = 0;
  std::int64_t train_tokens_dropped = 0;
  std::optional<double> train_mean_version_lag;  // over the samples that had a record; none without any
  TrainingTotals training;

  MemoryUse peak;            // of one GPU: of each category, the largest over time and replicas
  Bytes peak_total;          // of weights + KV + activations + training at one moment on one GPU
  Bytes peak_train_side;     // of activations + training at one moment on one GPU: what training takes in all
  Bytes link_h2d, link_d2h;  // over all GPUs' links
  std::optional<double> link_h2d_utilisation;  // bytes moved / bytes that the links could have moved in the run
  std::optional<double> link_d2h_utilisation;
  std::optional<double> gpu_busy_fraction;  // share of the replicas' time in serving or training operations
};

// One key of summary.json; none is null.
using SummaryValue = std::variant<std::monostate, bool, std::int64_t, std::uint64_t, double, std::string>;
struct SummaryEntry {
  std::string key;
  SummaryValue value;
};

// Every flat key in the order of the file, from `seed` on (`schema` and `engine` come before them).
std::vector<SummaryEntry> summary_entries(const Summary& summary);

// Keys of the results proper, in the same order: from `completed` on.
std::vector<std::string> result_keys();

// The values of those keys in the text of a summary.json; none where a key is absent. ConfigError if it is not JSON.
std::vector<SummaryValue> read_results(const std::string& summary_json);

// The text of summary.json. Numbers are the shortest decimals that read back as the same double; what is not finite is
// null.
std::string summary_json(const Summary& summary);

// A table for people, several lines.
std::string summary_table(const Summary& summary);

}  // namespace alchemist
