#include "sim/app/interruption.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <string>

#include "sim/base/check.h"

namespace alchemist {

namespace {

sigset_t ending_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  return signals;
}

}  // namespace

Interruption::Interruption() {
  const sigset_t signals = ending_signals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  descriptor_ = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
  check(descriptor_ >= 0, "signals can be read");
}

Interruption::~Interruption() {
  const sigset_t signals = ending_signals();
  pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
  close(descriptor_);
}

void Interruption::throw_if_asked() {
  signalfd_siginfo info{};
  if (read(descriptor_, &info, sizeof info) != sizeof info) return;
  throw Interrupted(info.ssi_signo == SIGINT ? "stopped by SIGINT" : "stopped by SIGTERM");
}

}  // namespace alchemist
