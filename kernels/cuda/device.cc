#include "kernels/cuda/device.h"

#include "kernels/cuda/blas.h"
#include "kernels/cuda/captured_calls.h"
#include "kernels/cuda/cudnn_attention.h"
#include "kernels/cuda/gpu_memory.h"
#include "kernels/cuda/hopper_attention.h"
#include "kernels/cuda/linear_bias.h"
#include "sim/base/error.h"

namespace alchemist::cuda {
namespace {

using Bf16 = BFloat16;

constexpr int kHopper = 9;               // major compute capability of the GPUs that have warpgroup products
constexpr std::int64_t kTileRows = 128;  // of cuBLAS's kernels for large products, on all GPUs since Volta

// Operators are queued on one stream, in the order of the calls.
class GpuDevice final : public Device<Bf16> {
 public:
  GpuDevice(int index, AttentionBy attention) : memory_(index), blas_(memory_.stream()) {
    libraries_ = ", cuBLAS " + blas_.version();
    if (attention == AttentionBy::hopper) {
      if (memory_.major() != kHopper)
        throw ConfigError("attention by warpgroups needs a Hopper GPU (compute capability 9.0), but this is " +
                          memory_.description());
      hopper_ = true;
      libraries_ += ", attention by warpgroups";
    }
    if (attention != AttentionBy::cudnn) return;
    cudnn_ = std::make_unique<CudnnAttention>(memory_);
    libraries_ += ", cuDNN " + cudnn_->version();
  }

  std::string description() const override { return memory_.description() + libraries_; }
  std::int64_t usable_bytes() const override { return memory_.usable_bytes(); }
  std::int64_t token_tile() const override { return kTileRows; }
  void* allocate(std::int64_t bytes) override { return memory_.allocate(bytes); }
  void free(void* device) noexcept override { memory_.free(device); }
  void* allocate_host(std::int64_t bytes) override { return memory_.allocate_host(bytes); }
  void free_host(void* host) noexcept override { memory_.free_host(host); }
  void fill_zero(void* device, std::int64_t bytes) override { memory_.fill_zero(device, bytes); }
  void upload(void* device, const void* host, std::int64_t bytes) override { memory_.upload(device, host, bytes); }
  void download(void* host, const void* device, std::int64_t bytes) override { memory_.download(host, device, bytes); }
  void link_copy(CopyDirection direction, void* to, const void* from, std::int64_t bytes) override {
    memory_.link_copy(direction, to, from, bytes);
  }
  void link_wait(CopyDirection direction) override { memory_.link_wait(direction); }
  void synchronise() override { memory_.synchronise(); }
  double time(const std::function<void()>& work) override { return memory_.time(work); }
  std::unique_ptr<RepeatedCalls> repeated_calls() override {
    return std::make_unique<CapturedCalls>(stream(), workspace_);
  }

  void run(const EmbeddingForward<Bf16>& call) override { embedding_forward(call, stream()); }
  void run(const EmbeddingBackward<Bf16>& call) override { embedding_backward(call, stream()); }
  void run(const RmsNormForward<Bf16>& call) override { rms_norm_forward(call, stream()); }
  void run(const RmsNormRebuild<Bf16>& call) override { rms_norm_rebuild(call, stream()); }
  void run(const RmsNormBackward<Bf16>& call) override {
    const std::int64_t bytes = call.d_weight ? rms_norm_backward_workspace(call.tokens, call.width) : 0;
    rms_norm_backward(call, workspace_.get(bytes), stream());
  }
  void run(const Rotary<Bf16>& call) override { rotary(call, stream()); }
  void run(const HeadNormForward<Bf16>& call) override { head_norm_forward(call, stream()); }
  void run(const HeadNormBackward<Bf16>& call) override {
    head_norm_backward(call, workspace_.get(head_norm_backward_workspace(call)), stream());
  }
  void run(const LinearForward<Bf16>& call) override;
  void run(const LinearInputGradient<Bf16>& call) override;
  void run(const LinearWeightGradient<Bf16>& call) override;
  void run(const AttentionForward<Bf16>& call) override {
    if (by_cudnn(call.shape)) return cudnn_->run(call);
    (by_warpgroups(call.shape) ? hopper_attention_forward : attention_forward)(call, stream());
  }
  void run(const AttentionBackward<Bf16>& call) override {
    if (by_cudnn(call.shape)) return cudnn_->run(call);
    if (!by_warpgroups(call.shape)) return attention_backward(call, stream());
    hopper_attention_backward(call, workspace_.get(hopper_attention_workspace(call)), stream());
  }
  void run(const KvCacheWrite<Bf16>& call) override { kv_cache_write(call, stream()); }
  void run(const PagedAttention<Bf16>& call) override {
    if (hopper_ && hopper_prefill_takes(call)) return hopper_prefill_attention(call, stream());
    paged_attention(call, workspace_.get(paged_attention_workspace(call)), stream());
  }
  void run(const GatedActivationForward<Bf16>& call) override { gated_activation_forward(call, stream()); }
  void run(const GatedActivationBackward<Bf16>& call) override { gated_activation_backward(call, stream()); }
  void run(const ResidualAdd<Bf16>& call) override { residual_add(call, stream()); }
  void run(const CrossEntropy<Bf16>& call) override { cross_entropy(call, stream()); }
  void run(const Argmax<Bf16>& call) override { argmax(call, stream()); }
  void run(const PreferenceLoss<float>& call) override { preference_loss(call, stream()); }
  void run(const AdamW<Bf16>& call) override { adamw(call, stream()); }
  void run(const RoundRows<Bf16>& call) override { round_rows(call, stream()); }
  void run(const RecordCopy& call) override { record_copy(call, stream()); }
  void run(const KeepRows& call) override { keep_rows(call, stream()); }
  void run(const RowCopy& call) override { row_copy(call, stream()); }
  void run(const RandomFill<Bf16>& call) override { random_fill(call, stream()); }

 private:
  Stream stream() const { return memory_.stream(); }
  bool by_cudnn(const AttentionShape& shape) const { return cudnn_ && CudnnAttention::takes(shape); }
  bool by_warpgroups(const AttentionShape& shape) const { return hopper_ && hopper_attention_takes(shape.head_dim); }

  GpuMemory memory_;
  Workspace workspace_{memory_};
  Blas blas_;
  std::unique_ptr<CudnnAttention> cudnn_;  // none: our own attention
  bool hopper_ = false;                    // by warpgroups
  std::string libraries_;
};

void GpuDevice::run(const LinearForward<Bf16>& call) {
  if (call.bias) start_with_bias(call, stream());
  blas_.multiply({.m = call.tokens,
                  .n = call.out,
                  .k = call.in,
                  .a = call.x,
                  .a_stride = call.x_stride,
                  .b = call.weight,
                  .b_stride = call.in,
                  .b_transposed = Transpose::kYes,
                  .c = call.y,
                  .c_stride = call.y_stride,
                  .alpha = call.scale,
                  .beta = call.accumulate || call.bias ? 1.0F : 0.0F});
}

void GpuDevice::run(const LinearInputGradient<Bf16>& call) {
  blas_.multiply({.m = call.tokens,
                  .n = call.in,
                  .k = call.out,
                  .a = call.d_y,
                  .a_stride = call.d_y_stride,
                  .b = call.weight,
                  .b_stride = call.in,
                  .c = call.d_x,
                  .c_stride = call.d_x_stride,
                  .alpha = call.scale,
                  .beta = call.accumulate ? 1.0F : 0.0F});
}

void GpuDevice::run(const LinearWeightGradient<Bf16>& call) {
  blas_.multiply({.m = call.out,
                  .n = call.in,
                  .k = call.tokens,
                  .a = call.d_y,
                  .a_stride = call.d_y_stride,
                  .a_transposed = Transpose::kYes,
                  .b = call.x,
                  .b_stride = call.x_stride,
                  .c = call.d_weight,
                  .c_stride = call.in,
                  .c_element = Element::kF32,
                  .alpha = call.scale,
                  .beta = 1.0F});
  if (call.d_bias) add_bias_gradient(call, stream());
}

}  // namespace

std::unique_ptr<Device<BFloat16>> make_device(int index, AttentionBy attention) {
  return std::make_unique<GpuDevice>(index, attention);
}

}  // namespace alchemist::cuda
