#include "core/dispatch/method_table.h"

#include <algorithm>
#include <utility>

#include "core/nearest.h"

namespace samovar::core {

std::uint16_t number_among(const std::vector<ipc::Method>& methods, std::string_view name) {
  const auto found = std::find_if(methods.begin(), methods.end(), [&](const ipc::Method& method) { return method.name == name; });
  return found == methods.end() ? std::uint16_t{0} : static_cast<std::uint16_t>(found - methods.begin() + 1);
}

MethodTable::MethodTable(std::vector<ipc::Method> methods) : methods_(std::move(methods)) {
  for (std::size_t i = 0; i < methods_.size(); ++i) {
    numbers_.emplace(methods_[i].name, static_cast<int>(i));
    has_batches_ |= methods_[i].batch_max > 1;
  }
}

std::vector<std::string> MethodTable::names() const {
  std::vector<std::string> names;
  for (const ipc::Method& method : methods_) names.push_back(method.name);
  return names;
}

std::string_view MethodTable::nearest(std::string_view name) const {
  std::vector<std::string_view> names;
  for (const ipc::Method& method : methods_) names.push_back(method.name);
  return core::nearest(name, names);
}

}  // namespace samovar::core
