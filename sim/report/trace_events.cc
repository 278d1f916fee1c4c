#include "sim/report/trace_events.h"

#include <fmt/format.h>

#include "sim/base/check.h"

namespace alchemist {
namespace {

// Nanoseconds written as microseconds with three decimals.
struct Microseconds {
  std::int64_t ns;
};

// Ids start above 0, since viewers take process 0 and thread 0 for those of an idle operating system.
std::uint32_t process_id(ReplicaId id) { return id.value() + 1; }

constexpr int kLanesOfKind = 100;  // thread ids of one kind start at a multiple of this
constexpr int thread_id(int kind, std::size_t beside) { return (kind + 1) * kLanesOfKind + static_cast<int>(beside); }

constexpr std::string_view kLaneNames[] = {"serving", "training", "host-to-device", "device-to-host"};
constexpr std::string_view kPhaseNames[] = {"restore", "forward", "backward", "optimizer"};

Microseconds us(Time t) { return {t.count_ns()}; }
Microseconds us(Duration d) { return {d.count_ns()}; }

}  // namespace
}  // namespace alchemist

template <>
struct fmt::formatter<alchemist::Microseconds> {
  constexpr auto parse(format_parse_context& context) { return context.begin(); }
  auto format(alchemist::Microseconds t, format_context& context) const {
    return fmt::format_to(context.out(), "{}.{:03}", t.ns / 1000, t.ns % 1000);
  }
};

namespace alchemist {

TraceEvents::TraceEvents(OutputFile& file) : file_(file) {
  file_.write("{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n");
}

void TraceEvents::begin_event() {
  if (!first_) file_.write(",\n");
  first_ = false;
}

template <class... Args>
void TraceEvents::event(std::string_view format, const Args&... args) {
  begin_event();
  fmt::vformat_to(fmt::appender(file_.buffer()), format, fmt::make_format_args(args...));
  file_.flush_if_large();
}

void TraceEvents::name(std::string_view what, ReplicaId id, int thread, std::string_view value) {
  event(R"({{"name":"{}","ph":"M","pid":{},"tid":{},"args":{{"name":"{}"}}}})", what, process_id(id), thread, value);
}

void TraceEvents::name_lane(ReplicaId id, Lane kind, std::size_t beside) {
  const int thread = thread_id(kind, beside);
  const std::string_view plain = kLaneNames[kind];
  name("thread_name", id, thread, beside == 0 ? std::string(plain) : fmt::format("{} {}", plain, beside + 1));
  event(R"({{"name":"thread_sort_index","ph":"M","pid":{},"tid":{},"args":{{"sort_index":{}}}}})", process_id(id),
        thread, thread);
}

TraceEvents::Replica& TraceEvents::replica(ReplicaId id) {
  if (id.value() >= replicas_.size()) replicas_.resize(id.value() + 1);
  Replica& r = replicas_[id.value()];
  if (!r.named) {
    r.named = true;
    name("process_name", id, thread_id(kServing, 0), fmt::format("replica {}", id.value()));
    for (int kind = 0; kind < kLanes; ++kind) {
      r.busy_until[kind].resize(1);
      name_lane(id, static_cast<Lane>(kind), 0);
    }
  }
  return r;
}

int TraceEvents::lane_for(ReplicaId id, Lane kind, Time start, Time end) {
  check(start <= end, "a span does not end before it starts");
  std::vector<Time>& lanes = replica(id).busy_until[kind];
  std::size_t beside = 0;
  while (beside < lanes.size() && lanes[beside] > start) ++beside;
  if (beside == lanes.size()) {
    lanes.emplace_back();
    name_lane(id, kind, beside);
  }
  lanes[beside] = end;
  return thread_id(kind, beside);
}

void TraceEvents::on_preemption(ReplicaId id, RequestId request, Time now) {
  replica(id);
  event(R"({{"name":"preempt request {}","ph":"i","s":"t","pid":{},"tid":{},"ts":{}}})", request.value(),
        process_id(id), thread_id(kServing, 0), us(now));
}

void TraceEvents::on_serving_span(const ServingSpan& s) {
  const int thread = lane_for(s.replica, kServing, s.start, s.end);
  const std::string_view what = s.prefill_tokens == 0 ? "decode" : s.decodes == 0 ? "prefill" : "prefill + decode";
  event(R"({{"name":"{}","ph":"X","pid":{},"tid":{},"ts":{},"dur":{},)"
        R"("args":{{"steps":{},"prefill_tokens":{},"decodes":{}}}}})",
        what, process_id(s.replica), thread, us(s.start), us(s.end - s.start), s.steps, s.prefill_tokens, s.decodes);
  auto& queue = replica(s.replica).queue;
  if (queue == std::pair(s.running, s.waiting)) return;
  queue = {s.running, s.waiting};
  event(R"({{"name":"requests","ph":"C","pid":{},"ts":{},"args":{{"running":{},"waiting":{}}}}})",
        process_id(s.replica), us(s.start), s.running, s.waiting);
}

void TraceEvents::on_memory(ReplicaId id, Time now, const MemoryUse& use) {
  std::optional<MemoryUse>& last = replica(id).memory;
  const bool gpu_changed = !last || last->weights != use.weights || last->kv != use.kv ||
                           last->activations != use.activations || last->training != use.training;
  const bool host_changed = !last || last->host != use.host;
  if (gpu_changed) {
    event(R"({{"name":"GPU memory","ph":"C","pid":{},"ts":{},)"
          R"("args":{{"weights":{},"kv":{},"activations":{},"training":{}}}}})",
          process_id(id), us(now), use.weights.count(), use.kv.count(), use.activations.count(), use.training.count());
  }
  if (host_changed) {
    event(R"({{"name":"host memory","ph":"C","pid":{},"ts":{},"args":{{"pinned":{}}}}})", process_id(id), us(now),
          use.host.count());
  }
  last = use;
}

void TraceEvents::on_transfer(const TransferSpan& s) {
  const Lane kind = s.direction == LinkDirection::kHostToDevice ? kHostToDevice : kDeviceToHost;
  const int thread = lane_for(s.replica, kind, s.start, s.end);
  event(R"({{"name":"{}","ph":"X","pid":{},"tid":{},"ts":{},"dur":{},"args":{{"bytes":{}}}}})",
        kind == kHostToDevice ? "reload" : "offload", process_id(s.replica), thread, us(s.start), us(s.end - s.start),
        s.bytes.count());
}

void TraceEvents::on_training_span(const TrainingSpan& s) {
  const int thread = lane_for(s.replica, kTraining, s.start, s.end);
  event(R"({{"name":"{}","ph":"X","pid":{},"tid":{},"ts":{},"dur":{}}})", kPhaseNames[static_cast<int>(s.phase)],
        process_id(s.replica), thread, us(s.start), us(s.end - s.start));
}

void TraceEvents::finish() { file_.write("\n]}\n"); }

}  // namespace alchemist
