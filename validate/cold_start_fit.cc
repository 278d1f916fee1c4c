#include "validate/cold_start_fit.h"

#include <algorithm>
#include <cmath>

namespace alchemist {
namespace {

// Of `c` in excess[k] = c * q^k, by least squares.
double first_excess(const ColdCase& series, double q) {
  double numerator = 0, denominator = 0, weight = 1;
  for (const Timing& excess : series.excess) {
    numerator += excess.median * weight;
    denominator += weight * weight;
    weight *= q;
  }
  return denominator > 0 ? numerator / denominator : 0;
}

double squares(const ColdCase& series, double first, double q) {
  double sum = 0;
  for (const Timing& excess : series.excess) {
    sum += (excess.median - first) * (excess.median - first);
    first *= q;
  }
  return sum;
}

struct Point {
  double amount;
  double share;  // of what training does
};

// The limit whose min(1, amount / limit) is nearest to the shares; 0 if none is nearer than no effect at all.
double limit_of(const std::vector<Point>& points) {
  double best = 0, least = 0;
  for (const Point& p : points) least += p.share * p.share;
  if (points.empty()) return 0;
  const auto [low, high] = std::minmax_element(points.begin(), points.end(),
                                               [](const Point& a, const Point& b) { return a.amount < b.amount; });
  constexpr double kBeyond = 8;  // times the largest amount, at most
  for (double limit = low->amount; limit <= kBeyond * high->amount; limit *= 1.05) {
    double sum = 0;
    for (const Point& p : points) sum += std::pow(p.share - std::min(1.0, p.amount / limit), 2);
    if (sum < least) best = limit, least = sum;
  }
  return best;
}

}  // namespace

ColdStartFit fit_cold_start(const std::vector<ColdCase>& cases) {
  ColdStartFit fit;
  const auto training = std::find_if(cases.begin(), cases.end(), [](const ColdCase& series) {
    return series.cause == ColdCause::kTraining && series.amount == 0;
  });
  if (training == cases.end()) return fit;
  double best_q = 0;
  for (double q = 0; q <= 0.95; q += 0.01) {
    if (squares(*training, first_excess(*training, q), q) <
        squares(*training, first_excess(*training, best_q), best_q)) {
      best_q = q;
    }
  }
  fit.first_us = first_excess(*training, best_q);
  if (fit.first_us <= 0) return ColdStartFit();  // noise
  fit.steps = 1 / (1 - best_q);
  const auto limit = [&](ColdCause cause) {
    std::vector<Point> points;
    for (const ColdCase& series : cases) {
      if (series.cause == cause && series.amount > 0)
        points.push_back({series.amount, first_excess(series, best_q) / fit.first_us});
    }
    return limit_of(points);
  };
  fit.piece_tokens = limit(ColdCause::kTraining);
  fit.prompt_tokens = limit(ColdCause::kPrompt);
  fit.idle_us = limit(ColdCause::kIdle);
  return fit;
}

}  // namespace alchemist
