#include "validate/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "kernels/rounding.h"
#include "sim/base/check.h"
#include "sim/base/error.h"

namespace alchemist {
namespace {

constexpr std::int64_t kLengthBytes = 8;
constexpr std::int64_t kLongestHeader = 100'000'000;  // the format's own limit

std::int64_t element_bytes(const std::string& type) {
  if (type == "F64") return 8;
  if (type == "F32") return 4;
  return type == "F16" || type == "BF16" ? 2 : 0;
}

// IEEE half precision: 1 sign, 5 exponent, 10 fraction bits.
double half_value(std::uint16_t bits) {
  const int exponent = (bits >> 10) & 0x1f, fraction = bits & 0x3ff;
  double magnitude = 0;
  if (exponent == 0x1f) {
    magnitude = fraction == 0 ? HUGE_VAL : NAN;
  } else if (exponent == 0) {
    magnitude = std::ldexp(fraction, -24);
  } else {
    magnitude = std::ldexp(1024 + fraction, exponent - 25);
  }
  return bits >> 15 ? -magnitude : magnitude;
}

double element(const std::string& type, const char* bytes) {
  const auto as = [bytes]<class E>(E value) {
    std::memcpy(&value, bytes, sizeof value);
    return value;
  };
  if (type == "F64") return as(double{});
  if (type == "F32") return as(float{});
  const std::uint16_t half = as(std::uint16_t{});
  return type == "BF16" ? to_float(BFloat16{half}) : half_value(half);
}

std::vector<std::int64_t> whole_numbers(const nlohmann::json& list) {
  std::vector<std::int64_t> numbers;
  if (!list.is_array()) throw ConfigError("a list is something else");
  for (const nlohmann::json& number : list) {
    if (!number.is_number_unsigned() || number.get<std::uint64_t>() > std::numeric_limits<std::int64_t>::max()) {
      throw ConfigError("not all numbers are whole and at least 0");
    }
    numbers.push_back(number.get<std::int64_t>());
  }
  return numbers;
}

SafetensorsFile::Tensor read_entry(const nlohmann::json& entry, std::int64_t data_begin, std::int64_t file_size) {
  SafetensorsFile::Tensor tensor;
  tensor.type = entry.at("dtype").get<std::string>();
  tensor.shape = whole_numbers(entry.at("shape"));
  std::int64_t count = 1;
  for (const std::int64_t size : tensor.shape) {
    if (__builtin_mul_overflow(count, size, &count)) throw ConfigError("its shape is impossible");
  }
  const std::vector<std::int64_t> offsets = whole_numbers(entry.at("data_offsets"));
  if (offsets.size() != 2) throw ConfigError("it has not two offsets");
  const std::int64_t begin = offsets[0], end = offsets[1];
  if (end < begin || end > file_size - data_begin) throw ConfigError("its data lie outside the file");
  const std::int64_t bytes = element_bytes(tensor.type);
  if (bytes > 0 && ((end - begin) % bytes != 0 || (end - begin) / bytes != count))
    throw ConfigError("its bytes do not match its shape");
  tensor.begin = data_begin + begin;
  tensor.end = data_begin + end;
  return tensor;
}

}  // namespace

SafetensorsFile::SafetensorsFile(std::string path) : path_(std::move(path)) {
  std::ifstream file(path_, std::ios::binary);
  std::error_code error;
  const auto size = static_cast<std::int64_t>(std::filesystem::file_size(path_, error));
  if (!file || error) throw ConfigError(fmt::format("{}: cannot be read", path_));
  unsigned char length_bytes[kLengthBytes] = {};
  file.read(reinterpret_cast<char*>(length_bytes), kLengthBytes);
  std::uint64_t length = 0;
  for (int i = kLengthBytes - 1; i >= 0; --i) length = length << 8 | length_bytes[i];
  if (!file || length > static_cast<std::uint64_t>(std::min(kLongestHeader, size - kLengthBytes))) {
    throw ConfigError(fmt::format("{}: no safetensors file: expected 8 bytes with the length of a JSON header", path_));
  }
  std::string header(length, '\0');
  file.read(header.data(), static_cast<std::streamsize>(length));
  const nlohmann::json json = nlohmann::json::parse(header, nullptr, false);
  if (!file || !json.is_object()) throw ConfigError(fmt::format("{}: the header is no JSON object", path_));
  for (const auto& [name, entry] : json.items()) {
    if (name == "__metadata__") continue;
    try {
      tensors_.emplace(name, read_entry(entry, kLengthBytes + static_cast<std::int64_t>(length), size));
    } catch (const nlohmann::json::exception&) {
      throw ConfigError(fmt::format("{}: tensor {}: expected dtype, shape and data_offsets", path_, name));
    } catch (const ConfigError& e) {
      throw ConfigError(
          fmt::format("{}: tensor {}: {}; expected dtype, shape and data_offsets", path_, name, e.what()));
    }
  }
  check_places(kLengthBytes + static_cast<std::int64_t>(length), size);
}

// The format leaves no gaps, and no byte belongs to two tensors: what does not fit is not what was written.
void SafetensorsFile::check_places(std::int64_t data_begin, std::int64_t file_size) const {
  std::vector<std::pair<std::int64_t, std::int64_t>> places;
  for (const auto& [name, tensor] : tensors_) places.emplace_back(tensor.begin, tensor.end);
  std::sort(places.begin(), places.end());
  places.emplace_back(file_size, file_size);
  std::int64_t next = data_begin;
  for (const auto& [begin, end] : places) {
    if (begin != next) {
      throw ConfigError(
          fmt::format("{}: expected tensors one behind the other up to the end of the file ({}), got {} "
                      "behind byte {}",
                      path_, file_size, begin, next));
    }
    next = end;
  }
}

std::vector<double> SafetensorsFile::read(const std::string& name) const {
  const auto found = tensors_.find(name);
  check(found != tensors_.end(), "a tensor of the file");
  const Tensor& tensor = found->second;
  const std::int64_t size = element_bytes(tensor.type);
  if (size == 0) {
    throw ConfigError(fmt::format("{}: tensor {}: type {}; expected F64, F32, F16 or BF16", path_, name, tensor.type));
  }
  std::ifstream file(path_, std::ios::binary);
  std::vector<char> bytes(static_cast<std::size_t>(tensor.end - tensor.begin));
  file.seekg(tensor.begin);
  file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  if (!file) throw ConfigError(fmt::format("{}: tensor {}: the file ends too early", path_, name));
  std::vector<double> values;
  values.reserve(bytes.size() / static_cast<std::size_t>(size));
  for (std::size_t at = 0; at < bytes.size(); at += static_cast<std::size_t>(size)) {
    values.push_back(element(tensor.type, bytes.data() + at));
  }
  return values;
}

}  // namespace alchemist
