#include "validate/calibrate_link.h"

#include <algorithm>
#include <memory>

#include "validate/device_array.h"
#include "validate/link_worker.h"
#include "validate/measure_in_turns.h"
#include "validate/record_table.h"
#include "validate/worker.h"

namespace alchemist {
namespace {

// The threads of the real host, without its node. What is copied is no part of the arena: a copy beside a step never
// touches what the step uses.
class LinkBench {
 public:
  LinkBench(DeviceMemory& device, std::int64_t bytes)
      : bytes_(bytes),
        memory_(device, 2 * bytes),
        pool_(device, 2 * bytes, 1),
        inbox_(clock_),
        compute_(inbox_, device.is_processor()),
        to_host_(inbox_, device, CopyDirection::kDeviceToHost, {}),
        to_device_(inbox_, device, CopyDirection::kHostToDevice, {}) {
    memory_.fill_zero();
    std::fill(host(), host() + 2 * bytes, std::byte{1});
    device.synchronise();  // copies begin when memory is filled
  }

  void h2d(std::int64_t bytes) { to_device_.submit(kToDevice, {{memory_.data(), host(), bytes}}); }
  void d2h(std::int64_t bytes) { to_host_.submit(kToHost, {{host() + bytes_, memory_.data() + bytes_, bytes}}); }
  void compute(std::function<void()> job) { compute_.submit(kStep, std::move(job)); }
  // Waits for this many answers; returns the last one. Rethrows what went wrong in a job.
  JobDone wait(int answers) {
    JobDone last;
    for (; answers > 0; --answers) {
      last = *inbox_.wait_until(Time::max());
      if (last.error) std::rethrow_exception(last.error);
    }
    return last;
  }
  // Copies in both directions until the step has ended; returns its microseconds.
  double step_beside_copies(const std::function<void()>& step) {
    h2d(bytes_);
    d2h(bytes_);
    compute(step);
    double us = 0;
    for (int outstanding = 3; outstanding > 0; --outstanding) {
      const JobDone done = wait(1);
      if (done.tag == kStep) {
        us = (done.end - done.start).in_seconds() * 1e6;
      } else if (us == 0) {  // the step still runs: so does the link
        done.tag == kToDevice ? h2d(bytes_) : d2h(bytes_);
        ++outstanding;
      }
    }
    return us;
  }

 private:
  static constexpr std::uint64_t kToDevice = 1;
  static constexpr std::uint64_t kToHost = 2;
  static constexpr std::uint64_t kStep = 3;
  std::byte* host() const { return pool_.memory().base; }

  std::int64_t bytes_;
  DeviceArray<std::byte> memory_;
  HostPool pool_;
  WallClock clock_;
  Inbox inbox_;
  Worker compute_;  // the workers end first: their jobs use the rest
  LinkWorker to_host_;
  LinkWorker to_device_;
};

}  // namespace

void measure_link(Decoder& model, const StepBench& steps, const CalibrationConfig& config, Calibration& result) {
  const std::int64_t arena_bytes = steps.arena().page_bytes * steps.pages();
  const std::int64_t most = std::min<std::int64_t>(arena_bytes / 2, std::int64_t{64} << 20);
  LinkBench bench(model.device(), most);
  std::vector<TimedCase> runs;
  for (const std::int64_t bytes : {most / 1024, most / 64, most / 8, most}) {
    result.links.push_back({"h2d", bytes, {}});
    runs.push_back({[&bench, bytes] { bench.h2d(bytes), bench.wait(1); }});
    result.links.push_back({"d2h", bytes, {}});
    runs.push_back({[&bench, bytes] { bench.d2h(bytes), bench.wait(1); }});
    result.links.push_back({"duplex", bytes, {}});
    runs.push_back({[&bench, bytes] { bench.h2d(bytes), bench.d2h(bytes), bench.wait(2); }});
  }
  SampleLog log(false);  // copies are the other processor's
  const std::vector<std::size_t> logged = measure_in_turns(runs, config.rounds, log);
  const std::vector<Timing> timings = log.result().timings;
  for (std::size_t i = 0; i < logged.size(); ++i) result.links[i].time = timings[logged[i]];

  StepCase shape;
  shape.chunks = {{config.step_tokens / 2, 0}};
  shape.decodes = config.step_sequences / 2;
  shape.decode_context = config.longest_context / 4;
  const std::function<void()> step = steps.runner(shape);
  std::vector<double> alone, beside, host;
  for (int round = 0; round < config.rounds; ++round) {
    bench.compute(step);
    const JobDone done = bench.wait(1);
    alone.push_back((done.end - done.start).in_seconds() * 1e6);
    beside.push_back(bench.step_beside_copies(step));
  }
  result.kernel_slowdown = std::max(1.0, timing_of(beside).median / timing_of(alone).median);
  // Between decode steps: while one runs, the deciding thread sleeps as it does in a real run, and wakes as slowly.
  StepCase decode;
  decode.decodes = std::min(4, config.step_sequences);
  decode.decode_context = config.longest_context / 4;
  decode.head = true;
  const std::function<void()> decode_step = steps.runner(decode);
  bench.compute(decode_step);
  for (JobDone last = bench.wait(1); host.size() < 200;) {
    bench.compute(decode_step);
    const JobDone next = bench.wait(1);
    host.push_back((next.start - last.end).in_seconds() * 1e6);
    last = next;
  }
  result.host = timing_of(host);
}

}  // namespace alchemist
