// cuDNN accepts our graphs for a GPU that is not there: it is told the properties of one and compiles for it. Only
// built where cuDNN's front end is; skips where cuDNN is not found.
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "kernels/cuda/cudnn_graphs.h"
#include "kernels/cuda/cudnn_library.h"
#include "sim/base/error.h"

namespace alchemist::cuda {
namespace {

namespace fe = cudnn_frontend;

// An H200, as cuDNN writes down the properties of a device.
constexpr const char* kH200 = R"({"maxGridSize": [2147483647, 65535, 65535], "maxBlockSize": [1024, 1024, 64],
"regsPerBlock": 65536, "multiProcessorCount": 132, "warpSize": 32, "maxSharedMemoryPerBlock": 49152,
"maxSharedMemoryPerBlockOptin": 232448, "reservedSharedMemoryPerBlock": 1024, "maxRegistersPerSM": 65536,
"maxCtasPerSM": 32, "maxThreadsPerBlock": 1024, "maxThreadsPerSM": 2048, "pciDeviceId": 0, "isTccDriver": 0,
"supportCoopLaunch": 1, "smClockRateKHz": 1980000, "memClockRateKHz": 3201000, "l2CacheSize": 62914560,
"deviceName": "NVIDIA H200", "deviceVer": 900, "driverVer": 13000, "cudaDeviceId": 0, "totalGlobalMem": 150754820096})";

// cuDNN asks for the driver's library even where it does not need a driver; the toolkit has one for linking.
bool find_driver_library() {
  return dlopen("libcuda.so.1", RTLD_NOW) != nullptr ||
         dlopen("/usr/local/cuda/lib64/stubs/libcuda.so", RTLD_NOW | RTLD_GLOBAL) != nullptr;
}

void expect_accepted(void (*describe)(CudnnGraph&, const AttentionExtent&), const AttentionExtent& extent,
                     const std::shared_ptr<fe::DeviceProperties>& device) {
  CudnnGraph graph;
  graph.set_device_properties(device).set_sm_version(90);
  describe(graph, extent);
  const auto good = [](fe::error_t error) { return error.is_good() ? std::string() : error.get_message(); };
  ASSERT_EQ(good(graph.validate()), "");
  ASSERT_EQ(good(graph.build_operation_graph()), "");
  ASSERT_EQ(good(graph.create_execution_plans({fe::HeurMode_t::A})), "");
  EXPECT_EQ(good(graph.check_support()), "");
}

class CudnnGraphs : public testing::TestWithParam<AttentionExtent> {};

TEST_P(CudnnGraphs, AreAcceptedForAnH200) {
  try {
    open_cudnn();
  } catch (const ConfigError& error) { GTEST_SKIP() << error.what(); }
  if (!find_driver_library()) GTEST_SKIP() << "no libcuda.so, not even the toolkit's for linking";
  const std::string text = kH200;
  const auto device = std::make_shared<fe::DeviceProperties>();
  fe::error_t read = device->deserialize(std::vector<std::uint8_t>(text.begin(), text.end()));
  if (read.is_bad()) GTEST_SKIP() << "this cuDNN knows no GPU but one that is there: " << read.get_message();
  expect_accepted(describe_forward, GetParam(), device);
  expect_accepted(describe_backward, GetParam(), device);
}

// A decoder's: Llama-3.1-8B with q, k and v side by side, Llama-3.2-1B, and the tiny model; one sequence and many.
INSTANTIATE_TEST_SUITE_P(Shapes, CudnnGraphs,
                         testing::Values(AttentionExtent{1, 32, 8, 128, 8'192, 8'192, 6'144, 2'048, 6'144},
                                         AttentionExtent{13, 32, 8, 128, 256, 2'048, 6'144, 2'048, 4'096},
                                         AttentionExtent{5, 32, 8, 64, 1'024, 1'024, 3'072, 1'024, 3'072},
                                         AttentionExtent{3, 7, 1, 32, 128, 128, 288, 64, 232}));

}  // namespace
}  // namespace alchemist::cuda
