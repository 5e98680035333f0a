#include "core/config/units.h"

#include <gtest/gtest.h>

#include <chrono>

namespace samovar::core {
namespace {

using namespace std::chrono_literals;

TEST(Units, durations_are_read_exactly) {
  EXPECT_EQ(parse_duration("1ns"), Duration(1));
  EXPECT_EQ(parse_duration("250us"), Duration(250us));
  EXPECT_EQ(parse_duration("5ms"), Duration(5ms));
  EXPECT_EQ(parse_duration("1.5s"), Duration(1500ms));
  EXPECT_EQ(parse_duration(".5s"), Duration(500ms));
  EXPECT_EQ(parse_duration("2min"), Duration(2min));
  EXPECT_EQ(parse_duration("1h"), Duration(1h));
  EXPECT_EQ(parse_duration("0s"), Duration(0));
  EXPECT_EQ(parse_duration("0.6ns"), Duration(1)) << "rounded";
  EXPECT_EQ(parse_duration("9007199254740993ns"), Duration(9007199254740993)) << "more than a double holds";
  EXPECT_EQ(parse_duration("9223372036854775807ns"), Duration::max());
}

TEST(Units, what_is_no_duration_is_told_how_to_be_one) {
  const auto why = [](std::string_view text) { return parse_duration(text).error(); };
  EXPECT_EQ(why("30"), "has no unit; did you mean \"30s\"?");
  EXPECT_EQ(why("-5s"), "is negative; write it like 250us, 5ms, 1.5s, 2min or 1h");
  EXPECT_EQ(why("5parsecs").substr(0, 28), "has no unit that is known (n");
  for (const char* text : {"", ".", "s", "5 ms", " 5ms", "5ms ", "+5ms", "1e3s", "0x5s", "5m", "1s5ms", "nans", "infs", "--5s"}) {
    EXPECT_FALSE(parse_duration(text)) << text;
  }
  EXPECT_FALSE(parse_duration("9223372036854775808ns")) << "one too many";
  EXPECT_FALSE(parse_duration("2562048h"));
  EXPECT_FALSE(parse_duration(std::string(1000, '9') + "s"));
  EXPECT_FALSE(parse_duration("1." + std::string(1000, '9') + "s"));
}

TEST(Units, sizes_are_read_exactly) {
  EXPECT_EQ(parse_bytes("0"), 0);
  EXPECT_EQ(parse_bytes("4096"), 4096);
  EXPECT_EQ(parse_bytes("4096B"), 4096);
  EXPECT_EQ(parse_bytes("64KiB"), 65536);
  EXPECT_EQ(parse_bytes("1.5GiB"), std::int64_t{3} << 29);
  EXPECT_EQ(parse_bytes("2TiB"), std::int64_t{2} << 40);
  EXPECT_EQ(parse_bytes("9223372036854775807"), INT64_MAX);
}

TEST(Units, what_is_no_size_is_told_how_to_be_one) {
  const auto why = [](std::string_view text) { return parse_bytes(text).error(); };
  EXPECT_EQ(why("64KB"), "has no unit that is known; did you mean \"64KiB\"?");
  EXPECT_EQ(why("64k"), "has no unit that is known; did you mean \"64KiB\"?");
  EXPECT_EQ(why("1gb"), "has no unit that is known; did you mean \"1GiB\"?");
  EXPECT_EQ(why("0.3KiB").substr(0, 27), "is no whole number of bytes");
  EXPECT_EQ(why("9223372036854775808").substr(0, 12), "is too large");
  for (const char* text : {"", "-1", "KiB", "64 KiB", "64ms", "9999999TiB", "1e3"}) EXPECT_FALSE(parse_bytes(text)) << text;
}

// Found by tests/fuzz: more digits than a number has overflowed before they were counted.
TEST(Units, numbers_of_many_digits_are_refused) {
  for (const std::size_t digits : {21, 39, 48, 5000}) {
    const std::string many(digits, '4');
    for (const std::string& text : {many, many + "s", "0." + many + "s", many + "." + many + "KiB"}) {
      EXPECT_FALSE(parse_duration(text)) << text;
      EXPECT_FALSE(parse_bytes(text)) << text;
    }
  }
}

TEST(Units, are_written_in_the_shortest_exact_form) {
  EXPECT_EQ(format_duration(0ns), "0s");
  EXPECT_EQ(format_duration(50us), "50us");
  EXPECT_EQ(format_duration(1500ms), "1500ms");
  EXPECT_EQ(format_duration(120s), "2min");
  EXPECT_EQ(format_duration(Duration::max()), "9223372036854775807ns");
  EXPECT_EQ(format_duration(-5s), "-5s");
  EXPECT_EQ(format_bytes(0), "0");
  EXPECT_EQ(format_bytes(4097), "4097");
  EXPECT_EQ(format_bytes(4096), "4KiB");
  EXPECT_EQ(format_bytes(3 << 29), "1536MiB");
  for (const std::int64_t ns : std::initializer_list<std::int64_t>{1, 999, 1000, 61'000'000'000, 90'061'001}) {
    EXPECT_EQ(parse_duration(format_duration(Duration(ns))), Duration(ns));
  }
  for (const std::int64_t bytes : {1, 1000, 1024, 1 << 20, (1 << 20) + 1}) EXPECT_EQ(parse_bytes(format_bytes(bytes)), bytes);
}

}  // namespace
}  // namespace samovar::core
