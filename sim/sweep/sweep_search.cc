#include "sim/sweep/sweep_search.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "sim/report/json_text.h"
#include "sim/sweep/bisection.h"
#include "sim/sweep/sweep_statistics.h"
#include "sim/sweep/sweep_tables.h"

namespace alchemist {

namespace {

class Search {
 public:
  explicit Search(SweepRun& run) : run_(run), spec_(run.spec()), candidates_(grid_points(spec_)) {}
  std::vector<SearchRound> rounds();

 private:
  std::size_t count_rounds() const;
  SearchRound play_round(std::size_t round, std::size_t rounds, const std::vector<std::size_t>& alive);
  std::int64_t point(std::size_t candidate, std::size_t round, std::optional<double> value);
  std::vector<std::int64_t> bisect(std::size_t round, std::size_t seeds, const std::vector<std::size_t>& alive);
  RankedCandidate judge(std::size_t candidate, std::int64_t point) const;
  double excess(std::int64_t point) const;
  bool ranks_before(const RankedCandidate& a, const RankedCandidate& b) const;
  // Bisection looks for the largest value: of the mirrored axis where the smallest is wanted.
  double axis_value(double looked_at) const {
    const SearchAxis& axis = *spec_.search;
    if (!spec_.minimises_search_key()) return looked_at;
    if (looked_at == axis.low) return axis.high;  // the ends exactly
    return looked_at == axis.high ? axis.low : std::clamp(axis.low + axis.high - looked_at, axis.low, axis.high);
  }

  SweepRun& run_;
  const SweepSpec& spec_;
  std::vector<SweepPoint> candidates_;
};

std::size_t Search::count_rounds() const {
  if (spec_.halving) return spec_.halving->values.size();
  std::size_t halvings = 0;
  for (std::size_t n = candidates_.size(); n > 1; n = (n + 1) / 2) ++halvings;
  return std::clamp(halvings, std::size_t{1}, spec_.seeds.size());
}

std::vector<SearchRound> Search::rounds() {
  std::vector<std::size_t> alive;
  for (std::size_t i = 0; i < candidates_.size(); ++i) alive.push_back(i);
  std::vector<SearchRound> played;
  const std::size_t count = count_rounds();
  for (std::size_t round = 0; round < count; ++round) {
    played.push_back(play_round(round, count, alive));
    const std::size_t keep = round + 1 == count ? 1 : (alive.size() + 1) / 2;
    alive.clear();
    for (std::size_t i = 0; i < keep; ++i) {
      played.back().ranking[i].kept = true;
      alive.push_back(played.back().ranking[i].candidate);
    }
    std::sort(alive.begin(), alive.end());
  }
  return played;
}

SearchRound Search::play_round(std::size_t round, std::size_t rounds, const std::vector<std::size_t>& alive) {
  SearchRound played{(spec_.seeds.size() * (round + 1) + rounds - 1) / rounds, {}};
  std::vector<std::int64_t> points;
  if (spec_.search) {
    points = bisect(round, played.seeds, alive);
  } else {
    for (const std::size_t candidate : alive) points.push_back(point(candidate, round, std::nullopt));
    run_.evaluate(points, played.seeds);
  }
  for (std::size_t i = 0; i < alive.size(); ++i) played.ranking.push_back(judge(alive[i], points[i]));
  std::stable_sort(played.ranking.begin(), played.ranking.end(),
                   [this](const auto& a, const auto& b) { return ranks_before(a, b); });
  return played;
}

bool Search::ranks_before(const RankedCandidate& a, const RankedCandidate& b) const {
  if (a.feasible != b.feasible) return a.feasible;
  if (a.excess != b.excess) return a.excess < b.excess;
  if (!a.score || !b.score) return a.score.has_value() && !b.score;
  return spec_.goal->minimise ? *a.score < *b.score : *a.score > *b.score;
}

std::int64_t Search::point(std::size_t candidate, std::size_t round, std::optional<double> value) {
  SweepPoint point = candidates_[candidate];
  if (value) point.values.push_back(search_value(spec_, *value));
  if (spec_.halving) point.values.push_back(spec_.halving->values[round]);
  return run_.add_point(point);
}

// All candidates together, so that there is always enough to do: a step of each at a time.
std::vector<std::int64_t> Search::bisect(std::size_t round, std::size_t seeds, const std::vector<std::size_t>& alive) {
  const SearchAxis& axis = *spec_.search;
  std::vector<Bisection> bisections(alive.size(), Bisection(axis.low, axis.high, axis.tolerance, axis.is_whole()));
  while (true) {
    std::vector<std::int64_t> points;
    std::vector<std::size_t> open;
    for (std::size_t i = 0; i < alive.size(); ++i) {
      if (bisections[i].done()) continue;
      open.push_back(i);
      points.push_back(point(alive[i], round, axis_value(bisections[i].next())));
    }
    if (open.empty()) break;
    run_.evaluate(points, seeds);
    for (std::size_t i = 0; i < open.size(); ++i) bisections[open[i]].tell(excess(points[i]) == 0);
  }
  std::vector<std::int64_t> best;
  for (std::size_t i = 0; i < alive.size(); ++i)
    best.push_back(point(alive[i], round, axis_value(bisections[i].best().value_or(axis.low))));
  return best;
}

RankedCandidate Search::judge(std::size_t candidate, std::int64_t point) const {
  RankedCandidate ranked{.candidate = candidate, .point = point, .excess = excess(point)};
  ranked.feasible = ranked.excess == 0;
  const bool own_axis = spec_.search && spec_.search->key == spec_.goal->metric;
  if (!own_axis) {
    ranked.score = mean_result(run_.rows_of(point), spec_.goal->metric);
  } else if (ranked.feasible) {
    const std::size_t place = candidates_[candidate].values.size();  // the search axis follows the candidate's own
    ranked.score = std::stod(run_.points()[static_cast<std::size_t>(point)].values[place].label);
  }
  ranked.feasible = ranked.feasible && ranked.score;
  return ranked;
}

// Infinity where a run failed or a metric has no value; more than zero for whatever does not hold.
double Search::excess(std::int64_t point) const {
  const std::vector<ResultRow> rows = run_.rows_of(point);
  constexpr double kUnknown = std::numeric_limits<double>::infinity();
  if (!std::ranges::all_of(rows, &ResultRow::ok)) return kUnknown;
  double most = 0;
  for (const MetricBound& bound : spec_.goal->subject_to) {
    const std::optional<double> value = mean_result(rows, bound.metric);
    if (!value) return kUnknown;
    if (bound.holds(*value)) continue;
    const double scale = bound.limit != 0 ? std::abs(bound.limit) : 1;
    most = std::max({most, std::abs(*value - bound.limit) / scale, std::numeric_limits<double>::min()});
  }
  return most;
}

}  // namespace

std::vector<SearchRound> run_search(SweepRun& run) { return Search(run).rounds(); }

void write_search(const std::filesystem::path& directory, const SweepRun& run, const std::vector<SearchRound>& rounds) {
  ResultDirectory files(directory);
  OutputFile& file = files.create("search.csv");
  file.write(fmt::format("round,rank,{},seeds,feasible,score,kept\n", point_header(run.spec())));
  for (std::size_t round = 0; round < rounds.size(); ++round) {
    std::size_t rank = 0;
    for (const RankedCandidate& r : rounds[round].ranking) {
      file.write(fmt::format("{},{},{},{},{},{},{}\n", round + 1, ++rank, point_fields(run, r.point),
                             rounds[round].seeds, r.feasible, r.score ? json_number(*r.score) : "", r.kept));
    }
  }
  files.commit();
}

}  // namespace alchemist
