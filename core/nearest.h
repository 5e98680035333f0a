// nearest: which of a few names somebody meant. For error messages.
#pragma once

#include <span>
#include <string_view>

namespace samovar::core {

// The name that is the fewest edits away; empty where none is near: more than two edits and more than a third of the name.
std::string_view nearest(std::string_view name, std::span<const std::string_view> names);

}  // namespace samovar::core
