#include "core/dispatch/method_table.h"

#include <utility>

#include "core/nearest.h"

namespace samovar::core {

MethodTable::MethodTable(std::vector<std::string> names) : names_(std::move(names)) {
  for (std::size_t i = 0; i < names_.size(); ++i) numbers_.emplace(names_[i], static_cast<int>(i));
}

std::string_view MethodTable::nearest(std::string_view name) const {
  const std::vector<std::string_view> views(names_.begin(), names_.end());
  return core::nearest(name, views);
}

}  // namespace samovar::core
