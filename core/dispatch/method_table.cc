#include "core/dispatch/method_table.h"

#include <utility>

#include "core/nearest.h"

namespace samovar::core {

MethodTable::MethodTable(std::vector<ipc::Method> methods) : methods_(std::move(methods)) {
  for (std::size_t i = 0; i < methods_.size(); ++i) numbers_.emplace(methods_[i].name, static_cast<int>(i));
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
