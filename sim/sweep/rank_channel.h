// Messages between the ranks of a program that mpirun (or srun) has started.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

struct AlchemistMpiApi;

namespace alchemist {

class RankChannel {
 public:
  // Who waits looks this often: MPI's own way to wait spins. Runs take much longer.
  static constexpr std::chrono::milliseconds kBetweenLooks{1};

  // None unless this process was started as a rank. ConfigError if it was, but the module for MPI is missing or does
  // not start.
  static std::unique_ptr<RankChannel> open();
  ~RankChannel();
  RankChannel(const RankChannel&) = delete;
  RankChannel& operator=(const RankChannel&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }

  struct Message {
    int from = 0;
    std::string text;
  };
  void send(int to, const std::string& text);
  std::optional<Message> receive();  // does not wait
  Message wait();                    // does, without taking much of the processor

  // Others are gone: the end is not waited for together.
  void abandon() { abandoned_ = true; }

 private:
  explicit RankChannel(const AlchemistMpiApi& api);

  const AlchemistMpiApi& api_;
  int rank_ = 0;
  int size_ = 1;
  bool abandoned_ = false;
};

}  // namespace alchemist
