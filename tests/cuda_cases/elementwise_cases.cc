#include "tests/cuda_cases/paged_record.h"

namespace alchemist::cases {
namespace {

Case gated(std::int64_t tokens, std::int64_t width) {
  return {"gated_activation_" + std::to_string(tokens) + "x" + std::to_string(width),
          [=]<class T>(Bench<T>& bench) -> Outputs {
            const std::int64_t count = tokens * width;
            const T* gate_up = bench.storage(normal_values(2 * count, "gate_up", 3));
            T* d_gated = bench.storage(normal_values(count, "d_gated"));
            T* forward = bench.unset_storage(count);
            T* d_gate_up = bench.unset_storage(2 * count);
            bench.device().run(GatedActivationForward<T>{gate_up, forward, tokens, width});
            // The rebuilt output may take the place of its gradient.
            bench.device().run(GatedActivationBackward<T>{gate_up, d_gated, d_gate_up, d_gated, tokens, width});
            return {{"gated", bench.read(forward, count), kRoundedOnce},
                    {"d_gate_up", bench.read(d_gate_up, 2 * count), kRoundedOnce},
                    {"rebuilt - gated", difference<T>(bench, d_gated, forward, count), 0}};
          }};
}

// Gate and up kept besides: all bits of the record's memory, and the output as without.
Case gated_recorded(const char* name, std::int64_t tokens, std::int64_t width, std::int64_t page, std::int64_t first) {
  return {std::string("gated_activation_recorded_") + name, [=]<class T>(Bench<T>& bench) -> Outputs {
            const T* gate_up = bench.storage(normal_values(2 * tokens * width, "gate_up", 3));
            T* gated = bench.unset_storage(tokens * width);
            T* without = bench.unset_storage(tokens * width);
            const PagedRecord<T> record = paged_record(bench, 2 * tokens * width, page, first);
            bench.device().run(GatedActivationForward<T>{gate_up, without, tokens, width});
            bench.device().run(GatedActivationForward<T>{gate_up, gated, tokens, width, record.bytes});
            return {{"pages", bench.read(record.memory, record.size), 0},
                    {"gated - without", difference<T>(bench, gated, without, tokens * width), 0}};
          }};
}

Case rotary(std::int64_t tokens, std::int64_t heads, std::int64_t head_dim, bool inverse) {
  return {"rotary_" + std::to_string(heads) + "x" + std::to_string(head_dim) + (inverse ? "_inverse" : ""),
          [=]<class T>(Bench<T>& bench) -> Outputs {
            const std::int64_t stride = heads * head_dim + 64, count = tokens * stride;
            T* x = bench.storage(normal_values(count, "x"));
            std::vector<std::int32_t> positions;
            for (std::int64_t i = 0; i < tokens; ++i) positions.push_back(static_cast<std::int32_t>(3 * i % 7));
            const std::int64_t table = 7 * head_dim / 2;
            bench.device().run(Rotary<T>{.x = x,
                                         .positions = bench.plain(positions),
                                         .cosine = bench.accumulators(normal_values(table, "cosine")),
                                         .sine = bench.accumulators(normal_values(table, "sine")),
                                         .tokens = tokens,
                                         .heads = heads,
                                         .head_dim = head_dim,
                                         .row_stride = stride,
                                         .inverse = inverse});
            return {{"x", bench.read(x, count), kRoundedOnce}};
          }};
}

Case residual(std::int64_t count) {
  return {"residual_" + std::to_string(count), [=]<class T>(Bench<T>& bench) -> Outputs {
            T* a = bench.storage(normal_values(count, "a"));
            bench.device().run(ResidualAdd<T>{a, bench.storage(normal_values(count, "b")), a, count});
            return {{"y", bench.read(a, count), kRoundedOnce}};
          }};
}

Case round_rows(std::int64_t rows, std::int64_t width) {
  return {"round_rows_" + std::to_string(rows) + "x" + std::to_string(width), [=]<class T>(Bench<T>& bench) -> Outputs {
            const std::int64_t stride = width + 16;
            T* to = bench.storage(normal_values(rows * stride, "old"));
            Values from = normal_values(rows * width, "from");
            for (double& x : from) x *= 1 + 1.0 / 1024;  // not a bf16
            bench.device().run(RoundRows<T>{bench.accumulators(from), to, rows, width, stride});
            return {{"to", bench.read(to, rows * stride), kRoundedOnce}};
          }};
}

// Tokens repeat, far apart and side by side.
Case embedding(std::int64_t count, std::int64_t hidden) {
  return {"embedding_" + std::to_string(count) + "x" + std::to_string(hidden),
          [=]<class T>(Bench<T>& bench) -> Outputs {
            const std::int64_t vocabulary = 11;
            std::vector<std::int32_t> ids;
            for (std::int64_t i = 0; i < count; ++i) ids.push_back(static_cast<std::int32_t>(i * i % vocabulary));
            const std::int32_t* tokens = bench.plain(ids);
            T* out = bench.unset_storage(count * hidden);
            Accumulator<T>* d_table = bench.accumulators(normal_values(vocabulary * hidden, "d_table"));
            bench.device().run(EmbeddingForward<T>{tokens, bench.storage(normal_values(vocabulary * hidden, "table")),
                                                   out, count, hidden});
            bench.device().run(EmbeddingBackward<T>{tokens, bench.storage(normal_values(count * hidden, "d_out")),
                                                    d_table, count, hidden, vocabulary});
            return {{"out", bench.read(out, count * hidden), 0},
                    {"d_table", bench.read(d_table, vocabulary * hidden), kSummed}};
          }};
}

Case random_fill(const std::string& name, RandomKind kind, std::int64_t count) {
  return {"random_fill_" + name, [=]<class T>(Bench<T>& bench) -> Outputs {
            T* values = bench.unset_storage(count);
            bench.device().run(RandomFill<T>{values, count, hash_name(name), kind, 0.02});
            return {{"values", bench.read(values, count), kRoundedOnce}};
          }};
}

// Five steps; the last count of elements is no multiple of a thread's.
Case adamw(std::int64_t count, bool master) {
  return {"adamw_" + std::to_string(count) + (master ? "_master" : ""), [=]<class T>(Bench<T>& bench) -> Outputs {
            const Values start = normal_values(count, "parameters");
            T* parameters = bench.storage(start);
            Accumulator<T>* masters = master ? bench.accumulators(start) : nullptr;
            Accumulator<T>* gradient = bench.accumulators(normal_values(count, "gradient"));
            Accumulator<T>* first = bench.accumulators(normal_values(count, "m", 0.1));
            Values squares = normal_values(count, "v", 0.1);
            for (double& v : squares) v *= v;
            Accumulator<T>* second = bench.accumulators(squares);
            bench.device().run(AdamW<T>{.parameters = parameters,
                                        .master = masters,
                                        .gradient = gradient,
                                        .first_moment = first,
                                        .second_moment = second,
                                        .count = count,
                                        .settings = {.learning_rate = 0.01, .weight_decay = 0.1},
                                        .correction1 = 0.41,
                                        .correction2 = 0.005});
            Outputs outputs{{"parameters", bench.read(parameters, count), kRoundedOnce},
                            {"gradient", bench.read(gradient, count), 0},
                            {"m", bench.read(first, count), kSummed},
                            {"v", bench.read(second, count), kSummed}};
            if (master) outputs.push_back({"master", bench.read(masters, count), kSummed});
            return outputs;
          }};
}

}  // namespace

std::vector<Case> elementwise_cases(bool large) {
  std::vector<Case> cases = {gated(3, 688),
                             gated_recorded("wide", 5, 64, 128, 16),  // 16-byte accesses
                             gated_recorded("pairs", 5, 64, 132, 4),  // 8-byte accesses, runs of two pages
                             gated_recorded("words", 5, 64, 134, 6),  // 4-byte accesses, the same
                             gated_recorded("one_page", 3, 688, 8192, 0),
                             rotary(5, 4, 32, false),
                             rotary(3, 7, 96, false),  // six runs: whole warps take sixteen heads
                             rotary(5, 4, 32, true),
                             rotary(2, 9, 128, false),
                             rotary(2, 330, 128, false),  // more than a block takes
                             residual(1000),
                             residual(4),
                             residual(2053),
                             round_rows(5, 128),
                             embedding(40, 64),
                             embedding(3, 2048),
                             adamw(1027, true),
                             adamw(1027, false),
                             random_fill("constant", RandomKind::kConstant, 300),
                             random_fill("uniform", RandomKind::kUniform, 1001),
                             random_fill("near_normal", RandomKind::kNearNormal, 1001)};
  if (large) {
    cases.insert(cases.end(),
                 {gated(300, 14336), gated_recorded("large", 300, 14336, 1 << 20, 0), rotary(2048, 32, 128, false),
                  residual(10000001), round_rows(70000, 128), embedding(2000, 4096), adamw(5000003, true)});
  }
  return cases;
}

}  // namespace alchemist::cases
