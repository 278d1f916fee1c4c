#include "kernels/adamw.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/storage.cuh"

namespace alchemist::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kPerThread = 4;

struct Factors {
  float rate, beta1, beta2, epsilon, decay, correction1, correction2;
};

struct Moments {
  float first, second;
};

__device__ float updated(float master, float gradient, Moments& moments, const Factors& f) {
  moments.first = f.beta1 * moments.first + (1.0F - f.beta1) * gradient;
  moments.second = f.beta2 * moments.second + (1.0F - f.beta2) * gradient * gradient;
  const float step = moments.first / f.correction1 / (sqrtf(moments.second / f.correction2) + f.epsilon);
  return master - f.rate * (step + f.decay * master);
}

__device__ void update_one(const AdamW<BFloat16>& call, const Factors& f, std::int64_t i) {
  auto* parameters = reinterpret_cast<std::uint16_t*>(call.parameters);
  Moments moments{call.first_moment[i], call.second_moment[i]};
  const float old = call.master != nullptr ? call.master[i] : from_bf16(parameters[i]);
  const float value = updated(old, call.gradient[i], moments, f);
  if (call.master != nullptr) call.master[i] = value;
  parameters[i] = round_to_bf16(value);
  call.first_moment[i] = moments.first;
  call.second_moment[i] = moments.second;
  call.gradient[i] = 0.0F;
}

__device__ float4& four(float* p) { return *reinterpret_cast<float4*>(p); }

__device__ void update_four(const AdamW<BFloat16>& call, const Factors& f, std::int64_t i) {
  const float4 g = four(call.gradient + i), m = four(call.first_moment + i), v = four(call.second_moment + i),
               w = four(call.master + i);
  Moments moments[4] = {{m.x, v.x}, {m.y, v.y}, {m.z, v.z}, {m.w, v.w}};
  const float4 value = {updated(w.x, g.x, moments[0], f), updated(w.y, g.y, moments[1], f),
                        updated(w.z, g.z, moments[2], f), updated(w.w, g.w, moments[3], f)};
  four(call.master + i) = value;
  four(call.first_moment + i) = {moments[0].first, moments[1].first, moments[2].first, moments[3].first};
  four(call.second_moment + i) = {moments[0].second, moments[1].second, moments[2].second, moments[3].second};
  four(call.gradient + i) = {0.0F, 0.0F, 0.0F, 0.0F};
  *reinterpret_cast<uint2*>(reinterpret_cast<std::uint16_t*>(call.parameters) + i) = {pack_bf16(value.x, value.y),
                                                                                      pack_bf16(value.z, value.w)};
}

__global__ void update(AdamW<BFloat16> call, Factors factors) {
  const std::int64_t begin = global_thread() * kPerThread;
  if (call.master != nullptr && begin + kPerThread <= call.count) {
    update_four(call, factors, begin);
    return;
  }
  for (std::int64_t i = begin; i < call.count && i < begin + kPerThread; ++i) update_one(call, factors, i);
}

}  // namespace

void adamw(const AdamW<BFloat16>& call, Stream stream) {
  const auto f = [](double x) { return static_cast<float>(x); };
  const AdamWSettings& s = call.settings;
  const Factors factors{f(s.learning_rate), f(s.beta1),          f(s.beta2),         f(s.epsilon),
                        f(s.weight_decay),  f(call.correction1), f(call.correction2)};
  launch(update, dim3(blocks_for(call.count, kThreads * kPerThread)), dim3(kThreads), 0, stream, call, factors);
}

}  // namespace alchemist::cuda
