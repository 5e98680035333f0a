// MethodTable: the pool's method names and their numbers. Constant once made.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace samovar::core {

class MethodTable {
 public:
  explicit MethodTable(std::vector<std::string> names);

  // The number of a method, or -1.
  int find(std::string_view name) const {
    if (names_.size() <= kFewNames) {  // comparing beats hashing
      for (std::size_t i = 0; i < names_.size(); ++i) {
        if (names_[i] == name) return static_cast<int>(i);
      }
      return -1;
    }
    if (const auto found = numbers_.find(name); found != numbers_.end()) return found->second;
    return -1;
  }

  const std::string& name(std::uint32_t number) const { return names_[number]; }
  const std::vector<std::string>& names() const { return names_; }

  // The name that is most like `name` by edit distance, or empty where none is alike.
  std::string_view nearest(std::string_view name) const;

 private:
  static constexpr std::size_t kFewNames = 8;

  std::vector<std::string> names_;
  std::unordered_map<std::string_view, int> numbers_;  // views of names_
};

}  // namespace samovar::core
