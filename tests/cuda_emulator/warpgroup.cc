#include "tests/cuda_emulator/warpgroup.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "tests/cuda_emulator/block.h"

namespace cuda_emulator {
namespace {

constexpr int kRows = 64, kSum = 16;

float from_bf16(std::uint32_t bits) { return std::bit_cast<float>(bits << 16); }

// Eight elements of an operand that lie beside each other in shared memory, by the manual's canonical layouts for rows
// of 128 swizzled bytes: of the sum from `along` on, or, where the operand lies across it, of what `across` counts,
// rows of the left operand or columns of the right one.
void read_eight(const Block& block, const Product::Operand& operand, int across, int along, std::uint16_t* to) {
  const std::uint64_t d = operand.descriptor;
  const auto field = [&](int first) { return static_cast<std::size_t>(d >> first & 0x3fff) << 4; };
  const std::size_t start = field(0), leading = field(16), stride = field(32);
  if (d >> 62 != 1 || (d >> 49 & 7) != 0) throw EmulationError("a product's operand that is not swizzled by 128 bytes");
  const auto u = [](int i) { return static_cast<std::size_t>(i); };
  const std::size_t linear =
      operand.across_sum ? u(across / 64) * leading + u(along / 8) * stride + u(along % 8) * 128 + u(across % 64) * 2
                         : u(across / 8) * stride + u(across % 8) * 128 + u(along) * 2;
  const std::size_t address = start + linear;
  std::memcpy(to, block.product_operand(address ^ (address >> 3 & 0x70)), 16);
}

// [across][kSum] of an operand.
std::vector<float> read(const Block& block, const Product::Operand& operand, int across) {
  std::vector<float> values(static_cast<std::size_t>(across * kSum));
  std::uint16_t eight[8];
  const int step_across = operand.across_sum ? 8 : 1, step_along = operand.across_sum ? 1 : 8;
  for (int i = 0; i < across; i += step_across) {
    for (int k = 0; k < kSum; k += step_along) {
      read_eight(block, operand, i, k, eight);
      for (int e = 0; e < 8; ++e) {
        const int row = operand.across_sum ? i + e : i, column = operand.across_sum ? k : k + e;
        values[static_cast<std::size_t>(row * kSum + column)] = from_bf16(eight[e]);
      }
    }
  }
  return values;
}

struct Factors {
  std::vector<float> left, right;  // [row][kSum], [column][kSum]
};

Factors read(const Block& block, const Product& product) {
  if (!product.left_in_registers)
    return {read(block, product.left, kRows), read(block, product.right, 8 * product.pieces)};
  std::vector<float> left(kRows * kSum);
  for (int row = 0; row < kRows; ++row) {
    for (int k = 0; k < kSum; ++k) {
      const int thread = row / 16 * 32 + row % 8 * 4 + k % 8 / 2;
      const std::uint32_t pair = product.registers[thread][row % 16 / 8 + k / 8 * 2];
      left[static_cast<std::size_t>(row * kSum + k)] = from_bf16(k % 2 == 0 ? pair & 0xffff : pair >> 16);
    }
  }
  return {std::move(left), read(block, product.right, 8 * product.pieces)};
}

}  // namespace

void Warpgroup::start(const Block& block, const Product& product, bool at_once) {
  if (!fenced_) throw EmulationError("a product starts and no wgmma.fence has come since the last wait");
  if (!at_once) read(block, product);  // for its checks
  const auto floats = static_cast<std::size_t>(product.pieces) * 4;
  Hidden& hidden = hidden_[product.sums[0]];
  if (hidden.products++ == 0) {
    hidden.values.resize(kWarpgroupSize * floats);
    for (std::size_t thread = 0; thread < kWarpgroupSize; ++thread) {
      std::copy_n(product.sums[thread], floats, hidden.values.begin() + static_cast<std::ptrdiff_t>(thread * floats));
      std::fill_n(product.sums[thread], floats, std::numeric_limits<float>::quiet_NaN());
    }
  }
  if (at_once) compute(block, product);
  open_.push_back({product, at_once});
}

void Warpgroup::commit() {
  groups_.push_back(std::move(open_));
  open_.clear();
}

void Warpgroup::wait(const Block& block, std::size_t groups_in_flight) {
  fenced_ = false;
  for (; groups_.size() > groups_in_flight; groups_.pop_front())
    for (const Started& started : groups_.front()) finish(block, started);
}

void Warpgroup::compute(const Block& block, const Product& product) {
  const Factors f = read(block, product);
  const int columns = 8 * product.pieces;
  std::vector<float> right(f.right.size());  // [kSum][column]
  for (int column = 0; column < columns; ++column)
    for (int k = 0; k < kSum; ++k)
      right[static_cast<std::size_t>(k * columns + column)] = f.right[static_cast<std::size_t>(column * kSum + k)];
  std::vector<float> result(static_cast<std::size_t>(kRows * columns));
  for (int row = 0; row < kRows; ++row) {
    float* to = result.data() + row * columns;
    for (int k = 0; k < kSum; ++k) {
      const float factor = f.left[static_cast<std::size_t>(row * kSum + k)];
      for (int column = 0; column < columns; ++column)
        to[column] += factor * right[static_cast<std::size_t>(k * columns + column)];
    }
  }
  float* sums = hidden_.at(product.sums[0]).values.data();
  for (int thread = 0; thread < kWarpgroupSize; ++thread) {
    for (int i = 0; i < 4 * product.pieces; ++i, ++sums) {
      const int row = thread / 32 * 16 + thread % 32 / 4 + i % 4 / 2 * 8, column = i / 4 * 8 + thread % 4 * 2 + i % 2;
      *sums = (product.add ? *sums : 0.0F) + result[static_cast<std::size_t>(row * columns + column)];
    }
  }
}

void Warpgroup::finish(const Block& block, const Started& started) {
  if (!started.done) compute(block, started.product);
  const auto entry = hidden_.find(started.product.sums[0]);
  if (--entry->second.products > 0) return;
  const auto floats = static_cast<std::ptrdiff_t>(started.product.pieces) * 4;
  for (std::ptrdiff_t thread = 0; thread < kWarpgroupSize; ++thread)
    std::copy_n(entry->second.values.begin() + thread * floats, floats, started.product.sums[thread]);
  hidden_.erase(entry);
}

}  // namespace cuda_emulator
