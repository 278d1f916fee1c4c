#include "sim/app/hardware_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/app/config_paths.h"
#include "tests/app/support.h"

namespace alchemist {
namespace {

TEST(Hardware, ShippedFilesReadAndReadBackExactly) {
  EXPECT_THAT(list_configs("hardware"), testing::ElementsAre("a100-40g", "a100-80g", "b200", "cpu-2core", "h100",
                                                             "h200", "l40s", "rtx-pro-6000", "rtx4090"));
  for (const std::string& name : list_configs("hardware")) {
    const HardwareSpec hardware = load_hardware(name);
    EXPECT_EQ(hardware.name, name);
    EXPECT_LT(hardware.link_duplex_bandwidth, hardware.memory_bandwidth);
    YAML::Emitter out;
    emit_hardware(out, hardware);
    EXPECT_EQ(read_hardware(YamlValue::parse(out.c_str(), name)), hardware) << out.c_str();
  }
}

// Units: 24.8 GB/s = 24.8e9 B/s, 165.2 TFLOP/s, 2.5 us = 2,500 ns.
TEST(Hardware, FiguresAreInBaseUnits) {
  const HardwareSpec h = load_hardware("rtx4090");
  EXPECT_EQ(h.memory.count(), 25'250'627'584);
  EXPECT_DOUBLE_EQ(h.link_h2d_bandwidth, 24.8e9);
  EXPECT_DOUBLE_EQ(h.matrix_flops, 165.2e12);
  EXPECT_EQ(h.kernel_overhead.count_ns(), 2500);
  EXPECT_EQ(h.link_slowdown, 1) << "where nobody has measured it, kernels leave copies alone";
}

// Cold caches are charged where they were measured.
TEST(Hardware, FiguresThatMayBeLeftOutAreWrittenIfSet) {
  YAML::Emitter plain, cold;
  emit_hardware(plain, load_hardware("h200"));
  for (const char* key : {"serving_cold_start", "cold_start_steps", "cold_piece_tokens", "cold_prompt_tokens",
                          "cold_idle", "token_tile", "host_memory_pinned", "recording_slowdown"})
    EXPECT_THAT(plain.c_str(), testing::Not(testing::HasSubstr(key)));
  const HardwareSpec hardware = read_hardware(YamlValue::parse(
      "{base: h200, serving_cold_start: 0.3 ms, cold_start_steps: 2.5, cold_prompt_tokens: 200, cold_idle: 8 ms, "
      "cold_piece_tokens: 512, token_tile: 128, host_memory_pinned: false, recording_slowdown: 3.6}",
      "f"));
  EXPECT_EQ(hardware.serving_cold_start, Duration::microseconds(300));
  EXPECT_EQ(hardware.cold_start_steps, 2.5);
  EXPECT_EQ(hardware.cold_prompt_tokens, 200);
  EXPECT_EQ(hardware.cold_piece_tokens, 512);
  EXPECT_EQ(hardware.cold_idle, Duration::milliseconds(8));
  EXPECT_EQ(hardware.token_tile, 128);
  EXPECT_FALSE(hardware.host_memory_pinned);
  EXPECT_EQ(hardware.recording_slowdown, 3.6);
  emit_hardware(cold, hardware);
  EXPECT_EQ(read_hardware(YamlValue::parse(cold.c_str(), "f")), hardware) << cold.c_str();
}

// What a policy believes of one large copy alone; pageable memory is never faster than the link.
TEST(Hardware, CopiesAreAsFastAsTheHostsMemoryLets) {
  HardwareSpec hardware = load_hardware("h200");
  hardware.link_h2d_bandwidth = 5e9;
  hardware.link_d2h_bandwidth = 2e9;
  hardware.link_pageable_bandwidth = 3e9;
  EXPECT_EQ(copy_bandwidth(hardware, LinkDirection::kHostToDevice), 5e9);
  EXPECT_EQ(copy_bandwidth(hardware, LinkDirection::kDeviceToHost), 2e9);
  hardware.host_memory_pinned = false;
  EXPECT_EQ(copy_bandwidth(hardware, LinkDirection::kHostToDevice), 3e9);
  EXPECT_EQ(copy_bandwidth(hardware, LinkDirection::kDeviceToHost), 2e9);
}

TEST(Hardware, FilesThatBuildUponEachOtherComeToAnEnd) {
  const TemporaryFolder folder;
  const std::string own = folder.write("own.yaml", "name: own\nbase: own.yaml\n");
  EXPECT_EQ(message_of([&] { load_hardware(own); }),
            own + ":2: key base: expected fewer files upon each other; does one name itself as its base?");
  folder.write("first.yaml", "base: h200\nmemory: 96 GiB\n");
  folder.write("second.yaml", "base: first.yaml\nmemory_bandwidth: 3 TB/s\n");
  const HardwareSpec hardware = load_hardware((folder.path() / "second.yaml").string());
  EXPECT_EQ(hardware.memory.count(), 96LL << 30);
  EXPECT_DOUBLE_EQ(hardware.memory_bandwidth, 3e12);
}

TEST(Hardware, ImpossibleFiguresAreRefused) {
  const auto message = [](const std::string& key, const std::string& text) {
    return message_of([&] { read_hardware(YamlValue::parse("{base: h200, " + key + ": " + text + "}", "f")); });
  };
  EXPECT_THAT(message("memory", "80"), testing::HasSubstr("without a unit"));
  EXPECT_EQ(message("memory", "0 B"), "f:1: key memory: expected more than 0");
  EXPECT_EQ(message("memory_bandwidth", "0 GB/s"), "f:1: key memory_bandwidth: expected at least 1 MB/s");
  EXPECT_EQ(message("link_h2d_bandwidth", "4.8 B/s"), "f:1: key link_h2d_bandwidth: expected at least 1 MB/s");
  EXPECT_EQ(message("link_h2d_bandwidth", "1 MB/s"), "");
  EXPECT_EQ(message("matrix_flops", "0.001 GFLOP/s"), "f:1: key matrix_flops: expected at least 1 GFLOP/s");
  EXPECT_THAT(message("memory_efficiency", "1.2"), testing::StartsWith("f:1: key memory_efficiency: expected"));
  EXPECT_THAT(message("copy_slowdown", "0.5"), testing::StartsWith("f:1: key copy_slowdown: expected"));
  EXPECT_THAT(message("link_slowdown", "0.5"), testing::StartsWith("f:1: key link_slowdown: expected"));
  EXPECT_THAT(message("recording_slowdown", "0.5"), testing::StartsWith("f:1: key recording_slowdown: expected"));
  EXPECT_THAT(message("cold_start_steps", "0.5"), testing::StartsWith("f:1: key cold_start_steps: expected"));
  EXPECT_THAT(message("cold_prompt_tokens", "0"), testing::StartsWith("f:1: key cold_prompt_tokens: expected"));
  EXPECT_THAT(message("host_memory_pinned", "2"), testing::StartsWith("f:1: key host_memory_pinned: expected"));
  EXPECT_THAT(message("memori", "80 GiB"), testing::HasSubstr("did you mean \"memory\"?"));
  const std::string missing = message_of([] { read_hardware(YamlValue::parse("{memory: 80 GiB}", "f")); });
  EXPECT_THAT(missing,
              testing::StartsWith("f:1: expected base, a GPU whose figures hold for what is not given, or also "
                                  "memory_bandwidth, memory_efficiency, "));
  EXPECT_THAT(missing, testing::HasSubstr(", link_h2d_bandwidth, "));
}

}  // namespace
}  // namespace alchemist
