#include "validate/operation_prices.h"

#include <fmt/format.h>

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

}  // namespace

void OperationPrices::step(const BatchShape& shape, Duration idle, Bytes recorded, bool copying, Duration took) {
  Duration alone = serving_.step(shape);
  if (recorded > Bytes()) {
    check(training_ != nullptr, "only who trains records");
    alone += training_->recording(recorded);
  }
  add(shape.prefills.empty() ? OperationKind::kDecode : OperationKind::kPrefill, took,
      turns_.step(shape.prefill_tokens(), idle, alone, copying));
}

void OperationPrices::piece(const TrainingPiece& piece, bool copying, Duration took) {
  check(training_ != nullptr, "only who trains runs pieces");
  add(kind_of(piece.kind), took, turns_.piece(piece.kind, training_->piece(piece), copying));
}

void OperationPrices::add(OperationKind kind, Duration took, Duration priced) {
  Sum& sum = sums_[static_cast<std::size_t>(kind)];
  ++sum.count;
  sum.took += took;
  sum.priced += priced;
}

OperationFactors factors_of(const OperationPrices::Sums& sums) {
  OperationFactors factors = kAsPriced;
  for (std::size_t i = 0; i < sums.size(); ++i) {
    if (sums[i].took > Duration() && sums[i].priced > Duration()) factors[i] = sums[i].took / sums[i].priced;
  }
  return factors;
}

std::string operation_table(const OperationPrices::Sums& sums) {
  std::string text =
      fmt::format("{:<24}{:>12}{:>18}{:>18}{:>10}\n", "operation", "count", "real s", "priced s", "error");
  for_each_kind(sums, [&](const char* name, const OperationPrices::Sum& sum, double error) {
    text += fmt::format("{:<24}{:>12}{:>18.4f}{:>18.4f}{:>+8.1f} %\n", name, sum.count, sum.took.in_seconds(),
                        sum.priced.in_seconds(), 100 * error);
  });
  return text;
}

std::string operation_csv(const OperationPrices::Sums& sums) {
  std::string text = "operation,count,real_s,priced_s,error\n";
  for_each_kind(sums, [&](const char* name, const OperationPrices::Sum& sum, double error) {
    text += fmt::format("{},{},{},{},{}\n", name, sum.count, sum.took.in_seconds(), sum.priced.in_seconds(), error);
  });
  return text;
}

}  // namespace alchemist
