#include "kernels/head_norm.h"

#include "kernels/rms_norm.h"
#include "kernels/rotary.h"
#include "tests/kernels/support.h"

namespace alchemist {
namespace {

// Four tokens of three heads of queries and two of keys, in rows with room behind them.
struct Heads {
  static constexpr std::int64_t kTokens = 4, kQ = 3, kK = 2, kDim = 6, kStride = 34, kCount = kTokens * kStride;
  static constexpr double kEpsilon = 1e-5;
  std::vector<std::int32_t> positions = {0, 7, 2, 7};
  std::vector<double> cosine = random_values<double>(8 * kDim / 2, "cosine"), sine = cosine;
  std::vector<double> x = random_values<double>(kCount, "x"), y = random_values<double>(kCount, "y");
  std::vector<double> q_weight = random_values<double>(kDim, "q"), k_weight = random_values<double>(kDim, "k");
  std::vector<double> rstd = std::vector<double>(kTokens * (kQ + kK), -1.0);

  Heads() {
    for (std::size_t i = 0; i < cosine.size(); ++i) {
      cosine[i] = std::cos(0.3 * static_cast<double>(i));
      sine[i] = std::sin(0.3 * static_cast<double>(i));
    }
  }
  NormedHeads<double> view() {
    return {x.data(),
            kStride,
            rstd.data(),
            kQ + kK,
            q_weight.data(),
            k_weight.data(),
            positions.data(),
            cosine.data(),
            sine.data(),
            kTokens,
            kQ,
            kK,
            kDim};
  }
  void forward() { cpu::head_norm_forward<double>({view(), y.data(), kStride, kEpsilon}); }
  static bool in_a_head(std::size_t i) { return i % kStride < (kQ + kK) * kDim; }
};

TEST(HeadNorm, IsTheNormOfEachHeadAndThenTheRotation) {
  Heads heads;
  const std::vector<double> old = heads.y;
  heads.forward();
  std::vector<double> expected = old;
  for (std::int64_t i = 0; i < Heads::kTokens; ++i) {
    for (std::int64_t h = 0; h < Heads::kQ + Heads::kK; ++h) {
      const std::int64_t at = i * Heads::kStride + h * Heads::kDim;
      double rstd = 0;
      const double* weight = h < Heads::kQ ? heads.q_weight.data() : heads.k_weight.data();
      cpu::rms_norm_forward<double>({heads.x.data() + at, nullptr, nullptr, weight, expected.data() + at, &rstd, 1,
                                     Heads::kDim, Heads::kEpsilon});
      EXPECT_EQ(heads.rstd[static_cast<std::size_t>(i * (Heads::kQ + Heads::kK) + h)], rstd);
    }
  }
  cpu::rotary<double>({expected.data(), heads.positions.data(), heads.cosine.data(), heads.sine.data(), Heads::kTokens,
                       Heads::kQ + Heads::kK, Heads::kDim, Heads::kStride, false});
  EXPECT_EQ(heads.y, expected);  // and what lies behind the heads is left alone
}

TEST(HeadNorm, IsTheSameOfEachKindAloneInPlaceAndWithKnownStatistics) {
  Heads heads;
  heads.forward();
  std::vector<double> keys = heads.x, queries = heads.x;
  NormedHeads<double> view = heads.view();
  view.q_heads = 0;
  view.x = keys.data() + Heads::kQ * Heads::kDim;
  view.rstd = nullptr;
  cpu::head_norm_forward<double>({view, keys.data() + Heads::kQ * Heads::kDim, Heads::kStride, Heads::kEpsilon});
  view = heads.view();
  view.k_heads = 0;
  view.x = queries.data();
  cpu::head_norm_forward<double>({view, queries.data(), Heads::kStride, 0.5, true});  // epsilon is in rstd
  for (std::size_t i = 0; i < heads.y.size(); ++i) {
    if (!Heads::in_a_head(i)) continue;
    const bool query = i % Heads::kStride < Heads::kQ * Heads::kDim;
    EXPECT_EQ(query ? queries[i] : keys[i], heads.y[i]) << i;
    EXPECT_EQ(query ? keys[i] : queries[i], heads.x[i]) << i;
  }
}

TEST(HeadNorm, BackwardIsTheGradientAndAddsUp) {
  Heads heads;
  heads.forward();
  std::vector<double> weights = random_values<double>(Heads::kCount, "dy");
  for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = Heads::in_a_head(i) ? weights[i] : 0;
  std::vector<double> d = weights, d_q(Heads::kDim, 2.0), d_k(Heads::kDim, 3.0);
  cpu::head_norm_backward<double>({heads.view(), d.data(), Heads::kStride, d_q.data(), d_k.data()});
  std::vector<double> frozen = weights;
  cpu::head_norm_backward<double>({heads.view(), frozen.data(), Heads::kStride, nullptr, nullptr});
  EXPECT_EQ(frozen, d);
  for (double& g : d_q) g -= 2;
  for (double& g : d_k) g -= 3;
  const auto objective = [&] {
    heads.forward();
    return weighted_sum(heads.y, weights);
  };
  expect_gradient(heads.x, d, objective, "d_x");
  expect_gradient(heads.q_weight, d_q, objective, "d_q_weight");
  expect_gradient(heads.k_weight, d_k, objective, "d_k_weight");
}

}  // namespace
}  // namespace alchemist
