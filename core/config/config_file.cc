#include "core/config/config_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <utility>

// Inside this file only: its failures stay values, its symbols hidden.
#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

#include "core/errors.h"
#include "core/nearest.h"

namespace samovar::core {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kFileBytesMax = 1 << 20;  // a configuration, not a data set

Written to_written(const toml::node& node) {
  if (const auto* text = node.as_string()) return {text->get()};
  if (const auto* number = node.as_integer()) return {number->get()};
  if (const auto* number = node.as_floating_point()) return {number->get()};
  if (const auto* boolean = node.as_boolean()) return {boolean->get()};
  if (const auto* array = node.as_array()) {
    Written::List list;
    for (const toml::node& element : *array) list.push_back(to_written(element));
    return {std::move(list)};
  }
  return {Written::Other{node.is_table() ? "a table" : "a date or time"}};
}

// Reads the tables and gathers what is wrong in them.
class Reader {
 public:
  Reader(std::string name, std::string folder) : name_(std::move(name)), folder_(std::move(folder)) {}

  ConfigFile read(const toml::table& root) {
    ConfigFile file;
    std::vector<std::string_view> keys = option_names();
    keys.insert(keys.end(), {"profile", "profiles", "pools"});
    for (const auto& [key, node] : root) {
      if (key == "profiles") {
        file.profiles = read_sections(key, node);
      } else if (key == "pools") {
        file.pools = read_sections(key, node);
      } else if (key == "profile") {
        read_profile(key, node, file);
      } else {
        read_setting(key, node, keys, file.general);
      }
    }
    check_profile(file);
    return file;
  }

  std::optional<Error> error() {
    if (errors_.empty()) return std::nullopt;
    std::stable_sort(errors_.begin(), errors_.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    std::string message;
    for (const auto& [line, text] : errors_) message += (message.empty() ? "" : "\n") + text;
    return make_error(Category::configuration, Code::invalid_option, std::move(message));
  }

 private:
  using Line = toml::source_index;

  std::string where(Line line) const { return name_ + ":" + std::to_string(line); }
  void complain(Line line, const std::string& what) { errors_.emplace_back(line, where(line) + ": " + what); }

  void complain_unknown(Line line, const std::string& what, std::string_view name, const std::vector<std::string_view>& known) {
    const std::string_view near = nearest(name, known);
    complain(line, "unknown " + what + " \"" + std::string(name) + "\"" +
                       (near.empty() ? "" : "; did you mean \"" + std::string(near) + "\"?"));
  }

  void read_setting(const toml::key& key, const toml::node& node, const std::vector<std::string_view>& known, Settings& settings) {
    const Line line = key.source().begin.line;
    const OptionRow* row = find_option(key.str());
    if (!row) return complain_unknown(line, "key", key.str(), known);
    Setting setting{.row = row, .value = to_written(node), .where = where(line)};
    Options scratch;
    if (const auto assigned = assign(scratch, *row, setting.value, row->name); !assigned) return complain(line, assigned.error());
    if (row->form == Form::path) resolve_paths(setting.value);
    settings.push_back(std::move(setting));
  }

  Sections read_sections(const toml::key& key, const toml::node& node) {
    Sections sections;
    const toml::table* table = node.as_table();
    if (!table) {
      complain(key.source().begin.line, std::string(key.str()) + " holds tables: [" + std::string(key.str()) + ".NAME]");
      return sections;
    }
    for (const auto& [name, section] : *table) {
      if (!section.is_table()) {
        complain(name.source().begin.line, std::string(key.str()) + "." + std::string(name.str()) + " is no table: write [" +
                                               std::string(key.str()) + "." + std::string(name.str()) + "] above its keys");
        continue;
      }
      Settings& settings = sections[std::string(name.str())];
      for (const auto& [option, value] : *section.as_table()) read_setting(option, value, option_names(), settings);
    }
    return sections;
  }

  void read_profile(const toml::key& key, const toml::node& node, ConfigFile& file) {
    profile_line_ = key.source().begin.line;
    if (const auto* text = node.as_string()) {
      file.profile = text->get();
      file.profile_where = where(profile_line_);
    } else {
      complain(profile_line_, std::string("profile names a profile, in quotes") +
                                  (node.is_table() ? "; the tables of profiles are [profiles.NAME]" : ""));
    }
  }

  void check_profile(const ConfigFile& file) {
    if (file.profile.empty() || file.profiles.contains(file.profile)) return;
    std::vector<std::string_view> known(std::begin(kProfiles), std::end(kProfiles));
    if (std::find(known.begin(), known.end(), file.profile) != known.end()) return;
    for (const auto& [name, settings] : file.profiles) known.push_back(name);
    complain_unknown(profile_line_, "profile", file.profile, known);
  }

  void resolve_paths(Written& written) const {
    if (auto* list = std::get_if<Written::List>(&written.value)) {
      for (Written& element : *list) resolve_path(std::get<std::string>(element.value), true);
    } else {
      resolve_path(std::get<std::string>(written.value), false);
    }
  }

  void resolve_path(std::string& path, bool always) const {
    const bool is_path = always || path.find('/') != std::string::npos || path.ends_with(".py");
    if (is_path && !path.empty()) path = (fs::path(folder_) / path).lexically_normal().string();
  }

  const std::string name_;
  const std::string folder_;
  Line profile_line_ = 0;
  std::vector<std::pair<Line, std::string>> errors_;
};

Error unreadable(const std::string& path, const std::string& why) {
  return make_error(Category::configuration, Code::invalid_option, "cannot read " + path + ": " + why);
}

}  // namespace

Result<ConfigFile> parse_config(std::string_view text, const std::string& name, const std::string& folder) {
  const toml::parse_result parsed = toml::parse(text, std::string_view(name));
  if (!parsed) {
    return tl::unexpected(make_error(Category::configuration, Code::invalid_option,
                                     name + ":" + std::to_string(parsed.error().source().begin.line) + ": " +
                                         std::string(parsed.error().description())));
  }
  Reader reader(name, folder);
  ConfigFile file = reader.read(parsed.table());
  if (auto error = reader.error()) return tl::unexpected(*std::move(error));
  return file;
}

Result<ConfigFile> read_config_file(const std::string& path) {
  std::error_code failure;
  if (fs::is_directory(path, failure)) return tl::unexpected(unreadable(path, "it is a folder"));
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file) return tl::unexpected(unreadable(path, std::strerror(errno)));
  std::string text(kFileBytesMax + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (file.bad()) return tl::unexpected(unreadable(path, std::strerror(errno)));
  if (text.size() > kFileBytesMax) return tl::unexpected(unreadable(path, "it is larger than 1 MiB"));
  return parse_config(text, path, fs::absolute(path, failure).parent_path().string());
}

}  // namespace samovar::core
