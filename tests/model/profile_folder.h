// A small profile folder in a temporary directory, to be read as it is or with one thing broken.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <string>

namespace alchemist::testing {

class ProfileFolder {
 public:
  ProfileFolder() {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    path_ = std::filesystem::path(::testing::TempDir()) /
            ("profile_" + std::string(test->name()) + "_" + std::to_string(getpid()));
    std::filesystem::create_directories(path_);
    write("dense.csv", dense());
    write("per_sequence.csv", "layer,sequences,time_us\nlm_head,1,100\nlm_head,4,130\nsampler,1,20\nsampler,2,22\n");
    write("attention.csv", attention());
  }
  ~ProfileFolder() { std::filesystem::remove_all(path_); }
  ProfileFolder(const ProfileFolder&) = delete;
  ProfileFolder& operator=(const ProfileFolder&) = delete;

  std::string path() const { return path_.string(); }
  std::string file(const std::string& name) const { return (path_ / name).string(); }
  void write(const std::string& name, const std::string& text) {
    texts_[name] = text;
    std::ofstream(path_ / name, std::ios::binary) << text;
  }
  void remove(const std::string& name) { std::filesystem::remove(path_ / name); }
  // Puts `by` in the place of the first `what` of a file.
  void replace(const std::string& name, const std::string& what, const std::string& by) {
    std::string text = texts_.at(name);
    const auto at = text.find(what);
    ASSERT_NE(at, std::string::npos) << what;
    write(name, text.replace(at, what.size(), by));
  }
  void append(const std::string& name, const std::string& line) { write(name, texts_.at(name) + line); }

  // Attention of the folder: linear in each variable, so that interpolation gives exactly this everywhere.
  static double attention_us(double chunk, double context, double decodes, double decode_context) {
    return 2 + chunk / 8 + context / 16 + decodes * decode_context / 64;
  }

 private:
  // Operator number i (from 0, in this order) takes i + 1 us for 1 token and 1 us more for each further one.
  static std::string dense() {
    std::string text = "layer,tokens,time_us\n";
    int first = 1;
    for (const char* name : {"qkv_proj", "o_proj", "gate_up_proj", "down_proj", "act_fn", "rotary_emb", "layernorm",
                             "embedding", "final_layernorm"}) {
      text += std::string(name) + ",1," + std::to_string(first) + "\n";
      text += std::string(name) + ",9," + std::to_string(first + 8) + "\n";
      ++first;
    }
    return text;
  }
  // The full grid of chunks 0 8 16, contexts 0 32, decodes 0 1 4, their contexts 64 128.
  static std::string attention() {
    std::string text = "prefill_chunk,kv_prefill,n_decode,kv_decode,time_us\n";
    const auto row = [&](int c, int p, int n, int k) {
      text += std::to_string(c) + "," + std::to_string(p) + "," + std::to_string(n) + "," + std::to_string(k) + "," +
              std::to_string(attention_us(c, p, n, k)) + "\n";
    };
    for (const int c : {0, 8, 16}) {
      for (const int p : {0, 32}) {
        if (c == 0 && p > 0) continue;
        if (c > 0) row(c, p, 0, 0);
        for (const int n : {1, 4}) {
          for (const int k : {64, 128}) row(c, p, n, k);
        }
      }
    }
    return text;
  }

  std::filesystem::path path_;
  std::map<std::string, std::string> texts_;
};

}  // namespace alchemist::testing
