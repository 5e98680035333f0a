#include "core/config/option_table.h"

#include <gtest/gtest.h>

#include <cctype>
#include <limits>
#include <set>
#include <string>

#include "core/config/option_value.h"

namespace samovar::core {
namespace {

// That there are as many rows as members is checked by the compiler, in option_table.cc.
TEST(OptionTable, no_two_rows_are_about_one_member_or_name) {
  const auto rows = option_table();
  for (const OptionRow& a : rows) {
    for (const OptionRow& b : rows) {
      if (&a == &b) continue;
      EXPECT_NE(a.name, b.name);
      EXPECT_FALSE(a.member == b.member) << a.name << " and " << b.name;
    }
  }
}

TEST(OptionTable, each_default_is_within_its_range_and_documented) {
  for (const OptionRow& row : option_table()) {
    EXPECT_TRUE(check_range(Options{}, row)) << row.name;
    ASSERT_FALSE(row.doc.empty()) << row.name;
    EXPECT_TRUE(std::isupper(static_cast<unsigned char>(row.doc.front()))) << row.name;
    EXPECT_NE(row.doc.back(), '.') << row.name << ": lists and tables end it";
  }
}

template <typename T>
bool fits(const OptionRow& row) {
  return row.min >= static_cast<std::int64_t>(std::numeric_limits<T>::min()) &&
         static_cast<std::uint64_t>(row.max) <= static_cast<std::uint64_t>(std::numeric_limits<T>::max());
}

TEST(OptionTable, no_range_is_wider_than_its_member) {
  for (const OptionRow& row : option_table()) {
    if (std::holds_alternative<int Options::*>(row.member)) {
      EXPECT_TRUE(fits<int>(row)) << row.name;
    }
    if (std::holds_alternative<std::uint32_t Options::*>(row.member)) {
      EXPECT_TRUE(fits<std::uint32_t>(row)) << row.name;
    }
    if (std::holds_alternative<std::uint64_t Options::*>(row.member)) {
      EXPECT_GE(row.min, 0) << row.name;
    }
    if (std::holds_alternative<std::vector<int> Options::*>(row.member)) {
      EXPECT_TRUE(fits<int>(row)) << row.name;
    }
  }
}

TEST(OptionTable, names_of_the_environment_follow) {
  EXPECT_EQ(environment_name(*find_option("lane_bytes")), "SAMOVAR_LANE_BYTES");
  EXPECT_EQ(find_option("lane_byte"), nullptr);
  EXPECT_EQ(find_option(""), nullptr);
}

TEST(OptionTable, numbers_in_the_environment_may_be_ranges) {
  const auto cpus = [](std::string_view text) {
    Options options;
    const auto assigned = assign(options, *find_option("cpus"), written_in_environment(*find_option("cpus"), text), "SAMOVAR_CPUS");
    return assigned ? format_value(options, *find_option("cpus")) : assigned.error();
  };
  EXPECT_EQ(cpus("0-2,8"), "[0, 1, 2, 8]");
  EXPECT_EQ(cpus("3"), "[3]");
  EXPECT_EQ(cpus(""), "[]");
  for (const char* wrong : {"3-1", "-1", "1-", "a-b", "0-99999999999"}) {
    EXPECT_EQ(cpus(wrong).substr(0, 12), "SAMOVAR_CPUS") << cpus(wrong);
  }
}

TEST(OptionTable, profiles_set_what_there_is_to_what_it_can_be) {
  const std::set<std::string_view> profiles(std::begin(kProfiles), std::end(kProfiles));
  for (const ProfileSetting& setting : profile_settings()) {
    EXPECT_TRUE(profiles.contains(setting.profile)) << setting.profile;
    const OptionRow* row = find_option(setting.option);
    ASSERT_NE(row, nullptr) << setting.option;
    Options options;
    const auto assigned = assign(options, *row, written_in_environment(*row, setting.text), row->name);
    EXPECT_TRUE(assigned) << assigned.error();
    EXPECT_FALSE(same_value(options, Options{}, *row)) << setting.profile << ": " << row->name << " is the default already";
  }
}

}  // namespace
}  // namespace samovar::core
