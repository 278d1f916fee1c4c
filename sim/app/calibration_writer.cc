#include "sim/app/calibration_writer.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <fstream>
#include <iterator>
#include <map>
#include <thread>

#include "sim/app/hardware_config.h"
#include "sim/base/version.h"
#include "sim/model/kernel_profile.h"
#include "sim/model/profile_cost.h"
#include "sim/model/rising.h"
#include "sim/model/training_profile.h"
#include "sim/report/output_file.h"

namespace alchemist {
namespace {

constexpr double kLeast_us = 1e-3;  // a difference of two measurements that noise has made zero or less

std::int64_t tokens_of(const StepCase& shape) {
  std::int64_t tokens = shape.decodes;
  for (const PrefillChunk& chunk : shape.chunks) tokens += chunk.tokens;
  return tokens;
}

// What it adds to a run. p10_us and p90_us of the files are what single ones take at the same speed.
double expected_us(const Calibration& c, const Timing& time) { return c.disturbance * time.median; }

using Points = std::vector<std::pair<double, double>>;  // (tokens or sequences, microseconds), ascending

Points base_points(const Calibration& c) {
  Points points;
  for (const StepCase& shape : c.base) points.emplace_back(tokens_of(shape), expected_us(c, shape.time));
  return rising(std::move(points));
}

// What the head adds, by sequences: each case is measured without and with it.
Points head_points(const Calibration& c) {
  Points points;
  for (std::size_t i = 0; i + 1 < c.head.size(); i += 2) {
    const double us = expected_us(c, c.head[i + 1].time) - expected_us(c, c.head[i].time);
    points.emplace_back(tokens_of(c.head[i]), std::max(kLeast_us, us));
  }
  return rising(std::move(points));
}

void write_serving(ResultDirectory& files, const Calibration& c, double layers) {
  OutputFile& dense = files.create("dense.csv");
  dense.write("layer,tokens,time_us\n");
  for (const auto& [tokens, us] : base_points(c)) dense.write(fmt::format("layer,{},{:.4f}\n", tokens, us / layers));
  OutputFile& head = files.create("per_sequence.csv");
  head.write("layer,sequences,time_us\n");
  for (const auto& [sequences, us] : head_points(c)) head.write(fmt::format("head,{},{:.4f}\n", sequences, us));
  OutputFile& attention = files.create("attention.csv");
  attention.write("prefill_chunk,kv_prefill,n_decode,kv_decode,time_us\n");
  const PointSeries base(base_points(c));
  const auto attention_us = [&](const StepCase& shape) {
    return expected_us(c, shape.time) - base.at(static_cast<double>(tokens_of(shape)));
  };
  const auto write = [&](const StepCase& shape, double us) {
    const PrefillChunk chunk = shape.chunks.empty() ? PrefillChunk() : shape.chunks.front();
    attention.write(fmt::format("{},{},{},{},{:.4f}\n", chunk.tokens, chunk.context, shape.decodes,
                                shape.decode_context, std::max(kLeast_us, us / layers)));
  };
  // As many requests take no less time behind more keys, whatever noise says.
  std::map<std::int32_t, std::map<double, double>> decodes;  // by requests and context
  for (const StepCase& shape : c.decode) decodes[shape.decodes][shape.decode_context] = attention_us(shape);
  for (auto& [count, by_context] : decodes) {
    const Points risen = rising(Points(by_context.begin(), by_context.end()));
    by_context = {risen.begin(), risen.end()};
  }
  for (const StepCase& shape : c.decode) write(shape, decodes[shape.decodes][shape.decode_context]);
  for (const StepCase& shape : c.mixed) write(shape, attention_us(shape));
}

void write_training(ResultDirectory& files, const Calibration& c) {
  OutputFile& file = files.create("training.csv");
  file.write("kind,tokens,attended_keys,time_us,p10_us,p90_us\n");
  const auto write = [&](const std::string& kind, std::int64_t tokens, double keys, const Timing& time) {
    file.write(fmt::format("{},{},{},{:.4f},{:.4f},{:.4f}\n", kind, tokens, keys,
                           std::max(kLeast_us, expected_us(c, time)), time.p10, time.p90));
  };
  for (const PieceCase& piece : c.pieces) write(piece.kind, piece.tokens, piece.attended_keys, piece.time);
  for (std::size_t i = 0; i + 1 < c.recorded.size(); i += 2) {
    const Timing& without = c.recorded[i].time;
    const Timing& with = c.recorded[i + 1].time;
    write("recording", tokens_of(c.recorded[i]), 0,
          {with.p10 - without.p10, with.median - without.median, with.p90 - without.p90});
  }
}

void write_held_out_training(ResultDirectory& files, const Calibration& c) {
  OutputFile& file = files.create("held_out.csv");
  file.write("kind,tokens,attended_keys,first_us,time_us,p10_us,p90_us\n");
  for (const auto& [piece, first_us] : c.held_out_pieces) {
    file.write(fmt::format("{},{},{},{:.4f},{:.4f},{:.4f},{:.4f}\n", piece.kind, piece.tokens, piece.attended_keys,
                           first_us, piece.time.median, piece.time.p10, piece.time.p90));
  }
}

struct Rate {
  double bandwidth;  // bytes/s
  double latency_us;
};

// The line of time over bytes: its slope is the median of those through any two sizes (Theil 1950, Sen 1968), so that
// one disturbed size does not matter. Where so many are disturbed that it does not even rise, the largest copy as a
// whole bounds the rate from below.
Rate rate_of(const Calibration& c, const std::string& kind, double copies) {
  std::vector<LinkCase> cases;
  std::copy_if(c.links.begin(), c.links.end(), std::back_inserter(cases),
               [&](const LinkCase& l) { return l.kind == kind; });
  std::vector<double> us_per_byte;
  for (std::size_t i = 0; i < cases.size(); ++i) {
    for (std::size_t j = i + 1; j < cases.size(); ++j) {
      us_per_byte.push_back((cases[j].time.median - cases[i].time.median) /
                            (copies * static_cast<double>(cases[j].bytes - cases[i].bytes)));
    }
  }
  const auto middle = us_per_byte.begin() + static_cast<std::ptrdiff_t>(us_per_byte.size() / 2);
  std::nth_element(us_per_byte.begin(), middle, us_per_byte.end());
  const LinkCase& small = cases.front();
  const LinkCase& large = cases.back();
  if (*middle <= 0) return {copies * static_cast<double>(large.bytes) / (large.time.median * 1e-6), 0};
  return {1e6 / *middle, std::max(0.0, small.time.median - copies * static_cast<double>(small.bytes) * *middle)};
}

void write_link(ResultDirectory& files, const Calibration& c) {
  OutputFile& file = files.create("link.csv");
  file.write("kind,bytes,time_us,p10_us,p90_us\n");
  for (const LinkCase& link : c.links) {
    file.write(fmt::format("{},{},{:.4f},{:.4f},{:.4f}\n", link.kind, link.bytes, link.time.median, link.time.p10,
                           link.time.p90));
  }
}

void write_host(ResultDirectory& files, const Calibration& c) {
  const Rate h2d = rate_of(c, "h2d", 1), d2h = rate_of(c, "d2h", 1), both = rate_of(c, "duplex", 2);
  const ColdStartFit cold = fit_cold_start(c.cold);
  OutputFile& host = files.create("host.yaml");
  host.write(fmt::format(
      "# Measured by `alchemist calibrate`; the experiment's hardware takes these in place of its own.\n"
      "step_overhead: {:.3f} us\nlink_h2d_bandwidth: {:.4f} GB/s\nlink_d2h_bandwidth: {:.4f} GB/s\n"
      "link_duplex_bandwidth: {:.4f} GB/s\nlink_latency: {:.3f} us\ncopy_slowdown: {:.4f}\n"
      "training_cold_start: {:.3f} us\nserving_cold_start: {:.3f} us\ncold_start_steps: {:.2f}\n",
      c.host.median, h2d.bandwidth * 1e-9, d2h.bandwidth * 1e-9,
      std::max({both.bandwidth, h2d.bandwidth, d2h.bandwidth}) * 1e-9, std::max(h2d.latency_us, d2h.latency_us),
      c.kernel_slowdown, std::max(0.0, c.training_cold_start.median), cold.first_us, cold.steps));
  if (cold.piece_tokens > 0) host.write(fmt::format("cold_piece_tokens: {:.0f}\n", std::ceil(cold.piece_tokens)));
  if (cold.prompt_tokens > 0) host.write(fmt::format("cold_prompt_tokens: {:.0f}\n", std::ceil(cold.prompt_tokens)));
  if (cold.idle_us > 0) host.write(fmt::format("cold_idle: {:.0f} us\n", cold.idle_us));
  if (c.token_tile > 1) host.write(fmt::format("token_tile: {}\n", c.token_tile));
}

void write_cold_caches(ResultDirectory& files, const Calibration& c) {
  OutputFile& file = files.create("cold.csv");
  file.write("behind,amount,step,excess_us,p10_us,p90_us\n");
  for (const ColdCase& series : c.cold) {
    const char* cause = series.cause == ColdCause::kTraining ? "training_tokens"
                        : series.cause == ColdCause::kPrompt ? "prompt_tokens"
                                                             : "idle_us";
    for (std::size_t step = 0; step < series.excess.size(); ++step) {
      const Timing& excess = series.excess[step];
      file.write(fmt::format("{},{:.0f},{},{:.4f},{:.4f},{:.4f}\n", cause, series.amount, step + 1, excess.median,
                             excess.p10, excess.p90));
    }
  }
}

std::string shape_text(const StepCase& shape) {
  std::string text;
  for (const PrefillChunk& chunk : shape.chunks) text += fmt::format("{}+{} ", chunk.tokens, chunk.context);
  return text + fmt::format("{}x{}", shape.decodes, shape.decode_context);
}

void write_steps(ResultDirectory& files, const Calibration& c) {
  OutputFile& file = files.create("steps.csv");
  file.write("table,tokens,shape,head,recorded,time_us,p10_us,p90_us\n");
  const auto write = [&](const char* table, const std::vector<StepCase>& cases) {
    for (const StepCase& s : cases) {
      const std::string shape = s.chunks.size() > 2 ? fmt::format("{} chunks", s.chunks.size()) : shape_text(s);
      file.write(fmt::format("{},{},{},{:d},{:d},{:.4f},{:.4f},{:.4f}\n", table, tokens_of(s), shape, s.head, s.records,
                             s.time.median, s.time.p10, s.time.p90));
    }
  };
  write("base", c.base);
  write("head", c.head);
  write("decode", c.decode);
  write("mixed", c.mixed);
  write("recorded", c.recorded);
  write("held_out", c.held_out);
}

std::string first_match(const char* path, const std::string& key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(key)) return line.substr(line.find_first_not_of(" \t:", key.size()));
  }
  return "unknown";
}

std::string load_average() {
  std::ifstream file("/proc/loadavg");
  std::string load;
  file >> load;
  return load.empty() ? "unknown" : load;
}

std::string speed_keys(const SpeedLaw& speed) {
  if (speed.level <= 0) return {};
  return fmt::format("speed_sensitivity: {:.9g}\nspeed_level: {:.9g}\n", speed.sensitivity, speed.level);
}

void write_meta(ResultDirectory& files, const Provenance& p, const Calibration& c, const ModelShape& model) {
  const std::time_t now = std::time(nullptr);
  files.create("meta.yaml")
      .write(fmt::format(
          "device: \"{}\"\nmodel: {}\ntensor_parallel: {}\nparameters: {}\ntraining: {}\ncuda_graphs: {}\nprocessor: "
          "\"{}\"\nclock_mhz: {}\nprocessors: {}\nload_average_at_the_end: {}\nrounds: {}\ndisturbance: "
          "{:.4f}\n{}date: "
          "{:%Y-%m-%dT%H:%M:%SZ}\nengine: "
          "\"{}\"\n",
          p.device, p.model, p.tensor_parallel, model.parameters(), p.training, p.cuda_graphs,
          first_match("/proc/cpuinfo", "model name"), first_match("/proc/cpuinfo", "cpu MHz"),
          std::thread::hardware_concurrency(), load_average(), p.rounds, c.disturbance, speed_keys(c.speed),
          fmt::gmtime(now), engine_git_hash()));
}

}  // namespace

void write_calibration(ResultDirectory& files, const Calibration& calibration, const ModelShape& model,
                       const Provenance& provenance) {
  write_serving(files, calibration, static_cast<double>(model.layers));
  write_training(files, calibration);
  write_held_out_training(files, calibration);
  write_link(files, calibration);
  write_host(files, calibration);
  write_cold_caches(files, calibration);
  write_steps(files, calibration);
  write_meta(files, provenance, calibration, model);
  files.commit();
}

std::vector<HeldOut> check_calibration(const std::filesystem::path& folder, const Calibration& calibration,
                                       const ModelShape& model) {
  HardwareSpec hardware = load_hardware("cpu-2core");  // for the parts that a profile lacks, and this one lacks none
  hardware.step_overhead = Duration();
  ProfileCostOptions options;
  for (const StepCase& shape : calibration.mixed) {
    options.max_num_batched_tokens =
        std::max(options.max_num_batched_tokens, static_cast<std::int32_t>(tokens_of(shape)));
  }
  options.cuda_graphs = options.async_scheduling = false;
  const ProfileCost cost(read_llmservingsim_profile(folder.string()), hardware, model, options);
  std::vector<HeldOut> result;
  for (const StepCase& shape : calibration.held_out) {
    BatchShape batch;
    batch.prefills = shape.chunks;
    batch.decodes = shape.decodes;
    batch.decode_context_sum = static_cast<std::int64_t>(shape.decodes) * shape.decode_context;
    batch.decode_context_max = shape.decode_context;
    batch.sampled = shape.decodes + static_cast<std::int32_t>(shape.chunks.size());
    result.push_back(
        {shape_text(shape), expected_us(calibration, shape.time), cost.step(batch).in_seconds() * 1e6, {}});
  }
  const TrainingProfile training = read_training_profile((folder / "training.csv").string());
  for (const auto& [piece, first_us] : calibration.held_out_pieces) {
    const PieceSeries& series = piece.kind == "forward" ? training.forward : training.backward;
    result.push_back({fmt::format("{} {}", piece.kind, piece.tokens), expected_us(calibration, piece.time),
                      series.at(static_cast<double>(piece.tokens), piece.attended_keys), first_us});
  }
  return result;
}

}  // namespace alchemist
