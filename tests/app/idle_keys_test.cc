// What a user is told of keys without a use, and of a profile that was measured with something else.
#include "sim/app/idle_keys.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/app/calibrated_profile.h"
#include "sim/app/experiment.h"
#include "tests/app/support.h"

namespace alchemist {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Experiment with_policy(const std::string& policy) {
  return read_experiment(YamlValue::parse(
      "model: tiny\nhardware: cpu-2core\nworkload: {arrivals: {poisson: {rate: 4}}, lengths: {fixed: {prompt: 100, "
      "output: 10}}, requests: 50}\npolicy: " +
          policy + "\n",
      "e.yaml"));
}

TEST(IdleKeys, AreNamedWithTheReason) {
  EXPECT_THAT(idle_key_warnings(with_policy("{base: temporal, window_layers: 9}")),
              ElementsAre(HasSubstr("no use is made of window_layers: neither place nor fresh")));
  EXPECT_THAT(idle_key_warnings(with_policy("{base: temporal, keep_for: 5 s, gpu_record_share: 0.3}")),
              ElementsAre(HasSubstr("no use is made of gpu_record_share, keep_for: record is none")));
  EXPECT_THAT(idle_key_warnings(with_policy("{base: alchemist, window_layers: 9, keep_for: 5 s}")), IsEmpty());
}

TEST(IdleKeys, NothingIsSplitOnOneGpu) {
  Experiment experiment = with_policy("temporal");
  experiment.training.sequence_parallel = true;
  EXPECT_THAT(idle_key_warnings(experiment),
              ElementsAre("training: no use is made of sequence_parallel: serving.tensor_parallel is 1"));
  experiment.serving.tensor_parallel = 2;
  EXPECT_THAT(idle_key_warnings(experiment), IsEmpty());
}

TEST(ProfileWarnings, AnotherTrainingThanThatOfTheExperiment) {
  const TemporaryFolder folder;
  folder.write("profile/meta.yaml", "device: CPU\nmodel: tiny\ntraining: full\n");
  Experiment experiment = with_policy("temporal");
  experiment.profile = folder.path() / "profile";
  EXPECT_THAT(profile_warnings(experiment), Contains(HasSubstr("was measured with training.method full, but this is")));
  experiment.training.method = TrainingMethod::full;
  EXPECT_THAT(profile_warnings(experiment), ::testing::Not(Contains(HasSubstr("was measured with"))));
}

}  // namespace
}  // namespace alchemist
