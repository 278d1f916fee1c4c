#include "kernels/cpu/device.h"

#include <cstdlib>
#include <cstring>
#include <iostream>
#include <mutex>
#include <unordered_map>

#include "kernels/cpu/blas.h"
#include "sim/base/check.h"
#include "sim/base/error.h"

namespace alchemist::cpu {
namespace {

constexpr std::size_t kAlignment = 256;

void* allocate_aligned(std::int64_t bytes) {
  check(bytes >= 0, "an allocation has a size");
  const std::size_t rounded = (static_cast<std::size_t>(bytes) + kAlignment) / kAlignment * kAlignment;
  void* memory = std::aligned_alloc(kAlignment, rounded);
  if (!memory) throw ConfigError("the machine has no " + std::to_string(bytes) + " bytes of memory left");
  return memory;
}

// Operators run at once, in the calling thread: everything is over when a call returns.
template <class T>
class CpuDevice final : public Device<T> {
 public:
  explicit CpuDevice(std::int64_t memory_bytes) : left_(memory_bytes) {}

  bool is_processor() const override { return true; }
  std::string description() const override {
    if constexpr (std::is_same_v<T, double>) return "CPU, f64, plain loops";
    return "CPU, f32, " + (blas() ? blas()->description : "plain loops, OpenBLAS not found");
  }

  std::int64_t usable_bytes() const override {
    const std::lock_guard lock(mutex_);
    return left_;
  }

  void* allocate(std::int64_t bytes) override {
    const std::lock_guard lock(mutex_);
    if (bytes > left_) {
      throw ConfigError("device memory is full: " + std::to_string(bytes) + " bytes wanted, " + std::to_string(left_) +
                        " left");
    }
    void* memory = allocate_aligned(bytes);
    left_ -= bytes;
    sizes_.emplace(memory, bytes);
    return memory;
  }

  void free(void* device) noexcept override {
    if (!device) return;
    const std::lock_guard lock(mutex_);
    const auto found = sizes_.find(device);
    if (found != sizes_.end()) {
      left_ += found->second;
      sizes_.erase(found);
    }
    std::free(device);
  }

  void* allocate_host(std::int64_t bytes) override { return allocate_aligned(bytes); }
  void free_host(void* host) noexcept override { std::free(host); }
  void fill_zero(void* device, std::int64_t bytes) override { std::memset(device, 0, static_cast<std::size_t>(bytes)); }
  void upload(void* device, const void* host, std::int64_t bytes) override { copy(device, host, bytes); }
  void download(void* host, const void* device, std::int64_t bytes) override { copy(host, device, bytes); }
  void link_copy(CopyDirection, void* to, const void* from, std::int64_t bytes) override { copy(to, from, bytes); }
  void link_wait(CopyDirection) override {}
  void synchronise() override {}

  void run(const EmbeddingForward<T>& call) override { embedding_forward(call); }
  void run(const EmbeddingBackward<T>& call) override { embedding_backward(call); }
  void run(const RmsNormForward<T>& call) override { rms_norm_forward(call); }
  void run(const RmsNormRebuild<T>& call) override { rms_norm_rebuild(call); }
  void run(const RmsNormBackward<T>& call) override { rms_norm_backward(call); }
  void run(const Rotary<T>& call) override { rotary(call); }
  void run(const HeadNormForward<T>& call) override { head_norm_forward(call); }
  void run(const HeadNormBackward<T>& call) override { head_norm_backward(call); }
  void run(const LinearForward<T>& call) override { linear_forward(call); }
  void run(const LinearInputGradient<T>& call) override { linear_input_gradient(call); }
  void run(const LinearWeightGradient<T>& call) override { linear_weight_gradient(call); }
  void run(const AttentionForward<T>& call) override { attention_forward(call); }
  void run(const AttentionBackward<T>& call) override { attention_backward(call); }
  void run(const KvCacheWrite<T>& call) override { kv_cache_write(call); }
  void run(const PagedAttention<T>& call) override { paged_attention(call); }
  void run(const GatedActivationForward<T>& call) override { gated_activation_forward(call); }
  void run(const GatedActivationBackward<T>& call) override { gated_activation_backward(call); }
  void run(const ResidualAdd<T>& call) override { residual_add(call); }
  void run(const CrossEntropy<T>& call) override { cross_entropy(call); }
  void run(const Argmax<T>& call) override { argmax(call); }
  void run(const PreferenceLoss<T>& call) override { preference_loss(call); }
  void run(const AdamW<T>& call) override { adamw(call); }
  void run(const RoundRows<T>& call) override { round_rows(call); }
  void run(const RecordCopy& call) override { record_copy(call); }
  void run(const KeepRows& call) override { keep_rows(call); }
  void run(const RowCopy& call) override { row_copy(call); }
  void run(const RandomFill<T>& call) override { random_fill(call); }

 private:
  static void copy(void* to, const void* from, std::int64_t bytes) {
    std::memcpy(to, from, static_cast<std::size_t>(bytes));
  }

  mutable std::mutex mutex_;
  std::int64_t left_;
  std::unordered_map<void*, std::int64_t> sizes_;
};

}  // namespace

template <class T>
std::unique_ptr<Device<T>> make_device(std::int64_t memory_bytes) {
  if constexpr (std::is_same_v<T, float>) {
    if (!blas())
      std::cerr
          << "alchemist: warning: OpenBLAS not found (package libopenblas0); products run in plain loops, slowly\n";
  }
  return std::make_unique<CpuDevice<T>>(memory_bytes);
}

template std::unique_ptr<Device<float>> make_device(std::int64_t memory_bytes);
template std::unique_ptr<Device<double>> make_device(std::int64_t memory_bytes);

}  // namespace alchemist::cpu
