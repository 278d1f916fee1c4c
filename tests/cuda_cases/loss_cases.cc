#include <cmath>

#include "tests/cuda_cases/bench.h"

namespace alchemist::cases {
namespace {

Case cross_entropy(std::int64_t rows, std::int64_t vocabulary, bool gradient) {
  return {"cross_entropy_" + std::to_string(vocabulary) + (gradient ? "_gradient" : ""),
          [=]<class T>(Bench<T>& bench) -> Outputs {
            T* logits = bench.storage(normal_values(rows * vocabulary, "logits", 4));
            std::vector<std::int32_t> targets;
            for (std::int64_t i = 0; i < rows; ++i)
              targets.push_back(static_cast<std::int32_t>((i + 1) * (vocabulary - 1) / rows));
            Accumulator<T>* loss = bench.unset_accumulators(rows);
            bench.device().run(CrossEntropy<T>{.logits = logits,
                                               .targets = bench.plain(targets),
                                               .weight = bench.accumulators(normal_values(rows, "weight")),
                                               .loss = loss,
                                               .rows = rows,
                                               .vocabulary = vocabulary,
                                               .gradient = gradient});
            return {{"loss", bench.read(loss, rows), kSummed},
                    {"logits", bench.read(logits, rows * vocabulary), gradient ? kRoundedOnce : 0}};
          }};
}

// Values from a small set, so that the largest stands at several places.
Case argmax(std::int64_t rows, std::int64_t vocabulary) {
  return {"argmax_" + std::to_string(vocabulary), [=]<class T>(Bench<T>& bench) -> Outputs {
            Values logits = normal_values(rows * vocabulary, "logits", 2);
            for (double& x : logits) x = std::round(x);
            std::int32_t* tokens = bench.plain(std::vector<std::int32_t>(static_cast<std::size_t>(rows), -1));
            bench.device().run(Argmax<T>{bench.storage(logits), tokens, rows, vocabulary});
            return {{"tokens", bench.read(tokens, rows), 0}};
          }};
}

// Sequences of several lengths; one longer than a block has threads.
Case preference() {
  return {"preference_loss", []<class T>(Bench<T>& bench) -> Outputs {
            using A = Accumulator<T>;
            const std::vector<std::int32_t> begin = {0, 3, 4, 300, 620};
            A* loss = bench.unset_accumulators(2);
            A* weight = bench.unset_accumulators(620);
            bench.device().run(PreferenceLoss<A>{.token_loss = bench.accumulators(normal_values(620, "token_loss")),
                                                 .sequence_begin = bench.plain(begin),
                                                 .reference_logprob = bench.accumulators(normal_values(4, "reference")),
                                                 .loss = loss,
                                                 .weight = weight,
                                                 .pairs = 2,
                                                 .beta = static_cast<A>(0.1),
                                                 .scale = static_cast<A>(0.5)});
            return {{"loss", bench.read(loss, 2), kSummed}, {"weight", bench.read(weight, 620), kSummed}};
          }};
}

}  // namespace

std::vector<Case> loss_cases(bool large) {
  std::vector<Case> cases = {cross_entropy(3, 2048, true),
                             cross_entropy(3, 2048, false),
                             cross_entropy(2, 5001, true),
                             cross_entropy(2, 40, true),
                             cross_entropy(1, 128256, true),  // more than shared memory holds of a row
                             argmax(4, 2048),
                             argmax(3, 5001),
                             argmax(3, 33),
                             preference()};
  if (large) cases.insert(cases.end(), {cross_entropy(50, 152064, true), argmax(100, 128256)});
  return cases;
}

}  // namespace alchemist::cases
