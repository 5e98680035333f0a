// MethodTable: the pool's methods, their numbers, and what they can be called with. Constant once made.
// Methods: the table in force. A reload may bring another: names keep their numbers, new ones follow.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "ipc/handshake.h"

namespace samovar::core {

// What the requests of a worker with these methods call `name`; 0 where it lacks that (0 is its own ping).
std::uint16_t number_among(const std::vector<ipc::Method>& methods, std::string_view name);

class MethodTable {
 public:
  explicit MethodTable(std::vector<ipc::Method> methods);

  // The number of a method, or -1.
  int find(std::string_view name) const {
    if (methods_.size() <= kFewNames) {  // comparing beats hashing
      for (std::size_t i = 0; i < methods_.size(); ++i) {
        if (methods_[i].name == name) return static_cast<int>(i);
      }
      return -1;
    }
    if (const auto found = numbers_.find(name); found != numbers_.end()) return found->second;
    return -1;
  }

  std::size_t size() const { return methods_.size(); }
  const std::string& name(std::uint32_t number) const { return methods_[number].name; }
  const ipc::Method& method(std::uint32_t number) const { return methods_[number]; }
  std::vector<std::string> names() const;

  // Whether any method takes several calls at once.
  bool has_batches() const { return has_batches_; }

  // The name that is most like `name` by edit distance, or empty where none is alike.
  std::string_view nearest(std::string_view name) const;

 private:
  static constexpr std::size_t kFewNames = 8;

  std::vector<ipc::Method> methods_;
  bool has_batches_ = false;
  std::unordered_map<std::string_view, int> numbers_;  // views of methods_
};

class Methods {
 public:
  explicit Methods(MethodTable table) { replace(std::move(table)); }

  // Threads: any. The table lives as long as this: whoever looks at one that is replaced meanwhile sees a whole one.
  // ACQUIRE: pairs with the release in replace().
  const MethodTable& now() const { return *now_.load(std::memory_order_acquire); }

  // Threads: one at a time. Requires: the table begins with the names of the one in force, in their order.
  void replace(MethodTable table) {
    tables_.push_back(std::make_unique<const MethodTable>(std::move(table)));
    now_.store(tables_.back().get(), std::memory_order_release);
  }

 private:
  std::vector<std::unique_ptr<const MethodTable>> tables_;
  std::atomic<const MethodTable*> now_{nullptr};
};

}  // namespace samovar::core
