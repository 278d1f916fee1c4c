#include "kernels/cpu/blas.h"

#include <dlfcn.h>

#include <cstdlib>
#include <string_view>

namespace alchemist::cpu {
namespace {

// OpenBLAS 0.3.21 takes processors that it does not know for old ones, at a fraction of their speed: AMD's with AVX-512
// for a Haswell, Intel's later than Sapphire Rapids for a Prescott.
void correct_core_type() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx512 =
      __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
  const bool intel_avx2 = __builtin_cpu_is("intel") && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  constexpr int kKeepTheUsers = 0;
  if (avx512 || intel_avx2) setenv("OPENBLAS_CORETYPE", avx512 ? "SkylakeX" : "Haswell", kKeepTheUsers);
#endif
}

void* open_library() {
  const char* wanted = std::getenv("ALCHEMIST_OPENBLAS");
  if (wanted && std::string_view(wanted) == "none") return nullptr;
  correct_core_type();
  constexpr int kReplace = 1;
  setenv("OPENBLAS_NUM_THREADS", "1", kReplace);  // before loading: no threads are made at all
  for (const char* name : {wanted, "libopenblas.so.0", "libopenblas.so"}) {
    if (!name) continue;
    if (void* library = dlopen(name, RTLD_NOW | RTLD_LOCAL)) return library;
  }
  return nullptr;
}

std::optional<Blas> load() {
  void* library = open_library();
  if (!library) return std::nullopt;
  Blas result;
  result.sgemm = reinterpret_cast<SgemmFunction>(dlsym(library, "cblas_sgemm"));
  result.sgemv = reinterpret_cast<SgemvFunction>(dlsym(library, "cblas_sgemv"));
  if (!result.sgemm || !result.sgemv) return std::nullopt;
  result.description = "OpenBLAS, 1 thread";
  using TextFunction = const char* (*)();
  const auto config = reinterpret_cast<TextFunction>(dlsym(library, "openblas_get_config"));
  const auto core = reinterpret_cast<TextFunction>(dlsym(library, "openblas_get_corename"));
  if (config && core) result.description = std::string(config()) + ", kernels " + core() + ", 1 thread";
  return result;
}

}  // namespace

const std::optional<Blas>& blas() {
  static const std::optional<Blas> loaded = load();
  return loaded;
}

}  // namespace alchemist::cpu
