// The layers, one over the other: defaults, those of the program, a profile, the file's general keys, its profile, its pool; then,
// when a pool starts, the environment.
#include <samovar/config.h>

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <string_view>
#include <utility>

#include "core/config/config_file.h"
#include "core/config/option_value.h"
#include "core/config/origins.h"
#include "core/errors.h"
#include "core/nearest.h"

extern char** environ;

namespace samovar {
namespace core {
namespace {

constexpr std::string_view kPrefix = "SAMOVAR_";
constexpr const char* kConfigVariable = "SAMOVAR_CONFIG";
constexpr const char* kProfileVariable = "SAMOVAR_PROFILE";

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

Error invalid(std::string message) { return make_error(Category::configuration, Code::invalid_option, std::move(message)); }

std::string suggestion(std::string_view name, const std::vector<std::string_view>& known) {
  const std::string_view near = nearest(name, known);
  return near.empty() ? std::string() : "; did you mean \"" + std::string(near) + "\"?";
}

void set(Options& options, Origins& origins, const OptionRow& row, const Written& value, Origin origin) {
  (void)assign(options, row, value, row.name);  // its source has been checked
  origins.origins[index_of(row)] = std::move(origin);
}

void set_all(Options& options, Origins& origins, const Settings& settings) {
  for (const Setting& setting : settings) {
    set(options, origins, *setting.row, setting.value, {.from = Origin::From::file, .where = setting.where});
  }
}

Result<void> check_names(const std::string& pool, const std::string& path, const std::string& profile, const ConfigFile& file) {
  std::vector<std::string_view> profiles(std::begin(kProfiles), std::end(kProfiles));
  for (const auto& [name, settings] : file.profiles) profiles.push_back(name);
  if (!profile.empty() && std::find(profiles.begin(), profiles.end(), profile) == profiles.end()) {
    return tl::unexpected(invalid("there is no profile \"" + profile + "\"" + suggestion(profile, profiles)));
  }
  if (pool.empty() || file.pools.contains(pool)) return {};
  if (path.empty()) return tl::unexpected(invalid("there is no pool \"" + pool + "\" without a file that has [pools." + pool + "]"));
  std::vector<std::string_view> pools;
  for (const auto& [name, settings] : file.pools) pools.push_back(name);
  return tl::unexpected(invalid(path + " has no [pools." + pool + "]" + suggestion(pool, pools)));
}

// What the environment says that is no option: told, since it may be meant as one; no error, since others use names that begin
// like ours. (Kubernetes gives every container SAMOVAR_PORT and more where a service is called samovar.)
void note_unknown(std::string_view name, const std::vector<std::string_view>& known, Origins& origins) {
  const std::string_view near = nearest(name.substr(kPrefix.size()), known);
  std::string line = "environment: " + std::string(name) + " is no option";
  if (!near.empty()) line += "; did you mean " + std::string(kPrefix) + std::string(near) + "?";
  origins.notes.push_back({near.empty() ? LogLevel::info : LogLevel::warning, std::move(line)});
}

void note_unknown_variables(Origins& origins, bool loaded) {
  std::vector<std::string> names{kConfigVariable, kProfileVariable};
  for (const OptionRow& row : option_table()) names.push_back(environment_name(row));
  std::vector<std::string_view> suffixes;
  for (const std::string& name : names) suffixes.push_back(std::string_view(name).substr(kPrefix.size()));

  for (char** entry = environ; *entry; ++entry) {
    const std::string_view text(*entry);
    const std::string_view name = text.substr(0, text.find('='));
    if (!name.starts_with(kPrefix) || text.size() <= name.size() + 1) continue;
    if (std::find(names.begin(), names.end(), name) == names.end()) {
      note_unknown(name, suffixes, origins);
    } else if (!loaded && (name == kConfigVariable || name == kProfileVariable)) {
      origins.notes.push_back({LogLevel::warning, "environment: " + std::string(name) +
                                                      " has no effect: this program does not call samovar::load_options()"});
    }
  }
}

}  // namespace
}  // namespace core

Result<Options> load_options(const ConfigSource& source, Options options) {
  using core::Origin;
  const bool listens = source.environment == Environment::apply;
  const auto chosen = [&](const char* name, const std::string& by_code) {
    const std::string by_environment = listens ? core::variable(name) : std::string();
    return by_environment.empty() ? by_code : by_environment;
  };

  core::ConfigFile file;
  const std::string path = chosen(core::kConfigVariable, source.file);
  if (!path.empty()) {
    Result<core::ConfigFile> read = core::read_config_file(path);
    if (!read) return tl::unexpected(std::move(read.error()));
    file = std::move(*read);
  }
  std::string profile = chosen(core::kProfileVariable, source.profile);
  if (profile.empty()) profile = file.profile;
  if (auto known = core::check_names(source.pool, path, profile, file); !known) return tl::unexpected(std::move(known.error()));

  core::Origins origins = core::origins_of(options);
  for (Origin& origin : origins.origins) {
    if (origin.from == Origin::From::code) origin.from = Origin::From::program_defaults;
  }
  for (const core::ProfileSetting& setting : core::profile_settings()) {
    if (setting.profile != profile) continue;
    const core::OptionRow& row = *core::find_option(setting.option);
    core::set(options, origins, row, core::written_in_environment(row, setting.text),
              {.from = Origin::From::profile, .where = "profile " + profile});
  }
  core::set_all(options, origins, file.general);
  if (const auto own = file.profiles.find(profile); own != file.profiles.end()) core::set_all(options, origins, own->second);
  if (const auto pool = file.pools.find(source.pool); pool != file.pools.end()) {
    core::set(options, origins, *core::find_option("name"), {source.pool}, {.from = Origin::From::file, .where = path + " [pools." + source.pool + "]"});
    core::set_all(options, origins, pool->second);
  }
  origins.profile = std::move(profile);
  origins.loaded = true;
  options.environment = source.environment;
  core::attach(options, std::move(origins));
  return options;
}

Result<Options> apply_environment(Options options) {
  using core::Origin;
  core::Origins origins = core::origins_of(options);
  origins.notes.clear();
  std::string wrong;
  for (const core::OptionRow& row : core::option_table()) {
    const std::string name = core::environment_name(row);
    const std::string text = core::variable(name.c_str());
    if (text.empty()) continue;
    const std::string before = core::format_value(options, row);
    const auto assigned = core::assign(options, row, core::written_in_environment(row, text), name);
    if (!assigned) {
      wrong += (wrong.empty() ? "" : "\n") + ("environment: " + assigned.error());
      continue;
    }
    origins.origins[core::index_of(row)] = {.from = Origin::From::environment, .where = name};
    const std::string after = core::format_value(options, row);
    if (after == before) continue;
    origins.notes.push_back({LogLevel::info, "environment: " + name + " sets " + std::string(row.name) + " = " + after + " (was " + before + ")"});
  }
  if (!wrong.empty()) return tl::unexpected(core::invalid(std::move(wrong)));
  core::note_unknown_variables(origins, origins.loaded);
  options.environment = Environment::ignore;
  core::attach(options, std::move(origins));
  return options;
}

}  // namespace samovar
