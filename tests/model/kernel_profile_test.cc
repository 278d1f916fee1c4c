#include "sim/model/kernel_profile.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/base/error.h"
#include "tests/model/profile_folder.h"
#include "tests/shared_data.h"

namespace alchemist {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::ProfileFolder;
using ::testing::StartsWith;

// What reading says is wrong; empty if nothing is.
template <class Read>
std::string complaint(Read read) {
  try {
    read();
    return "";
  } catch (const ConfigError& e) { return e.what(); }
}
std::string complaint_about(const ProfileFolder& folder) {
  return complaint([&] { read_llmservingsim_profile(folder.path()); });
}

TEST(PointSeries, InterpolatesHoldsAndExtrapolates) {
  const PointSeries series({{4, 20}, {2, 10}, {8, 60}});
  EXPECT_DOUBLE_EQ(series.at(1), 10);  // constant below the first
  EXPECT_DOUBLE_EQ(series.at(2), 10);
  EXPECT_DOUBLE_EQ(series.at(3), 15);
  EXPECT_DOUBLE_EQ(series.at(5), 30);   // 20 + (60 - 20) / 4
  EXPECT_DOUBLE_EQ(series.at(10), 80);  // along the last segment: 60 + 2 * 10
  EXPECT_DOUBLE_EQ(series.last_x(), 8);
}

TEST(PointSeries, AveragesEqualPointsAndHoldsASingleOne) {
  EXPECT_DOUBLE_EQ(PointSeries({{1, 10}, {2, 30}, {1, 20}}).at(1), 15);
  EXPECT_DOUBLE_EQ(PointSeries({{5, 7}}).at(0), 7);
  EXPECT_DOUBLE_EQ(PointSeries({{5, 7}}).at(50), 7);
}

// f(x, y) = 1 + 2x + 3y + 4xy at x = 0 2 6, y = 1 3.
TEST(Grid, IsBilinear) {
  const auto f = [](double x, double y) { return 1 + 2 * x + 3 * y + 4 * x * y; };
  std::map<Grid<2>::Point, double> values;
  for (const std::int32_t x : {0, 2, 6}) {
    for (const std::int32_t y : {1, 3}) values[{x, y}] = f(x, y);
  }
  Grid<2> grid;
  EXPECT_TRUE(grid.fill(values).empty());
  for (const double x : {0.0, 1.0, 2.0, 3.5, 6.0, 9.0}) {
    for (const double y : {1.0, 1.5, 3.0, 10.0}) EXPECT_NEAR(grid.at({x, y}), f(x, y), 1e-9) << x << ' ' << y;
  }
  EXPECT_DOUBLE_EQ(grid.at({-5, 0}), f(0, 1));  // constant below the first points
  EXPECT_DOUBLE_EQ(grid.at({2, 0}), f(2, 1));
}

TEST(Grid, NamesAMissingPoint) {
  Grid<2> grid;
  const auto missing = grid.fill({{{0, 1}, 1.0}, {{0, 3}, 1.0}, {{2, 1}, 1.0}});
  ASSERT_EQ(missing.size(), 1u);
  EXPECT_EQ(missing[0], (Grid<2>::Point{2, 3}));
}

// At 1 token the operators of a layer take 1 + 2 + 3 + 4 + 5 + 6 + 2 * 7 = 35 us (two norms), and 8 us more a token:
// halfway, at 5 tokens, 67. Head and sampler of 3 sequences: 100 + 10 * 2 and 20 + 2 * 2.
TEST(LlmServingSimProfile, GoodFolder) {
  ProfileFolder folder;
  const KernelProfile profile = read_llmservingsim_profile(folder.path());
  EXPECT_TRUE(profile.has_attention());
  EXPECT_EQ(profile.origin, folder.path());
  EXPECT_DOUBLE_EQ(profile.layer_dense.at(1), 35);
  EXPECT_DOUBLE_EQ(profile.layer_dense.at(5), 67);
  EXPECT_DOUBLE_EQ(profile.embedding.at(1), 8);
  EXPECT_DOUBLE_EQ(profile.final_norm.at(9), 17);
  EXPECT_DOUBLE_EQ(profile.head.at(3), 144);
  EXPECT_DOUBLE_EQ(profile.decode.at({2, 96}), ProfileFolder::attention_us(0, 0, 2, 96));
  EXPECT_DOUBLE_EQ(profile.mixed.at({12, 8, 3, 80}), ProfileFolder::attention_us(12, 8, 3, 80));
  EXPECT_DOUBLE_EQ(profile.mixed.at({12, 8, 0, 80}), ProfileFolder::attention_us(12, 8, 0, 0));
  EXPECT_TRUE(profile.uneven.empty());
}

// Four decodes, one of 160 tokens and three of 32: mean 64, where the even batch takes 2 + 4 * 64 / 64 = 6 us. The file
// has sums over three iterations, 19 us for the even and 25 us for the uneven batch: 2 us more for one. What the third
// of 19 us is off by is noise.
TEST(LlmServingSimProfile, UnevenBatchesInTheUnitOfTheEvenOnes) {
  ProfileFolder folder;
  folder.write("skew.csv",
               "regime,n,nb,kvs,kv_big,kv_mean,t_mean_us,t_skew_us\n"
               "mixed,4,1,32,160,64,1,1\n"
               "pure,4,1,32,160,64,19,25\n");
  const KernelProfile profile = read_llmservingsim_profile(folder.path());
  ASSERT_EQ(profile.uneven.size(), 1u);
  EXPECT_EQ(profile.uneven[0].decodes, 4);
  EXPECT_EQ(profile.uneven[0].context_sum, 256);
  EXPECT_EQ(profile.uneven[0].context_max, 160);
  EXPECT_DOUBLE_EQ(profile.uneven[0].extra_us, 2);
}

TEST(LlmServingSimProfile, MissingFolderAndFiles) {
  for (const char* name : {"dense.csv", "per_sequence.csv", "attention.csv"}) {
    ProfileFolder folder;
    folder.remove(name);
    EXPECT_EQ(complaint_about(folder), folder.file(name) + ": no such file");
  }
  EXPECT_THAT(complaint([] { read_llmservingsim_profile("/no/such/folder"); }),
              StartsWith("/no/such/folder/dense.csv: "));
}

TEST(LlmServingSimProfile, EmptyFile) {
  ProfileFolder folder;
  folder.write("attention.csv", "");
  EXPECT_THAT(complaint_about(folder), StartsWith(folder.file("attention.csv") + ": is empty"));
}

TEST(LlmServingSimProfile, MissingColumn) {
  ProfileFolder folder;
  folder.replace("dense.csv", "time_us", "time");
  EXPECT_EQ(complaint_about(folder), folder.file("dense.csv") + ":1: expected a column \"time_us\" in the header");
}

TEST(LlmServingSimProfile, NotANumber) {
  ProfileFolder folder;
  folder.replace("dense.csv", "qkv_proj,9,9", "qkv_proj,9,fast");
  EXPECT_THAT(complaint_about(folder),
              AllOf(StartsWith(folder.file("dense.csv") + ":3: "), HasSubstr("time_us"), HasSubstr("\"fast\"")));
}

TEST(LlmServingSimProfile, TimesAreGreaterThanZero) {
  for (const char* time : {"0", "-3"}) {
    ProfileFolder folder;
    folder.replace("per_sequence.csv", "lm_head,4,130", std::string("lm_head,4,") + time);
    EXPECT_EQ(complaint_about(folder), folder.file("per_sequence.csv") + ":3: expected a time greater than 0");
  }
}

TEST(LlmServingSimProfile, UnknownAndMissingOperator) {
  ProfileFolder folder;
  folder.replace("dense.csv", "o_proj,1,2", "p_proj,1,2");
  EXPECT_THAT(complaint_about(folder),
              AllOf(StartsWith(folder.file("dense.csv") + ":4: unknown operator \"p_proj\""), HasSubstr("o_proj")));
  ProfileFolder lacking;
  lacking.write("per_sequence.csv", "layer,sequences,time_us\nlm_head,1,100\n");
  EXPECT_EQ(complaint_about(lacking), lacking.file("per_sequence.csv") + ": has no row for operator \"sampler\"");
}

TEST(LlmServingSimProfile, WrongNumberOfFields) {
  ProfileFolder folder;
  folder.append("attention.csv", "1,2,3\n");
  EXPECT_THAT(complaint_about(folder), HasSubstr("expected 5 fields as in the header, got 3"));
}

TEST(LlmServingSimProfile, HolesInTheAttentionGrid) {
  ProfileFolder of_decodes;
  of_decodes.replace("attention.csv", "0,0,4,128,10.000000\n", "");
  EXPECT_THAT(complaint_about(of_decodes),
              StartsWith(of_decodes.file("attention.csv") + ": has a hole: no row with n_decode,kv_decode = 4,128"));
  ProfileFolder of_mixed;
  of_mixed.replace("attention.csv", "16,32,1,64,7.000000\n", "");
  EXPECT_THAT(complaint_about(of_mixed), HasSubstr("prefill_chunk,kv_prefill,n_decode,kv_decode = 16,32,1,64"));
  ProfileFolder of_prompts;
  of_prompts.replace("attention.csv", "8,32,0,0,5.000000\n", "");
  EXPECT_THAT(complaint_about(of_prompts), HasSubstr("prefill_chunk,kv_prefill,n_decode,kv_decode = 8,32,0,64"));
}

TEST(LlmServingSimProfile, RowsWithoutMeaning) {
  ProfileFolder nothing;
  nothing.append("attention.csv", "0,0,0,0,1\n");
  EXPECT_THAT(complaint_about(nothing), HasSubstr("expected prefill_chunk or n_decode greater than 0"));
  ProfileFolder half;
  half.append("attention.csv", "8,0,1,0,1\n");
  EXPECT_THAT(complaint_about(half), HasSubstr("expected n_decode and kv_decode both 0 or both greater than 0"));
}

// The streaming rate is a slope between two contexts: one context, or times that do not rise, give none.
TEST(LlmServingSimProfile, DecodesNeedTwoContextsAndRisingTimes) {
  ProfileFolder one;
  one.write("attention.csv",
            "prefill_chunk,kv_prefill,n_decode,kv_decode,time_us\n"
            "0,0,1,64,3\n8,0,0,0,3\n8,0,1,64,4\n");
  EXPECT_THAT(complaint_about(one),
              AllOf(StartsWith(one.file("attention.csv") + ": "), HasSubstr("two values of kv_decode")));
  ProfileFolder falling;
  falling.replace("attention.csv", "0,0,4,128,10.000000", "0,0,4,128,6");
  EXPECT_THAT(complaint_about(falling),
              AllOf(StartsWith(falling.file("attention.csv") + ": "), HasSubstr("n_decode 4"), HasSubstr("64 to 128")));
}

// Measured as whole layers nothing is made of that slope: the time may stay as it is, but not fall.
TEST(LlmServingSimProfile, DecodesOfWholeLayersMayTakeAsLong) {
  for (const char* time : {"6.000000", "5.999"}) {  // 4 requests behind 64 tokens each take 6
    ProfileFolder folder;
    folder.write("dense.csv", "layer,tokens,time_us\nlayer,1,10\nlayer,64,90\n");
    folder.write("per_sequence.csv", "layer,sequences,time_us\nhead,1,5\nhead,4,9\n");
    folder.replace("attention.csv", "0,0,4,128,10.000000", std::string("0,0,4,128,") + time);
    EXPECT_EQ(complaint_about(folder).empty(), std::string(time) == "6.000000") << time;
  }
}

TEST(LlmServingSimProfile, BrokenSkew) {
  const std::string header = "regime,n,nb,kvs,kv_big,kv_mean,t_mean_us,t_skew_us\n";
  for (const char* row : {"pure,4,5,32,160,64,18,24\n", "pure,0,0,32,160,64,18,24\n", "pure,4,1,32,160,64,0,24\n",
                          "pure,4,1,32,160,0,18,24\n"}) {
    ProfileFolder folder;
    folder.write("skew.csv", header + row);
    EXPECT_THAT(complaint_about(folder), StartsWith(folder.file("skew.csv") + ":2: ")) << row;
  }
}

const std::string kVidurHeader =
    "num_tokens,tensor_parallel,emb_ms,input_layernorm_ms,attn_pre_proj_ms,attn_rope_ms,attn_post_proj_ms,"
    "mlp_up_proj_ms,mlp_act_ms,post_attention_layernorm_ms,mlp_down_proj_ms,add_ms\n";

// A layer: 1 + 2 + 3 + 4 + 5 + 6 + 7 + 8 + 9 us and the residual addition of 9 us once more.
TEST(VidurProfile, RowsOfTheDegreeAsked) {
  ProfileFolder folder;
  folder.write("vidur.csv", kVidurHeader +
                                "1,1,0.5,0.001,0.002,0.003,0.004,0.005,0.006,0.007,0.008,0.009\n"
                                "1,4,0.5,1,1,1,1,1,1,1,1,1\n");
  const KernelProfile profile = read_vidur_profile(folder.file("vidur.csv"), 1);
  EXPECT_FALSE(profile.has_attention());
  EXPECT_EQ(profile.tensor_parallel, 1);
  EXPECT_NEAR(profile.layer_dense.at(1), 54, 1e-9);
  EXPECT_NEAR(profile.embedding.at(1), 500, 1e-9);
  EXPECT_NEAR(profile.final_norm.at(1), 1, 1e-9);
}

TEST(VidurProfile, WrongDegreeAndBrokenRows) {
  ProfileFolder folder;
  const std::string file = folder.file("vidur.csv");
  folder.write("vidur.csv", kVidurHeader + "1,1,1,1,1,1,1,1,1,1,1,1\n1,4,1,1,1,1,1,1,1,1,1,1\n");
  EXPECT_EQ(complaint([&] { read_vidur_profile(file, 2); }), file + ": has no rows for tensor_parallel 2; it has 1, 4");
  folder.write("vidur.csv", kVidurHeader);
  EXPECT_EQ(complaint([&] { read_vidur_profile(file, 2); }), file + ": has no rows for tensor_parallel 2");
  folder.write("vidur.csv", kVidurHeader + "1,1,1,1,1,1,1,0,1,1,1,1\n");
  EXPECT_EQ(complaint([&] { read_vidur_profile(file, 1); }), file + ":2: expected a time greater than 0");
  folder.write("vidur.csv", "num_tokens,emb_ms\n");
  EXPECT_THAT(complaint([&] { read_vidur_profile(file, 1); }), HasSubstr("expected a column \"tensor_parallel\""));
  EXPECT_EQ(complaint([&] { read_vidur_profile(folder.file("none.csv"), 1); }),
            folder.file("none.csv") + ": no such file");
}

TEST(VidurProfile, SharedTables) {
  const std::filesystem::path folder = shared_data() / "profiles/vidur";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << folder << " is missing";
  const KernelProfile profile = read_vidur_profile((folder / "a100_llama2_7b_dense.csv").string(), 1);
  EXPECT_GT(profile.layer_dense.at(2048), profile.layer_dense.at(1));
  EXPECT_THAT(complaint([&] { read_vidur_profile((folder / "a100_llama2_7b_dense.csv").string(), 3); }),
              HasSubstr("has no rows for tensor_parallel 3; it has 1, 2"));
}

}  // namespace
}  // namespace alchemist
