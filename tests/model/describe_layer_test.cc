#include "sim/model/describe_layer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/model/shapes.h"

namespace alchemist {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// The figures of the record sets' test, and the operators and tensors that the method asks for.
TEST(DescribeLayer, ShowsTheSetsOfAModel) {
  const std::string full = describe_layer_graph(llama31_8b(), full_training());
  for (const char* bytes : {"139,400", "94,344", "37,000", "4,096", "3,019,008"}) EXPECT_THAT(full, HasSubstr(bytes));
  EXPECT_THAT(full, Not(HasSubstr("lora_a")));
  EXPECT_EQ(full.back(), '\n');
  const std::string lora = describe_layer_graph(llama31_8b(), lora_training(8, {LinearModule::kQ}));
  EXPECT_THAT(lora, HasSubstr("q_proj.lora_a"));
  EXPECT_THAT(lora, Not(HasSubstr("k_proj.lora_a")));
  EXPECT_THAT(lora, HasSubstr("rank 8, adapters on q\n"));
}

TEST(DescribeLayer, ShowsTheExpertsOfAMixture) {
  ModelShape shape = llama31_8b();
  EXPECT_THAT(describe_layer_graph(shape, full_training()), Not(HasSubstr("experts")));
  shape.experts = 8;
  shape.experts_per_token = 2;
  const std::string mixture = describe_layer_graph(shape, full_training());
  EXPECT_THAT(mixture, HasSubstr("A token passes 2 of 8 experts"));
  EXPECT_THAT(mixture, HasSubstr("939,524,096"));  // bytes of gate, of all experts: 8 x 4,096 x 14,336 x 2
}

// Of two tensors that cost 4,096 FLOPs a byte, the cut lets go when the machine's balance passes 4,096.
TEST(DescribeLayer, CheapestSetChangesAtTheTensorsIntensities) {
  const std::string full = describe_layer_graph(llama31_8b(), full_training());
  EXPECT_THAT(full, HasSubstr("           4,096     8,192  x\n"));
}

}  // namespace
}  // namespace alchemist
