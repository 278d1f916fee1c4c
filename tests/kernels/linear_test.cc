#include "kernels/linear.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "kernels/cpu/blas.h"
#include "kernels/cpu/product.h"
#include "tests/kernels/support.h"

namespace alchemist {
namespace {

// Rows that do not fill their strides, a scale, and something to add to.
struct Linear {
  std::int64_t tokens = 5, in = 4, out = 3, x_stride = 6, y_stride = 7;
  std::vector<double> x = random_values<double>(tokens * x_stride, "x"), weight = random_values<double>(out * in, "w");
  std::vector<double> bias = random_values<double>(out, "bias"), y = random_values<double>(tokens * y_stride, "y");

  std::vector<double> forward(bool accumulate, double scale) const {
    std::vector<double> result = y;
    cpu::linear_forward<double>(
        {x.data(), weight.data(), bias.data(), result.data(), tokens, in, out, x_stride, y_stride, scale, accumulate});
    return result;
  }
};

TEST(Linear, ForwardIsTheFormula) {
  const Linear linear;
  for (const bool accumulate : {false, true}) {
    const std::vector<double> result = linear.forward(accumulate, 0.5);
    std::vector<double> expected = linear.y;  // what lies between the rows stays
    for (std::int64_t i = 0; i < linear.tokens; ++i) {
      for (std::int64_t o = 0; o < linear.out; ++o) {
        double sum = 0;
        for (std::int64_t j = 0; j < linear.in; ++j) {
          sum += linear.x[static_cast<std::size_t>(i * 6 + j)] * linear.weight[static_cast<std::size_t>(o * 4 + j)];
        }
        double& y = expected[static_cast<std::size_t>(i * 7 + o)];
        y = 0.5 * sum + linear.bias[static_cast<std::size_t>(o)] + (accumulate ? y : 0);
      }
    }
    expect_near(result, expected, 1e-14, accumulate ? "accumulated" : "overwritten");
  }
}

TEST(Linear, Gradients) {
  Linear linear;
  // Weights of the objective: zero between the rows of y.
  std::vector<double> d_y = random_values<double>(linear.tokens * linear.y_stride, "dy");
  for (std::size_t i = 0; i < d_y.size(); ++i) d_y[i] = i % 7 < 3 ? d_y[i] : 0;
  std::vector<double> d_x(linear.x.size(), 0.0), d_weight(linear.weight.size(), 1.0), d_bias(3, 1.0);
  cpu::linear_input_gradient<double>({d_y.data(), linear.weight.data(), d_x.data(), 5, 4, 3, 7, 6, 0.5, false});
  cpu::linear_weight_gradient<double>({d_y.data(), linear.x.data(), d_weight.data(), nullptr, 5, 4, 3, 7, 6, 0.5});
  cpu::linear_weight_gradient<double>(
      {d_y.data(), linear.x.data(), std::vector<double>(12).data(), d_bias.data(), 5, 4, 3, 7, 6, 1});
  for (double& d : d_weight) d -= 1;
  for (double& d : d_bias) d -= 1;
  const auto objective = [&] { return weighted_sum(linear.forward(false, 0.5), d_y); };
  expect_gradient(linear.x, d_x, objective, "d_x");
  expect_gradient(linear.weight, d_weight, objective, "d_weight");
  expect_gradient(linear.bias, d_bias, objective, "d_bias");

  std::vector<double> twice = d_x;
  cpu::linear_input_gradient<double>({d_y.data(), linear.weight.data(), twice.data(), 5, 4, 3, 7, 6, 0.5, true});
  for (std::size_t i = 0; i < twice.size(); ++i) EXPECT_NEAR(twice[i], 2 * d_x[i], 1e-14);
}

// A product of random matrices whose rows lie `gap` elements apart; what lies between them is no number.
struct RandomProduct {
  RandomProduct(std::int64_t m, bool transpose_a, bool transpose_b, float beta, std::int64_t n = 17) {
    constexpr std::int64_t k = 70, gap = 3;
    product = {
        .transpose_a = transpose_a, .transpose_b = transpose_b, .m = m, .n = n, .k = k, .alpha = 0.5f, .beta = beta};
    product.a = fill(a, transpose_a ? k : m, transpose_a ? m : k, product.a_stride, gap, "a");
    product.b = fill(b, transpose_b ? n : k, transpose_b ? k : n, product.b_stride, gap, "b");
    product.c = fill(c, m, n, product.c_stride, gap, "c");
    for (std::int64_t i = 0; beta == 0 && i < m; ++i) product.c[i * product.c_stride + i % n] = NAN;
  }

  // The whole of c, rows and what lies between them.
  std::vector<float> by(void (*multiply)(const cpu::Product<float>&)) const {
    std::vector<float> result = c;
    cpu::Product<float> copy = product;
    copy.c = result.data();
    multiply(copy);
    return result;
  }

  static float* fill(std::vector<float>& to, std::int64_t rows, std::int64_t columns, std::int64_t& stride,
                     std::int64_t gap, const char* name) {
    stride = columns + gap;
    to.assign(static_cast<std::size_t>(rows * stride), NAN);
    const auto values = random_values<float>(rows * columns, name);
    for (std::int64_t i = 0; i < rows; ++i) {
      std::copy_n(values.begin() + i * columns, columns, to.begin() + i * stride);
    }
    return to.data();
  }

  std::vector<float> a, b, c;
  cpu::Product<float> product;
};

// The fast paths against the specification, with as many rows as take each of them: float has 6e-8; sums of 70 terms of
// size 1 are wrong by some 1e-6. Nothing but the rows of c is written, and beta = 0 overwrites what is no number.
TEST(Linear, BlasIsThePlainProduct) {
  if (!cpu::blas()) GTEST_SKIP() << "OpenBLAS not found: there is only the plain product";
  for (const std::int64_t m : {1, 2, 3, 4, 6, 11, 33, 47, 49, 51}) {
    for (const int variant : {0, 1, 2, 3, 4, 5, 6, 7}) {
      SCOPED_TRACE("rows: " + std::to_string(m) + ", variant: " + std::to_string(variant));
      const RandomProduct random(m, variant & 1, variant & 2, variant & 4 ? 0.0F : 2.0F);
      const auto fast = random.by(cpu::product<float>), plain = random.by(cpu::plain_product<float>);
      for (std::int64_t i = 0; i < m; ++i) {
        for (std::int64_t j = 0; j < random.product.c_stride; ++j) {
          const auto at = static_cast<std::size_t>(i * random.product.c_stride + j);
          if (j < random.product.n) {
            ASSERT_NEAR(fast[at], plain[at], 2e-5) << i << ", " << j;
          } else {
            ASSERT_TRUE(std::isnan(fast[at])) << i << ", " << j;
          }
        }
      }
    }
  }
}

// To the bit: results in double, and those without OpenBLAS, are what they were before there were blocks. Blocks have
// 64 rows and columns; nothing but the rows of c is written.
TEST(Linear, BlocksAddTheSameTermsInTheSameOrder) {
  for (const std::int64_t m : {1, 5}) {
    for (const std::int64_t n : {3, 64, 130}) {
      for (const int variant : {0, 1, 2, 3, 4, 5, 6, 7}) {
        SCOPED_TRACE("rows: " + std::to_string(m) + ", columns: " + std::to_string(n) +
                     ", variant: " + std::to_string(variant));
        const RandomProduct random(m, variant & 1, variant & 2, variant & 4 ? 0.0F : 2.0F, n);
        const auto blocks = random.by(cpu::blocked_product<float>), plain = random.by(cpu::plain_product<float>);
        EXPECT_EQ(0, std::memcmp(blocks.data(), plain.data(), plain.size() * sizeof(float)));
      }
    }
  }
}

// A sum without terms is 0, whichever path the number of rows takes.
TEST(Linear, WithoutTermsTheProductIsBetaTimesC) {
  for (const std::int64_t m : {1, 3, 4, 6, 50}) {
    std::vector<float> nothing(1), c(static_cast<std::size_t>(m), 3.0F);
    cpu::product<float>({.m = m,
                         .n = 1,
                         .a = nothing.data(),
                         .a_stride = 1,
                         .b = nothing.data(),
                         .b_stride = 1,
                         .beta = 2,
                         .c = c.data(),
                         .c_stride = 1});
    EXPECT_EQ(c, std::vector<float>(static_cast<std::size_t>(m), 6.0F)) << m;
  }
}

// beta = 0 overwrites whatever was there, also what is no number.
TEST(Linear, OverwritesNotANumber) {
  const std::vector<double> one = {1};
  std::vector<double> y = {NAN};
  cpu::linear_forward<double>({one.data(), one.data(), nullptr, y.data(), 1, 1, 1, 1, 1});
  EXPECT_EQ(y[0], 1);
}

}  // namespace
}  // namespace alchemist
