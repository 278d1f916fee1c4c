#include "kernels/cuda/library.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "sim/base/error.h"

namespace alchemist::cuda {
namespace {

namespace fs = std::filesystem;

std::string_view environment(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  return value == nullptr ? "" : value;
}

// Sub-folders of `folder` whose names begin with `prefix`, in order of name. A folder that cannot be read has none.
std::vector<fs::path> folders_in(const fs::path& folder, std::string_view prefix) {
  std::vector<fs::path> found;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, error))
    if (entry.path().filename().string().starts_with(prefix)) found.push_back(entry.path());
  std::ranges::sort(found);
  return found;
}

// The package folders of every python3 on the PATH, of virtual environments too.
std::vector<fs::path> python_packages() {
  std::vector<fs::path> packages;
  std::istringstream path{std::string(environment("PATH"))};
  for (std::string folder; std::getline(path, folder, ':');) {
    std::error_code error;
    const fs::path python = fs::path(folder) / "python3";
    if (folder.empty() || !fs::exists(python, error)) continue;
    for (const fs::path& bin : {fs::path(folder), fs::canonical(python, error).parent_path()})
      for (const fs::path& version : folders_in(bin.parent_path() / "lib", "python3"))
        for (const char* name : {"site-packages", "dist-packages"})
          if (fs::is_directory(version / name, error)) packages.push_back(version / name);
  }
  return packages;
}

}  // namespace

std::vector<std::string> library_candidates(const LibraryNames& names) {
  std::vector<std::string> candidates;
  if (const std::string_view path = environment(std::string(names.environment)); !path.empty())
    candidates.emplace_back(path);
  candidates.insert(candidates.end(), names.files.begin(), names.files.end());
  for (const std::string& file : names.files) candidates.push_back("/usr/local/cuda/lib64/" + file);
  std::error_code error;
  for (const fs::path& package : python_packages())
    for (const std::string& wheel : names.wheels)
      for (const std::string& file : names.files)
        if (const fs::path path = package / wheel / file; fs::exists(path, error)) candidates.push_back(path.string());
  return candidates;
}

Library::Library(const LibraryNames& names, const std::vector<std::string>& needed_first) : title_(names.title) {
  const std::vector<std::string> candidates = library_candidates(names);
  for (const std::string& candidate : candidates) {
    const fs::path folder = fs::path(candidate).parent_path();
    for (const std::string& file : needed_first)
      if (!folder.empty()) dlopen((folder / file).c_str(), RTLD_NOW | RTLD_GLOBAL);
    handle_ = dlopen(candidate.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle_ == nullptr) continue;
    path_ = candidate;
    return;
  }
  std::string text = title_ + " not found; tried";
  for (const std::string& candidate : candidates) text.append(" ").append(candidate);
  throw ConfigError(text + "; " + std::string(names.environment) + " may hold the path of " + names.files.front());
}

void* Library::address_of(const char* symbol) const {
  void* address = dlsym(handle_, symbol);
  if (address == nullptr)
    throw ConfigError(path_ + " has no " + symbol + ": another version of " + title_ + " is needed");
  return address;
}

}  // namespace alchemist::cuda
