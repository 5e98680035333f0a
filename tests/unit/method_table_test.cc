#include "core/dispatch/method_table.h"

#include <gtest/gtest.h>

#include <string>

namespace samovar::core {
namespace {

std::vector<ipc::Method> named(const std::vector<std::string>& names) {
  std::vector<ipc::Method> methods;
  for (const std::string& name : names) methods.push_back({.name = name});
  return methods;
}

TEST(MethodTable, finds_each_name_by_its_number_and_nothing_else) {
  // Few names are compared, many are hashed.
  for (int count : {0, 1, 7, 8, 9, 100}) {
    std::vector<std::string> names;
    for (int i = 0; i < count; ++i) names.push_back("method_" + std::to_string(i));
    const MethodTable table(named(names));
    EXPECT_EQ(table.names(), names);
    for (int i = 0; i < count; ++i) {
      const std::string copy = names[static_cast<std::size_t>(i)];
      EXPECT_EQ(table.find(copy), i);
      EXPECT_EQ(table.name(static_cast<std::uint32_t>(i)), copy);
    }
    EXPECT_EQ(table.find("method_" + std::to_string(count)), -1);
    EXPECT_EQ(table.find(""), -1);
    EXPECT_EQ(table.find("method_"), -1);
    EXPECT_EQ(table.find(std::string("method_0\0", 9)), -1);
  }
}

TEST(MethodTable, finds_names_after_it_was_moved) {
  for (int count : {2, 20}) {
    std::vector<std::string> names;
    for (int i = 0; i < count; ++i) names.push_back("m" + std::to_string(i));  // short: inside the string object
    MethodTable first(named(names));
    const MethodTable table(std::move(first));
    for (int i = 0; i < count; ++i) EXPECT_EQ(table.find(names[static_cast<std::size_t>(i)]), i);
  }
}

TEST(MethodTable, names_the_nearest_where_one_is_alike) {
  const MethodTable table(named({"price", "detect", "detect_all", "train"}));
  EXPECT_EQ(table.nearest("prise"), "price");
  EXPECT_EQ(table.nearest("rpice"), "price") << "two edits";
  EXPECT_EQ(table.nearest("Detect"), "detect");
  EXPECT_EQ(table.nearest("detect_al"), "detect_all");
  EXPECT_EQ(table.nearest("detekt_everything"), "") << "too far";
  EXPECT_EQ(table.nearest("xyz"), "");
  EXPECT_EQ(table.nearest("price"), "price");
}

TEST(MethodTable, names_nothing_of_an_empty_table_or_for_a_novel) {
  EXPECT_EQ(MethodTable({}).nearest("price"), "");
  const std::string novel(10'000, 'x');
  EXPECT_EQ(MethodTable(named({novel})).nearest("price"), "");
  EXPECT_EQ(MethodTable(named({"price"})).nearest(novel), "");
}

}  // namespace
}  // namespace samovar::core
