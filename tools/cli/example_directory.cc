#include "tools/cli/example_directory.h"

namespace samovar::cli {

Result<std::filesystem::path> find_example_directory(const std::string& name, const std::string& module) {
  std::error_code ignored;
  const auto tool = std::filesystem::read_symlink("/proc/self/exe", ignored);
  const auto installed = tool.parent_path().parent_path() / "share" / "samovar" / "examples" / name;
  const auto in_source = std::filesystem::path(SAMOVAR_EXAMPLES_DIR) / name;
  for (const auto& directory : {installed, in_source}) {
    if (std::filesystem::exists(directory / module, ignored)) return directory;
  }
  return tl::unexpected(Error{.category = Category::configuration,
                              .code = Code::module_failed,
                              .message = "the demo's " + module + " is neither in " + installed.string() + " nor in " + in_source.string() +
                                         "; install the tool with its share/ directory",
                              .context = {}});
}

}  // namespace samovar::cli
