#include "tests/cuda_emulator/fibre.h"

#include <cstdint>
#include <utility>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif

namespace cuda_emulator {
namespace {

constexpr std::size_t kStackBytes = std::size_t{128} << 10;

}  // namespace

void Fibre::start(std::function<void()> body) {
  body_ = std::move(body);
  if (std::exchange(returned_, false)) return;  // it waits behind the body before: run()
  if (!stack_) stack_.reset(new std::byte[kStackBytes]);
  getcontext(&inside_);
  inside_.uc_stack.ss_sp = stack_.get();
  inside_.uc_stack.ss_size = kStackBytes;
  inside_.uc_link = nullptr;
  const auto self = reinterpret_cast<std::uintptr_t>(this);  // makecontext passes ints only
  makecontext(&inside_, reinterpret_cast<void (*)()>(&Fibre::enter), 2, static_cast<unsigned>(self),
              static_cast<unsigned>(self >> 32));
  started_ = false;
}

void Fibre::enter(unsigned low, unsigned high) {
  reinterpret_cast<Fibre*>(std::uintptr_t{low} | std::uintptr_t{high} << 32)->run();
}

void Fibre::run() {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(nullptr, &outside_stack_, &outside_stack_bytes_);
#endif
  for (;;) {
    body_();
    returned_ = true;
    switch_out();
  }
}

bool Fibre::resume() {
  switch_in();
  return returned_;
}

void Fibre::yield() { switch_out(); }

#ifdef __SANITIZE_ADDRESS__

void Fibre::switch_in() {
  void* fake_stack = nullptr;
  __sanitizer_start_switch_fiber(&fake_stack, stack_.get(), kStackBytes);
  swapcontext(&outside_, &inside_);
  __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
}

void Fibre::switch_out() {
  void* fake_stack = nullptr;
  __sanitizer_start_switch_fiber(&fake_stack, outside_stack_, outside_stack_bytes_);
  swapcontext(&inside_, &outside_);
  __sanitizer_finish_switch_fiber(fake_stack, &outside_stack_, &outside_stack_bytes_);
}

#else

void Fibre::switch_in() {
  if (_setjmp(outside_jump_) != 0) return;
  if (started_) _longjmp(inside_jump_, 1);
  started_ = true;
  setcontext(&inside_);
}

void Fibre::switch_out() {
  if (_setjmp(inside_jump_) == 0) _longjmp(outside_jump_, 1);
}

#endif

}  // namespace cuda_emulator
