#include "core/supervision/thread_counts.h"

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <string_view>

namespace samovar::core {
namespace {

// OpenMP (PyTorch, scikit-learn), OpenBLAS and MKL (NumPy), NumExpr.
constexpr const char* kNames[] = {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"};

std::string_view in_environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

}  // namespace

std::vector<std::pair<std::string, std::string>> thread_counts(const Options& options) {
  std::vector<std::pair<std::string, std::string>> variables;
  for (const char* name : kNames) {
    if (options.worker_threads > 0 && in_environment(name).empty()) variables.emplace_back(name, std::to_string(options.worker_threads));
  }
  return variables;
}

bool compute_with_one_thread(const Options& options) {
  return std::all_of(std::begin(kNames), std::end(kNames), [&](const char* name) {
    const std::string_view value = in_environment(name);
    return value.empty() ? options.worker_threads == 1 : value == "1";
  });
}

}  // namespace samovar::core
