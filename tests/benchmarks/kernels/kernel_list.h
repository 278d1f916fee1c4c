// The calls of one decoder layer, its head and its optimizer in the shapes that a model makes of them.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "sim/model/model_shape.h"
#include "tests/benchmarks/kernels/arrays.h"

namespace alchemist::benchmarks {

enum class Roof { kCopy, kMatrix };

struct Entry {
  std::string name;
  CallCost cost;
  Roof roof;
  std::function<void(int)> run;  // queues a run on the given set of inputs, of `sets`
  int sets = 1;
};

// Adds an entry: makes as many sets of arguments as it takes to leave the cache, but never more than memory is for.
// `make()` returns a call.
template <class T, class Make>
void add(std::vector<Entry>& list, Arrays<T>& arrays, const std::string& name, Roof roof, double set_bytes,
         const Make& make) {
  constexpr double kBeyondCache = 256e6;
  constexpr int kMostSets = 8;
  const int sets = std::clamp(static_cast<int>(kBeyondCache / std::max(set_bytes, 1.0)) + 1, 1, kMostSets);
  std::vector<decltype(make())> calls;
  for (int i = 0; i < sets; ++i) calls.push_back(make());
  Device<T>* device = &arrays.device();
  list.push_back({name, cost(calls.front()), roof,
                  [device, calls](int i) { device->run(calls[static_cast<std::size_t>(i)]); }, sets});
}

// Kernels bound by memory.
template <class T>
std::vector<Entry> row_kernels(Arrays<T>& arrays, const ModelShape& shape, std::int64_t tokens);
// Products with weights.
template <class T>
std::vector<Entry> linear_kernels(Arrays<T>& arrays, const ModelShape& shape, std::int64_t tokens);
// Attention: one sequence of `tokens` tokens; decodes over as many keys.
template <class T>
std::vector<Entry> attention_kernels(Arrays<T>& arrays, const ModelShape& shape, std::int64_t tokens);
// Loss of some rows, optimizer: once a step, not once a layer.
template <class T>
std::vector<Entry> step_kernels(Arrays<T>& arrays, const ModelShape& shape);

// A copy, and a square product: what the machine can do at best.
template <class T>
std::vector<Entry> roofs(Arrays<T>& arrays, std::int64_t copy_bytes, std::int64_t matrix_size);

}  // namespace alchemist::benchmarks
