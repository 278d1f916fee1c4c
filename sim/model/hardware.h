// A GPU (or CPU) and its surroundings, as far as the cost models need to know. Peak figures come from data sheets,
// efficiencies from published or own measurements; configs/hardware names the source of each.
#pragma once

#include <cstdint>
#include <string>

#include "sim/base/bytes.h"
#include "sim/base/observer.h"
#include "sim/base/time.h"

namespace alchemist {

struct HardwareSpec {
  std::string name;
  Bytes memory;                         // of one GPU
  double memory_bandwidth = 0;          // bytes/s, peak
  double memory_efficiency = 0;         // share of it that large copies reach, 0..1
  double bandwidth_saturation = 1;      // share of the SMs that draws all of the memory bandwidth, 0..1
  double matrix_flops = 0;              // FLOP/s at the model's dtype, dense, peak
  double matrix_efficiency = 0;         // share of it that large matrix products reach, 0..1
  double attention_efficiency = 0;      // share of matrix_flops that attention over long prompts reaches, 0..1
  double vector_flops = 0;              // FLOP/s outside the matrix units
  Bytes shared_memory;                  // of one SM; decides how many thread blocks of an attention kernel it holds
  std::int64_t processors = 1;          // SMs (or cores)
  Duration kernel_overhead;             // fixed cost of one kernel in a stream of kernels
  Duration step_overhead;               // host time of one serving step: scheduling, inputs, launch
  double link_h2d_bandwidth = 0;        // bytes/s host to device, pinned memory, large transfers, one direction
  double link_d2h_bandwidth = 0;        // bytes/s device to host
  double link_duplex_bandwidth = 0;     // bytes/s of both directions together when both are busy
  double link_pageable_bandwidth = 0;   // bytes/s from pageable memory
  Duration link_latency;                // fixed cost of one transfer
  double copy_slowdown = 1;             // factor >= 1 on the time of kernels while a copy runs
  double link_slowdown = 1;             // factor >= 1 on the time of copies while kernels run
  double recording_slowdown = 1;        // factor >= 1 on the roofline's time of recording; a profile has measured times
  Duration serving_cold_start;          // added to a serving step that follows a training piece: cold caches
  double cold_start_steps = 1;          // >= 1: added to all steps that follow it, in units of the first
  std::int64_t cold_piece_tokens = 0;   // of a layer's training pieces, that leave caches so cold; 0: any piece does
  std::int64_t cold_prompt_tokens = 0;  // of a step, that leave caches as cold as training does; 0: none do
  Duration cold_idle;                   // time without work that does; 0: none does
  Duration training_cold_start;         // added to a training piece that follows a serving step
  std::int64_t token_tile = 1;          // tokens of a tile of matrix products; training pieces are cut between tiles
  Bytes host_memory;                    // of the machine, for each GPU
  bool host_memory_pinned = true;       // what lies there is copied at the link's rate; else at link_pageable_bandwidth
  double interconnect_bandwidth = 0;    // bytes/s between GPUs, each direction (NVLink or PCIe)
  Duration interconnect_latency;        // fixed cost of one all-reduce

  bool operator==(const HardwareSpec&) const = default;
};

// Bytes/s of one large transfer alone, from or to the host memory that there is.
double copy_bandwidth(const HardwareSpec& hardware, LinkDirection direction);

// What kernels get that have a share of the SMs, 0..1, while the others do something else: so much of the arithmetic,
// and as much of the memory bandwidth as so many SMs draw. What the others take of it is not taken off.
HardwareSpec share_of(const HardwareSpec& hardware, double share);

}  // namespace alchemist
