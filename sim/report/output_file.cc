#include "sim/report/output_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

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

bool is_open_as(int descriptor, const fs::path& path) {
  struct stat opened {
  }, named{};
  return fstat(descriptor, &opened) == 0 && stat(path.c_str(), &named) == 0 && opened.st_dev == named.st_dev &&
         opened.st_ino == named.st_ino;
}

}  // namespace

// A file system that knows no locks gives none, and one on which nothing can be written says so when it is written to.
FileLock::FileLock(const fs::path& path) {
  for (;;) {
    descriptor_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (descriptor_ < 0) return;
    const bool taken = flock(descriptor_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    if (!taken && is_open_as(descriptor_, path)) return;
    ::close(descriptor_);
    if (taken) {
      throw OutputError(fmt::format("cannot write {}: another run is writing it; wait for it, or choose another place",
                                    path.string()));
    }  // else it got its name, or was removed, before the lock was ours
  }
}

FileLock::~FileLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

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
  locks_.push_back(std::make_unique<FileLock>(partial(directory_, name)));
  auto& file =
      files_.emplace_back(name, nullptr).second;  // from here on the file is ours, and removed without a commit
  file = std::make_unique<OutputFile>(partial(directory_, name));
  return *file;
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
