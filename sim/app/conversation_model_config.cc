#include "sim/app/conversation_model_config.h"

#include "sim/app/yaml_reader.h"
#include "sim/base/error.h"

namespace alchemist {
namespace {

// Numbers that do not fall (or, if not `rising`, do not rise).
std::vector<double> read_monotone(const YamlValue& value, double low, double high, bool rising) {
  std::vector<double> numbers;
  for (const YamlValue& element : value.as_list()) {
    const double number = element.as_number(low, high);
    if (!numbers.empty() && (rising ? number < numbers.back() : number > numbers.back())) {
      element.fail(rising ? "expected numbers that do not fall" : "expected numbers that do not rise");
    }
    numbers.push_back(number);
  }
  return numbers;
}

QuantileTable read_table(YamlMap& map, const std::string& key, const std::vector<double>& probabilities) {
  const YamlValue value = map.required(key);
  const std::vector<double> values = read_monotone(value, 1, 1e7, true);
  if (values.size() != probabilities.size()) {
    value.fail("expected " + std::to_string(probabilities.size()) + " quantiles, one for each probability");
  }
  return QuantileTable(probabilities, values);
}

}  // namespace

std::shared_ptr<const ConversationModel> read_conversation_model(const std::string& path) {
  YamlMap map(YamlValue::load(path));
  auto model = std::make_shared<ConversationModel>();
  const YamlValue limit = map.required("limit");
  model->limit = static_cast<std::int32_t>(limit.as_int(2, 10'000'000));

  const YamlValue grid = map.required("probabilities");
  const std::vector<double> probabilities = read_monotone(grid, 0, 1, true);
  for (std::size_t i = 1; i < probabilities.size(); ++i) {
    if (probabilities[i] == probabilities[i - 1]) grid.fail("expected probabilities that differ");
  }
  if (probabilities.size() < 2 || probabilities.front() != 0 || probabilities.back() != 1) {
    grid.fail("expected probabilities from 0 to 1");
  }
  model->first_prompt = read_table(map, "first_prompt", probabilities);
  model->new_user_tokens = read_table(map, "new_user_tokens", probabilities);
  model->answer = read_table(map, "answer", probabilities);
  // What does not fit is drawn again: where next to nothing fits, for ever.
  const double tenth = normal_quantile(0.1);
  if (model->first_prompt.at(tenth) + model->answer.at(tenth) > model->limit) {
    limit.fail("expected a limit that short prompts and answers (the tenth part that is shortest) fit in");
  }
  for (double p : read_monotone(map.required("more_turns_than"), 0, 1, false)) {
    model->turn_threshold.push_back(-normal_quantile(p));
  }
  model->user_share = map.required("user_share").as_number(0, 1);
  model->answer_share = map.required("answer_share").as_number(0, 1);
  model->answer_memory = map.required("answer_memory").as_number(-0.999, 0.999);
  model->same_turn = map.required("same_turn").as_number(-1, 1);

  const YamlValue traits_value = map.required("traits");
  YamlMap traits(traits_value);
  std::array<double, 6> correlations{};
  std::size_t i = 0;
  for (const char* key : {"turns_first_prompt", "turns_user", "turns_answer", "first_prompt_user",
                          "first_prompt_answer", "user_answer"}) {
    correlations[i++] = traits.required(key).as_number(-1, 1);
  }
  traits.finish();
  map.finish();
  try {
    model->traits_factor = traits_factor(correlations);
  } catch (const ConfigError& e) { traits_value.fail(e.what()); }
  return model;
}

}  // namespace alchemist
