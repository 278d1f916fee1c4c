#include <numeric>

#include "kernels/cpu/exponential.h"
#include "kernels/embedding.h"
#include "kernels/gated_activation.h"
#include "kernels/record_copy.h"
#include "kernels/residual.h"
#include "kernels/rounding.h"
#include "tests/kernels/support.h"

namespace alchemist {
namespace {

// 2.4e-7 is four units in the last place of a float near 1: the series and six roundings.
TEST(Exponential, FloatIsCloseToTheLibrarys) {
  for (double x = -87.3; x < 88.7; x += 0.00137) {
    const auto argument = static_cast<float>(x);
    const double exact = std::exp(static_cast<double>(argument));
    ASSERT_NEAR(cpu::exponential(argument) / exact, 1, 3e-7) << x;
  }
  EXPECT_EQ(cpu::exponential(0.0f), 1.0f);
  EXPECT_EQ(cpu::exponential(-1000.0f), 0.0f);
  EXPECT_EQ(cpu::exponential(-HUGE_VALF), 0.0f);
  EXPECT_EQ(cpu::exponential(1000.0f), HUGE_VALF);
  EXPECT_TRUE(std::isnan(cpu::exponential(NAN)));
}

struct Gated {
  std::int64_t tokens = 3, width = 5;
  std::vector<double> gate_up = random_values<double>(tokens * 2 * width, "gate_up", 2);
  std::vector<double> gated = std::vector<double>(static_cast<std::size_t>(tokens * width));
  void forward() { cpu::gated_activation_forward<double>({gate_up.data(), gated.data(), tokens, width}); }
};

TEST(GatedActivation, IsTheFormula) {
  Gated g;
  g.forward();
  for (std::size_t i = 0; i < 3; ++i) {
    for (std::size_t j = 0; j < 5; ++j) {
      const double gate = g.gate_up[i * 10 + j], up = g.gate_up[i * 10 + 5 + j];
      EXPECT_NEAR(g.gated[i * 5 + j], up * gate * 0.5 * (1 + std::tanh(gate / 2)), 1e-14);  // sigmoid by its other name
    }
  }
}

TEST(GatedActivation, BackwardIsTheGradientAlsoInPlace) {
  Gated g;
  g.forward();
  const auto d_gated = random_values<double>(g.tokens * g.width, "d_gated");
  std::vector<double> d_gate_up(g.gate_up.size()), rebuilt(g.gated.size());
  cpu::gated_activation_backward<double>(
      {g.gate_up.data(), d_gated.data(), d_gate_up.data(), rebuilt.data(), g.tokens, g.width});
  EXPECT_EQ(rebuilt, g.gated);
  std::vector<double> in_place = g.gate_up, both = d_gated;
  cpu::gated_activation_backward<double>(
      {in_place.data(), both.data(), in_place.data(), both.data(), g.tokens, g.width});
  EXPECT_EQ(in_place, d_gate_up);
  EXPECT_EQ(both, g.gated);
  expect_gradient(
      g.gate_up, d_gate_up,
      [&] {
        g.forward();
        return weighted_sum(g.gated, d_gated);
      },
      "d_gate_up");
}

// Rows of 10 values behind 3 others of the record, whose pages of 16 values come in the order 2, 0, 1.
TEST(GatedActivation, KeepsWhatItReads) {
  Gated g;
  g.forward();
  const std::vector<double> alone = std::exchange(g.gated, std::vector<double>(g.gated.size()));
  std::vector<double> memory(48, -7);
  const std::vector<std::int32_t> pages = {2, 0, 1};
  const PagedBytes record{reinterpret_cast<std::byte*>(memory.data()), 16 * sizeof(double), pages.data(),
                          3 * sizeof(double)};
  cpu::gated_activation_forward<double>({g.gate_up.data(), g.gated.data(), g.tokens, g.width, record});
  EXPECT_EQ(g.gated, alone);
  std::vector<double> expected(48, -7);
  for (std::size_t i = 0; i < g.gate_up.size(); ++i) {
    const std::size_t at = 3 + i;
    expected[static_cast<std::size_t>(pages[at / 16]) * 16 + at % 16] = g.gate_up[i];
  }
  EXPECT_EQ(memory, expected);
}

// Far out the sigmoid is 0 or 1, and nothing is infinite or no number.
TEST(GatedActivation, Extremes) {
  const std::vector<float> gate_up = {-200, 200, 1, 1}, d_gated = {1, 1};
  std::vector<float> gated(2), d_gate_up(4);
  cpu::gated_activation_forward<float>({gate_up.data(), gated.data(), 1, 2});
  cpu::gated_activation_backward<float>({gate_up.data(), d_gated.data(), d_gate_up.data(), nullptr, 1, 2});
  EXPECT_EQ(gated, (std::vector<float>{0, 200}));
  EXPECT_EQ(d_gate_up, (std::vector<float>{0, 1, 0, 200}));
}

TEST(Embedding, LooksUpAndAddsUp) {
  const std::vector<std::int32_t> tokens = {2, 0, 2};
  const std::vector<double> table = {1, 2, 3, 4, 5, 6}, d_out = {10, 20, 30, 40, 50, 60};
  std::vector<double> out(6), d_table(6, 1.0);
  cpu::embedding_forward<double>({tokens.data(), table.data(), out.data(), 3, 2});
  EXPECT_EQ(out, (std::vector<double>{5, 6, 1, 2, 5, 6}));
  cpu::embedding_backward<double>({tokens.data(), d_out.data(), d_table.data(), 3, 2, 3});
  EXPECT_EQ(d_table, (std::vector<double>{31, 41, 1, 1, 61, 81}));
}

TEST(Residual, MayWriteOverItsOperands) {
  std::vector<double> a = {1, 2}, b = {10, 20};
  cpu::residual_add<double>({a.data(), b.data(), a.data(), 2});
  EXPECT_EQ(a, (std::vector<double>{11, 22}));
}

// Rows of 12 bytes out of rows of 20, over pages of 32 bytes given out backwards, from byte 20 of the first on: rows
// cross page borders. Back into another tensor they are the same, and nothing else was touched.
TEST(RecordCopy, RowsCrossPages) {
  std::vector<std::int32_t> tensor(5 * 7), other(5 * 7, -1), memory(8 * 6, -1);
  std::iota(tensor.begin(), tensor.end(), 0);
  const std::vector<std::int32_t> pages = {4, 2, 1};
  RecordCopy copy{};
  copy.record = {reinterpret_cast<std::byte*>(memory.data()), 32, pages.data(), 20};
  copy.rows = 5;
  copy.tensor_count = 1;
  copy.tensors[0] = {reinterpret_cast<std::byte*>(tensor.data()), 12, 20};
  copy.direction = RecordDirection::kToRecord;
  cpu::record_copy(copy);
  // Byte 20 of page 4 is element 4 * 8 + 5; the first row fills it, the second begins in page 2.
  EXPECT_EQ(memory[37], 0);
  EXPECT_EQ(memory[39], 2);
  EXPECT_EQ(memory[16], 5);
  EXPECT_EQ(std::count(memory.begin(), memory.end(), -1), 8 * 6 - 15);
  copy.tensors[0].rows = reinterpret_cast<std::byte*>(other.data());
  copy.direction = RecordDirection::kFromRecord;
  cpu::record_copy(copy);
  for (std::size_t i = 0; i < other.size(); ++i)
    EXPECT_EQ(other[i], i < 25 && i % 5 < 3 ? static_cast<std::int32_t>(i) : -1);
}

// Two tensors, of 8 and 4 bytes a row. Row 2 is the second of three tokens of a record of both, row 0 the first of two
// of a record that has the second tensor alone; row 1 has no place.
TEST(KeepRows, EachRowGoesIntoItsPlaceInARecordOfItsOwn) {
  const std::vector<std::int32_t> wide = {10, 11, 12, 13, 14, 15}, narrow = {20, 21, 22}, pages = {0};
  std::vector<std::int32_t> first(10, -1), second(3, -1);
  const auto record = [&](std::vector<std::int32_t>& memory) -> PagedBytes {
    return {reinterpret_cast<std::byte*>(memory.data()), 1 << 20, pages.data(), 4};
  };
  const std::vector<RowPlace> places = {{record(first), 2, 3, 1, 0}, {}, {record(second), 0, 2, 0, 1}};
  KeepRows call{};
  call.places = places.data();
  call.count = 3;
  call.tensor_count = 2;
  call.tensors[0] = {reinterpret_cast<const std::byte*>(wide.data()), 8, 8};
  call.tensors[1] = {reinterpret_cast<const std::byte*>(narrow.data()), 4, 4};
  cpu::keep_rows(call);
  EXPECT_EQ(first, (std::vector<std::int32_t>{-1, -1, -1, 14, 15, -1, -1, -1, 22, -1}));
  EXPECT_EQ(second, (std::vector<std::int32_t>{-1, 20, -1}));
}

// By hand: 1 + 2^-8 lies half-way between 1 and 1 + 2^-7 and goes to the even 1; three times as far goes up to 1 +
// 2^-6.
TEST(Rounding, BFloat16ToNearestEven) {
  EXPECT_EQ(to_float(to_bfloat16(1 + 0x1p-8f)), 1.0f);
  EXPECT_EQ(to_float(to_bfloat16(1 + 3 * 0x1p-8f)), 1 + 0x1p-6f);
  EXPECT_EQ(to_float(to_bfloat16(1 + 0x1.1p-8f)), 1 + 0x1p-7f);
  EXPECT_EQ(to_float(to_bfloat16(-2.5f)), -2.5f);
  EXPECT_EQ(to_float(to_bfloat16(3.4e38f)), HUGE_VALF);  // above the largest by more than half a step
  EXPECT_TRUE(std::isnan(to_float(to_bfloat16(NAN))));
}

}  // namespace
}  // namespace alchemist
