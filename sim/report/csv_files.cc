#include "sim/report/csv_files.h"

#include <fmt/compile.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string_view>

namespace alchemist {
namespace {

// A decimal fraction of a whole number of units: 1234567 with 6 digits is 1.234567.
struct Decimal {
  std::int64_t units;
  int digits;  // 6 or 9
};

Decimal seconds(Time t) { return {t.count_ns(), 9}; }
Decimal milliseconds(Duration d) { return {d.count_ns(), 6}; }

void append(fmt::memory_buffer& out, Decimal value) {
  const std::int64_t unit = value.digits == 9 ? 1'000'000'000 : 1'000'000;
  if (value.units < 0) out.push_back('-');
  const std::int64_t magnitude = value.units < 0 ? -value.units : value.units;
  if (value.digits == 9) {
    fmt::format_to(fmt::appender(out), FMT_COMPILE("{}.{:09}"), magnitude / unit, magnitude % unit);
  } else {
    fmt::format_to(fmt::appender(out), FMT_COMPILE("{}.{:06}"), magnitude / unit, magnitude % unit);
  }
}
void append(fmt::memory_buffer& out, std::int64_t value) {
  const fmt::format_int text(value);
  out.append(text.data(), text.data() + text.size());
}
void append(fmt::memory_buffer& out, std::uint64_t value) {
  const fmt::format_int text(value);
  out.append(text.data(), text.data() + text.size());
}
void append(fmt::memory_buffer& out, std::int32_t value) { append(out, static_cast<std::int64_t>(value)); }
void append(fmt::memory_buffer& out, std::uint32_t value) { append(out, static_cast<std::uint64_t>(value)); }
void append(fmt::memory_buffer& out, Bytes value) { append(out, value.count()); }
void append(fmt::memory_buffer& out, double value) { fmt::format_to(fmt::appender(out), FMT_COMPILE("{}"), value); }
void append(fmt::memory_buffer& out, std::string_view text) { out.append(text.data(), text.data() + text.size()); }
void append(fmt::memory_buffer& out, bool value) { append(out, std::string_view(value ? "true" : "false")); }
template <class T>
void append(fmt::memory_buffer& out, const std::optional<T>& value) {
  if (value) append(out, *value);
}

template <class First, class... Rest>
void append_row(OutputFile& file, const First& first, const Rest&... rest) {
  fmt::memory_buffer& out = file.buffer();
  append(out, first);
  ((out.push_back(','), append(out, rest)), ...);
  out.push_back('\n');
  file.flush_if_large();
}

}  // namespace

void write_requests_header(OutputFile& file) {
  file.write(
      "request_id,session_id,turn,arrived_s,scheduled_s,first_token_s,finished_s,num_prefill_tokens,"
      "num_decode_tokens,prefix_hit_tokens,num_preemptions,ttft_ms,tpot_ms,e2el_ms,slo_met,recorded_tokens,"
      "recorded_bytes,trained_at_s,version_lag\n");
}

void write_request(OutputFile& file, const RequestOutcome& o, const Slo& slo) {
  append_row(file, o.id.value(), o.session.value(), o.turn, seconds(o.arrived), seconds(o.scheduled),
             seconds(o.first_token), seconds(o.finished), o.prompt_tokens, o.output_tokens, o.prefix_hit_tokens,
             o.preemptions, milliseconds(o.ttft()), milliseconds(Duration::seconds(o.tpot_seconds())),
             milliseconds(o.e2e()), meets(slo, o), o.recorded_tokens, o.recorded_bytes,
             o.trained_at ? std::optional(seconds(*o.trained_at)) : std::nullopt, o.version_lag);
}

void write_steps_header(OutputFile& file) {
  file.write(
      "step,version,start_s,end_s,tokens,samples,restore_ms,forward_ms,backward_ms,gradient_wait_ms,"
      "optimizer_ms,reused_tokens,"
      "recomputed_tokens,dropped_tokens,mean_version_lag\n");
}

void write_step(OutputFile& file, std::int64_t number, const TrainingStep& s) {
  std::optional<double> lag;
  if (s.reusing_samples > 0) lag = static_cast<double>(s.version_lag_sum) / static_cast<double>(s.reusing_samples);
  append_row(file, number, s.version.value(), seconds(s.start), seconds(s.end), s.tokens, s.samples,
             milliseconds(s.restore_stall), milliseconds(s.forward), milliseconds(s.backward),
             milliseconds(s.gradient_wait), milliseconds(s.optimizer), s.reused_tokens, s.recomputed_tokens,
             s.dropped_tokens, lag);
}

void write_memory(OutputFile& file, const std::vector<MemorySeries>& series) {
  file.write("time_s,replica,weights_bytes,kv_bytes,activations_bytes,training_bytes,total_bytes,host_bytes\n");
  struct Row {
    const MemoryRow* row;
    std::uint32_t replica;
  };
  std::vector<Row> rows;
  for (std::uint32_t replica = 0; replica < series.size(); ++replica) {
    for (const MemoryRow& row : series[replica].rows()) rows.push_back({&row, replica});
  }
  std::stable_sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.row->time < b.row->time; });
  for (const Row& r : rows) {
    append_row(file, seconds(r.row->time), r.replica, r.row->peak.weights, r.row->peak.kv, r.row->peak.activations,
               r.row->peak.training, r.row->peak_total, r.row->peak.host);
  }
}

void write_memory_phases(OutputFile& file, const PhasePeaks& peaks) {
  constexpr std::string_view kNames[kMemoryPhases] = {"prefill", "decode",   "restore",
                                                      "forward", "backward", "optimizer"};
  file.write("phase,operations,weights_bytes,kv_bytes,activations_bytes,training_bytes,total_bytes,host_bytes\n");
  for (std::size_t i = 0; i < kMemoryPhases; ++i) {
    const PhasePeak& phase = peaks.peaks()[i];
    if (phase.operations == 0) continue;
    append_row(file, kNames[i], phase.operations, phase.peak.weights, phase.peak.kv, phase.peak.activations,
               phase.peak.training, phase.peak_total, phase.peak.host);
  }
}

}  // namespace alchemist
