#include "bench/whole/payload_schema.h"

#include <memory>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "bench/whole/child.h"
#include "bench/whole/environment.h"

namespace samovar::bench {

Made<SchemaCosts> measure_schema(const std::string& python, int cpu) {
  // env(1) sets what this process must not change for its other children: where the package is.
  std::vector<std::string> argv{"env"};
  for (std::string& variable : environment_with_samovar()) {
    if (variable.starts_with("PYTHONPATH=")) argv.push_back(std::move(variable));
  }
  argv.insert(argv.end(), {python, bench_directory() + "/peers/schema_fields.py", compiled_schemas()});
  auto child = Child::start(std::move(argv), cpu);
  if (!child) return tl::unexpected(child.error());
  const auto said = (*child)->finish();
  if (!said) return tl::unexpected(said.error());
  const auto json = nlohmann::json::parse(*said, nullptr, false);
  const auto figure = [&](const char* key) { return json.is_object() && json.contains(key) && json[key].is_number() ? json[key].get<double>() : 0.0; };
  const SchemaCosts costs{.schema_field = figure("schema_field_ns"),
                          .stock_field = figure("stock_field_ns"),
                          .reply_384_native = figure("reply_384_native_ns"),
                          .reply_384_stock = figure("reply_384_stock_ns")};
  if (costs.stock_field <= 0 || costs.reply_384_native <= 0 || costs.reply_384_stock <= 0) {
    return tl::unexpected("schema_fields.py printed no figures: " + *said);
  }
  return costs;
}

}  // namespace samovar::bench
