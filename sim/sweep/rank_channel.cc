#include "sim/sweep/rank_channel.h"

#include <dlfcn.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "sim/base/check.h"
#include "sim/base/error.h"
#include "sim/sweep/mpi/mpi_api.h"

namespace alchemist {

namespace {

// Set by Open MPI's mpirun, by Slurm's srun --mpi=pmix, and by launchers that speak PMI.
bool started_as_rank() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK"}) {
    if (std::getenv(name) != nullptr) return true;
  }
  return false;
}

const AlchemistMpiApi& load_module() {
  std::error_code error;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
  const std::string file = (program.parent_path() / kAlchemistMpiModule).string();
  // Global: Open MPI loads modules of its own, which look for its symbols.
  void* const module = dlopen(file.c_str(), RTLD_NOW | RTLD_GLOBAL);
  if (module == nullptr)
    throw ConfigError("started as one of several MPI ranks, but the module for MPI cannot be loaded: " +
                      std::string(dlerror()) + " (it is built where CMake finds Open MPI)");
  const auto get = reinterpret_cast<const AlchemistMpiApi* (*)()>(dlsym(module, kAlchemistMpiSymbol));
  check(get != nullptr, "the module for MPI has its function");
  return *get();
}

}  // namespace

std::unique_ptr<RankChannel> RankChannel::open() {
  if (!started_as_rank()) return nullptr;
  return std::unique_ptr<RankChannel>(new RankChannel(load_module()));
}

RankChannel::RankChannel(const AlchemistMpiApi& api) : api_(api) {
  if (api_.start(&rank_, &size_) == 0) throw ConfigError("MPI does not start");
}

RankChannel::~RankChannel() {
  if (!abandoned_) api_.finish();
}

void RankChannel::send(int to, const std::string& text) {
  if (api_.send(to, text.data(), text.size()) == 0) throw ConfigError("MPI: a message could not be sent");
}

std::optional<RankChannel::Message> RankChannel::receive() {
  int waits = 0;
  std::size_t size = 0;
  Message message;
  if (api_.probe(&waits, &message.from, &size) == 0) throw ConfigError("MPI: messages cannot be received");
  if (waits == 0) return std::nullopt;
  message.text.resize(size);
  if (api_.receive(message.from, message.text.data(), size) == 0)
    throw ConfigError("MPI: a message could not be received");
  return message;
}

RankChannel::Message RankChannel::wait() {
  while (true) {
    if (std::optional<Message> message = receive()) return *std::move(message);
    std::this_thread::sleep_for(kBetweenLooks);
  }
}

}  // namespace alchemist
