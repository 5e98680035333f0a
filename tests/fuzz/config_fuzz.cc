// Configuration files and variables: any text is refused with a message that names its place, or sets options within
// their ranges; a value that is written back reads as the same.
#include <string>
#include <string_view>

#include "core/config/config_file.h"
#include "core/config/option_value.h"
#include "core/config/units.h"
#include "tests/fuzz/target.h"

namespace samovar::fuzz {
namespace {

Input input_of(std::string_view text) { return {text.begin(), text.end()}; }

void check_settings(const core::Settings& settings) {
  Options options;
  for (const core::Setting& setting : settings) {
    expect(setting.row != nullptr, "a setting is of an option");
    expect(setting.where.starts_with("fuzz.toml:"), "it says where it stands");
    expect(core::assign(options, *setting.row, setting.value, setting.row->name).has_value(),
           "what was checked can be assigned");
    expect(core::check_range(options, *setting.row).has_value(), "and is within its range");
  }
}

void check_file(std::string_view text) {
  const auto file = core::parse_config(text, "fuzz.toml", "/a folder");
  if (!file) {
    expect(file.error().message.find("fuzz.toml") != std::string::npos, "a refusal names the file");
    return;
  }
  check_settings(file->general);
  for (const auto& [name, settings] : file->profiles) check_settings(settings);
  for (const auto& [name, settings] : file->pools) check_settings(settings);
}

void check_variable(std::string_view text) {
  for (const core::OptionRow& row : core::option_table()) {
    Options options;
    const auto assigned = core::assign(options, row, core::written_in_environment(row, text), row.name);
    if (!assigned) {
      expect(assigned.error().find(row.name) != std::string::npos, "a refusal names the option");
      continue;
    }
    expect(core::check_range(options, row).has_value(), "what was assigned is within its range");
    expect(!core::format_value(options, row).empty(), "it can be shown");
  }
}

void check_units(std::string_view text) {
  if (const auto duration = core::parse_duration(text)) {
    const std::string shown = core::format_duration(*duration);
    const auto again = core::parse_duration(shown);
    expect(again && *again == *duration, "a duration that is shown reads as the same");
    expect(duration->count() >= 0, "it is not negative");
  }
  if (const auto bytes = core::parse_bytes(text)) {
    const auto again = core::parse_bytes(core::format_bytes(*bytes));
    expect(again && *again == *bytes, "a size that is shown reads as the same");
    expect(*bytes >= 0, "it is not negative");
  }
}

}  // namespace

std::vector<Input> seeds() {
  std::vector<Input> inputs;
  for (const std::string_view text :
       {"profile = \"prod\"\nworkers = 4\nmodule = \"models.py\"\n[pools.fast]\nworkers = 2\nspin_max = \"100us\"\n",
        "[profiles.mine]\ntimeout = \"1.5s\"\nlane_bytes = \"64KiB\"\ndispatcher = \"caller\"\n",
        "python_path = [\"a\", \"../b\"]\nworker_cpus = [0, 1]\nlog_level = \"debug\"\n",
        "worker = 4\ntimeout = 5\nqueue_limit = -1\nlane_bytes = \"1 elephant\"\n",
        "workers = 1e3\nworkers = true\n[pools]\nfast = 1\n[profiles.\"\"]\n",
        "timeout = 1979-05-27T07:32:00Z\n[[pools.a]]\nx = {a = 1}\n",
        "a = [[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]\n",
        "250us",
        "1.5s",
        "0s",
        "2min",
        "292y",
        "9223372036854775807ns",
        "9223372036854775808ns",
        "-1ms",
        "1e9h",
        "0.5ns",
        "64KiB",
        "1.5MiB",
        "8388608TiB",
        "4097",
        "0x10",
        " 1 s ",
        "caller",
        "0,1,2",
        "a:b::c",
        "true",
        "18446744073709551616"}) {
    inputs.push_back(input_of(text));
  }
  return inputs;
}

}  // namespace samovar::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(data, data + size);
  samovar::fuzz::check_file(text);
  samovar::fuzz::check_variable(text);
  samovar::fuzz::check_units(text);
  return 0;
}
