// Files of results that appear complete or not at all.
#pragma once

#include <fmt/format.h>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace alchemist {

// A buffered text file. Every failure (no permission, disk full) is an OutputError that names the file and the cause.
class OutputFile {
 public:
  explicit OutputFile(const std::filesystem::path& path);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  // What is to be written next is appended here, for example with fmt::format_to(fmt::appender(f.buffer()), ...).
  fmt::memory_buffer& buffer() { return buffer_; }
  // To be called now and then, at best once a line.
  void flush_if_large() {
    if (buffer_.size() >= kFlushSize) flush();
  }
  void write(std::string_view text) {
    buffer_.append(text.data(), text.data() + text.size());
    flush_if_large();
  }
  void close();  // writes the rest; a full disk is noticed here at the latest

 private:
  static constexpr std::size_t kFlushSize = std::size_t{1} << 16;
  void flush();
  [[noreturn]] void fail() const;

  std::filesystem::path path_;
  std::FILE* file_ = nullptr;
  fmt::memory_buffer buffer_;
};

// Keeps other processes from writing a file, which it makes if need be, for as long as it lives. OutputError if one of
// them is at it.
class FileLock {
 public:
  explicit FileLock(const std::filesystem::path& path);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  int descriptor_ = -1;
};

// A directory of results. Files are written as NAME.partial and get their names together, in commit(). Without a
// commit the destructor removes them, and the directory too if it was made here. Two runs that write one file at the
// same time would mix their lines: the later one is refused.
class ResultDirectory {
 public:
  explicit ResultDirectory(std::filesystem::path directory);  // made with its parents where missing
  ~ResultDirectory();
  ResultDirectory(const ResultDirectory&) = delete;
  ResultDirectory& operator=(const ResultDirectory&) = delete;

  // A new file of the directory, valid as long as the directory object.
  OutputFile& create(const std::string& name);
  // A file that an earlier run may have left and that this one does not have; goes at the commit.
  void drop(const std::string& name) { dropped_.push_back(name); }
  void commit();

  const std::filesystem::path& path() const { return directory_; }

 private:
  void remove_made();

  std::filesystem::path directory_;
  std::vector<std::filesystem::path> made_;  // directories made here, outermost first
  std::vector<std::pair<std::string, std::unique_ptr<OutputFile>>> files_;
  std::vector<std::unique_ptr<FileLock>> locks_;  // of the files that are not done
  std::vector<std::string> dropped_;
  bool committed_ = false;
};

}  // namespace alchemist
