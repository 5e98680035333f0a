// Question: what does a method pay for a field of a FlatBuffer, and for a reply of 384 floats, natively and with stock generated code?
#pragma once

#include <string>

#include "bench/whole/pinning.h"

namespace samovar::bench {

// Medians, ns; see bench/peers/schema_fields.py, which measures them in one process.
struct SchemaCosts {
  double schema_field = 0, stock_field = 0;
  double reply_384_native = 0, reply_384_stock = 0;
};

// By the script, on this CPU. Fails: with what the script says, where a package or the compiled schema is missing. Blocks for seconds.
Made<SchemaCosts> measure_schema(const std::string& python, int cpu);

}  // namespace samovar::bench
