#include "tests/cuda_cases/paged_record.h"

namespace alchemist::cases {
namespace {

struct Rows {
  std::int64_t tokens;
  std::int64_t width;
};

std::string name_of(const char* what, const Rows& s) {
  return std::string(what) + "_" + std::to_string(s.tokens) + "x" + std::to_string(s.width);
}

Case forward(const Rows& s, bool branch) {
  return {name_of(branch ? "norm_forward_branch" : "norm_forward", s), [=]<class T>(Bench<T>& bench) -> Outputs {
            const std::int64_t count = s.tokens * s.width;
            T* sum = branch ? bench.unset_storage(count) : nullptr;
            T* y = bench.unset_storage(count);
            T* rebuilt = bench.unset_storage(count);
            Accumulator<T>* rstd = bench.unset_accumulators(s.tokens);
            const T* x = bench.storage(normal_values(count, "x"));
            const T* weight = bench.storage(normal_values(s.width, "weight"));
            const T* added = branch ? bench.storage(normal_values(count, "branch")) : nullptr;
            bench.device().run(RmsNormForward<T>{.x = x,
                                                 .branch = added,
                                                 .sum = sum,
                                                 .weight = weight,
                                                 .y = y,
                                                 .rstd = rstd,
                                                 .tokens = s.tokens,
                                                 .width = s.width,
                                                 .epsilon = static_cast<Accumulator<T>>(1e-5)});
            const T* input = branch ? sum : x;
            bench.device().run(RmsNormRebuild<T>{input, rstd, weight, rebuilt, s.tokens, s.width});
            // The sum is rounded before the norm sees it, so the output is rounded twice.
            Outputs outputs{{"y", bench.read(y, count), branch ? 2 * kRoundedOnce : kRoundedOnce},
                            {"rstd", bench.read(rstd, s.tokens), branch ? kRoundedOnce : kSummed}};
            if (branch) outputs.push_back({"sum", bench.read(sum, count), kRoundedOnce});
            outputs.push_back({"rebuilt - y", difference<T>(bench, rebuilt, y, count), 0});
            return outputs;
          }};
}

// What is normed kept besides: all of the record's memory, and the output as without. Sums are rounded on a GPU alone,
// so what is kept of them is compared with them on either device.
Case recorded(const char* name, const Rows& s, bool branch, std::int64_t page, std::int64_t first) {
  return {
      std::string("norm_forward_recorded_") + name, [=]<class T>(Bench<T>& bench) -> Outputs {
        const std::int64_t count = s.tokens * s.width;
        const PagedRecord<T> record = paged_record(bench, count, page, first);
        const auto rstd_record = paged_record<T, Accumulator<T>>(bench, s.tokens, 2, 1);
        T* without = bench.unset_storage(count);
        T* y = bench.unset_storage(count);
        RmsNormForward<T> call{.x = bench.storage(normal_values(count, "x")),
                               .branch = branch ? bench.storage(normal_values(count, "branch")) : nullptr,
                               .sum = branch ? bench.unset_storage(count) : nullptr,
                               .weight = bench.storage(normal_values(s.width, "weight")),
                               .y = without,
                               .rstd = bench.unset_accumulators(s.tokens),
                               .tokens = s.tokens,
                               .width = s.width,
                               .epsilon = static_cast<Accumulator<T>>(1e-5)};
        bench.device().run(call);
        call.y = y;
        call.record = record.bytes;
        call.rstd_record = rstd_record.bytes;
        bench.device().run(call);
        Outputs outputs{{"pages", bench.read(record.memory, record.size), branch ? kRoundedOnce : 0},
                        {"rstd", bench.read(rstd_record.memory, rstd_record.size), branch ? kRoundedOnce : kSummed},
                        {"y - without", difference<T>(bench, y, without, count), 0}};
        if (!branch) return outputs;
        T* kept = bench.unset_storage(count);
        const std::int64_t bytes = count * static_cast<std::int64_t>(sizeof(T));
        bench.device().run(RecordCopy{
            record.bytes, 1, RecordDirection::kFromRecord, 1, {{reinterpret_cast<std::byte*>(kept), bytes, bytes}}});
        outputs.push_back({"kept - sum", difference<T>(bench, kept, call.sum, count), 0});
        return outputs;
      }};
}

Case backward(const Rows& s, bool train_weight) {
  return {
      name_of(train_weight ? "norm_backward_weight" : "norm_backward", s), [=]<class T>(Bench<T>& bench) -> Outputs {
        const std::int64_t count = s.tokens * s.width;
        T* d_x = bench.storage(normal_values(count, "d_x"));
        Accumulator<T>* d_weight = bench.accumulators(normal_values(s.width, "d_weight"));
        Values rstd = normal_values(s.tokens, "rstd", 0.1);
        for (double& r : rstd) r += 1;
        bench.device().run(RmsNormBackward<T>{.x = bench.storage(normal_values(count, "x")),
                                              .rstd = bench.accumulators(rstd),
                                              .weight = bench.storage(normal_values(s.width, "weight")),
                                              .d_y = bench.storage(normal_values(count, "d_y")),
                                              .d_x = d_x,
                                              .d_weight = train_weight ? d_weight : nullptr,
                                              .tokens = s.tokens,
                                              .width = s.width});
        return {{"d_x", bench.read(d_x, count), kRoundedOnce}, {"d_weight", bench.read(d_weight, s.width), kSummed}};
      }};
}

// Rows with room behind the heads, which is left alone. In place as well, and with rstd as it is known then.
Case head_norm(std::int64_t tokens, std::int64_t q_heads, std::int64_t k_heads, std::int64_t head_dim, bool backward) {
  const std::string name = std::string(backward ? "head_norm_backward_" : "head_norm_") + std::to_string(q_heads) +
                           "and" + std::to_string(k_heads) + "x" + std::to_string(head_dim) + "_" +
                           std::to_string(tokens);
  return {name, [=]<class T>(Bench<T>& bench) -> Outputs {
            const std::int64_t heads = q_heads + k_heads, stride = heads * head_dim + 64, count = tokens * stride;
            std::vector<std::int32_t> positions;
            for (std::int64_t i = 0; i < tokens; ++i) positions.push_back(static_cast<std::int32_t>(3 * i % 7));
            const std::int64_t table = 7 * head_dim / 2;
            T* x = bench.storage(normal_values(count, "x"));
            Values known = normal_values(tokens * (heads + 1), "rstd", 0.1);
            for (double& r : known) r += 1;
            Accumulator<T>* rstd = bench.accumulators(known);
            const NormedHeads<T> normed{.x = x,
                                        .x_stride = stride,
                                        .rstd = rstd,
                                        .rstd_stride = heads + 1,
                                        .q_weight = bench.storage(normal_values(head_dim, "q_weight")),
                                        .k_weight = bench.storage(normal_values(head_dim, "k_weight")),
                                        .positions = bench.plain(positions),
                                        .cosine = bench.accumulators(normal_values(table, "cosine")),
                                        .sine = bench.accumulators(normal_values(table, "sine")),
                                        .tokens = tokens,
                                        .q_heads = q_heads,
                                        .k_heads = k_heads,
                                        .head_dim = head_dim};
            T* y = bench.storage(normal_values(count, "y"));
            if (backward) {
              Accumulator<T>* d_q = bench.accumulators(normal_values(head_dim, "d_q"));
              Accumulator<T>* d_k = bench.accumulators(normal_values(head_dim, "d_k"));
              T* frozen = bench.storage(normal_values(count, "y"));
              bench.device().run(HeadNormBackward<T>{normed, y, stride, d_q, d_k});
              bench.device().run(HeadNormBackward<T>{normed, frozen, stride, nullptr, nullptr});
              return {{"d", bench.read(y, count), kRoundedOnce},
                      {"d_q_weight", bench.read(d_q, head_dim), kSummed},
                      {"d_k_weight", bench.read(d_k, head_dim), kSummed},
                      {"frozen - d", difference<T>(bench, frozen, y, count), 0}};
            }
            HeadNormForward<T> call{normed, y, stride, static_cast<Accumulator<T>>(1e-5)};
            bench.device().run(call);
            const Values first = bench.read(y, count), kept = bench.read(rstd, tokens * (heads + 1));
            call.rstd_is_known = true;
            call.y = x;
            bench.device().run(call);
            Values rebuilt = bench.read(x, count);
            for (std::int64_t i = 0; i < count; ++i) {
              const auto at = static_cast<std::size_t>(i);
              rebuilt[at] = i % stride < heads * head_dim ? rebuilt[at] - first[at] : 0;
            }
            return {{"y", first, kRoundedOnce}, {"rstd", kept, kSummed}, {"rebuilt - y", rebuilt, 0}};
          }};
}

}  // namespace

std::vector<Case> norm_cases(bool large) {
  // Fewer runs than threads of a warp; a width that ends inside a block; more than one run a thread.
  std::vector<Rows> shapes = {{3, 64}, {5, 688}, {2, 4096}};
  if (large) shapes.insert(shapes.end(), {{1000, 4096}, {300, 8192}});
  std::vector<Case> cases;
  for (const Rows& s : shapes) {
    for (bool flag : {false, true}) {
      cases.push_back(forward(s, flag));
      cases.push_back(backward(s, flag));
    }
  }
  cases.push_back(recorded("wide", {5, 64}, false, 128, 16));
  cases.push_back(recorded("branch_pairs", {5, 64}, true, 132, 4));  // runs of two pages
  cases.push_back(recorded("branch_words", {3, 1056}, true, 134, 6));
  cases.push_back(backward({1200, 1056}, true));  // blocks of three warps, with several rows each
  cases.push_back(backward({270, 8200}, true));   // the same, of rows too wide for two in a thread's registers
  for (const bool back : {false, true}) {
    cases.push_back(head_norm(5, 4, 2, 32, back));
    cases.push_back(head_norm(3, 5, 1, 64, back));  // the last warp has room for more heads
    cases.push_back(head_norm(2, 3, 3, 128, back));
    cases.push_back(head_norm(700, 16, 4, 32, back));  // several heads a thread, where weights are trained
  }
  if (large) {
    cases.push_back(head_norm(4096, 32, 8, 128, false));
    cases.push_back(head_norm(4096, 32, 8, 128, true));
  }
  return cases;
}

}  // namespace alchemist::cases
