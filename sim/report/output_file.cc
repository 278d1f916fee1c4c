#include "sim/report/output_file.h"

#include <cerrno>
#include <cstring>
#include <system_error>

#include "sim/base/check.h"
#include "sim/base/error.h"

namespace alchemist {
namespace fs = std::filesystem;

OutputFile::OutputFile(const fs::path& path) : path_(path), file_(std::fopen(path.c_str(), "wb")) {
  if (file_ == nullptr) fail();
  std::setvbuf(file_, nullptr, _IONBF, 0);  // buffer_ is the buffer
}

OutputFile::~OutputFile() {
  if (file_ != nullptr) std::fclose(file_);
}

void OutputFile::flush() {
  check(file_ != nullptr, "a closed file is not written to");
  if (std::fwrite(buffer_.data(), 1, buffer_.size(), file_) != buffer_.size()) fail();
  buffer_.clear();
}

void OutputFile::close() {
  flush();
  if (std::fclose(std::exchange(file_, nullptr)) != 0) fail();
}

void OutputFile::fail() const {
  const int error = errno;
  throw OutputError(fmt::format("cannot write {}: {}", path_.string(), std::strerror(error)));
}

namespace {

fs::path partial(const fs::path& directory, const std::string& name) { return directory / (name + ".partial"); }

}  // namespace

ResultDirectory::ResultDirectory(fs::path directory) : directory_(std::move(directory)) {
  std::vector<fs::path> missing;
  std::error_code error;
  for (fs::path p = directory_; !p.empty() && !fs::exists(p, error); p = p.parent_path()) missing.push_back(p);
  if (missing.empty() && !fs::is_directory(directory_, error)) {
    throw OutputError(fmt::format("cannot write results to {}: not a directory", directory_.string()));
  }
  for (auto it = missing.rbegin(); it != missing.rend(); ++it) {
    if (fs::create_directory(*it, error)) made_.push_back(*it);
    if (error) {
      remove_made();
      throw OutputError(fmt::format("cannot make the directory {}: {}", it->string(), error.message()));
    }
  }
}

void ResultDirectory::remove_made() {
  std::error_code ignored;  // a directory that somebody else put a file into stays
  for (auto it = made_.rbegin(); it != made_.rend(); ++it) fs::remove(*it, ignored);
}

ResultDirectory::~ResultDirectory() {
  if (committed_) return;
  std::error_code ignored;
  for (const auto& [name, file] : files_) fs::remove(partial(directory_, name), ignored);
  remove_made();
}

OutputFile& ResultDirectory::create(const std::string& name) {
  // A device or a pipe would be gone with the renaming of commit().
  std::error_code error;
  const fs::path path = directory_ / name;
  if (fs::exists(path, error) && !fs::is_regular_file(path, error)) {
    throw OutputError(fmt::format("cannot write {}: it is no regular file", path.string()));
  }
  auto file = std::make_unique<OutputFile>(partial(directory_, name));
  return *files_.emplace_back(name, std::move(file)).second;
}

void ResultDirectory::commit() {
  for (auto& [name, file] : files_) file->close();
  for (auto& [name, file] : files_) {
    std::error_code error, none;  // a file that is not there yet is no link
    fs::path path = directory_ / name;
    if (fs::is_symlink(path, none)) path = fs::canonical(path, error);
    if (!error) fs::rename(partial(directory_, name), path, error);
    if (error) { throw OutputError(fmt::format("cannot write {}: {}", (directory_ / name).string(), error.message())); }
  }
  committed_ = true;
  std::error_code ignored;
  for (const std::string& name : dropped_) fs::remove(directory_ / name, ignored);
}

}  // namespace alchemist
