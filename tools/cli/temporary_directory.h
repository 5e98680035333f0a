// TemporaryDirectory: a directory of our own, removed with all it holds when this is destroyed.
#pragma once

#include <stdlib.h>

#include <cerrno>
#include <filesystem>
#include <string>
#include <utility>

#include <samovar/error.h>

#include "tools/cli/failure.h"

namespace samovar::cli {

class TemporaryDirectory {
 public:
  // `prefix` of its name; it lies in $TMPDIR or /tmp.
  static Result<TemporaryDirectory> make(const std::string& prefix) {
    std::error_code failure;
    std::string name = (std::filesystem::temp_directory_path(failure) / (prefix + "XXXXXX")).string();
    if (failure) return tl::unexpected(system_error("cannot find a place for temporary files; see $TMPDIR", failure.value()));
    if (!mkdtemp(name.data())) return tl::unexpected(system_error("cannot make the directory " + name, errno));
    return TemporaryDirectory(name);
  }
  TemporaryDirectory(TemporaryDirectory&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  TemporaryDirectory& operator=(TemporaryDirectory&&) = delete;
  ~TemporaryDirectory() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }

  const std::filesystem::path& path() const { return path_; }

 private:
  explicit TemporaryDirectory(std::filesystem::path path) : path_(std::move(path)) {}
  std::filesystem::path path_;
};

}  // namespace samovar::cli
