// Times every kernel against the roofs of its machine, measured in the same run, and a decoder layer as a whole.
// CSV on stdout; progress on stderr.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>

#include "kernels/cpu/device.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/device_failed.h"
#include "sim/app/model_config.h"
#include "sim/app/option_checks.h"
#include "sim/base/error.h"
#include "tests/benchmarks/kernels/kernel_list.h"
#include "tests/benchmarks/kernels/layer_times.h"
#include "validate/real_model.h"

namespace alchemist::benchmarks {
namespace {

// Exit status, for scripts that skip what a machine or a build does not have. A device that fails is not such a thing.
constexpr int kNotHere = 3;

struct Request {
  std::string device = "cuda";
  std::string model = "llama-3.1-8b";
  std::vector<std::int64_t> tokens = {2048, 8192};
  bool quick = false;   // two short batches each: shows that everything runs, not how fast
  bool layers = false;  // the layer as a whole and attention, not the other kernels
};

// What the machine does at best, in FLOP/s and bytes/s.
struct Machine {
  double matrix = 0;
  double copy = 0;
};

void print_line(const std::string& name, std::int64_t tokens, const Times& times, const std::string& rest) {
  std::printf("%s,%lld,%.3f,%.3f,%.3f,%s\n", name.c_str(), static_cast<long long>(tokens), 1e6 * times.median_s,
              1e6 * times.p10_s, 1e6 * times.p90_s, rest.c_str());
  std::fflush(stdout);
}

std::string rates(const Entry& entry, const Times& times, const Machine& machine) {
  const double flops = entry.cost.flops / times.median_s, bytes = entry.cost.bytes / times.median_s;
  const bool matrix = entry.roof == Roof::kMatrix;
  char text[128];
  std::snprintf(text, sizeof text, "%.2f,%.1f,%s,%.3f", flops * 1e-12, bytes * 1e-9, matrix ? "matrix" : "copy",
                matrix ? flops / machine.matrix : bytes / machine.copy);
  return text;
}

template <class T>
void time_list(Arrays<T>& arrays, std::vector<Entry> list, std::int64_t tokens, const Effort& effort,
               const Machine& machine) {
  for (const Entry& entry : list) {
    const Times times = time_runs(arrays.device(), effort, [&](int i) { entry.run(i % entry.sets); });
    print_line(entry.name, tokens, times, rates(entry, times, machine));
  }
  arrays.clear();
}

template <class T>
Machine measure_roofs(Arrays<T>& arrays, const Request& request, const Effort& effort) {
  const bool gpu = request.device != "cpu";
  Machine machine;
  for (const Entry& entry : roofs(arrays, gpu ? std::int64_t{1} << 30 : std::int64_t{1} << 26, gpu ? 8192 : 512)) {
    const Times times = time_runs(arrays.device(), effort, [&](int i) { entry.run(i % entry.sets); });
    (entry.roof == Roof::kCopy ? machine.copy : machine.matrix) =
        (entry.roof == Roof::kCopy ? entry.cost.bytes : entry.cost.flops) / times.median_s;
    print_line("roof_" + entry.name, 0, times, rates(entry, times, machine));
  }
  arrays.clear();
  return machine;
}

template <class T>
void run(Device<T>& device, const Request& request) {
  const ModelShape shape = load_model(request.model);
  const Effort effort = request.quick ? Effort{1e-4, 2} : Effort{};
  std::fprintf(stderr, "%s\n", device.description().c_str());
  std::printf("kernel,tokens,median_us,p10_us,p90_us,tflop_per_s,gbyte_per_s,roof,share_of_roof\n");
  Arrays<T> arrays(device);
  const Machine machine = measure_roofs(arrays, request, effort);
  if (!request.layers) time_list(arrays, step_kernels(arrays, shape), 0, effort, machine);
  for (const std::int64_t tokens : request.tokens) {
    std::fprintf(stderr, "%lld tokens\n", static_cast<long long>(tokens));
    if (!request.layers) {
      time_list(arrays, row_kernels(arrays, shape, tokens), tokens, effort, machine);
      time_list(arrays, linear_kernels(arrays, shape, tokens), tokens, effort, machine);
    }
    time_list(arrays, attention_kernels(arrays, shape, tokens), tokens, effort, machine);
    for (const NamedTimes& named : layer_times(device, shape, tokens, effort))
      print_line(named.name, tokens, named.times, ",,,");
  }
}

int run_command_line(int argc, char** argv) {
  Request request;
  CLI::App app("Times every kernel against the roofs of its machine, and a decoder layer as a whole");
  app.add_option("--device", request.device)->check(CLI::IsMember(device_kinds()))->capture_default_str();
  app.add_option("--model", request.model, "name or path of a model");
  app.add_option("--tokens", request.tokens, "sizes of the batch")->check(whole_number(1, 1 << 20));
  app.add_flag("--quick", request.quick, "two short batches each: shows that everything runs, not how fast");
  app.add_flag("--layers", request.layers, "the layer as a whole and attention, not the other kernels");
  try {
    app.parse(argc, argv);
    const DeviceKind kind = device_kinds().at(request.device);
    if (kind == DeviceKind::cpu) {
      run(*cpu::make_device<float>(std::int64_t{8} << 30), request);
      return 0;
    }
    std::unique_ptr<Device<BFloat16>> gpu;
    try {
      gpu = cuda::make_device(0, attention_by(kind));
    } catch (const ConfigError& error) {
      std::cerr << "kernels_benchmark: " << error.what() << "\n";
      return cuda::device_failed(error) ? 1 : kNotHere;
    }
    run(*gpu, request);
    return 0;
  } catch (const CLI::ParseError& error) { return app.exit(error) == 0 ? 0 : 1; } catch (const ConfigError& error) {
    std::cerr << "kernels_benchmark: " << error.what() << "\n";
    return 1;
  }
}

}  // namespace
}  // namespace alchemist::benchmarks

int main(int argc, char** argv) { return alchemist::benchmarks::run_command_line(argc, argv); }
