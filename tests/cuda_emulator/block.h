// Runs the blocks of a CUDA grid on the CPU, one after the other, with one fibre for each thread. A thread runs until
// it meets others (barrier, shuffle, matrix instruction). What real hardware leaves open is made to hurt: shared memory
// starts as NaN, warps and lanes may run in a random order, asynchronous copies arrive as late or as early as they may.
// What real hardware punishes with a hang or with garbage is reported: threads that meet at different places, threads
// that have left while others wait, copies and matrix loads beyond shared memory or at a wrong alignment.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <source_location>
#include <stdexcept>
#include <vector>

#include "sim/base/random.h"
#include "tests/cuda_emulator/fibre.h"
#include "tests/cuda_emulator/warpgroup.h"

namespace cuda_emulator {

inline constexpr int kWarpSize = 32;
inline constexpr std::size_t kSharedAlignment = 1024;

enum class CopyTiming {
  kDeferred,  // cp.async fills its destination when it is waited for; until then the destination is NaN. Products of
              // warpgroups read their operands when they are waited for
  kEager,     // at once: finds writes into memory that others still read
};

struct Options {
  CopyTiming copies = CopyTiming::kDeferred;
  bool jitter = true;  // random order of warps and lanes; else in order
  std::uint64_t seed = 1;
};

struct Dimensions {
  unsigned x = 1;
  unsigned y = 1;
  unsigned z = 1;
};

class Block {
 public:
  Block(Dimensions size, std::size_t shared_bytes, const Options& options);

  // One block from start to end. `enter` is told the thread that runs from now on whenever that changes.
  void run(const std::function<void()>& kernel, const std::function<void(Dimensions)>& enter);

  // The block whose thread is running. Precondition: called from inside a kernel.
  static Block& current();

  // Called by the running thread.
  void barrier(std::source_location where);
  // The `count` threads of the running thread's warp or warpgroup meet; the last one calls `compute` with what each of
  // them gave.
  using Compute = std::function<void(void* const* operands)>;
  void meet(std::size_t count, void* operands, const Compute& compute, std::source_location where);
  void warp_meet(void* operands, const Compute& compute, std::source_location where) {
    meet(kWarpSize, operands, compute, where);
  }
  // Of the running thread.
  Warpgroup& warpgroup() { return warpgroups_[running_ / kWarpgroupSize]; }
  void copy_async(void* shared, const void* global, std::size_t bytes, bool fill_zero);
  void commit_copies();
  void wait_copies(std::size_t groups_in_flight);
  // What the running thread's copies have brought may be read by products of warpgroups from now on.
  void fence_for_products();

  std::byte* shared() const { return shared_.get(); }
  const Options& options() const { return options_; }
  // Fails unless these bytes lie in shared memory, at a multiple of 16.
  void check_shared(const void* address, std::size_t bytes, const char* what) const;
  // The 16 bytes of shared memory that a product reads: fails unless they are there and no copy into them is unfenced.
  const std::byte* product_operand(std::size_t offset) const;
  bool in_shared(const void* address) const;

 private:
  struct Copy {
    void* to;
    const void* from;
    std::size_t bytes;
    bool zero;
    bool done;
  };
  enum class State { kReady, kAtBarrier, kAtWarp, kLeft };
  struct Thread {
    Fibre fibre;
    State state = State::kReady;
    std::source_location where;
    void* operands = nullptr;
    std::vector<Copy> copies;              // issued since the last commit
    std::deque<std::vector<Copy>> groups;  // committed, oldest first
    std::vector<std::size_t> landed;       // 16-byte pieces of shared memory that copies brought since the last fence
  };

  Dimensions index_of(std::size_t thread) const;
  void run_warp(std::size_t warp, const std::function<void(Dimensions)>& enter);
  void release_barrier();
  [[noreturn]] void report_deadlock() const;
  std::vector<std::size_t> ready_warps() const;
  void yield_as(State state, std::source_location where);
  static void finish(const Copy& copy);
  std::size_t piece_of(const void* address) const;

  Dimensions size_;
  std::size_t shared_bytes_;
  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
  };
  std::unique_ptr<std::byte, Free> shared_;
  Options options_;
  alchemist::RandomStream random_;
  std::vector<Thread> threads_;
  std::vector<Warpgroup> warpgroups_;
  std::vector<bool> unfenced_;  // 16-byte pieces of shared memory that products must not read yet
  std::size_t running_ = 0;
  std::exception_ptr failure_;
};

}  // namespace cuda_emulator
