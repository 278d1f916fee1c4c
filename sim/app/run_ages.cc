#include "sim/app/run_ages.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <utility>

#include "sim/base/error.h"
#include "sim/base/line_reader.h"

namespace alchemist {
namespace {

namespace fs = std::filesystem;

// By the moment at which they were trained; of one training step in the order of the file.
std::vector<std::int32_t> lags_of(const std::string& path) {
  CsvReader csv(path);
  const std::size_t trained = csv.column({"trained_at_s"}), lag = csv.column({"version_lag"});
  std::vector<std::pair<double, std::int32_t>> samples;
  while (csv.next()) {
    if (csv.field(trained).empty()) continue;
    samples.emplace_back(csv.number(trained), csv.field(lag).empty() ? 0 : csv.tokens(lag));
  }
  if (samples.empty()) throw ConfigError::at(path, 0, "no request was trained on");
  std::ranges::stable_sort(samples, {}, &std::pair<double, std::int32_t>::first);
  std::vector<std::int32_t> lags;
  for (const auto& [at, versions] : samples) lags.push_back(versions);
  return lags;
}

double tokens_per_s_of(const std::string& path) {
  std::ifstream in(path);
  if (!in) throw ConfigError::at(path, 0, "cannot be read");
  const nlohmann::json summary = nlohmann::json::parse(in, nullptr, false);
  if (!summary.is_object() || !summary.contains("train_tokens_per_s") || !summary["train_tokens_per_s"].is_number()) {
    throw ConfigError::at(path, 0, "expected the summary.json of a run, with train_tokens_per_s");
  }
  return summary["train_tokens_per_s"].get<double>();
}

}  // namespace

RunAges read_run_ages(const std::string& folder) {
  const fs::path path(folder);
  RunAges ages;
  ages.name = fs::weakly_canonical(path).filename().string();
  ages.lags = lags_of((path / "requests.csv").string());
  ages.mean_lag = std::accumulate(ages.lags.begin(), ages.lags.end(), 0.0) / static_cast<double>(ages.lags.size());
  ages.train_tokens_per_s = tokens_per_s_of((path / "summary.json").string());
  return ages;
}

}  // namespace alchemist
