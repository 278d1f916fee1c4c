// alchemist staleness: what the age of records does to a gradient, measured on a real device.
#include <fmt/format.h>

#include <memory>
#include <sstream>

#include "sim/app/aged_training_options.h"
#include "sim/app/cli.h"
#include "sim/app/option_checks.h"
#include "sim/report/output_file.h"
#include "validate/staleness.h"

namespace alchemist {
namespace {

struct StalenessArguments {
  AgedTrainingOptions training;
  StalenessOptions measure;
};

// Means over the repeats.
void print_table(const std::vector<StalenessPoint>& points, const StalenessOptions& options) {
  fmt::print("lag       cosine  relative error\n");
  for (std::int32_t lag = 0; lag <= options.max_lag; ++lag) {
    double cosine = 0, error = 0;
    for (const StalenessPoint& point : points) {
      if (point.lag != lag) continue;
      cosine += point.cosine / options.repeats;
      error += point.relative_error / options.repeats;
    }
    fmt::print("{:>3}  {:>11.6f}  {:>12.3f} %\n", lag, cosine, 100 * error);
  }
}

void measure(const StalenessArguments& arguments) {
  const AgedTrainingOptions& training = arguments.training;
  const DecoderOptions options = decoder_options(training);
  ResultDirectory directory(training.out);  // before minutes are spent on what could not be written
  RealModel model = make_model(training, options);
  StalenessOptions measure = arguments.measure;
  measure.batch = training.batch;
  measure.recorded = training.recorded_rows();
  const std::vector<StalenessPoint> points = measure_staleness(model.decoder(), measure);
  std::ostringstream csv;
  write_staleness(csv, points);
  nlohmann::ordered_json json = provenance(training, options, model.description());
  json["warm_up_steps"] = measure.warm_up_steps;
  json["repeats"] = measure.repeats;
  directory.create("staleness.csv").write(csv.str());
  directory.create("staleness.json").write(json.dump(2) + "\n");
  directory.commit();
  print_table(points, measure);
  fmt::print("{} samples of {} + {} tokens, {} records; {}\nResults: {}\n", measure.batch.samples,
             measure.batch.prompt_tokens, measure.batch.answer_tokens, measure.repeats, model.description(),
             training.out);
}

}  // namespace

void add_staleness_command(CLI::App& app) {
  auto arguments = std::make_shared<StalenessArguments>();
  CLI::App* command = app.add_subcommand(
      "staleness",
      "Compare the gradient from aged records with that of a fresh forward, by weight-version lag, on a real device");
  add_aged_training_options(*command, arguments->training, "staleness.csv and staleness.json");
  StalenessOptions& options = arguments->measure;
  command->add_option("--max-lag", options.max_lag)->check(whole_number(0, 1000))->capture_default_str();
  command->add_option("--warm-up-steps", options.warm_up_steps, "optimizer steps before the first record")
      ->check(whole_number(0, 100000))
      ->capture_default_str();
  command->add_option("--repeats", options.repeats, "records made, one after the other")
      ->check(whole_number(1, 1000))
      ->capture_default_str();
  command->callback([arguments] { measure(*arguments); });
}

}  // namespace alchemist
