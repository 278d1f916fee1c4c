#include "validate/operation_prices.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "sim/base/check.h"

namespace alchemist {
namespace {

// Calls visit(name, sum, error) for every kind that ran; error: (priced - took) / took.
template <class Visit>
void for_each_kind(const OperationPrices::Sums& sums, Visit&& visit) {
  for (std::size_t i = 0; i < sums.size(); ++i) {
    if (sums[i].took <= Duration()) continue;
    visit(kOperationNames[i], sums[i], sums[i].priced.in_seconds() / sums[i].took.in_seconds() - 1);
  }
}

void append_table(const char* title, const OperationPrices::Sums& sums, std::string& text) {
  text += fmt::format("{:<24}{:>12}{:>18}{:>18}{:>10}\n", title, "count", "real s", "priced s", "error");
  for_each_kind(sums, [&](const char* name, const OperationPrices::Sum& sum, double error) {
    text += fmt::format("{:<24}{:>12}{:>18.4f}{:>18.4f}{:>+8.1f} %\n", name, sum.count, sum.took.in_seconds(),
                        sum.priced.in_seconds(), 100 * error);
  });
}

}  // namespace

void OperationPrices::step(const BatchShape& shape, Duration idle, Bytes recorded, const Run& run) {
  const Duration alone = serving_.step(shape) + recording(recorded);
  const std::int64_t prompt_tokens = shape.prefill_tokens();
  add({.kind = step_kind(prompt_tokens),
       .tokens = shape.tokens(),
       .run = run,
       .priced = turns_.step(prompt_tokens, idle, alone, run.copying)});
}

Duration OperationPrices::recording(Bytes recorded) const {
  if (recorded == Bytes()) return Duration();
  check(training_ != nullptr, "only who trains records");
  return training_->recording(recorded);
}

void OperationPrices::piece(const TrainingPiece& piece, const Run& run) {
  check(training_ != nullptr, "only who trains runs pieces");
  add({.kind = kind_of(piece.kind),
       .tokens = piece.kind == PieceKind::kOptimizer ? piece.parameters : piece.tokens,
       .attended_keys = piece.attended_keys,
       .run = run,
       .priced = turns_.piece(piece.kind, piece.tokens, training_->piece(piece), run.copying)});
}

void OperationPrices::add(Timed operation) {
  operation.new_size = sizes_.emplace(operation.kind, operation.tokens).second;
  all_.push_back(operation);
}

OperationPrices::Sums sums_of(const std::vector<OperationPrices::Timed>& operations) {
  OperationPrices::Sums sums;
  for (const OperationPrices::Timed& operation : operations) {
    OperationPrices::Sum& sum = sums[static_cast<std::size_t>(operation.kind)];
    ++sum.count;
    sum.took += operation.run.took;
    sum.priced += operation.priced;
  }
  return sums;
}

PriceFactors factors_of(const OperationPrices::Sums& sums) {
  ByOperation<double> factors;
  for (std::size_t i = 0; i < sums.size(); ++i) {
    factors[i] = sums[i].took > Duration() && sums[i].priced > Duration() ? sums[i].took / sums[i].priced : 1;
  }
  return PriceFactors(factors);
}

std::optional<MachineSlowness> slowness_of(const std::vector<OperationPrices::Timed>& operations,
                                           const SpeedLaw& calibrated) {
  if (operations.empty() || calibrated.level <= 0) return std::nullopt;
  std::vector<double> probes;
  for (const OperationPrices::Timed& operation : operations) {
    if (operation.run.probe_us <= 0) return std::nullopt;
    probes.push_back(operation.run.probe_us);
  }
  probes = smoothed_probes(std::move(probes));
  MachineSlowness result;
  double charged = 0, priced = 0;
  for (std::size_t i = 0; i < operations.size(); ++i) {
    const double slowness = calibrated.slowness(probes[i]) / calibrated.level;
    result.factors.change(operations[i].run.start, slowness);
    charged += operations[i].priced.in_seconds() * slowness;
    priced += operations[i].priced.in_seconds();
  }
  if (priced > 0) result.mean = charged / priced;
  return result;
}

std::string operation_table(const std::vector<OperationPrices::Timed>& operations) {
  std::vector<OperationPrices::Timed> first;
  std::copy_if(operations.begin(), operations.end(), std::back_inserter(first),
               [](const OperationPrices::Timed& operation) { return operation.new_size; });
  std::string text;
  append_table("operation", sums_of(operations), text);
  append_table("the first of a size", sums_of(first), text);
  return text;
}

std::string operation_csv(const OperationPrices::Sums& sums) {
  std::string text = "operation,count,real_s,priced_s,error\n";
  for_each_kind(sums, [&](const char* name, const OperationPrices::Sum& sum, double error) {
    text += fmt::format("{},{},{},{},{}\n", name, sum.count, sum.took.in_seconds(), sum.priced.in_seconds(), error);
  });
  return text;
}

std::string operation_times_csv(const std::vector<OperationPrices::Timed>& operations) {
  std::string text = "operation,tokens,attended_keys,new_size,start_s,copying_us,real_us,priced_us,probe_us\n";
  for (const OperationPrices::Timed& o : operations) {
    text += fmt::format("{},{},{},{:d},{:.9f},{:.3f},{:.3f},{:.3f},{:.3f}\n",
                        kOperationNames[static_cast<std::size_t>(o.kind)], o.tokens, o.attended_keys, o.new_size,
                        o.run.start.in_seconds(), 1e6 * o.run.copying.in_seconds(), 1e6 * o.run.took.in_seconds(),
                        1e6 * o.priced.in_seconds(), o.run.probe_us);
  }
  return text;
}

}  // namespace alchemist
