// core/CONFIGURATION.md cannot rot: its tables are compared with the option table, which writes what they should be.
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>

#include "core/config/option_value.h"

namespace samovar::core {
namespace {

std::string page() {
  std::ifstream file(SAMOVAR_SOURCE_DIR "/core/CONFIGURATION.md");
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string code(std::string_view text) { return "`" + std::string(text) + "`"; }

std::string options() {
  std::string table = "| option | type | default | what |\n|---|---|---|---|\n";
  for (const OptionRow& row : option_table()) {
    const std::string range = format_range(row);
    std::string by_default = code(format_value(Options{}, row));
    if (!row.default_means.empty()) by_default += ": " + std::string(row.default_means);
    table += "| " + code(row.name) + " | " + std::string(type_name(row)) + (range.empty() ? "" : ", " + range) + " | " + by_default +
             " | " + std::string(row.doc) + " |\n";
  }
  return table;
}

std::string profiles() {
  std::string table = "| profile | option | value |\n|---|---|---|\n";
  for (const ProfileSetting& setting : profile_settings()) {
    table += "| " + code(setting.profile) + " | " + code(setting.option) + " | " + code(setting.text) + " |\n";
  }
  return table;
}

TEST(ConfigurationPage, has_the_table_of_all_options) {
  EXPECT_NE(page().find("\n" + options() + "\n"), std::string::npos) << "core/CONFIGURATION.md should have:\n" << options();
}

TEST(ConfigurationPage, has_the_table_of_the_profiles) {
  EXPECT_NE(page().find("\n" + profiles() + "\n"), std::string::npos) << "core/CONFIGURATION.md should have:\n" << profiles();
}

}  // namespace
}  // namespace samovar::core
