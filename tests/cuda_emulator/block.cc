#include "tests/cuda_emulator/block.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <string>
#include <utility>

namespace cuda_emulator {
namespace {

constexpr std::size_t kPieceBytes = 16;

Block* running_block = nullptr;  // the emulator runs one block at a time, on one CPU thread

std::string place(const std::source_location& where) {
  return std::string(where.file_name()) + ":" + std::to_string(where.line());
}

bool same_place(const std::source_location& a, const std::source_location& b) {
  return a.line() == b.line() && a.column() == b.column() &&
         (a.file_name() == b.file_name() || std::strcmp(a.file_name(), b.file_name()) == 0);
}

}  // namespace

Block::Block(Dimensions size, std::size_t shared_bytes, const Options& options)
    : size_(size),
      shared_bytes_(shared_bytes),
      options_(options),
      random_(options.seed, "emulator"),
      threads_(std::size_t{size.x} * size.y * size.z),
      warpgroups_((threads_.size() + kWarpgroupSize - 1) / kWarpgroupSize),
      unfenced_((shared_bytes + kPieceBytes - 1) / kPieceBytes) {
  if (threads_.size() % kWarpSize != 0 || threads_.size() > 1024)
    throw EmulationError("a block of " + std::to_string(threads_.size()) + " threads");
  // Exactly as large as asked for, so that AddressSanitizer sees what lies beyond.
  void* memory = nullptr;
  if (posix_memalign(&memory, kSharedAlignment, std::max<std::size_t>(shared_bytes, 1)) != 0) throw std::bad_alloc();
  shared_.reset(static_cast<std::byte*>(memory));
}

Block& Block::current() {
  if (running_block == nullptr) throw EmulationError("a device function is called from outside a kernel");
  return *running_block;
}

Dimensions Block::index_of(std::size_t thread) const {
  const auto t = static_cast<unsigned>(thread);
  return {t % size_.x, t / size_.x % size_.y, t / (size_.x * size_.y)};
}

void Block::run(const std::function<void()>& kernel, const std::function<void(Dimensions)>& enter) {
  std::memset(shared_.get(), 0xff, shared_bytes_);  // NaN in every float type
  warpgroups_.assign(warpgroups_.size(), {});
  unfenced_.assign(unfenced_.size(), false);
  for (Thread& thread : threads_) {
    thread.state = State::kReady;
    thread.copies.clear();
    thread.groups.clear();
    thread.landed.clear();
    thread.fibre.start([this, &kernel] {
      try {
        kernel();
      } catch (...) { failure_ = std::current_exception(); }
    });
  }
  running_block = this;
  for (;;) {
    const std::vector<std::size_t> ready = ready_warps();
    if (!ready.empty()) {
      const auto last = static_cast<std::int64_t>(ready.size()) - 1;
      run_warp(ready[static_cast<std::size_t>(options_.jitter ? random_.uniform_int(0, last) : 0)], enter);
    } else if (std::ranges::all_of(threads_, [](const Thread& t) { return t.state == State::kLeft; })) {
      break;
    } else {
      release_barrier();
    }
  }
  running_block = nullptr;
}

std::vector<std::size_t> Block::ready_warps() const {
  std::vector<std::size_t> ready;
  for (std::size_t warp = 0; warp < threads_.size() / kWarpSize; ++warp) {
    const auto lanes = threads_.begin() + static_cast<std::ptrdiff_t>(warp * kWarpSize);
    if (std::any_of(lanes, lanes + kWarpSize, [](const Thread& t) { return t.state == State::kReady; }))
      ready.push_back(warp);
  }
  return ready;
}

// Each ready lane until it meets others; from the last lane down half of the time.
void Block::run_warp(std::size_t warp, const std::function<void(Dimensions)>& enter) {
  const bool backward = options_.jitter && random_.uniform_int(0, 1) == 1;
  for (std::size_t i = 0; i < kWarpSize; ++i) {
    running_ = warp * kWarpSize + (backward ? kWarpSize - 1 - i : i);
    Thread& thread = threads_[running_];
    if (thread.state != State::kReady) continue;
    enter(index_of(running_));
    if (thread.fibre.resume()) thread.state = State::kLeft;
    if (failure_) {
      running_block = nullptr;
      std::rethrow_exception(std::exchange(failure_, nullptr));
    }
  }
}

void Block::yield_as(State state, std::source_location where) {
  Thread& thread = threads_[running_];
  thread.state = state;
  thread.where = where;
  thread.fibre.yield();
}

void Block::barrier(std::source_location where) { yield_as(State::kAtBarrier, where); }

// Nobody can run: either all threads wait at the same barrier, or the kernel hangs.
void Block::release_barrier() {
  const Thread& first = threads_.front();
  const bool all_there = std::ranges::all_of(
      threads_, [&](const Thread& t) { return t.state == State::kAtBarrier && same_place(t.where, first.where); });
  if (!all_there) report_deadlock();
  for (Thread& thread : threads_) thread.state = State::kReady;
}

void Block::report_deadlock() const {
  std::string text = "threads never meet:";
  std::size_t left = 0;
  std::vector<std::pair<std::string, int>> waiting;
  for (const Thread& thread : threads_) {
    if (thread.state == State::kLeft) {
      ++left;
      continue;
    }
    const std::string what =
        (thread.state == State::kAtBarrier ? " at the barrier " : " in the warp operation ") + place(thread.where);
    const auto known = std::ranges::find(waiting, what, &std::pair<std::string, int>::first);
    if (known == waiting.end()) {
      waiting.emplace_back(what, 1);
    } else {
      ++known->second;
    }
  }
  for (const auto& [what, count] : waiting) text += " " + std::to_string(count) + what + ";";
  running_block = nullptr;
  throw EmulationError(text + " " + std::to_string(left) + " have left");
}

void Block::meet(std::size_t count, void* operands, const Compute& compute, std::source_location where) {
  const std::size_t first = running_ / count * count;
  if (first + count > threads_.size()) throw EmulationError("a warpgroup of fewer than four warps");
  threads_[running_].operands = operands;
  // Who comes last is mostly at one of the ends.
  for (const std::size_t end : {first, first + count - 1})
    if (end != running_ && threads_[end].state != State::kAtWarp) return yield_as(State::kAtWarp, where);
  void* all[kWarpgroupSize];
  for (std::size_t lane = 0; lane < count; ++lane) {
    const Thread& other = threads_[first + lane];
    const bool there = first + lane == running_ || (other.state == State::kAtWarp && same_place(other.where, where));
    if (!there) return yield_as(State::kAtWarp, where);
    all[lane] = other.operands;
  }
  compute(all);
  for (std::size_t lane = 0; lane < count; ++lane) threads_[first + lane].state = State::kReady;
}

bool Block::in_shared(const void* address) const {
  const auto* byte = static_cast<const std::byte*>(address);
  return byte >= shared_.get() && byte < shared_.get() + shared_bytes_;
}

void Block::check_shared(const void* address, std::size_t bytes, const char* what) const {
  const auto offset = static_cast<const std::byte*>(address) - shared_.get();
  if (offset < 0 || static_cast<std::size_t>(offset) + bytes > shared_bytes_ || offset % 16 != 0)
    throw EmulationError(std::string(what) + " at shared offset " + std::to_string(offset) + " of " +
                         std::to_string(shared_bytes_));
}

std::size_t Block::piece_of(const void* address) const {
  return static_cast<std::size_t>(static_cast<const std::byte*>(address) - shared_.get()) / kPieceBytes;
}

void Block::finish(const Copy& copy) {
  if (copy.zero) {
    std::memset(copy.to, 0, copy.bytes);
  } else {
    std::memcpy(copy.to, copy.from, copy.bytes);
  }
}

void Block::copy_async(void* shared, const void* global, std::size_t bytes, bool fill_zero) {
  check_shared(shared, bytes, "cp.async");
  if (!fill_zero && reinterpret_cast<std::uintptr_t>(global) % bytes != 0)
    throw EmulationError("cp.async from a global address that is not aligned");
  const Copy copy{shared, global, bytes, fill_zero, options_.copies == CopyTiming::kEager};
  if (copy.done) {
    finish(copy);
  } else {
    std::memset(shared, 0xff, bytes);
  }
  unfenced_[piece_of(shared)] = true;
  threads_[running_].copies.push_back(copy);
}

void Block::commit_copies() {
  Thread& thread = threads_[running_];
  thread.groups.push_back(std::move(thread.copies));
  thread.copies.clear();
}

void Block::wait_copies(std::size_t groups_in_flight) {
  Thread& thread = threads_[running_];
  for (; thread.groups.size() > groups_in_flight; thread.groups.pop_front()) {
    for (const Copy& copy : thread.groups.front()) {
      if (!copy.done) finish(copy);
      thread.landed.push_back(piece_of(copy.to));
    }
  }
}

void Block::fence_for_products() {
  for (const std::size_t piece : threads_[running_].landed) unfenced_[piece] = false;
  threads_[running_].landed.clear();
}

const std::byte* Block::product_operand(std::size_t offset) const {
  const std::byte* piece = shared_.get() + offset;
  check_shared(piece, kPieceBytes, "a product's operand");
  if (unfenced_[offset / kPieceBytes])
    throw EmulationError("a product reads shared offset " + std::to_string(offset) +
                         ", which a copy was to fill and no fence and barrier has shown to products");
  return piece;
}

}  // namespace cuda_emulator
