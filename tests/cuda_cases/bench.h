// Calls of operators that run on any device: the same generic function builds the arguments, runs the call and reads
// the results, on a GPU in bf16 and on the CPU in double.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "kernels/device.h"

namespace alchemist::cases {

using Values = std::vector<double>;

// Random values that bf16 holds exactly: both devices start from the same numbers.
Values normal_values(std::int64_t count, const std::string& name, double deviation = 1.0);

BFloat16 to_bf16(double value);
double from_bf16(BFloat16 value);

// Device memory of one call.
template <class T>
class Bench {
 public:
  explicit Bench(Device<T>& device) : device_(device) {}
  ~Bench() {
    for (void* memory : taken_) device_.free(memory);
  }
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;

  Device<T>& device() { return device_; }

  T* storage(const Values& values) { return uploaded<T>(values); }
  Accumulator<T>* accumulators(const Values& values) { return uploaded<Accumulator<T>>(values); }
  // Outputs: NaN until they are written.
  T* unset_storage(std::int64_t count) { return storage(unset(count)); }
  Accumulator<T>* unset_accumulators(std::int64_t count) { return accumulators(unset(count)); }

  template <class Plain>
  Plain* plain(const std::vector<Plain>& values) {
    auto* memory = static_cast<Plain*>(take(static_cast<std::int64_t>(values.size() * sizeof(Plain))));
    device_.upload(memory, values.data(), static_cast<std::int64_t>(values.size() * sizeof(Plain)));
    return memory;
  }

  template <class Element>
  Values read(const Element* from, std::int64_t count) {
    std::vector<Element> elements(static_cast<std::size_t>(count));
    device_.download(elements.data(), from, static_cast<std::int64_t>(elements.size() * sizeof(Element)));
    Values values;
    values.reserve(elements.size());
    for (const Element& element : elements) {
      if constexpr (std::is_same_v<Element, BFloat16>) {
        values.push_back(from_bf16(element));
      } else {
        values.push_back(static_cast<double>(element));
      }
    }
    return values;
  }

 private:
  static Values unset(std::int64_t count);

  void* take(std::int64_t bytes) {
    taken_.push_back(device_.allocate(bytes));
    return taken_.back();
  }

  template <class Element>
  Element* uploaded(const Values& values) {
    std::vector<Element> elements;
    elements.reserve(values.size());
    for (double value : values) {
      if constexpr (std::is_same_v<Element, BFloat16>) {
        elements.push_back(to_bf16(value));
      } else {
        elements.push_back(static_cast<Element>(value));
      }
    }
    return plain(elements);
  }

  Device<T>& device_;
  std::vector<void*> taken_;
};

template <class T>
Values Bench<T>::unset(std::int64_t count) {
  return Values(static_cast<std::size_t>(count), __builtin_nan(""));
}

// One output of a call and how far a GPU may be from double: ||gpu - cpu|| / ||cpu||.
struct Output {
  std::string name;
  Values values;
  double tolerance = 0;
};
using Outputs = std::vector<Output>;

// bf16 has 8 bits of significand: rounding to nearest changes a value by at most 2^-8 of it, and so does an operator
// that computes in f32 and rounds once.
inline constexpr double kRoundedOnce = 1.0 / 256;
// Sums and statistics kept in f32 (2^-24 a step, at most some thousand steps of random sign).
inline constexpr double kSummed = 1e-5;
// Rounded at the end, and one factor of the products inside (the softmax's weights, before they meet the values).
inline constexpr double kRoundedInside = 2.0 / 256;

// A call, generic in the element type: `run` is a function object with Outputs operator()(Bench<T>&).
struct Case {
  template <class Run>
  Case(std::string case_name, Run run)
      : name(std::move(case_name)),
        on_gpu([run](Device<BFloat16>& device) {
          Bench<BFloat16> bench(device);
          return Outputs(run(bench));
        }),
        on_cpu([run](Device<double>& device) {
          Bench<double> bench(device);
          return Outputs(run(bench));
        }) {}

  std::string name;  // letters, digits and underscores
  std::function<Outputs(Device<BFloat16>&)> on_gpu;
  std::function<Outputs(Device<double>&)> on_cpu;
};

// Every kernel, with the shapes at which it behaves differently: `large` adds those that only a real GPU has time for.
std::vector<Case> all_cases(bool large);

std::vector<Case> elementwise_cases(bool large);
std::vector<Case> norm_cases(bool large);
std::vector<Case> loss_cases(bool large);
std::vector<Case> linear_cases(bool large);
std::vector<Case> copy_cases(bool large);
std::vector<Case> attention_cases(bool large);
std::vector<Case> warpgroup_attention_cases(bool large);  // those at which attention by warpgroups does
std::vector<Case> paged_attention_cases(bool large);
std::vector<Case> paged_prefill_cases(bool large);  // those of them with chunks of prompts

enum class Repeats : std::uint8_t { kToTheBit, kWithinTolerance };

// Runs the case on both and expects outputs within their tolerances; then once more on the GPU and expects the same
// again. `before_each` is called before each run on the GPU.
void expect_equal(const Case& example, Device<BFloat16>& gpu, const std::function<void()>& before_each,
                  Repeats repeats = Repeats::kToTheBit);

}  // namespace alchemist::cases
