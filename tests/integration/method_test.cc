// Typed methods against a real worker: core/CONVERSIONS.md in both directions, what a handle checks, and its errors.
#include <gtest/gtest.h>
#include <samovar/samovar.h>

#include <cmath>
#include <stdexcept>
#include <string>

#include "tests/support/pools.h"

namespace samovar {

struct Quote {
  double bid = 0;
  double ask = 0;
  std::optional<std::string> venue;
  bool operator==(const Quote&) const = default;
};
template <>
struct Converter<Quote> : AsDict<Quote, Field<"bid", &Quote::bid>, Field<"ask", &Quote::ask>, Field<"venue", &Quote::venue>> {};

struct Thrower {};
template <>
struct Converter<Thrower> {
  static void write(Encoder&, const Thrower&) { throw std::runtime_error("thrown while writing"); }
  static bool read(const Decoder&, Thrower&) { throw std::runtime_error("thrown while reading"); }
};

}  // namespace samovar

namespace samovar::test {
namespace {

using namespace std::chrono_literals;

class Methods : public testing::Test {
 protected:
  // What Python calls an argument.
  template <typename T>
  std::string shown(const T& argument) {
    const auto result = pool.method<std::string(T)>("shown")(argument);
    return result ? *result : result.error().message;
  }

  template <typename T>
  Result<T> result_of(const std::string& expression) {
    return pool.method<T(std::string)>("result_of")(expression);
  }
  template <typename T>
  std::string refusal_of(const std::string& expression) {
    const Result<T> result = result_of<T>(expression);
    if (result) return "taken";
    EXPECT_EQ(result.error().code, Code::invalid_result) << result.error().to_string();
    EXPECT_EQ(result.error().category, Category::application);
    EXPECT_TRUE(result.error().context.started);
    EXPECT_EQ(result.error().context.worker, 0);
    const std::string_view root = "result";
    EXPECT_EQ(result.error().message.substr(0, root.size()), root);
    return result.error().message.substr(root.size());
  }

  Pool pool = start(options("typed.py"));
};

TEST_F(Methods, are_called_like_functions) {
  const auto price = pool.method<double(std::string_view, std::int64_t)>("price");

  ASSERT_TRUE(price) << price.error()->to_string();
  EXPECT_EQ(price.error(), nullptr);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(price("EURUSD", 1'000'000), 1'250'000.0);
  EXPECT_EQ(price("USDJPY", 1).error().message, "result of \"price\": None where a float is expected");
  EXPECT_EQ((pool.method<std::optional<double>(std::string, int)>("price")("USDJPY", 1).value()), std::optional<double>());
}

TEST_F(Methods, arguments_arrive_as_the_table_says) {
  EXPECT_EQ(shown(true), "bool True");
  EXPECT_EQ(shown(std::int8_t{-128}), "int -128");
  EXPECT_EQ(shown(std::uint16_t{65535}), "int 65535");
  EXPECT_EQ(shown(INT64_MIN), "int -9223372036854775808");
  EXPECT_EQ(shown(UINT64_MAX), "int 18446744073709551615");
  EXPECT_EQ(shown(1.0), "float 1.0");
  EXPECT_EQ(shown(-0.0), "float -0.0");
  EXPECT_EQ(shown(HUGE_VAL), "float inf");
  EXPECT_EQ(shown(0.1F), "float 0.10000000149011612");
  enum class Side : std::int8_t { sell = -1 };
  EXPECT_EQ(shown(Side::sell), "int -1");
  EXPECT_EQ(shown(std::string("ü\0'", 4)), "str \"ü\\x00'\"");
  EXPECT_EQ(shown(std::string_view("view")), "str 'view'");
  EXPECT_EQ((pool.method<std::string(const char*)>("shown")("pointer")), "str 'pointer'");
  const Bytes two{std::byte{0}, std::byte{255}};
  EXPECT_EQ(shown(two), "bytes b'\\x00\\xff'");
  EXPECT_EQ(shown(std::span<const std::byte>(two)), "bytes b'\\x00\\xff'");
  EXPECT_EQ(shown(std::optional<int>()), "NoneType None");
  EXPECT_EQ(shown(std::optional<int>(5)), "int 5");
  EXPECT_EQ(shown(std::vector<int>{1, 2}), "list [1, 2]");
  EXPECT_EQ(shown(std::vector<bool>{true}), "list [True]");
  EXPECT_EQ(shown(std::array<double, 2>{1, 2}), "list [1.0, 2.0]");
  EXPECT_EQ(shown(std::pair<int, std::string>(1, "a")), "list [1, 'a']");
  EXPECT_EQ(shown(std::tuple<bool, Bytes>(false, {})), "list [False, b'']");
  EXPECT_EQ(shown(std::map<std::string, int>{{"b", 2}, {"a", 1}}), "dict {'a': 1, 'b': 2}");
  EXPECT_EQ(shown(std::unordered_map<int, std::vector<int>>{{7, {}}}), "dict {7: []}");
  EXPECT_EQ(shown(Value::dict({{nullptr, 1}})), "dict {None: 1}");
  EXPECT_EQ(shown(Quote{1, 2, {}}), "dict {'bid': 1.0, 'ask': 2.0, 'venue': None}");
  EXPECT_EQ((pool.method<std::string()>("shown")()), "");
  EXPECT_EQ((pool.method<std::string(int, std::string, std::vector<Quote>)>("shown")(1, "a", {{1, 2, "X"}})),
            "int 1, str 'a', list [{'bid': 1.0, 'ask': 2.0, 'venue': 'X'}]");
}

TEST_F(Methods, results_are_taken_as_the_table_says) {
  EXPECT_TRUE(result_of<void>("None"));
  EXPECT_TRUE(result_of<void>("[1, 'dropped']"));
  EXPECT_EQ(result_of<Reply>("'as it came'")->text(), "as it came");
  EXPECT_EQ(result_of<bool>("1 == 1"), true);
  EXPECT_EQ(result_of<std::int8_t>("-128"), -128);
  EXPECT_EQ(result_of<std::uint64_t>("2**64 - 1"), UINT64_MAX);
  EXPECT_EQ(result_of<int>("Level.LOW"), 1);
  EXPECT_EQ(result_of<double>("1.5"), 1.5);
  EXPECT_EQ(result_of<double>("2**53"), 0x1p53);
  EXPECT_EQ(result_of<double>("Ratio(0.5)"), 0.5);
  EXPECT_EQ(result_of<float>("0.1"), 0.1F);
  EXPECT_TRUE(std::isnan(*result_of<float>("float('nan')")));
  EXPECT_EQ(result_of<Dispatcher>("2"), Dispatcher::manual);
  EXPECT_EQ(result_of<std::string>("'a\\0ü'"), std::string("a\0ü", 4));
  const Bytes ab{std::byte{'a'}, std::byte{'b'}};
  for (const char* expression : {"b'ab'", "bytearray(b'ab')", "memoryview(b'ab')"}) EXPECT_EQ(result_of<Bytes>(expression), ab) << expression;
  EXPECT_EQ(result_of<std::optional<int>>("None").value(), std::optional<int>());
  EXPECT_EQ(result_of<std::optional<int>>("5").value(), std::optional<int>(5));
  for (const char* expression : {"[1, 2]", "(1, 2)", "Pair(1, 2)"}) {
    EXPECT_EQ((result_of<std::vector<int>>(expression)), (std::vector<int>{1, 2})) << expression;
    EXPECT_EQ((result_of<std::array<int, 2>>(expression)), (std::array<int, 2>{1, 2}));
    EXPECT_EQ((result_of<std::pair<int, double>>(expression)), (std::pair<int, double>(1, 2)));
    EXPECT_EQ((result_of<std::tuple<int, int>>(expression)), (std::tuple<int, int>(1, 2)));
  }
  EXPECT_EQ((result_of<std::map<std::string, int>>("{'b': 2, 'a': 1}")), (std::map<std::string, int>{{"a", 1}, {"b", 2}}));
  EXPECT_EQ((result_of<std::unordered_map<int, bool>>("{7: True}")), (std::unordered_map<int, bool>{{7, true}}));
  EXPECT_EQ(result_of<Value>("[None, {1: b'x'}]"), Value::list({nullptr, Value::dict({{1, Value::bytes("x", 1)}})}));
  EXPECT_EQ(result_of<Quote>("{'ask': 2, 'bid': 1.5, 'more': 0}"), (Quote{1.5, 2, {}}));
}

TEST_F(Methods, results_that_do_not_fit_say_where_what_came_and_what_was_expected) {
  EXPECT_EQ(refusal_of<bool>("1"), " of \"result_of\": the int 1 where a bool is expected");
  EXPECT_EQ(refusal_of<int>("True"), " of \"result_of\": True where an int is expected");
  EXPECT_EQ(refusal_of<int>("2.0"), " of \"result_of\": the float 2.0 where an int is expected");
  EXPECT_EQ(refusal_of<std::int8_t>("300"), " of \"result_of\": the int 300 where an int within -128 .. 127 is expected");
  EXPECT_EQ(refusal_of<unsigned>("-1"), " of \"result_of\": the int -1 where an int within 0 .. 4294967295 is expected");
  EXPECT_EQ(refusal_of<double>("2**53 + 1"), " of \"result_of\": the int 9007199254740993 where an int that a double holds exactly is expected");
  EXPECT_EQ(refusal_of<double>("'1.5'"), " of \"result_of\": a str where a float is expected");
  EXPECT_EQ(refusal_of<float>("1e300"), " of \"result_of\": the float 1e+300 where a number within the range of a C++ float is expected");
  EXPECT_EQ(refusal_of<std::string>("b'x'"), " of \"result_of\": bytes where a str is expected");
  EXPECT_EQ(refusal_of<std::string>("None"), " of \"result_of\": None where a str is expected");
  EXPECT_EQ(refusal_of<Bytes>("'x'"), " of \"result_of\": a str where bytes is expected");
  EXPECT_EQ(refusal_of<std::vector<int>>("b'xy'"), " of \"result_of\": bytes where a list is expected");
  EXPECT_EQ(refusal_of<std::vector<int>>("[1, None]"), "[1] of \"result_of\": None where an int is expected");
  EXPECT_EQ((refusal_of<std::array<int, 3>>("[1, 2]")), " of \"result_of\": a list of 2 where a list of 3 is expected");
  EXPECT_EQ((refusal_of<std::map<std::string, int>>("{'a': {}}")), "[\"a\"] of \"result_of\": a dict of 0 where an int is expected");
  EXPECT_EQ((refusal_of<std::map<std::string, int>>("{1: 1}")), "[key 0] of \"result_of\": the int 1 where a str is expected");
  EXPECT_EQ(refusal_of<Quote>("{'bid': 1.5}"), " of \"result_of\": a dict without the key \"ask\"");
  EXPECT_EQ(refusal_of<std::vector<Quote>>("[{'bid': 1, 'ask': 2, 'venue': 3}]"), "[0][\"venue\"] of \"result_of\": the int 3 where a str is expected");
}

TEST_F(Methods, result_that_python_cannot_send_is_named_by_the_worker) {
  const auto result = result_of<std::vector<int>>("[1, {2}]");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Code::invalid_result);
  EXPECT_NE(result.error().message.find("result[1]: set is not supported"), std::string::npos) << result.error().message;
}

TEST_F(Methods, arguments_that_cannot_be_sent_fail_here_and_are_named) {
  const auto send = pool.method<Value(int, std::vector<std::string>)>("shown");
  const auto result = send(1, {"a", "\xFF"});

  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Code::invalid_payload);
  EXPECT_EQ(result.error().category, Category::request);
  EXPECT_EQ(result.error().message, "\"shown\", argument 2[1]: a str that is not UTF-8 (send it as samovar::Bytes)");
  EXPECT_FALSE(result.error().context.started);
  EXPECT_EQ(pool.stats().accepted, 0u);
  EXPECT_EQ(pool.stats().rejected, 1u);
}

TEST_F(Methods, unknown_name_is_known_at_once_and_said_at_every_call) {
  const auto prize = pool.method<double(std::string, int)>("prize");

  EXPECT_FALSE(prize);
  ASSERT_NE(prize.error(), nullptr);
  EXPECT_EQ(prize.error()->code, Code::unknown_method);
  EXPECT_NE(prize.error()->message.find("did you mean \"price\"?"), std::string::npos) << prize.error()->message;
  for (int i = 0; i < 2; ++i) {
    const auto result = prize("EURUSD", 1);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().message, prize.error()->message);
  }
  EXPECT_FALSE(prize.with({.timeout = 1s})("EURUSD", 1));
}

TEST_F(Methods, number_of_arguments_is_compared_with_the_signature) {
  const auto two = pool.method<Value(int, int)>("three");
  ASSERT_FALSE(two);
  EXPECT_EQ(two.error()->code, Code::invalid_payload);
  EXPECT_EQ(two.error()->category, Category::request);
  EXPECT_EQ(two.error()->message, "\"three\" cannot be called with 2 arguments: in Python it is three(a, b, c)");
  EXPECT_EQ(two(1, 2).error().message, two.error()->message);
  EXPECT_FALSE((pool.method<Value(int, int, int, int)>("three")));
  EXPECT_EQ((pool.method<Value(int, int, int)>("three")(1, 2, 3)), Value::list({1, 2, 3}));

  EXPECT_EQ(pool.method<Value()>("one_or_two").error()->message,
            "\"one_or_two\" cannot be called with 0 arguments: in Python it is one_or_two(a, b=0)");
  EXPECT_EQ(pool.method<Value(int)>("one_or_two")(1), Value::list({1, 0}));
  EXPECT_EQ((pool.method<Value(int, int)>("one_or_two")(1, 2)), Value::list({1, 2}));

  EXPECT_EQ(pool.method<Value(int)>("with_ctx")(1), Value::list({1, 0})) << "ctx does not count";
  EXPECT_FALSE((pool.method<Value(int, int)>("with_ctx")));

  const auto by_name = pool.method<Value(int)>("by_name");
  ASSERT_FALSE(by_name);
  EXPECT_NE(by_name.error()->message.find("its parameter \"mode\" can only be given by name"), std::string::npos)
      << by_name.error()->message;

  EXPECT_EQ((pool.method<Value(int, int)>("with_given_a")(2, 3)), Value::list({1, 2, 3})) << "a wrapper takes what it takes";
  EXPECT_EQ((pool.method<int(int, int)>("largest")(4, 2)), 4) << "no signature, no check";
}

TEST(ManyMethods, are_checked_although_their_signatures_do_not_fit_into_the_first_message) {
  Pool pool = start(options("many_methods.py"));
  EXPECT_EQ((pool.method<int(int, int)>("add_1199")(1, 2)), 3);
  const auto one = pool.method<int(int)>("add_1199");
  ASSERT_FALSE(one);
  EXPECT_EQ(one.error()->message, "\"add_1199\" cannot be called with 1 argument: in Python it takes 2 to 3");
}

TEST_F(Methods, options_hold_for_each_call_of_a_handle) {
  const auto sleep = pool.method<void(double)>("sleep_for_s");
  const auto begin = std::chrono::steady_clock::now();
  const auto result = sleep.with({.timeout = 20ms})(0.2);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Code::deadline_exceeded);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 150ms);
  EXPECT_TRUE(sleep(0.01)) << "the handle itself is as it was";
  EXPECT_EQ((pool.method<void(double)>("sleep_for_s", {.timeout = 1ns})(0.2)).error().code, Code::deadline_exceeded);
}

TEST_F(Methods, exceptions_of_python_come_as_they_do_from_call) {
  const auto result = pool.method<int()>("fails")();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Code::method_failed);
  EXPECT_EQ(result.error().context.python_type, "ValueError");
}

TEST_F(Methods, exceptions_of_a_converter_stay_inside) {
  const auto writes = pool.method<Value(Thrower)>("shown")(Thrower{});
  ASSERT_FALSE(writes);
  EXPECT_NE(writes.error().message.find("thrown while writing"), std::string::npos) << writes.error().message;
  const auto reads = pool.method<Thrower()>("shown")();
  ASSERT_FALSE(reads);
  EXPECT_NE(reads.error().message.find("thrown while reading"), std::string::npos) << reads.error().message;
}

TEST_F(Methods, handles_stay_good_when_the_pool_is_moved) {
  const auto price = pool.method<double(std::string, int)>("price");
  Pool moved = std::move(pool);
  EXPECT_EQ(price("EURUSD", 4), 5.0);
}

}  // namespace
}  // namespace samovar::test
