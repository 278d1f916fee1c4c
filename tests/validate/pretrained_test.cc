#include "validate/pretrained.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numbers>

#include "kernels/rounding.h"
#include "sim/base/error.h"
#include "tests/validate/support.h"
#include "validate/safetensors.h"

namespace alchemist {
namespace {

using ::testing::HasSubstr;

class Pretrained : public testing::Test {
 protected:
  Pretrained()
      : folder_(testing::TempDir() + "/pretrained_" + testing::UnitTest::GetInstance()->current_test_info()->name()) {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  ~Pretrained() override { std::filesystem::remove_all(folder_); }

  void write(const std::string& name, const std::string& content) {
    std::ofstream(std::filesystem::path(folder_) / name, std::ios::binary) << content;
  }
  static std::string file_of(const std::string& header, const std::string& data) {
    std::string length(8, '\0');
    for (std::size_t i = 0; i < 8; ++i) length[i] = static_cast<char>(header.size() >> (8 * i) & 0xff);
    return length + header + data;
  }
  static std::string float_bytes(const std::vector<double>& values) {
    std::string bytes;
    for (const double value : values) {
      const auto narrow = static_cast<float>(value);
      bytes.append(reinterpret_cast<const char*>(&narrow), sizeof narrow);
    }
    return bytes;
  }
  // Some of the weights of a model as a file of floats.
  static std::string file_of(std::span<const Decoder::NamedTensor> tensors) {
    nlohmann::json header = {{"__metadata__", {{"format", "pt"}}}};
    std::string data;
    for (const Decoder::NamedTensor& tensor : tensors) {
      const std::string bytes = float_bytes(tensor.values);
      header[tensor.name] = {
          {"dtype", "F32"}, {"shape", tensor.shape}, {"data_offsets", {data.size(), data.size() + bytes.size()}}};
      data += bytes;
    }
    return file_of(header.dump(), data);
  }
  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  template <class Call>
  static std::string error_of(const Call& call) {
    try {
      call();
    } catch (const ConfigError& e) { return e.what(); }
    return "no error";
  }

  std::string folder_;
};

// Two shards; what was written is what another model, begun from another seed, has afterwards.
TEST_F(Pretrained, LoadsAllWeights) {
  DecoderOptions options = small_options<float>(TrainingMethod::lora);
  TestDecoder<float> from(options);
  const auto weights = from->named_weights();
  write("model-1.safetensors", file_of(std::span(weights).first(9)));
  write("model-2.safetensors", file_of(std::span(weights).subspan(9)));
  options.seed = 99;
  TestDecoder<float> to(options);
  load_pretrained_weights(folder_, *to);
  const auto loaded = to->named_weights();
  ASSERT_EQ(loaded.size(), weights.size());
  for (std::size_t i = 0; i < loaded.size(); ++i) EXPECT_EQ(loaded[i].values, weights[i].values) << weights[i].name;
}

TEST_F(Pretrained, AdaptersAreOptionalOtherWeightsAreNot) {
  TestDecoder<float> model(small_options<float>(TrainingMethod::lora));
  auto weights = model->named_weights();
  std::erase_if(weights, [](const auto& tensor) { return tensor.name.find("lora") != std::string::npos; });
  write("model.safetensors", file_of(weights));
  load_pretrained_weights(folder_, *model);
  weights.pop_back();
  write("model.safetensors", file_of(weights));
  EXPECT_THAT(error_of([&] { load_pretrained_weights(folder_, *model); }),
              HasSubstr("no file has the tensor lm_head.weight"));
}

TEST_F(Pretrained, RefusesOtherShapes) {
  TestDecoder<float> model(small_options<float>(TrainingMethod::lora));
  auto weights = model->named_weights();
  weights[0].shape = {24, 37};
  write("model.safetensors", file_of(weights));
  EXPECT_THAT(error_of([&] { load_pretrained_weights(folder_, *model); }),
              HasSubstr("tensor model.embed_tokens.weight: shape [24, 37]; expected [37, 24]"));
}

// By hand: half 0x3c00 is 1, 0xc500 is -5, 0x0001 is 2^-24; bfloat16 0x4049 is 3.140625.
TEST_F(Pretrained, ReadsEveryType) {
  write("a.safetensors", file_of(R"({"h":{"dtype":"F16","shape":[3],"data_offsets":[0,6]},
                                     "b":{"dtype":"BF16","shape":[1],"data_offsets":[6,8]},
                                     "i":{"dtype":"I64","shape":[1],"data_offsets":[8,16]}})",
                                 std::string("\x00\x3c\x00\xc5\x01\x00\x49\x40", 8) + std::string(8, '\0')));
  const SafetensorsFile file(path("a.safetensors"));
  EXPECT_EQ(file.read("h"), (std::vector<double>{1, -5, 0x1p-24}));
  EXPECT_EQ(file.read("b"), (std::vector<double>{3.140625}));
  EXPECT_THAT(error_of([&] { file.read("i"); }), HasSubstr("type I64; expected F64, F32, F16 or BF16"));
}

TEST_F(Pretrained, RefusesBrokenFiles) {
  const auto error = [&](const std::string& content) {
    write("a.safetensors", content);
    return error_of([&] { SafetensorsFile file(path("a.safetensors")); });
  };
  EXPECT_THAT(error(""), HasSubstr("no safetensors file"));
  EXPECT_THAT(error(std::string(8, '\xff') + "{}"), HasSubstr("no safetensors file"));
  EXPECT_THAT(error(file_of("[1]", "")), HasSubstr("the header is no JSON object"));
  EXPECT_THAT(error(file_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", "1234")),
              HasSubstr("outside the file"));
  EXPECT_THAT(error(file_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", "1234")),
              HasSubstr("bytes do not match its shape"));
  EXPECT_THAT(error(file_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,9]}})", "123456789")),
              HasSubstr("bytes do not match its shape"));
  EXPECT_THAT(error(file_of(R"({"a":{"dtype":"F32"}})", "")), HasSubstr("expected dtype, shape and data_offsets"));
  EXPECT_THAT(error_of([&] { SafetensorsFile file(path("none")); }), HasSubstr("cannot be read"));
  EXPECT_THAT(error_of([&] {
                TestDecoder<float> model(small_options<float>(TrainingMethod::lora));
                load_pretrained_weights(path("none"), *model);
              }),
              HasSubstr("expected a folder with *.safetensors files"));
}

TEST_F(Pretrained, ReadsSettings) {
  write("config.json",
        R"({"rms_norm_eps": 1e-6, "rope_theta": 1000, "rope_scaling": {"rope_type": "llama3", "factor": 2,
        "low_freq_factor": 1, "high_freq_factor": 4, "original_max_position_embeddings": 100}})");
  DecoderOptions options;
  read_pretrained_settings(folder_, options);
  EXPECT_EQ(options.norm_epsilon, 1e-6);
  EXPECT_EQ(options.rope.theta, 1000);
  EXPECT_EQ(options.rope.scaling->original_max_position, 100);
  write("config.json", R"({"rms_norm_eps": 1e-6, "rope_scaling": {"rope_type": "yarn"}})");
  EXPECT_THAT(error_of([&] { read_pretrained_settings(folder_, options); }), HasSubstr("rope_scaling: expected null"));
  write("config.json", R"({"rms_norm_eps": "small"})");
  EXPECT_THAT(error_of([&] { read_pretrained_settings(folder_, options); }),
              HasSubstr("rms_norm_eps: expected a number above 0"));
}

// By hand, over a context of 100 positions and theta = 10^4: pair 0 turns 100 / (2 pi) = 15.9 times and is left alone;
// pair 1 (frequency 1/10) turns 1.59 times, a share (1.59 - 1) / 3 of the way from stretched to kept; pair 2 (1/100)
// turns 0.159 times and is halved.
TEST(Rope, LowFrequenciesAreStretched) {
  const RopeSettings settings{1e4, RopeScaling{2, 1, 4, 100}};
  const std::vector<double> frequencies = rope_frequencies(settings, 8);
  EXPECT_DOUBLE_EQ(frequencies[0], 1);
  const double kept = (10 / (2 * std::numbers::pi) - 1) / 3;
  EXPECT_NEAR(frequencies[1], 0.1 * (kept + (1 - kept) / 2), 1e-15);
  EXPECT_NEAR(frequencies[2], 0.005, 1e-15);
}

}  // namespace
}  // namespace alchemist
