// Where a library's Python side is found, for each way to install one; with folders in place of installations.
#include "core/supervision/installation.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace samovar::core {
namespace {

namespace fs = std::filesystem;

class Installed : public testing::Test {
 protected:
  Installed() {
    std::string name = (fs::temp_directory_path() / "samovar installation XXXXXX").string();
    root_ = fs::canonical(mkdtemp(name.data()));
  }
  ~Installed() override { fs::remove_all(root_); }

  void write(const fs::path& file, const std::string& text = {}) const {
    fs::create_directories((root_ / file).parent_path());
    std::ofstream(root_ / file) << text;
  }
  std::string path(const fs::path& file) const { return (root_ / file).string(); }

  fs::path root_;
};

TEST_F(Installed, build_tree_has_its_package_beside_the_library_and_the_program) {
  write("build/python/samovar/__init__.py");
  write("build/python/default-interpreter", "/a venv/bin/python\n");
  write("build/lib/libsamovar.so");
  write("build/bin/test");
  for (const char* folder : {"build/lib", "build/bin"}) {
    const Installation found = find_installation(root_ / folder);
    EXPECT_EQ(found.package_folder, path("build/python"));
    EXPECT_EQ(found.interpreter, "/a venv/bin/python");
  }
}

TEST_F(Installed, prefix_has_its_package_below_the_library_whatever_the_library_folder_is_called) {
  for (const char* folder : {"lib", "lib64", "lib/x86_64-linux-gnu"}) {
    write(fs::path(folder) / "samovar/python/samovar/__init__.py");
    write(fs::path(folder) / "samovar/python/default-interpreter", "/usr/bin/python3.11\n");
    const Installation found = find_installation(root_ / folder);
    EXPECT_EQ(found.package_folder, path(folder) + "/samovar/python");
    EXPECT_EQ(found.interpreter, "/usr/bin/python3.11");
  }
}

TEST_F(Installed, package_without_a_default_interpreter_leaves_it_to_the_path) {
  write("lib/samovar/python/samovar/__init__.py");
  EXPECT_EQ(find_installation(root_ / "lib").interpreter, "");
}

// Its site-packages in front of a worker's path would shadow the standard library, or give one Python the packages of another.
TEST_F(Installed, wheel_runs_the_interpreter_that_it_was_installed_for_and_leaves_its_path_alone) {
  write("env/lib/python3.12/site-packages/samovar/__init__.py");
  write("env/bin/python3.12");
  const Installation found = find_installation(root_ / "env/lib/python3.12/site-packages/samovar/_host/lib");
  EXPECT_EQ(found.package_folder, "");
  EXPECT_EQ(found.interpreter, path("env/bin/python3.12"));
}

TEST_F(Installed, wheel_of_one_user_runs_that_python_of_the_path) {
  write(".local/lib/python3.12/site-packages/samovar/__init__.py");
  EXPECT_EQ(find_installation(root_ / ".local/lib/python3.12/site-packages/samovar/_host/lib").interpreter, "python3.12");
}

TEST_F(Installed, library_without_a_package_has_neither) {
  write("lib/libsamovar.so");
  for (const fs::path& folder : {root_ / "lib", fs::path()}) {
    const Installation found = find_installation(folder);
    EXPECT_EQ(found.package_folder, "");
    EXPECT_EQ(found.interpreter, "");
  }
}

}  // namespace
}  // namespace samovar::core
