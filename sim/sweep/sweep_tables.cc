#include "sim/sweep/sweep_tables.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "sim/report/csv_text.h"
#include "sim/report/json_text.h"
#include "sim/sweep/sweep_statistics.h"

namespace alchemist {

namespace {

std::string value_text(const SummaryValue& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  return std::holds_alternative<std::monostate>(value) ? "" : json_value(value);
}

void write_results(OutputFile& file, const SweepRun& run, const std::vector<ResultRow>& rows) {
  const std::vector<std::string> keys = result_keys();
  file.write(fmt::format("{},seed,status,message,{}\n", point_header(run.spec()), fmt::join(keys, ",")));
  for (const ResultRow& row : rows) {
    file.write(fmt::format("{},{},{},{}", point_fields(run, row.point), row.seed, row.ok ? "ok" : "failed",
                           csv_field(row.message)));
    for (std::size_t i = 0; i < keys.size(); ++i)
      file.write(fmt::format(",{}", row.ok ? csv_field(value_text(row.values[i])) : ""));
    file.write("\n");
  }
}

// The values of an interval, each preceded by a comma; bounds are empty where there are none.
std::string interval_fields(const ConfidenceInterval& interval) {
  const auto bound = [](const std::optional<double>& value) { return value ? json_number(*value) : std::string(); };
  return fmt::format(",{},{},{},{}\n", interval.n, json_number(interval.mean), bound(interval.low),
                     bound(interval.high));
}

void write_intervals(OutputFile& file, const SweepRun& run, const std::vector<PointRows>& points) {
  file.write(point_header(run.spec()) + ",metric,n,mean,ci95_low,ci95_high\n");
  const std::vector<std::string> keys = result_keys();
  for (std::size_t point = 0; point < points.size(); ++point) {
    const std::string fields = point_fields(run, static_cast<std::int64_t>(point));
    for (std::size_t metric = 0; metric < keys.size(); ++metric) {
      if (const auto interval = mean_over_seeds(points[point], metric))
        file.write(fields + "," + keys[metric] + interval_fields(*interval));
    }
  }
}

void write_paired(OutputFile& file, const SweepRun& run, const std::vector<PointRows>& points) {
  file.write(point_header(run.spec()) + ",baseline,metric,n,mean_difference,ci95_low,ci95_high\n");
  const std::vector<std::string> keys = result_keys();
  for (std::size_t point = 0; point < points.size(); ++point) {
    const std::optional<std::size_t> other = baseline_point(run.spec(), run.points(), point);
    if (!other) continue;
    const std::string fields =
        point_fields(run, static_cast<std::int64_t>(point)) + "," + csv_field(run.spec().baseline) + ",";
    for (std::size_t metric = 0; metric < keys.size(); ++metric) {
      if (const auto interval = paired_difference(points[point], points[*other], metric))
        file.write(fields + keys[metric] + interval_fields(*interval));
    }
  }
}

}  // namespace

std::string point_header(const SweepSpec& spec) {
  std::string text = "point";
  for (const std::string& key : axis_keys(spec)) text.append(",").append(csv_field(key));
  return text;
}

std::string point_fields(const SweepRun& run, std::int64_t point) {
  std::string text = std::to_string(point);
  for (const SweepValue& value : run.points()[static_cast<std::size_t>(point)].values)
    text.append(",").append(csv_field(value.label));
  return text;
}

void write_sweep_tables(const std::filesystem::path& directory, const SweepRun& run) {
  const std::vector<ResultRow> rows = run.rows();
  std::vector<PointRows> points(run.points().size());
  for (const ResultRow& row : rows) points[static_cast<std::size_t>(row.point)].push_back(row);
  ResultDirectory files(directory);
  write_results(files.create("results.csv"), run, rows);
  write_intervals(files.create("intervals.csv"), run, points);
  write_paired(files.create("paired.csv"), run, points);
  files.commit();
}

}  // namespace alchemist
