// A stack of its own on which a function runs, stops in the middle, and goes on later: one for each emulated CUDA
// thread. Its first body is started with ucontext; later switches, and later bodies, are _setjmp/_longjmp, which need
// no system call (a block of attention switches hundred thousands of times, and most kernels hardly ever). Under
// AddressSanitizer every switch is a swapcontext that the sanitizer is told of.
#pragma once

#include <ucontext.h>

#include <csetjmp>
#include <cstddef>
#include <functional>
#include <memory>

namespace cuda_emulator {

class Fibre {
 public:
  // Makes the next resume() run `body` from its start on this fibre's stack. `body` must not throw.
  void start(std::function<void()> body);

  // From outside: runs the fibre until it yields or its body returns; true if it has returned.
  bool resume();

  // From inside the body: back to who resumed it.
  void yield();

 private:
  static void enter(unsigned low, unsigned high);
  void run();
  void switch_in();
  void switch_out();

  std::function<void()> body_;
  std::unique_ptr<std::byte[]> stack_;
  ucontext_t inside_{};
  ucontext_t outside_{};
  std::jmp_buf inside_jump_{};
  std::jmp_buf outside_jump_{};
  bool started_ = false;
  bool returned_ = false;
  const void* outside_stack_ = nullptr;  // what AddressSanitizer wants to know of the resumer's stack
  std::size_t outside_stack_bytes_ = 0;
};

}  // namespace cuda_emulator
