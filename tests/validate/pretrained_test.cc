#include "validate/pretrained.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <numbers>

#include "kernels/rounding.h"
#include "sim/base/error.h"
#include "tests/validate/support.h"
#include "validate/safetensors.h"

namespace alchemist {
namespace {

using ::testing::HasSubstr;

class Pretrained : public ::testing::Test {
 protected:
  Pretrained()
      : folder_(::testing::TempDir() + "/pretrained_" + std::to_string(::getpid()) + "_" +
                ::testing::UnitTest::GetInstance()->current_test_info()->name()) {
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
  static std::string file_of(std::span<const Decoder::NamedTensor> tensors, const std::string& prefix = "") {
    nlohmann::json header = {{"__metadata__", {{"format", "pt"}}}};
    std::string data;
    for (const Decoder::NamedTensor& tensor : tensors) {
      const std::string bytes = float_bytes(tensor.values);
      header[prefix + tensor.name] = {
          {"dtype", "F32"}, {"shape", tensor.shape}, {"data_offsets", {data.size(), data.size() + bytes.size()}}};
      data += bytes;
    }
    return file_of(header.dump(), data);
  }
  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  // The weights of a model of the same shape, begun from another seed, that loads the folder.
  std::vector<Decoder::NamedTensor> loaded(DecoderOptions options) {
    options.seed = 99;
    TestDecoder<float> model(options);
    load_pretrained_weights(folder_, *model);
    return model->named_weights();
  }
  std::string loading_error(const DecoderOptions& options) {
    return error_of([&] { loaded(options); });
  }
  static void expect_same(const std::vector<Decoder::NamedTensor>& a, const std::vector<Decoder::NamedTensor>& b) {
    ASSERT_EQ(a.size(), b.size());
    for (std::size_t i = 0; i < a.size(); ++i) EXPECT_EQ(a[i].values, b[i].values) << b[i].name;
  }
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
  const DecoderOptions options = small_options<float>(TrainingMethod::full);
  const auto weights = TestDecoder<float>(options)->named_weights();
  write("model-1.safetensors", file_of(std::span(weights).first(9)));
  write("model-2.safetensors", file_of(std::span(weights).subspan(9)));
  expect_same(loaded(options), weights);
  write("model-3.safetensors", file_of(std::span(weights).first(1)));
  EXPECT_THAT(loading_error(options), HasSubstr("model-3.safetensors: tensor model.embed_tokens.weight: is in " +
                                                path("model-1.safetensors") + ", too"));
}

// A file that is neither of the index nor model.safetensors is another checkpoint's.
TEST_F(Pretrained, LoadsWhatTheIndexNames) {
  const DecoderOptions options = small_options<float>(TrainingMethod::full);
  const auto weights = TestDecoder<float>(options)->named_weights();
  auto others = weights;
  for (auto& tensor : others) tensor.values.assign(tensor.values.size(), 0.5);
  nlohmann::json map;
  for (std::size_t i = 0; i < weights.size(); ++i) map[weights[i].name] = i < 9 ? "b.safetensors" : "c.safetensors";
  const auto write_index = [&] {
    write("model.safetensors.index.json", nlohmann::json{{"metadata", {}}, {"weight_map", map}}.dump());
  };
  write_index();
  write("a.safetensors", file_of(others));
  write("b.safetensors", file_of(std::span(weights).first(9)));
  EXPECT_THAT(loading_error(options),
              HasSubstr("index.json: weight_map.lm_head.weight: there is no file c.safetensors"));
  write("c.safetensors", file_of(std::span(weights).subspan(9)));
  expect_same(loaded(options), weights);
  map["lm_head.weight"] = "b.safetensors";
  write_index();
  EXPECT_THAT(loading_error(options),
              HasSubstr("weight_map.lm_head.weight: " + path("b.safetensors") + " has no such"));
  map["lm_head.weight"] = 3;
  write_index();
  EXPECT_THAT(loading_error(options), HasSubstr("weight_map.lm_head.weight: expected a file"));
  write("model.safetensors.index.json", "{}");
  EXPECT_THAT(loading_error(options), HasSubstr("weight_map: expected the file of each tensor"));
  write("model.safetensors", file_of(others));  // goes before an index
  expect_same(loaded(options), others);
}

TEST_F(Pretrained, LoadsNormsOfHeads) {
  const DecoderOptions options = small_options<float>(TrainingMethod::full, true);
  const auto weights = TestDecoder<float>(options)->named_weights();
  const std::string query = "model.layers.2.self_attn.q_norm.weight";
  EXPECT_TRUE(std::any_of(weights.begin(), weights.end(), [&](const auto& weight) { return weight.name == query; }));
  write("model.safetensors", file_of(weights));
  expect_same(loaded(options), weights);
  auto fewer = weights;
  std::erase_if(fewer, [&](const auto& weight) { return weight.name == query; });
  write("model.safetensors", file_of(fewer));
  EXPECT_THAT(loading_error(options), HasSubstr(query));
}

// Biases, further layers, norms of queries: without them it would be another model.
TEST_F(Pretrained, RefusesPartsThatTheModelLacks) {
  const DecoderOptions options = small_options<float>(TrainingMethod::full);
  const auto weights = TestDecoder<float>(options)->named_weights();
  const auto error_with = [&](const std::string& name, const std::vector<double>& values) {
    auto more = weights;
    more.push_back({name, {static_cast<std::int64_t>(values.size())}, values});
    write("model.safetensors", file_of(more));
    return loading_error(options);
  };
  for (const char* name : {"model.layers.0.self_attn.q_proj.bias", "model.layers.3.input_layernorm.weight",
                           "model.layers.0.self_attn.q_norm.weight", "lm_head.bias"}) {
    EXPECT_THAT(error_with(name, {1}), HasSubstr(std::string("tensor ") + name + ": is no part of model small"));
  }
  EXPECT_EQ(error_with("model.layers.0.self_attn.rotary_emb.inv_freq", {1, 0.1}), "no error");
  EXPECT_EQ(error_with("score.weight", {1}), "no error");
}

TEST_F(Pretrained, ATiedHeadIsTheEmbedding) {
  DecoderOptions options = small_options<float>(TrainingMethod::full);
  options.shape.tied_embeddings = true;
  auto weights = TestDecoder<float>(options)->named_weights();
  weights.push_back({"lm_head.weight", weights[0].shape, weights[0].values});
  write("model.safetensors", file_of(weights));
  EXPECT_EQ(loading_error(options), "no error");
  weights.back().values[5] += 1;
  write("model.safetensors", file_of(weights));
  EXPECT_THAT(loading_error(options), HasSubstr("tensor lm_head.weight: expected the embedding's values"));
}

TEST_F(Pretrained, RefusesWhatIsNotFinite) {
  const DecoderOptions options = small_options<float>(TrainingMethod::full);
  auto weights = TestDecoder<float>(options)->named_weights();
  weights[3].values[2] = std::numeric_limits<double>::quiet_NaN();
  write("model.safetensors", file_of(weights));
  EXPECT_THAT(loading_error(options), HasSubstr("tensor " + weights[3].name + ": element 2 is nan"));
}

// As PEFT writes them: names with a prefix, in a file of their own, and how they count beside it.
TEST_F(Pretrained, LoadsAdapters) {
  DecoderOptions options = small_options<float>(TrainingMethod::lora);
  const auto weights = TestDecoder<float>(options)->named_weights();
  std::vector<Decoder::NamedTensor> model, adapters;
  for (const auto& tensor : weights) {
    (tensor.name.find("lora") == std::string::npos ? model : adapters).push_back(tensor);
  }
  write("model.safetensors", file_of(model));
  write("adapter_model.safetensors", file_of(adapters, "base_model.model."));
  EXPECT_THAT(loading_error(options), HasSubstr("without adapter_config.json"));
  write("config.json", R"({"rms_norm_eps": 1e-6})");
  write("adapter_config.json", R"({"r": 3, "lora_alpha": 12, "use_rslora": false, "rank_pattern": {}})");
  read_pretrained_settings(folder_, options);
  EXPECT_EQ(options.lora_alpha, 12);
  expect_same(loaded(options), weights);
  EXPECT_THAT(loading_error(small_options<float>(TrainingMethod::full)), HasSubstr("is no part of model small"));
  adapters.pop_back();
  write("adapter_model.safetensors", file_of(adapters, "base_model.model."));
  EXPECT_THAT(loading_error(options), HasSubstr("down_proj.lora_A.weight has no other half"));
}

TEST_F(Pretrained, RefusesOtherKindsOfAdapters) {
  DecoderOptions options = small_options<float>(TrainingMethod::lora);
  write("config.json", R"({"rms_norm_eps": 1e-6})");
  const auto error = [&](const std::string& settings) {
    write("adapter_config.json", settings);
    return error_of([&] { read_pretrained_settings(folder_, options); });
  };
  EXPECT_THAT(error(R"({"r": 3})"), HasSubstr("adapter_config.json: lora_alpha: expected a number above 0"));
  EXPECT_THAT(error(R"({"r": 4, "lora_alpha": 1})"), HasSubstr("r: expected the rank that is trained, 3"));
  EXPECT_THAT(error(R"({"r": 3, "lora_alpha": 1, "use_rslora": true})"), HasSubstr("use_rslora: not supported"));
  EXPECT_THAT(error(R"({"r": 3, "lora_alpha": 1, "alpha_pattern": {"q_proj": 2}})"), HasSubstr("alpha_pattern: not"));
  EXPECT_THAT(error(R"({"r": 3, "lora_alpha": 1, "init_lora_weights": "pissa"})"), HasSubstr("init_lora_weights: exp"));
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
  // A gap, bytes that belong to two tensors, bytes behind the last; sizes that are no sizes.
  for (const char* header : {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
                             R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},
                                 "b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
                             R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})"}) {
    EXPECT_THAT(error(file_of(header, "12345678")), HasSubstr("expected tensors one behind the other"));
  }
  for (const char* size : {"1.5", "true", "-1", "18446744073709551615", "\"1\"", "null"}) {
    EXPECT_THAT(
        error(file_of(fmt::format(R"({{"a":{{"dtype":"F32","shape":[{}],"data_offsets":[0,4]}}}})", size), "1234")),
        HasSubstr("not all numbers are whole and at least 0"));
  }
  EXPECT_THAT(error(file_of(R"({"a":{"dtype":"F32","shape":1,"data_offsets":[0,4]}})", "1234")), HasSubstr("list"));
  EXPECT_THAT(error(file_of(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,4]}})", "1234")),
              HasSubstr("two offsets"));
  EXPECT_THAT(error(file_of(R"({"a":{"dtype":"F32"}})", "")),
              HasSubstr("tensor a: expected dtype, shape and data_offsets"));
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
  write("config.json", R"({"rms_norm_eps": "small"})");
  EXPECT_THAT(error_of([&] { read_pretrained_settings(folder_, options); }),
              HasSubstr("rms_norm_eps: expected a number above 0"));
}

// Where theta and the scaling stand depends on the age of the file.
TEST_F(Pretrained, ReadsRotaryEmbeddingOfAnyAge) {
  DecoderOptions options;
  const auto read = [&](const std::string& keys) {
    write("config.json", R"({"rms_norm_eps": 1e-6)" + keys + "}");
    return error_of([&] { read_pretrained_settings(folder_, options); });
  };
  const auto theta = [&](const std::string& keys) {
    EXPECT_EQ(read(keys), "no error");
    EXPECT_FALSE(options.rope.scaling.has_value());
    return options.rope.theta;
  };
  EXPECT_EQ(theta(""), 10000);
  EXPECT_EQ(theta(R"(, "rope_theta": 500, "rope_scaling": null)"), 500);
  EXPECT_EQ(theta(R"(, "rope_theta": 500, "rope_scaling": {"type": "default"})"), 500);
  EXPECT_EQ(theta(R"(, "rope_parameters": {"rope_theta": 700, "rope_type": "default"})"), 700);
  EXPECT_EQ(theta(R"(, "rope_theta": 500, "rope_parameters": {"rope_theta": 700})"), 700);
  const std::string llama3 = R"("factor": 2, "low_freq_factor": 1, "high_freq_factor": 4,
                                "original_max_position_embeddings": 100})";
  for (const char* begin : {R"(, "rope_theta": 900, "rope_scaling": {"type": "llama3", )",
                            R"(, "rope_parameters": {"rope_theta": 900, "rope_type": "llama3", )",
                            R"(, "rope_theta": 900, "rope_parameters": {"rope_theta": 800}, "rope_scaling": {
                               "rope_type": "llama3", )"}) {
    EXPECT_EQ(read(begin + llama3), "no error");
    EXPECT_EQ(options.rope.theta, 900);
    ASSERT_TRUE(options.rope.scaling.has_value());
    EXPECT_EQ(options.rope.scaling->factor, 2);
  }
  EXPECT_THAT(read(R"(, "original_max_position_embeddings": 99, "rope_scaling": {"type": "llama3", )" + llama3),
              HasSubstr("original_max_position_embeddings: expected what rope_scaling says"));
  const char* expected = "expected null, or an object with rope_type \"default\" or \"llama3\"";
  EXPECT_THAT(read(R"(, "rope_scaling": {"rope_type": "yarn"})"), HasSubstr(std::string("rope_scaling: ") + expected));
  EXPECT_THAT(read(R"(, "rope_scaling": {"rope_type": 3})"), HasSubstr(expected));
  EXPECT_THAT(read(R"(, "rope_scaling": "llama3")"), HasSubstr(expected));
  EXPECT_THAT(read(R"(, "rope_parameters": {"type": "linear", "factor": 2})"), HasSubstr("rope_parameters: expected"));
  EXPECT_THAT(read(R"(, "rope_parameters": {"rope_type": "llama3"})"), HasSubstr("rope_parameters.factor: expected"));
  EXPECT_THAT(read(R"(, "rope_parameters": {"rope_theta": "big"})"), HasSubstr("rope_parameters.rope_theta: expected"));
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
