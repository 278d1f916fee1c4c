#include "sim/model/training_profile.h"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "sim/base/error.h"
#include "sim/base/line_reader.h"
#include "sim/model/rising.h"

namespace alchemist {
namespace {

struct Measured {
  double keys;
  double us;
};
using ByTokens = std::map<std::int32_t, std::vector<Measured>>;

PieceSeries fit(const ByTokens& points) {
  double time = 0, keys = 0;
  const auto fewer_keys = [](const Measured& a, const Measured& b) { return a.keys < b.keys; };
  for (const auto& [tokens, measured] : points) {
    const auto [least, most] = std::minmax_element(measured.begin(), measured.end(), fewer_keys);
    time += most->us - least->us;
    keys += most->keys - least->keys;
  }
  PieceSeries series;
  if (keys > 0) series.per_key = std::max(0.0, time / keys);
  std::vector<std::pair<double, double>> dense;
  for (const auto& [tokens, measured] : points) {
    const Measured& least = *std::min_element(measured.begin(), measured.end(), fewer_keys);
    dense.emplace_back(tokens, std::max(0.0, least.us - series.per_key * least.keys));
  }
  series.dense = PointSeries(rising(std::move(dense)));
  return series;
}

}  // namespace

TrainingProfile read_training_profile(const std::string& file) {
  CsvReader csv(file);
  const std::size_t kind = csv.column({"kind"}), tokens = csv.column({"tokens"}), keys = csv.column({"attended_keys"}),
                    time = csv.column({"time_us"});
  std::map<std::string, ByTokens> kinds = {{"forward", {}}, {"backward", {}},  {"rebuild", {}},
                                           {"head", {}},    {"recording", {}}, {"optimizer", {}}};
  while (csv.next()) {
    const auto points = kinds.find(csv.field(kind));
    if (points == kinds.end()) {
      csv.fail("unknown kind \"" + csv.field(kind) +
               "\": expected forward, backward, rebuild, head, recording or optimizer");
    }
    const double us = csv.number(time);
    if (us <= 0) csv.fail("expected a time greater than 0");
    points->second[csv.tokens(tokens)].push_back({csv.number(keys), us});
  }
  for (const auto& [name, points] : kinds) {
    if (points.empty()) throw ConfigError::at(file, 0, "has no row of kind \"" + name + "\"");
  }
  TrainingProfile profile;
  profile.forward = fit(kinds["forward"]);
  profile.backward = fit(kinds["backward"]);
  profile.rebuild = fit(kinds["rebuild"]).dense;
  profile.head = fit(kinds["head"]).dense;
  profile.recording = fit(kinds["recording"]).dense;
  profile.optimizer = kinds["optimizer"].begin()->second.front().us;
  return profile;
}

}  // namespace alchemist
