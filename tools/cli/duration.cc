#include "tools/cli/duration.h"

#include "core/config/units.h"

namespace samovar::cli {

CLI::Option* add_duration(CLI::App& app, const std::string& names, Duration& value, const std::string& description) {
  const auto set = [&value, names](const std::string& text) {
    const auto parsed = core::parse_duration(text);
    if (!parsed) throw CLI::ValidationError(names, "\"" + text + "\" " + parsed.error());
    value = *parsed;
  };
  return app.add_option_function<std::string>(names, set, description)->type_name("DURATION")->default_str(core::format_duration(value));
}

}  // namespace samovar::cli
