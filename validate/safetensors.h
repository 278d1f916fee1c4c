// Files in the safetensors format: eight bytes with the length of a JSON header, the header, and the tensors' bytes.
// The header names each tensor's type, shape and place; see github.com/huggingface/safetensors.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace alchemist {

class SafetensorsFile {
 public:
  // Reads and checks the header. ConfigError that names the file if it is not such a file.
  explicit SafetensorsFile(std::string path);

  struct Tensor {
    std::string type;  // "F64", "F32", "F16" or "BF16"; others are listed but cannot be read
    std::vector<std::int64_t> shape;
    std::int64_t begin = 0;  // bytes of the file
    std::int64_t end = 0;
  };
  const std::map<std::string, Tensor>& tensors() const { return tensors_; }
  const std::string& path() const { return path_; }

  // The values of a tensor of this file, row by row. ConfigError if its type is none of the four or the file is short.
  std::vector<double> read(const std::string& name) const;

 private:
  void check_places(std::int64_t data_begin, std::int64_t file_size) const;

  std::string path_;
  std::map<std::string, Tensor> tensors_;
};

}  // namespace alchemist
