#include "tests/cuda_cases/bench.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>

#include "kernels/cpu/device.h"
#include "sim/base/random.h"

namespace alchemist::cases {
namespace {

constexpr std::int64_t kReferenceBytes = std::int64_t{64} << 30;

double norm(const Values& values) {
  double sum = 0;
  for (double x : values) sum += x * x;
  return std::sqrt(sum);
}

// In the norm, and for each element beside its own size and the usual one: one wrong element in many must not hide.
void expect_near(const Output& gpu, const Output& cpu) {
  SCOPED_TRACE(gpu.name);
  ASSERT_EQ(gpu.values.size(), cpu.values.size());
  const double whole = norm(cpu.values);
  const double usual = whole / std::sqrt(static_cast<double>(std::max<std::size_t>(cpu.values.size(), 1)));
  constexpr double kOutlier = 16;
  double error = 0;
  int shown = 0;
  for (std::size_t i = 0; i < cpu.values.size(); ++i) {
    const double difference = gpu.values[i] - cpu.values[i];
    error += difference * difference;
    const bool near = std::abs(difference) <= kOutlier * cpu.tolerance * (std::abs(cpu.values[i]) + usual);
    if (!near && ++shown <= 5)
      ADD_FAILURE() << "element " << i << " is " << gpu.values[i] << ", expected " << cpu.values[i];
  }
  EXPECT_LE(std::sqrt(error), cpu.tolerance * whole) << "relative error " << std::sqrt(error) / whole;
}

bool same_bits(const Values& a, const Values& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (std::bit_cast<std::uint64_t>(a[i]) != std::bit_cast<std::uint64_t>(b[i])) return false;
  return true;
}

}  // namespace

BFloat16 to_bf16(double value) {
  const auto bits = std::bit_cast<std::uint32_t>(static_cast<float>(value));
  if (std::isnan(value)) return {0x7fff};
  return {static_cast<std::uint16_t>((bits + 0x7fffU + (bits >> 16 & 1U)) >> 16)};
}

double from_bf16(BFloat16 value) { return std::bit_cast<float>(std::uint32_t{value.bits} << 16); }

Values normal_values(std::int64_t count, const std::string& name, double deviation) {
  RandomStream random(7, name);
  Values values;
  values.reserve(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) values.push_back(from_bf16(to_bf16(deviation * random.normal())));
  return values;
}

std::vector<Case> all_cases(bool large) {
  std::vector<Case> all;
  for (const auto& cases : {elementwise_cases(large), norm_cases(large), loss_cases(large), linear_cases(large),
                            copy_cases(large), attention_cases(large), paged_attention_cases(large)})
    all.insert(all.end(), cases.begin(), cases.end());
  return all;
}

void expect_equal(const Case& example, Device<BFloat16>& gpu, const std::function<void()>& before_each,
                  Repeats repeats) {
  const auto cpu = cpu::make_device<double>(kReferenceBytes);
  const Outputs expected = example.on_cpu(*cpu);
  before_each();
  const Outputs first = example.on_gpu(gpu);
  ASSERT_EQ(first.size(), expected.size());
  for (std::size_t i = 0; i < first.size(); ++i) expect_near(first[i], expected[i]);
  before_each();
  const Outputs second = example.on_gpu(gpu);
  for (std::size_t i = 0; i < first.size(); ++i) {
    if (repeats == Repeats::kToTheBit) {
      EXPECT_TRUE(same_bits(first[i].values, second[i].values)) << first[i].name << " differs from run to run";
    } else {
      expect_near(second[i], expected[i]);
    }
  }
}

}  // namespace alchemist::cases
