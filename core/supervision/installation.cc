#include "core/supervision/installation.h"

#include <dlfcn.h>

#include <fstream>
#include <system_error>

namespace samovar::core {
namespace {

namespace fs = std::filesystem;

bool holds_package(const fs::path& folder) {
  std::error_code ignored;
  return fs::exists(folder / "samovar" / "__init__.py", ignored);
}

std::string first_line(const fs::path& file) {
  std::ifstream input(file);
  std::string line;
  std::getline(input, line);
  return line;
}

// The interpreter whose site-packages this is. Above a user's own (~/.local/lib/python3.X) is no bin/python3.X: $PATH has it.
std::string interpreter_of(const fs::path& site_packages) {
  const fs::path name = site_packages.parent_path().filename();
  if (!name.string().starts_with("python3")) return {};
  std::error_code ignored;
  const fs::path interpreter = site_packages.parent_path().parent_path().parent_path() / "bin" / name;
  return fs::exists(interpreter, ignored) ? interpreter.string() : name.string();
}

}  // namespace

Installation find_installation(const fs::path& library_folder) {
  std::error_code ignored;
  for (const fs::path& folder : {library_folder / "samovar" / "python", library_folder / ".." / "python"}) {
    if (!holds_package(folder)) continue;
    return {.package_folder = fs::weakly_canonical(folder, ignored).string(),
            .interpreter = first_line(folder / "default-interpreter")};
  }
  const fs::path host = library_folder.parent_path();
  const fs::path site_packages = host.parent_path().parent_path();
  if (host.filename() != "_host" || !holds_package(site_packages)) return {};
  return {.package_folder = {}, .interpreter = interpreter_of(site_packages)};
}

fs::path library_folder() {
  Dl_info info;
  if (dladdr(reinterpret_cast<const void*>(&find_installation), &info) == 0 || !info.dli_fname) return {};
  std::error_code ignored;
  return fs::canonical(info.dli_fname, ignored).parent_path();
}

}  // namespace samovar::core
