#include "sim/app/model_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/app/config_paths.h"
#include "tests/app/support.h"

namespace alchemist {
namespace {

struct Published {
  const char* name;
  std::int64_t parameters;
  std::int64_t kv_bytes;  // per token: 2 x layers x KV heads x head width x 2 B
};

class PublishedModels : public testing::TestWithParam<Published> {};

// Parameter counts are those that HuggingFace states for the published weights.
TEST_P(PublishedModels, HaveTheirParametersAndKvBytes) {
  const ModelShape model = load_model(GetParam().name);
  EXPECT_EQ(model.name, GetParam().name);
  EXPECT_EQ(model.parameters(), GetParam().parameters);
  EXPECT_EQ(model.weight_bytes().count(), 2 * GetParam().parameters);
  EXPECT_EQ(model.kv_bytes_per_token().count(), GetParam().kv_bytes);
}

INSTANTIATE_TEST_SUITE_P(Table, PublishedModels,
                         testing::Values(Published{"llama-2-7b", 6'738'415'616, 4LL * 32 * 32 * 128},
                                         Published{"llama-2-13b", 13'015'864'320, 4LL * 40 * 40 * 128},
                                         Published{"llama-2-70b", 68'976'648'192, 4LL * 80 * 8 * 128},
                                         Published{"llama-3.1-8b", 8'030'261'248, 128 << 10},
                                         Published{"llama-3.1-70b", 70'553'706'496, 4LL * 80 * 8 * 128},
                                         Published{"mistral-7b", 7'241'732'096, 128 << 10},
                                         Published{"qwen2.5-7b", 7'615'616'512, 4LL * 28 * 4 * 128},
                                         Published{"qwen2.5-14b", 14'770'033'664, 4LL * 48 * 8 * 128},
                                         Published{"qwen2.5-32b", 32'763'876'352, 4LL * 64 * 8 * 128},
                                         Published{"qwen3-8b", 8'190'735'360, 4LL * 36 * 8 * 128},
                                         Published{"qwen3-32b", 32'762'123'264, 4LL * 64 * 8 * 128},
                                         Published{"qwen3-30b-a3b", 30'532'122'624, 4LL * 48 * 4 * 128},
                                         Published{"mixtral-8x7b", 46'702'792'704, 128 << 10}));

// "A3B": 3.3 billion active, as its card says. Mixtral's paper: 13 billion of 47.
TEST(Models, ActiveParametersOfPublishedMixtures) {
  EXPECT_NEAR(static_cast<double>(load_model("qwen3-30b-a3b").active_parameters()), 3.3e9, 0.06e9);
  EXPECT_NEAR(static_cast<double>(load_model("mixtral-8x7b").active_parameters()), 13e9, 0.2e9);
  EXPECT_EQ(load_model("llama-3.1-8b").active_parameters(), load_model("llama-3.1-8b").parameters());
}

// 4 layers of 256x256 q, o, 256x128 k, v, 3 x 256x688 and two norms, twice 2,048 x 256 embeddings, a norm.
TEST(Models, TinyIsTiny) {
  EXPECT_EQ(load_model("tiny").parameters(),
            4 * (2 * 256 * 256 + 2 * 256 * 128 + 3 * 256 * 688 + 512) + 2 * 2048 * 256 + 256);
}

constexpr const char* kQwenJson = R"({
  "architectures": ["Qwen2ForCausalLM"],
  "hidden_act": "silu",
  "hidden_size": 3584,
  "intermediate_size": 18944,
  "max_position_embeddings": 32768,
  "max_window_layers": 28,
  "model_type": "qwen2",
  "num_attention_heads": 28,
  "num_hidden_layers": 28,
  "num_key_value_heads": 4,
  "rope_scaling": null,
  "sliding_window": 131072,
  "tie_word_embeddings": false,
  "torch_dtype": "bfloat16",
  "use_sliding_window": false,
  "vocab_size": 152064
})";

// A text with one line replaced.
std::string replaced(std::string text, const std::string& from, const std::string& to) {
  return text.replace(text.find(from), from.size(), to);
}

std::string changed(const std::string& from, const std::string& to) { return replaced(kQwenJson, from, to); }

TEST(HuggingFace, ConfigJsonGivesTheBuiltInShape) {
  const TemporaryFolder folder;
  ModelShape model = load_model(folder.write("qwen2.5-7b/config.json", kQwenJson));
  EXPECT_EQ(model.name, "qwen2.5-7b");  // the folder's
  EXPECT_EQ(model, load_model("qwen2.5-7b"));
}

// As published, but for what the shape does not depend on.
constexpr const char* kQwen3MixtureJson = R"({
  "model_type": "qwen3_moe",
  "attention_bias": false,
  "decoder_sparse_step": 1,
  "head_dim": 128,
  "hidden_act": "silu",
  "hidden_size": 2048,
  "intermediate_size": 6144,
  "max_position_embeddings": 40960,
  "mlp_only_layers": [],
  "moe_intermediate_size": 768,
  "num_attention_heads": 32,
  "num_experts": 128,
  "num_experts_per_tok": 8,
  "num_hidden_layers": 48,
  "num_key_value_heads": 4,
  "sliding_window": null,
  "tie_word_embeddings": false,
  "use_sliding_window": false,
  "vocab_size": 151936
})";

std::string changed_mixture(const std::string& from, const std::string& to) {
  return replaced(kQwen3MixtureJson, from, to);
}

TEST(HuggingFace, MixturesGiveTheBuiltInShapes) {
  const TemporaryFolder folder;
  EXPECT_EQ(load_model(folder.write("qwen3-30b-a3b/config.json", kQwen3MixtureJson)), load_model("qwen3-30b-a3b"));
  EXPECT_EQ(
      load_model(folder.write("qwen3-30b-a3b/config.json", changed_mixture("num_experts\"", "num_local_experts\""))),
      load_model("qwen3-30b-a3b"));
  const std::string mixtral = folder.write(
      "mixtral-8x7b/config.json",
      R"({"model_type": "mixtral", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
      "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 32000, "max_position_embeddings": 32768,
      "num_local_experts": 8, "num_experts_per_tok": 2, "sliding_window": null})");
  EXPECT_EQ(load_model(mixtral), load_model("mixtral-8x7b"));
  const std::string dense =
      folder.write("qwen3-8b/config.json",
                   R"({"model_type": "qwen3", "hidden_size": 4096, "intermediate_size": 12288, "num_hidden_layers": 36,
      "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936,
      "max_position_embeddings": 40960})");
  EXPECT_EQ(load_model(dense), load_model("qwen3-8b"));
  const std::string narrow = folder.write(
      "c.json", R"({"model_type": "qwen3", "hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28,
      "num_attention_heads": 16, "num_key_value_heads": 8, "vocab_size": 151936, "max_position_embeddings": 40960})");
  EXPECT_EQ(load_model(narrow).head_dim, 128);  // what a file of the family means that leaves it out
}

TEST(HuggingFace, YarnServesAMultipleOfThePositions) {
  const TemporaryFolder folder;
  const std::string scaling = R"("rope_scaling": {"factor": 4.0, "original_max_position_embeddings": 32768, )";
  const auto positions = [&](const std::string& text) {
    folder.write("m/config.json", text);
    return load_model(folder.path().string() + "/m").max_position;  // the folder stands for the file in it
  };
  EXPECT_EQ(positions(changed("\"rope_scaling\": null", scaling + "\"type\": \"yarn\"}")), 131072);
  EXPECT_EQ(positions(changed("\"rope_scaling\": null", R"("rope_scaling": {"factor": 2, "rope_type": "linear"})")),
            65536);
  EXPECT_EQ(positions(changed("\"rope_scaling\": null", scaling + "\"rope_type\": \"llama3\"}")), 32768);
  // As transformers writes it since version 5.
  EXPECT_EQ(positions(changed("\"rope_scaling\": null",
                              R"("rope_parameters": {"factor": 2, "rope_type": "linear", "rope_theta": 10000})")),
            65536);
  // An old key without anything in it says nothing.
  EXPECT_EQ(positions(changed("\"rope_scaling\": null",
                              R"("rope_scaling": {}, "rope_parameters": {"factor": 2, "rope_type": "linear"})")),
            65536);
  // The factor is of the positions that the model was trained with; those that it has anyhow stay.
  const std::string few = R"("rope_scaling": {"type": "yarn", "factor": 4, "original_max_position_embeddings": )";
  EXPECT_EQ(positions(changed("\"rope_scaling\": null", few + "16384}")), 65536);
  EXPECT_EQ(positions(changed("\"rope_scaling\": null", few + "4096}")), 32768);
}

// Mistral v0.1: no head_dim, no use_sliding_window, a window of 4,096, which bounds the positions.
TEST(HuggingFace, SlidingWindowBoundsPositions) {
  const TemporaryFolder folder;
  const ModelShape model = load_model(folder.write(
      "c.json", R"({"model_type": "mistral", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
      "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 32000, "max_position_embeddings": 32768,
      "sliding_window": 4096, "torch_dtype": "float32"})"));
  EXPECT_EQ(model.max_position, 4096);
  EXPECT_EQ(model.head_dim, 128);
  EXPECT_EQ(model.dtype_bytes, 4);
  EXPECT_EQ(model.parameters(), 7'241'732'096);
}

// What transformers takes where a key is left out: 8 and 32 key/value heads, a window of 4,096.
TEST(HuggingFace, FamiliesHaveTheirDefaults) {
  const TemporaryFolder folder;
  const auto read = [&](const std::string& keys) {
    return load_model(folder.write("c.json", R"({"hidden_size": 4096, "intermediate_size": 8, "num_hidden_layers": 2,
      "num_attention_heads": 64, "vocab_size": 9, "max_position_embeddings": 32768, )" +
                                                 keys + "}"));
  };
  EXPECT_EQ(read(R"("model_type": "llama")").kv_heads, 64);
  EXPECT_EQ(read(R"("model_type": "mistral")").kv_heads, 8);
  EXPECT_EQ(read(R"("model_type": "qwen2")").kv_heads, 32);
  EXPECT_EQ(read(R"("model_type": "mistral", "num_key_value_heads": null)").kv_heads, 64);
  EXPECT_EQ(read(R"("model_type": "mixtral", "num_local_experts": 8, "num_experts_per_tok": 2)").kv_heads, 8);
  EXPECT_EQ(read(R"("model_type": "qwen3_moe", "num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 8)")
                .kv_heads,
            4);
  EXPECT_EQ(read(R"("model_type": "llama")").max_position, 32768);
  EXPECT_EQ(read(R"("model_type": "mistral")").max_position, 4096);
  EXPECT_EQ(read(R"("model_type": "mistral", "sliding_window": null)").max_position, 32768);
  EXPECT_EQ(read(R"("model_type": "qwen2")").max_position, 32768);
  EXPECT_EQ(read(R"("model_type": "qwen2", "use_sliding_window": true)").max_position, 4096);
}

TEST(Models, ShapesThatDifferSayWhere) {
  const ModelShape model = load_model("tiny");
  ModelShape other = model;
  other.name = "other", other.max_position = 7, other.dtype_bytes = 2;
  EXPECT_EQ(shape_difference(model, other), std::nullopt);
  other.heads = 1;
  EXPECT_EQ(shape_difference(model, other), "heads is 8, and not 1");
  for (auto change : {+[](ModelShape& m) { m.head_dim = 9; }, +[](ModelShape& m) { m.qkv_bias = true; },
                      +[](ModelShape& m) { m.tied_embeddings = true; }, +[](ModelShape& m) { m.qk_norm = true; },
                      +[](ModelShape& m) { m.experts = m.experts_per_token = 2; }}) {
    other = model;
    change(other);
    EXPECT_TRUE(shape_difference(model, other).has_value());
  }
}

struct BadModel {
  const char* name;
  std::string text;
  const char* message;
};

class BadModels : public testing::TestWithParam<BadModel> {};

TEST_P(BadModels, AreRefusedWithTheKey) {
  const TemporaryFolder folder;
  const std::string file = folder.write("m.json", GetParam().text);
  EXPECT_THAT(message_of([&] { load_model(file); }), testing::StartsWith(file + ":" + GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    Table, BadModels,
    testing::Values(
        BadModel{"architecture", changed("\"qwen2\"", "\"gemma3\""),
                 "8: key model_type: model_type \"gemma3\" is not supported"},
        BadModel{"experts", changed("\"max_window_layers\": 28", "\"num_experts\": 8"),
                 "7: key num_experts: experts of a qwen2 are not supported"},
        BadModel{"no_experts", changed("\"qwen2\"", "\"qwen3_moe\""), "1: key num_experts: missing"},
        BadModel{"dense_layers", changed_mixture("[]", "[0, 3]"),
                 "10: key mlp_only_layers: layers without experts are not supported: expected none"},
        BadModel{"dense_layer_alone", changed_mixture("[]", "3"), "10: key mlp_only_layers: expected a list"},
        BadModel{"sparse_step", changed_mixture("\"decoder_sparse_step\": 1", "\"decoder_sparse_step\": 2"),
                 "4: key decoder_sparse_step: layers without experts are not supported: expected 1"},
        BadModel{"experts_per_token", changed_mixture("\"num_experts_per_tok\": 8", "\"num_experts_per_tok\": 200"),
                 "1: expected experts_per_token (200) to be at most experts (128)"},
        BadModel{"quantised", changed("\"rope_scaling\": null", "\"quantization_config\": {\"bits\": 4}"),
                 "12: key quantization_config: quantised weights are not supported"},
        BadModel{"activation", changed("silu", "gelu"), "3: key hidden_act: expected silu"},
        BadModel{"dtype", changed("bfloat16", "float8"), "15: key torch_dtype: expected bfloat16, float16 or float32"},
        BadModel{"no_layers", changed("\"num_hidden_layers\": 28,", ""), "1: key num_hidden_layers: missing"},
        BadModel{"heads", changed("\"num_key_value_heads\": 4", "\"num_key_value_heads\": 3"),
                 "1: expected query heads (28) to be a multiple of key/value heads (3)"},
        BadModel{"hidden", changed("\"hidden_size\": 3584", "\"hidden_size\": 3585"),
                 "1: expected hidden (3585) to be a multiple of heads (28)"},
        BadModel{"negative", changed("\"vocab_size\": 152064", "\"vocab_size\": -1"),
                 "17: key vocab_size: expected a whole number from 1"},
        BadModel{"own_experts", "base: llama-3.1-8b\nexperts: 8\n",
                 "1: expected experts and experts_per_token, or neither of them"},
        BadModel{"own_unknown_key", "layers: 4\nhiden: 5\n", "1: key hidden: missing"},
        BadModel{"own_typing_error",
                 "layers: 4\nhidden: 8\nintermediate: 8\nheads: 2\nkv_heads: 2\nvocabulary: 9\nmax_position: 9\n"
                 "tied_embedings: true\n",
                 "8: key tied_embedings: unknown key; did you mean \"tied_embeddings\"?"}),
    [](const auto& test_case) { return std::string(test_case.param.name); });

TEST(Models, BaseIsChangedByOtherKeys) {
  const ModelShape model = read_model(YamlValue::parse("{base: llama-3.1-8b, layers: 16, name: half}", "f"));
  ModelShape expected = load_model("llama-3.1-8b");
  expected.layers = 16;
  expected.name = "half";
  EXPECT_EQ(model, expected);
}

TEST(Models, FilesThatBuildUponEachOtherComeToAnEnd) {
  const TemporaryFolder folder;
  const std::string own = folder.write("own.yaml", "base: ./own.yaml\n");
  EXPECT_EQ(message_of([&] { load_model(own); }),
            own + ":1: key base: expected fewer files upon each other; does one name itself as its base?");
}

TEST(Models, WrittenShapeReadsBack) {
  for (const std::string& name : list_configs("models")) {
    YAML::Emitter out;
    emit_model(out, load_model(name));
    EXPECT_EQ(read_model(YamlValue::parse(out.c_str(), name)), load_model(name));
  }
}

TEST(Models, UnknownNameSuggestsTheNearest) {
  EXPECT_THAT(message_of([] { load_model("llama-3.1-8"); }),
              testing::StartsWith("\"llama-3.1-8\" is not among the built-in models; did you mean \"llama-3.1-8b\"?"));
}

}  // namespace
}  // namespace alchemist
