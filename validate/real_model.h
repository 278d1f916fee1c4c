// The model of an experiment on a real device.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "kernels/cuda/device.h"
#include "validate/decoder.h"

namespace alchemist {

enum class DeviceKind { cpu, cuda, cuda_hopper, cuda_cudnn };  // the last two: other attention in training

// For command lines: "cpu", "cuda", "cuda-hopper", "cuda-cudnn".
const std::map<std::string, DeviceKind>& device_kinds();
// Of a GPU.
cuda::AttentionBy attention_by(DeviceKind kind);

class RealModel {
 public:
  // `memory_bytes`: what a CPU may take as device memory; a GPU has its own. ConfigError if there is no such device, or
  // if it has too little memory.
  RealModel(DeviceKind kind, const DecoderOptions& options, std::int64_t memory_bytes);

  Decoder& decoder() { return *decoder_; }
  const std::string& description() const { return description_; }

 private:
  template <class T>
  void take(std::unique_ptr<Device<T>> device, std::int64_t element_bytes, const DecoderOptions& options);

  std::unique_ptr<DeviceMemory> device_;
  std::unique_ptr<Decoder> decoder_;
  std::string description_;
};

}  // namespace alchemist
