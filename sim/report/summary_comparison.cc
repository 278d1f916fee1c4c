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

std::vector<SummaryDifference> compare_summaries(const Summary& real, const Summary& simulated,
                                                 const Summary& repriced) {
  std::vector<SummaryDifference> differences;
  const std::vector<SummaryEntry> calibrated_entries = summary_entries(simulated);
  const std::vector<SummaryEntry> repriced_entries = summary_entries(repriced);
  for (const SummaryEntry& entry : summary_entries(real)) {
    const std::optional<double> measured = number(entry.value);
    const std::optional<double> first = number_of(calibrated_entries, entry.key);
    const std::optional<double> second = number_of(repriced_entries, entry.key);
    if (!measured || !first || !second || !is_outcome(entry.key)) continue;
    differences.push_back({entry.key, *measured, beside(*measured, *first), beside(*measured, *second)});
  }
  return differences;
}

std::string difference_table(const std::vector<SummaryDifference>& differences) {
  const auto percent = [](std::optional<double> error) {
    return error ? fmt::format("{:+.1f} %", 100 * *error) : std::string("-");
  };
  std::string text =
      fmt::format("{:<36}{:>18}{:>18}{:>10}{:>18}{:>10}\n", "", "real", "simulated", "error", "repriced", "error");
  for (const SummaryDifference& d : differences) {
    text += fmt::format("{:<36}{:>18.10g}{:>18.10g}{:>10}{:>18.10g}{:>10}\n", d.key, d.real, d.simulated.value,
                        percent(d.simulated.error), d.repriced.value, percent(d.repriced.error));
  }
  return text;
}

std::string difference_csv(const std::vector<SummaryDifference>& differences) {
  const auto text_of = [](std::optional<double> error) { return error ? fmt::format("{}", *error) : std::string(); };
  std::string text = "metric,real,simulated,error,repriced,repriced_error\n";
  for (const SummaryDifference& d : differences) {
    text += fmt::format("{},{},{},{},{},{}\n", d.key, d.real, d.simulated.value, text_of(d.simulated.error),
                        d.repriced.value, text_of(d.repriced.error));
  }
  return text;
}

}  // namespace alchemist
