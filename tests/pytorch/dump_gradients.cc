// Trains a small decoder once on the CPU, in double, and prints all that another framework needs to do the same: shape,
// samples, weights; and what it should find: loss and gradients. JSON on stdout; the argument says what is trained.
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/validate/support.h"

namespace alchemist {
namespace {

nlohmann::json to_json(const std::vector<Decoder::NamedTensor>& tensors) {
  nlohmann::json result = nlohmann::json::object();
  for (const Decoder::NamedTensor& tensor : tensors) {
    result[tensor.name] = {{"shape", tensor.shape}, {"values", tensor.values}};
  }
  return result;
}

nlohmann::json dump(const std::string& what) {
  const bool full = what == "full" || what == "full_head_norms", preference = what == "dpo";
  const bool head_norms = what == "full_head_norms" || what == "lora_head_norms";
  DecoderOptions options = small_options<double>(full ? TrainingMethod::full : TrainingMethod::lora, head_norms);
  options.shape.qkv_bias = what == "full";
  if (preference) options.training.objective = TrainingObjective::dpo;
  Samples samples({{5, 7}, {5, 3}, {9, 4}, {9, 6}}, options.shape.vocabulary);
  if (preference) {
    for (std::size_t i = 0; i < samples.list.size(); ++i) {
      samples.list[i].loss_weight = 0.5;
      samples.list[i].reference_logprob = -14 - 3 * static_cast<double>(i);
    }
  }
  TestDecoder<double> model(options);
  const HeadResult head = train_fresh(model, samples);

  nlohmann::json result;
  const ModelShape& s = options.shape;
  result["shape"] = {{"layers", s.layers},
                     {"hidden", s.hidden},
                     {"heads", s.heads},
                     {"kv_heads", s.kv_heads},
                     {"head_dim", s.head_dim},
                     {"rope_theta", options.rope.theta},
                     {"norm_epsilon", options.norm_epsilon}};
  result["lora_scale"] = options.lora_alpha / static_cast<double>(options.training.lora_rank);
  result["dpo_beta"] = options.dpo_beta;
  result["objective"] = preference ? "dpo" : "sft";
  for (const TrainingSample& sample : samples.list) {
    result["samples"].push_back({{"tokens", std::vector<std::int32_t>(sample.tokens.begin(), sample.tokens.end())},
                                 {"prompt_tokens", sample.prompt_tokens},
                                 {"reference_logprob", sample.reference_logprob}});
  }
  result["weights"] = to_json(model->named_weights());
  result["loss"] = head.loss;
  result["log_prob"] = head.log_prob;
  result["gradients"] = to_json(model->named_gradients());
  return result;
}

}  // namespace
}  // namespace alchemist

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: dump_gradients full|lora|dpo|full_head_norms|lora_head_norms\n";
    return 1;
  }
  std::cout << alchemist::dump(argv[1]) << "\n";
  return 0;
}
