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

}  // namespace

std::vector<SummaryDifference> compare_summaries(const Summary& real, const Summary& simulated) {
  std::vector<SummaryDifference> differences;
  const std::vector<SummaryEntry> other = summary_entries(simulated);
  for (const SummaryEntry& entry : summary_entries(real)) {
    const std::optional<double> measured = number(entry.value);
    if (!measured || !is_outcome(entry.key)) continue;
    for (const SummaryEntry& candidate : other) {
      const std::optional<double> priced = number(candidate.value);
      if (candidate.key != entry.key || !priced) continue;
      SummaryDifference difference{entry.key, *measured, *priced, {}};
      if (*measured != 0) difference.error = (*priced - *measured) / *measured;
      differences.push_back(difference);
    }
  }
  return differences;
}

std::string difference_table(const std::vector<SummaryDifference>& differences) {
  std::string text = fmt::format("{:<36}{:>18}{:>18}{:>10}\n", "", "real", "simulated", "error");
  for (const SummaryDifference& d : differences) {
    const std::string error = d.error ? fmt::format("{:+.1f} %", 100 * *d.error) : "-";
    text += fmt::format("{:<36}{:>18.10g}{:>18.10g}{:>10}\n", d.key, d.real, d.simulated, error);
  }
  return text;
}

std::string difference_csv(const std::vector<SummaryDifference>& differences) {
  std::string text = "metric,real,simulated,error\n";
  for (const SummaryDifference& d : differences) {
    text += fmt::format("{},{},{},{}\n", d.key, d.real, d.simulated, d.error ? fmt::format("{}", *d.error) : "");
  }
  return text;
}

}  // namespace alchemist
