#include "core/config/origins.h"

#include <memory>
#include <utility>

#include "core/config/option_value.h"

namespace samovar::core {

std::string Origin::to_string() const {
  switch (from) {
    case From::defaults: return "default";
    case From::program_defaults: return "default of the program";
    case From::profile:
    case From::file: return where;
    case From::environment: return "environment " + where;
    case From::code: break;
  }
  return "code";
}

Origin origin_of(const Options& options, const OptionRow& row) {
  if (options.origins && same_value(options, options.origins->values, row)) return options.origins->origins[index_of(row)];
  if (!options.origins && same_value(options, Options{}, row)) return {};
  return {.from = Origin::From::code, .where = {}};
}

Origins origins_of(const Options& options) {
  Origins copy;
  for (const OptionRow& row : option_table()) copy.origins.push_back(origin_of(options, row));
  if (options.origins) {
    copy.loaded = options.origins->loaded;
    copy.profile = options.origins->profile;
    copy.notes = options.origins->notes;
  }
  return copy;
}

void attach(Options& options, Origins origins) {
  origins.values = options;
  origins.values.log = {};
  origins.values.origins = {};
  options.origins = std::make_shared<const Origins>(std::move(origins));
}

std::string place_of(const Options& options, const OptionRow& row) {
  const Origin origin = origin_of(options, row);
  const bool outside = origin.from == Origin::From::file || origin.from == Origin::From::environment;
  return outside ? origin.to_string() + ": " : std::string();
}

}  // namespace samovar::core
