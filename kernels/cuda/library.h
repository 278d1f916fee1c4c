// Shared libraries that are there on some machines only (cuBLAS, cuDNN): opened when first needed, so that one program
// starts everywhere.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace alchemist::cuda {

// How a library may be found. `wheels`: the folders that Python's packages put it in, below site-packages.
struct LibraryNames {
  std::string_view title;        // in messages: "cuBLAS"
  std::string_view environment;  // a variable that holds the path of the file and comes first
  std::vector<std::string> files;
  std::vector<std::string> wheels;
};

class Library {
 public:
  // Tries, in this order: the environment's path, the loader's own search, /usr/local/cuda/lib64, and the packages of
  // every python3 on the PATH. Throws ConfigError with what was tried if none can be opened. `needed_first` are files
  // of the same folder that the library wants but would not find by itself.
  explicit Library(const LibraryNames& names, const std::vector<std::string>& needed_first = {});

  // The address of a function. Throws ConfigError if the library does not have it.
  template <typename Function>
  Function* find(const char* symbol) const {
    return reinterpret_cast<Function*>(address_of(symbol));
  }
  const std::string& path() const { return path_; }  // as it was opened
  void* handle() const { return handle_; }           // of dlopen()

 private:
  void* address_of(const char* symbol) const;

  std::string title_;
  std::string path_;
  void* handle_ = nullptr;  // stays open until the process ends: its threads and handlers may outlive any owner
};

// Where the library may lie, in the order of the search. For tests, and for messages.
std::vector<std::string> library_candidates(const LibraryNames& names);

}  // namespace alchemist::cuda
