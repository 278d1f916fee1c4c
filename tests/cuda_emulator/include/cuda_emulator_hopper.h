// The instructions of kernels/cuda/hopper_intrinsics.cuh, for threads that are fibres; see
// tests/cuda_emulator/warpgroup.h.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <source_location>

namespace alchemist::cuda {

[[noreturn]] inline void __trap() { throw cuda_emulator::EmulationError("a kernel stopped itself"); }

inline int same_in_warp(int value) { return value; }
inline std::uint32_t shared_address(const void* pointer) {
  return static_cast<std::uint32_t>(static_cast<const std::byte*>(pointer) - cuda_emulator::Block::current().shared());
}
inline void compute_before_wait(bool never) {
  if (never) throw cuda_emulator::EmulationError("what must be false in front of a wait is true");
}
inline void fence_for_products() { cuda_emulator::Block::current().fence_for_products(); }

// The four warps meet, and one of them acts for all.
template <class Act>
void for_warpgroup(void* operands, const Act& act, source_location where) {
  auto& block = cuda_emulator::Block::current();
  block.meet(
      cuda_emulator::kWarpgroupSize, operands, [&](void* const* all) { act(block, all); }, where);
}

inline void fence_registers(source_location where = source_location::current()) {
  for_warpgroup(
      nullptr, [](auto& block, void* const*) { block.warpgroup().fence_registers(); }, where);
}
// The place of the call tells waits apart; a pack of arguments leaves no room for a default one behind it.
template <class A, int kSteps>
void fence_registers(A (&)[kSteps][4], source_location where = source_location::current()) {
  fence_registers(where);
}
template <class A, class B, int kSteps, int kMore>
void fence_registers(A (&)[kSteps][4], B (&)[kMore][4], source_location where = source_location::current()) {
  fence_registers(where);
}
inline void commit_products(source_location where = source_location::current()) {
  for_warpgroup(
      nullptr, [](auto& block, void* const*) { block.warpgroup().commit(); }, where);
}
inline void wait_for_products(std::size_t in_flight, source_location where) {
  for_warpgroup(
      nullptr, [=](auto& block, void* const*) { block.warpgroup().wait(block, in_flight); }, where);
}
template <int kInFlight, int kPieces>
void wait_products(float (&)[kPieces][4], source_location where = source_location::current()) {
  wait_for_products(kInFlight, where);
}
template <int kInFlight, int kPieces, int kMore>
void wait_products(float (&)[kPieces][4], float (&)[kMore][4], source_location where = source_location::current()) {
  wait_for_products(kInFlight, where);
}

struct ProductOperands {
  float* sums;
  const std::uint32_t* left_registers;  // null: in shared memory
  std::uint64_t left, right;            // descriptors
};

inline void start_product(cuda_emulator::Product product, ProductOperands mine, source_location where) {
  for_warpgroup(
      &mine,
      [&](auto& block, void* const* all) {
        for (int thread = 0; thread < cuda_emulator::kWarpgroupSize; ++thread) {
          const auto& of_thread = *static_cast<const ProductOperands*>(all[thread]);
          if (of_thread.left != mine.left || of_thread.right != mine.right)
            throw cuda_emulator::EmulationError("threads of a warpgroup name different operands");
          product.sums[thread] = of_thread.sums;
          if (mine.left_registers != nullptr) std::copy_n(of_thread.left_registers, 4, product.registers[thread]);
        }
        product.left_in_registers = mine.left_registers != nullptr;
        product.left.descriptor = mine.left;
        product.right.descriptor = mine.right;
        block.warpgroup().start(block, product, block.options().copies == cuda_emulator::CopyTiming::kEager);
      },
      where);
}

template <Major kLeft, Major kRight, bool kAdd, int kPieces>
void start_product(float (&d)[kPieces][4], std::uint64_t a, std::uint64_t b,
                   source_location where = source_location::current()) {
  cuda_emulator::Product product;
  product.pieces = kPieces;
  product.add = kAdd;
  product.left.across_sum = kLeft == Major::kAcrossSum;
  product.right.across_sum = kRight == Major::kAcrossSum;
  start_product(product, {d[0], nullptr, a, b}, where);
}

template <Major kRight, int kPieces>
void start_product(float (&d)[kPieces][4], const std::uint32_t (&a)[4], std::uint64_t b,
                   source_location where = source_location::current()) {
  cuda_emulator::Product product;
  product.pieces = kPieces;
  product.right.across_sum = kRight == Major::kAcrossSum;
  start_product(product, {d[0], a, 0, b}, where);
}

}  // namespace alchemist::cuda
