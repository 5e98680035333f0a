// Bytes of kind `value` to begin with: of each kind, of our encoder and of the stock one, which uses more of the format.
#pragma once

#include <vector>

#include "tests/fuzz/target.h"

namespace samovar::fuzz {

std::vector<Input> value_seeds();

}  // namespace samovar::fuzz
