// Lists of CPUs or nodes as the kernel and people write them. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

namespace samovar::core {

// "0-5,8" from {0, 1, 2, 3, 4, 5, 8}; two in a row are no range.
std::string format_cpus(const std::vector<int>& cpus);

// In order, each once. Fails: with a sentence that quotes the text.
tl::expected<std::vector<int>, std::string> parse_cpus(std::string_view text);

}  // namespace samovar::core
