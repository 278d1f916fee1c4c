#include "sim/report/summary_comparison.h"

#include <fmt/format.h>

#include <set>

namespace alchemist {
namespace {

std::optional<double> number(const SummaryValue& value) {
  if (const auto* d = std::get_if<double>(&value)) return *d;
  if (const auto* i = std::get_if<std::int64_t>(&value)) return static_cast<double>(*i);
  return std::nullopt;
}

// Settings, and what follows from them without a run.
bool is_outcome(const std::string& key) {
  static const std::set<std::string> kGiven = {"gpu_memory_bytes", "peak_weights_bytes", "train_max_tokens"};
  return !kGiven.contains(key);
}

std::optional<double> number_of(const std::vector<SummaryEntry>& entries, const std::string& key) {
  for (const SummaryEntry& entry : entries) {
    if (entry.key == key) return number(entry.value);
  }
  return std::nullopt;
}

SimulatedValue beside(double real, double simulated) {
  if (real == 0) return {simulated, {}};
  return {simulated, (simulated - real) / real};
}

}  // namespace

std::vector<SummaryDifference> compare_summaries(const Summary& real, const Summary& simulated, const Summary& repriced,
                                                 const std::optional<Summary>& at_speed) {
  std::vector<SummaryDifference> differences;
  const std::vector<SummaryEntry> calibrated_entries = summary_entries(simulated);
  const std::vector<SummaryEntry> repriced_entries = summary_entries(repriced);
  std::vector<SummaryEntry> at_speed_entries;
  if (at_speed) at_speed_entries = summary_entries(*at_speed);
  for (const SummaryEntry& entry : summary_entries(real)) {
    const std::optional<double> measured = number(entry.value);
    const std::optional<double> first = number_of(calibrated_entries, entry.key);
    const std::optional<double> second = number_of(repriced_entries, entry.key);
    if (!measured || !first || !second || !is_outcome(entry.key)) continue;
    differences.push_back({entry.key, *measured, beside(*measured, *first), beside(*measured, *second), {}});
    if (const auto third = number_of(at_speed_entries, entry.key)) {
      differences.back().at_speed = beside(*measured, *third);
    }
  }
  return differences;
}

std::string difference_table(const std::vector<SummaryDifference>& differences) {
  const bool at_speed = !differences.empty() && differences.front().at_speed.has_value();
  std::string text =
      fmt::format("{:<36}{:>18}{:>18}{:>10}{:>18}{:>10}", "", "real", "simulated", "error", "repriced", "error");
  if (at_speed) text += fmt::format("{:>18}{:>10}", "at its speed", "error");
  text += '\n';
  const auto append = [&](const SimulatedValue& value) {
    const std::string error = value.error ? fmt::format("{:+.1f} %", 100 * *value.error) : std::string("-");
    text += fmt::format("{:>18.10g}{:>10}", value.value, error);
  };
  for (const SummaryDifference& d : differences) {
    text += fmt::format("{:<36}{:>18.10g}", d.key, d.real);
    append(d.simulated);
    append(d.repriced);
    if (d.at_speed) append(*d.at_speed);
    text += '\n';
  }
  return text;
}

std::string difference_csv(const std::vector<SummaryDifference>& differences) {
  std::string text = "metric,real,simulated,error,repriced,repriced_error,at_speed,at_speed_error\n";
  const auto append = [&](const SimulatedValue& value) {
    text += fmt::format(",{},{}", value.value, value.error ? fmt::format("{}", *value.error) : std::string());
  };
  for (const SummaryDifference& d : differences) {
    text += fmt::format("{},{}", d.key, d.real);
    append(d.simulated);
    append(d.repriced);
    d.at_speed ? append(*d.at_speed) : static_cast<void>(text += ",,");
    text += '\n';
  }
  return text;
}

}  // namespace alchemist
