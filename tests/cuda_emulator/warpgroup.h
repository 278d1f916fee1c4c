// The products of a warpgroup (PTX's wgmma) and the order in which they may be seen: they are queued in groups, and
// what they add to is NaN from their start until they are waited for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <stdexcept>
#include <vector>

namespace cuda_emulator {

class Block;

// What a kernel does that a GPU would not forgive.
class EmulationError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

inline constexpr int kWarpgroupSize = 128;

// One product d = a b or d += a b of 64x16 and 16x(8 pieces), bf16 with f32 sums.
struct Product {
  struct Operand {
    std::uint64_t descriptor = 0;  // of shared memory
    bool across_sum = false;       // the manual's "transposed"
  };
  int pieces = 0;
  bool add = true;
  bool left_in_registers = false;
  Operand left, right;
  float* sums[kWarpgroupSize] = {};                 // [pieces][4] of each thread
  std::uint32_t registers[kWarpgroupSize][4] = {};  // the left operand, if it is there
};

class Warpgroup {
 public:
  void fence_registers() { fenced_ = true; }
  // Fails if an operand lies where it cannot be read, or if no fence came since products were last waited for.
  // `at_once`: its operands are read now, else when it is waited for.
  void start(const Block& block, const Product& product, bool at_once);
  void commit();
  void wait(const Block& block, std::size_t groups_in_flight);

 private:
  // What is in the registers that a product adds to, as the hardware knows it, while threads must not look.
  struct Hidden {
    std::vector<float> values;  // [thread][piece][4]
    int products = 0;           // on their way
  };
  struct Started {
    Product product;
    bool done;
  };
  void compute(const Block& block, const Product& product);
  void finish(const Block& block, const Started& started);

  bool fenced_ = false;
  std::vector<Started> open_;
  std::deque<std::vector<Started>> groups_;  // committed, oldest first
  std::map<float*, Hidden> hidden_;          // by the sums of the first thread
};

}  // namespace cuda_emulator
