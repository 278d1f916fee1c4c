#include "tests/cuda_cases/bench.h"

namespace alchemist::cases {
namespace {

struct ProductShape {
  std::int64_t tokens, in, out;
};

// A sum of `terms` products of bf16 in f32, rounded once at the end; what was there before adds its own rounding.
Case linear(const ProductShape& s, bool bias, bool accumulate) {
  return {"linear_" + std::to_string(s.tokens) + "x" + std::to_string(s.in) + "x" + std::to_string(s.out) +
              (bias ? "_bias" : "") + (accumulate ? "_accumulate" : ""),
          [=]<class T>(Bench<T>& bench) -> Outputs {
            const std::int64_t x_stride = s.in + 16, y_stride = s.out + 8;
            const T* x = bench.storage(normal_values(s.tokens * x_stride, "x"));
            const T* weight = bench.storage(normal_values(s.out * s.in, "weight", 0.1));
            const T* b = bias ? bench.storage(normal_values(s.out, "bias")) : nullptr;
            T* y = bench.storage(normal_values(s.tokens * y_stride, "y"));
            bench.device().run(LinearForward<T>{x, weight, b, y, s.tokens, s.in, s.out, x_stride, y_stride,
                                                static_cast<Accumulator<T>>(0.5), accumulate});
            const T* d_y = bench.storage(normal_values(s.tokens * y_stride, "d_y"));
            T* d_x = bench.storage(normal_values(s.tokens * x_stride, "d_x"));
            bench.device().run(LinearInputGradient<T>{d_y, weight, d_x, s.tokens, s.in, s.out, y_stride, x_stride,
                                                      static_cast<Accumulator<T>>(2), accumulate});
            Accumulator<T>* d_weight = bench.accumulators(normal_values(s.out * s.in, "d_weight"));
            Accumulator<T>* d_bias = bench.accumulators(normal_values(s.out, "d_bias"));
            bench.device().run(LinearWeightGradient<T>{d_y, x, d_weight, bias ? d_bias : nullptr, s.tokens, s.in, s.out,
                                                       y_stride, x_stride, static_cast<Accumulator<T>>(0.5)});
            return {{"y", bench.read(y, s.tokens * y_stride), 2 * kRoundedOnce},
                    {"d_x", bench.read(d_x, s.tokens * x_stride), 2 * kRoundedOnce},
                    {"d_weight", bench.read(d_weight, s.out * s.in), kSummed},
                    {"d_bias", bench.read(d_bias, s.out), kSummed}};
          }};
}

}  // namespace

std::vector<Case> linear_cases(bool large) {
  std::vector<Case> cases;
  for (bool bias : {false, true})
    for (bool accumulate : {false, true}) cases.push_back(linear({37, 64, 96}, bias, accumulate));
  cases.push_back(linear({20, 64, 16}, false, true));   // an adapter's narrow product
  cases.push_back(linear({700, 16, 40}, true, false));  // a bias gradient of more rows than a block loads at once
  if (large) cases.push_back(linear({256, 1024, 512}, true, false));
  return cases;
}

}  // namespace alchemist::cases
