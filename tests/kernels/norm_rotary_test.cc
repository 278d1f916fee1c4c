#include <complex>

#include "kernels/rms_norm.h"
#include "kernels/rotary.h"
#include "tests/kernels/support.h"

namespace alchemist {
namespace {

constexpr double kEpsilon = 1e-5;

struct Norm {
  std::int64_t tokens = 5, width = 13;  // 13: one run of eight lanes and a rest
  std::vector<double> x = random_values<double>(tokens * width, "x"),
                      branch = random_values<double>(tokens * width, "b");
  std::vector<double> weight = random_values<double>(width, "w");
  std::vector<double> sum = x, y = x, rstd = std::vector<double>(static_cast<std::size_t>(tokens));

  void forward(bool with_branch) {
    cpu::rms_norm_forward<double>({x.data(), with_branch ? branch.data() : nullptr, with_branch ? sum.data() : nullptr,
                                   weight.data(), y.data(), rstd.data(), tokens, width, kEpsilon});
  }
};

TEST(RmsNorm, IsTheFormula) {
  for (const bool with_branch : {false, true}) {
    Norm norm;
    norm.forward(with_branch);
    for (std::int64_t i = 0; i < norm.tokens; ++i) {
      std::vector<double> row;
      double squares = 0;
      for (std::int64_t j = 0; j < norm.width; ++j) {
        const auto at = static_cast<std::size_t>(i * norm.width + j);
        row.push_back(norm.x[at] + (with_branch ? norm.branch[at] : 0));
        squares += row.back() * row.back();
      }
      const double rstd = std::pow(squares / 13 + kEpsilon, -0.5);
      EXPECT_NEAR(norm.rstd[static_cast<std::size_t>(i)], rstd, 1e-14);
      for (std::int64_t j = 0; j < norm.width; ++j) {
        const auto at = static_cast<std::size_t>(i * norm.width + j);
        EXPECT_NEAR(norm.y[at], row[static_cast<std::size_t>(j)] * rstd * norm.weight[static_cast<std::size_t>(j)],
                    1e-14);
        EXPECT_EQ(norm.sum[at], with_branch ? row[static_cast<std::size_t>(j)] : norm.x[at]);
      }
    }
  }
}

TEST(RmsNorm, RebuildIsTheForwardToTheBit) {
  Norm norm;
  norm.forward(false);
  std::vector<double> rebuilt(norm.y.size());
  cpu::rms_norm_rebuild<double>(
      {norm.x.data(), norm.rstd.data(), norm.weight.data(), rebuilt.data(), norm.tokens, norm.width});
  EXPECT_EQ(rebuilt, norm.y);
}

TEST(RmsNorm, BackwardIsTheGradientAndAddsUp) {
  Norm norm;
  norm.forward(false);
  const auto d_y = random_values<double>(norm.tokens * norm.width, "dy");
  std::vector<double> d_x(norm.x.size(), 3.0), d_weight(norm.weight.size(), 2.0);
  cpu::rms_norm_backward<double>({norm.x.data(), norm.rstd.data(), norm.weight.data(), d_y.data(), d_x.data(),
                                  d_weight.data(), norm.tokens, norm.width});
  for (double& d : d_x) d -= 3;
  for (double& d : d_weight) d -= 2;
  const auto objective = [&] {
    norm.forward(false);
    return weighted_sum(norm.y, d_y);
  };
  expect_gradient(norm.x, d_x, objective, "d_x");
  expect_gradient(norm.weight, d_weight, objective, "d_weight");
}

// An independent formulation: the pair as a complex number, multiplied by exp(i angle).
TEST(Rotary, IsAComplexRotation) {
  const std::int64_t tokens = 4, heads = 3, dim = 6, stride = 20;
  const std::vector<std::int32_t> positions = {0, 7, 2, 7};
  std::vector<double> cosine, sine;
  for (int position = 0; position < 8; ++position) {
    for (int j = 0; j < 3; ++j) {
      cosine.push_back(std::cos(position * std::pow(100.0, -j / 3.0)));
      sine.push_back(std::sin(position * std::pow(100.0, -j / 3.0)));
    }
  }
  const auto before = random_values<double>(tokens * stride, "x");
  std::vector<double> x = before;
  cpu::rotary<double>({x.data(), positions.data(), cosine.data(), sine.data(), tokens, heads, dim, stride, false});
  for (std::int64_t i = 0; i < tokens; ++i) {
    for (std::int64_t h = 0; h < heads; ++h) {
      for (std::int64_t j = 0; j < 3; ++j) {
        const auto low = static_cast<std::size_t>(i * stride + h * dim + j), high = low + 3;
        const double angle = positions[static_cast<std::size_t>(i)] * std::pow(100.0, -static_cast<double>(j) / 3.0);
        const auto rotated = std::complex(before[low], before[high]) * std::polar(1.0, angle);
        EXPECT_NEAR(x[low], rotated.real(), 1e-14);
        EXPECT_NEAR(x[high], rotated.imag(), 1e-14);
      }
    }
    // What lies beside the heads in a row is left alone.
    for (auto at = static_cast<std::size_t>(i * stride + heads * dim); at < static_cast<std::size_t>((i + 1) * stride);
         ++at) {
      EXPECT_EQ(x[at], before[at]);
    }
  }
  // The inverse undoes it; being its transpose as well, it is the gradient.
  cpu::rotary<double>({x.data(), positions.data(), cosine.data(), sine.data(), tokens, heads, dim, stride, true});
  expect_near(x, before, 1e-14, "rotated back");
}

TEST(Rotary, InverseIsTheGradient) {
  const std::vector<std::int32_t> positions = {1, 0};
  const std::vector<double> cosine = {1, 1, 0.6, 0.8}, sine = {0, 0, 0.8, -0.6};
  std::vector<double> x = random_values<double>(2 * 8, "x"), gradient = random_values<double>(2 * 8, "dy");
  const std::vector<double> weights = gradient;
  cpu::rotary<double>({gradient.data(), positions.data(), cosine.data(), sine.data(), 2, 2, 4, 8, true});
  expect_gradient(
      x, gradient,
      [&] {
        std::vector<double> y = x;
        cpu::rotary<double>({y.data(), positions.data(), cosine.data(), sine.data(), 2, 2, 4, 8, false});
        return weighted_sum(y, weights);
      },
      "d_x");
}

}  // namespace
}  // namespace alchemist
