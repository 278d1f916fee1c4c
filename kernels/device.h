// The device that a model is written on: memory, copies, and one verb for each operator. The CPU has one for float and
// one for double, an NVIDIA GPU one for BFloat16; the model above is the same code.
//
// Operators, fill_zero(), upload() and download() run in the order in which they are called; they are called from one
// thread at a time and need not have ended when the call returns, except for download(). link_copy() and link_wait()
// are outside that order: they may be called from one further thread for each direction, and what is read must have
// been finished by synchronise() before.
//
// Errors: ConfigError with a message for the user when there is no device, a library is not found, memory runs out, or
// the device is lost.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "kernels/adamw.h"
#include "kernels/attention.h"
#include "kernels/cross_entropy.h"
#include "kernels/embedding.h"
#include "kernels/gated_activation.h"
#include "kernels/head_norm.h"
#include "kernels/linear.h"
#include "kernels/paged_attention.h"
#include "kernels/preference_loss.h"
#include "kernels/random_fill.h"
#include "kernels/record_copy.h"
#include "kernels/residual.h"
#include "kernels/rms_norm.h"
#include "kernels/rotary.h"
#include "kernels/round_rows.h"

namespace alchemist {

enum class CopyDirection : std::uint8_t { kHostToDevice, kDeviceToHost };

// Calls that are made again and again, with the same arguments in the same order; what lies behind the pointers among
// them may change. A device that can replay them makes each but the first two times for the price of one call.
class RepeatedCalls {
 public:
  virtual ~RepeatedCalls() = default;
  // `calls`: run()s of the device that this came from, and nothing that waits for it. They are made now or replayed.
  virtual void run(const std::function<void()>& calls) { calls(); }
};

class DeviceMemory {
 public:
  virtual ~DeviceMemory() = default;

  virtual std::string description() const = 0;    // for provenance: device, libraries, threads
  virtual std::int64_t usable_bytes() const = 0;  // of device memory that can still be allocated
  // Rows that a tile of its large matrix products has: a few more cost as much as a whole tile more.
  virtual std::int64_t token_tile() const { return 1; }
  // The processor that calls it: its speed is the device's.
  virtual bool is_processor() const { return false; }
  virtual void* allocate(std::int64_t bytes) = 0;  // device memory, aligned to 256 bytes, not initialised
  virtual void free(void* device) noexcept = 0;
  virtual void* allocate_host(std::int64_t bytes) = 0;  // pinned host memory where the device knows such
  virtual void free_host(void* host) noexcept = 0;

  virtual void fill_zero(void* device, std::int64_t bytes) = 0;
  // The source may be changed again as soon as the call returns.
  virtual void upload(void* device, const void* host, std::int64_t bytes) = 0;
  // After everything that was called before; returns when the data are there.
  virtual void download(void* host, const void* device, std::int64_t bytes) = 0;
  // Over the link, on its own stream for each direction, between device memory and allocate_host() memory.
  virtual void link_copy(CopyDirection direction, void* to, const void* from, std::int64_t bytes) = 0;
  // Returns when the data of all copies in this direction are there.
  virtual void link_wait(CopyDirection direction) = 0;
  // Returns when everything called before has ended.
  virtual void synchronise() = 0;
  // Lives no longer than the device.
  virtual std::unique_ptr<RepeatedCalls> repeated_calls() { return std::make_unique<RepeatedCalls>(); }
  // Seconds from the end of everything called before `work` to the end of what `work` calls, by the device's clock
  // where it has one; waits for that end.
  virtual double time(const std::function<void()>& work) {
    synchronise();
    const auto start = std::chrono::steady_clock::now();
    work();
    synchronise();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
};

// Arguments are in device memory, but for sizes; see each operator's header.
template <class T>
class Device : public DeviceMemory {
 public:
  virtual void run(const EmbeddingForward<T>& call) = 0;
  virtual void run(const EmbeddingBackward<T>& call) = 0;
  virtual void run(const RmsNormForward<T>& call) = 0;
  virtual void run(const RmsNormRebuild<T>& call) = 0;
  virtual void run(const RmsNormBackward<T>& call) = 0;
  virtual void run(const Rotary<T>& call) = 0;
  virtual void run(const HeadNormForward<T>& call) = 0;
  virtual void run(const HeadNormBackward<T>& call) = 0;
  virtual void run(const LinearForward<T>& call) = 0;
  virtual void run(const LinearInputGradient<T>& call) = 0;
  virtual void run(const LinearWeightGradient<T>& call) = 0;
  virtual void run(const AttentionForward<T>& call) = 0;
  virtual void run(const AttentionBackward<T>& call) = 0;
  virtual void run(const KvCacheWrite<T>& call) = 0;
  virtual void run(const PagedAttention<T>& call) = 0;
  virtual void run(const GatedActivationForward<T>& call) = 0;
  virtual void run(const GatedActivationBackward<T>& call) = 0;
  virtual void run(const ResidualAdd<T>& call) = 0;
  virtual void run(const CrossEntropy<T>& call) = 0;
  virtual void run(const Argmax<T>& call) = 0;
  virtual void run(const PreferenceLoss<Accumulator<T>>& call) = 0;
  virtual void run(const AdamW<T>& call) = 0;
  virtual void run(const RoundRows<T>& call) = 0;
  virtual void run(const RecordCopy& call) = 0;
  virtual void run(const KeepRows& call) = 0;
  virtual void run(const RowCopy& call) = 0;
  virtual void run(const RandomFill<T>& call) = 0;
};

}  // namespace alchemist
