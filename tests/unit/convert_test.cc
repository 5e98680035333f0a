// core/CONVERSIONS.md, row by row, without Python: what is sent is read back as a Value, what is taken is made from one.
#include <flatbuffers/flexbuffers.h>
#include <gtest/gtest.h>
#include <samovar/convert.h>

#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

#include "core/values/decoding.h"
#include "core/values/value_codec.h"

namespace samovar {

struct Quote {
  double bid = 0;
  double ask = 0;
  std::optional<std::string> venue;
  bool operator==(const Quote&) const = default;
};
template <>
struct Converter<Quote> : AsDict<Quote, Field<"bid", &Quote::bid>, Field<"ask", &Quote::ask>, Field<"venue", &Quote::venue>> {};

// A linked list: as deep as it is long.
struct Chain {
  std::vector<Chain> next;
};
template <>
struct Converter<Chain> {
  static void write(Encoder& to, const Chain& chain) { to.put(chain.next); }
  static bool read(const Decoder& from, Chain& out) { return from.get(out.next); }
};

struct Even {
  int number = 0;
};
template <>
struct Converter<Even> {
  static void write(Encoder& to, const Even& even) {
    if (even.number % 2 != 0) return to.fail("an odd number");
    to.integer(even.number);
  }
  static bool read(const Decoder& from, Even& out) {
    if (!from.get(out.number)) return false;
    return out.number % 2 == 0 || from.fail("an even int");
  }
};

namespace {

using core::Decoding;

// What Python would see of one argument, or "error: why".
template <typename T>
Value sent(const T& argument) {
  Encoder to(1);
  to.argument(argument);
  const Payload payload = to.finish();
  if (!payload.error().empty()) return "error: " + payload.error();
  EXPECT_EQ(payload.kind(), PayloadKind::value);
  EXPECT_TRUE(flexbuffers::VerifyBuffer(reinterpret_cast<const std::uint8_t*>(payload.data().data()), payload.data().size(), nullptr));
  return core::decode_value(payload.data()).value();
}

template <typename T>
tl::expected<T, std::string> taken(PayloadKind kind, std::span<const std::byte> data) {
  Decoding decoding(kind, data);
  T out{};
  const auto read = [](const Decoder& from, void* at) { return Converter<T>::read(from, *static_cast<T*>(at)); };
  if (decoding.run(read, &out)) return out;
  return tl::unexpected(decoding.message("f"));
}

// What a result becomes.
template <typename T>
tl::expected<T, std::string> taken(const Value& result) {
  std::vector<std::uint8_t> bytes;
  EXPECT_TRUE(core::encode_value(result, bytes));
  return taken<T>(PayloadKind::value, std::as_bytes(std::span(bytes)));
}

template <typename T>
std::string refused(const Value& result) {
  const auto read = taken<T>(result);
  return read ? "taken" : read.error();
}

// There and back.
template <typename T>
void expect_both_ways(const T& here, const Value& python) {
  EXPECT_EQ(sent(here), python) << sent(here).to_string();
  const auto back = taken<T>(python);
  ASSERT_TRUE(back) << back.error();
  EXPECT_EQ(*back, here);
}

const Value kOthers[] = {nullptr, true, 3, 2.5, "x", Value::bytes("x", 1), Value::list({1}), Value::dict({{"a", 1}})};

// Every kind but those named is refused, in these words.
template <typename T>
void expect_only(std::initializer_list<Value::Kind> kinds, const std::string& expected) {
  for (const Value& other : kOthers) {
    if (std::find(kinds.begin(), kinds.end(), other.kind()) != kinds.end()) continue;
    const std::string why = refused<T>(other);
    EXPECT_NE(why.find("result of \"f\": "), why.npos) << other.to_string();
    EXPECT_NE(why.find(" where " + expected), why.npos) << other.to_string() << ": " << why;
  }
}

TEST(Convert, bool_is_bool_and_nothing_else) {
  expect_both_ways(true, true);
  expect_both_ways(false, false);
  expect_only<bool>({Value::Kind::boolean}, "a bool is expected");
  EXPECT_EQ(refused<bool>(1), "result of \"f\": the int 1 where a bool is expected");
}

template <typename T>
class Integers : public testing::Test {};
using IntegerTypes = testing::Types<std::int8_t, std::int16_t, std::int32_t, std::int64_t, std::uint8_t, std::uint16_t, std::uint32_t,
                                    std::uint64_t, long long, unsigned long long>;
TYPED_TEST_SUITE(Integers, IntegerTypes);

TYPED_TEST(Integers, are_int_within_their_range) {
  using Limits = std::numeric_limits<TypeParam>;
  for (const TypeParam number : {Limits::min(), Limits::max(), TypeParam{0}, TypeParam{1}}) expect_both_ways(number, Value(number));
  expect_only<TypeParam>({Value::Kind::integer}, "an int is expected");
  if constexpr (sizeof(TypeParam) < 8) {
    const std::string range = "an int within " + std::to_string(Limits::min()) + " .. " + std::to_string(Limits::max());
    const auto above = static_cast<std::int64_t>(Limits::max()) + 1;
    const auto below = static_cast<std::int64_t>(Limits::min()) - 1;
    EXPECT_EQ(refused<TypeParam>(above), "result of \"f\": the int " + std::to_string(above) + " where " + range + " is expected");
    EXPECT_EQ(refused<TypeParam>(below), "result of \"f\": the int " + std::to_string(below) + " where " + range + " is expected");
  }
}

TEST(Convert, ints_of_64_bits_end_where_they_end) {
  EXPECT_EQ(refused<std::int64_t>(UINT64_MAX),
            "result of \"f\": the int 18446744073709551615 where an int within -9223372036854775808 .. 9223372036854775807 is expected");
  EXPECT_EQ(refused<std::uint64_t>(-1), "result of \"f\": the int -1 where an int within 0 .. 18446744073709551615 is expected");
  EXPECT_EQ(refused<std::uint8_t>(UINT64_MAX),
            "result of \"f\": the int 18446744073709551615 where an int within 0 .. 255 is expected");
}

TEST(Convert, float_is_not_an_int_even_if_it_could_be) {
  EXPECT_EQ(refused<int>(2.0), "result of \"f\": the float 2.0 where an int is expected");
}

TEST(Convert, double_takes_floats_and_ints_that_it_holds_exactly) {
  for (const double number : {0.0, -0.0, 1.5, 5e-324, HUGE_VAL, -HUGE_VAL}) expect_both_ways(number, number);
  EXPECT_TRUE(std::isnan(*taken<double>(std::nan(""))));
  EXPECT_TRUE(std::signbit(*taken<double>(-0.0)));
  EXPECT_EQ(taken<double>(3), 3.0);
  EXPECT_EQ(taken<double>(INT64_MIN), -0x1p63);
  EXPECT_EQ(taken<double>(std::int64_t{1} << 53), 0x1p53);
  EXPECT_EQ(taken<double>(std::uint64_t{1} << 63), 0x1p63);
  for (const Value& number : {Value((std::int64_t{1} << 53) + 1), Value(INT64_MAX), Value(UINT64_MAX)}) {
    EXPECT_EQ(refused<double>(number), "result of \"f\": the int " + number.to_string() + " where an int that a double holds exactly is expected");
  }
  expect_only<double>({Value::Kind::number, Value::Kind::integer}, "a float is expected");
}

TEST(Convert, float_rounds_floats_and_takes_ints_that_it_holds_exactly) {
  expect_both_ways(1.5F, 1.5);
  EXPECT_EQ(sent(0.1F), Value(static_cast<double>(0.1F)));
  EXPECT_EQ(taken<float>(0.1), 0.1F);
  EXPECT_EQ(taken<float>(HUGE_VAL), HUGE_VALF);
  EXPECT_TRUE(std::isnan(*taken<float>(std::nan(""))));
  EXPECT_EQ(taken<float>(1 << 24), 0x1p24F);
  EXPECT_EQ(refused<float>((1 << 24) + 1), "result of \"f\": the int 16777217 where an int that a float holds exactly is expected");
  EXPECT_EQ(refused<float>(1e300), "result of \"f\": the float 1e+300 where a number within the range of a C++ float is expected");
  expect_only<float>({Value::Kind::number, Value::Kind::integer}, "a float is expected");
}

TEST(Convert, enum_is_its_number) {
  enum class Side : std::int8_t { buy = 1, sell = -1 };
  enum Plain { kNone, kSome };
  expect_both_ways(Side::sell, -1);
  expect_both_ways(kSome, 1);
  EXPECT_EQ(taken<Side>(7), static_cast<Side>(7));
  EXPECT_EQ(refused<Side>(300), "result of \"f\": the int 300 where an int within -128 .. 127 is expected");
  expect_only<Side>({Value::Kind::integer}, "an int is expected");
}

TEST(Convert, string_is_str) {
  for (const std::string& text : {std::string(), std::string("Самовар \xF0\x9F\xAB\x96"), std::string("a\0b", 3)}) expect_both_ways(text, text);
  EXPECT_EQ(sent(std::string_view("view")), "view");
  EXPECT_EQ(sent(static_cast<const char*>("pointer")), "pointer");
  EXPECT_EQ(sent(std::string("a\xFF")), "error: argument 1: a str that is not UTF-8 (send it as samovar::Bytes)");
  expect_only<std::string>({Value::Kind::str}, "a str is expected");
}

TEST(Convert, bytes_are_bytes) {
  const Bytes some{std::byte{0}, std::byte{255}};
  expect_both_ways(some, some);
  expect_both_ways(Bytes(), Bytes());
  EXPECT_EQ(sent(std::span<const std::byte>(some)), some);
  expect_only<Bytes>({Value::Kind::bytes}, "bytes is expected");
}

TEST(Convert, results_of_kinds_bytes_text_and_none_are_taken_as_they_are) {
  const auto data = std::as_bytes(std::span("ab", 2));
  EXPECT_EQ(taken<std::string>(PayloadKind::text, data), "ab");
  EXPECT_EQ(taken<Bytes>(PayloadKind::bytes, data), Bytes(data.begin(), data.end()));
  EXPECT_EQ(taken<Value>(PayloadKind::none, {}), Value());
  EXPECT_EQ(taken<std::string>(PayloadKind::bytes, data).error(), "result of \"f\": bytes where a str is expected");
  EXPECT_EQ(taken<int>(PayloadKind::none, {}).error(), "result of \"f\": None where an int is expected");
  EXPECT_FALSE(taken<std::string>(PayloadKind::text, std::as_bytes(std::span("\xFF", 1))));
}

TEST(Convert, optional_is_none_or_the_other) {
  expect_both_ways(std::optional<int>(), nullptr);
  expect_both_ways(std::optional<int>(7), 7);
  expect_both_ways(std::optional<std::string>("x"), "x");
  EXPECT_EQ(refused<std::optional<int>>("x"), "result of \"f\": a str where an int is expected");
}

TEST(Convert, vector_is_a_list) {
  expect_both_ways(std::vector<int>{}, Value::list());
  expect_both_ways(std::vector<int>{1, -2, 300}, Value::list({1, -2, 300}));
  expect_both_ways(std::vector<bool>{true, false}, Value::list({true, false}));
  expect_both_ways(std::vector<std::vector<double>>{{1.5}, {}, {2.5, 3.5}},
                   Value::list({Value::list({1.5}), Value::list(), Value::list({2.5, 3.5})}));
  expect_only<std::vector<int>>({Value::Kind::list}, "a list is expected");
  EXPECT_EQ(refused<std::vector<std::vector<int>>>(Value::list({Value::list({1}), Value::list({1, "x"})})),
            "result[1][1] of \"f\": a str where an int is expected");
}

TEST(Convert, array_pair_and_tuple_are_lists_of_their_length) {
  expect_both_ways(std::array<int, 3>{1, 2, 3}, Value::list({1, 2, 3}));
  expect_both_ways(std::array<int, 0>{}, Value::list());
  expect_both_ways(std::pair<std::string, int>("a", 1), Value::list({"a", 1}));
  expect_both_ways(std::tuple<int, std::string, std::optional<double>>(1, "a", std::nullopt), Value::list({1, "a", nullptr}));
  const auto three = Value::list({1, 2, 3});
  EXPECT_EQ((refused<std::array<int, 2>>(three)), "result of \"f\": a list of 3 where a list of 2 is expected");
  EXPECT_EQ((refused<std::pair<int, int>>(three)), "result of \"f\": a list of 3 where a list of 2 is expected");
  EXPECT_EQ((refused<std::tuple<int>>(5)), "result of \"f\": the int 5 where a list of 1 is expected");
  EXPECT_EQ((refused<std::tuple<int, int, bool>>(three)), "result[2] of \"f\": the int 3 where a bool is expected");
}

TEST(Convert, maps_are_dicts) {
  expect_both_ways(std::map<std::string, int>{}, Value::dict());
  expect_both_ways(std::map<std::string, int>{{"a", 1}, {"b", 2}}, Value::dict({{"a", 1}, {"b", 2}}));
  expect_both_ways(std::map<int, std::vector<int>>{{-1, {1}}, {2, {}}}, Value::dict({{-1, Value::list({1})}, {2, Value::list()}}));
  expect_both_ways(std::unordered_map<bool, double>{{true, 0.5}}, Value::dict({{true, 0.5}}));
  using Map = std::map<std::string, std::map<int, bool>>;
  expect_only<Map>({Value::Kind::dict}, "a dict is expected");
  EXPECT_EQ(refused<Map>(Value::dict({{"a", Value::dict({{1, true}})}, {"b", Value::dict({{7, 8}})}})),
            "result[\"b\"][7] of \"f\": the int 8 where a bool is expected");
  EXPECT_EQ(refused<Map>(Value::dict({{3, nullptr}})), "result[key 0] of \"f\": the int 3 where a str is expected");
  EXPECT_EQ((refused<std::map<float, int>>(Value::dict({{0.1, 1}, {static_cast<double>(0.1F), 2}}))),
            "result of \"f\": a dict of 2 where a dict whose keys differ as C++ values is expected");
}

TEST(Convert, value_is_anything) {
  for (const Value& value : kOthers) expect_both_ways(value, value);
  const Value deep = Value::list({Value::dict({{"a", Value::list({1, nullptr})}, {Value::bytes("k", 1), UINT64_MAX}})});
  expect_both_ways(deep, deep);
  EXPECT_EQ(sent(Value::list({1, "\xFF"})), "error: argument 1[1]: a str that is not UTF-8 (send it as bytes)");
}

TEST(Convert, struct_is_a_dict_of_its_fields) {
  expect_both_ways(Quote{1.5, 2.5, "X"}, Value::dict({{"bid", 1.5}, {"ask", 2.5}, {"venue", "X"}}));
  expect_both_ways(Quote{1.5, 2.5, {}}, Value::dict({{"bid", 1.5}, {"ask", 2.5}, {"venue", nullptr}}));
  EXPECT_EQ(taken<Quote>(Value::dict({{"more", 1}, {"ask", 2}, {7, 8}, {"bid", 1}})), (Quote{1, 2, {}})) << "order and more entries";
  EXPECT_EQ(refused<Quote>(Value::dict({{"bid", 1}})), "result of \"f\": a dict without the key \"ask\"");
  EXPECT_EQ(refused<std::vector<Quote>>(Value::list({Value::dict({{"bid", "x"}, {"ask", 2}})})),
            "result[0][\"bid\"] of \"f\": a str where a float is expected");
  expect_only<Quote>({Value::Kind::dict}, "a dict is expected");
  const std::map<std::string, std::vector<Quote>> book{{"EURUSD", {{1, 2, {}}, {1, 2, "\xFF"}}}};
  EXPECT_EQ(sent(book), "error: argument 1[\"EURUSD\"][1][\"venue\"]: a str that is not UTF-8 (send it as samovar::Bytes)");
}

TEST(Convert, converter_of_the_users_own_may_refuse_with_its_own_words) {
  EXPECT_EQ(sent(Even{4}), 4);
  EXPECT_EQ(sent(std::vector<Even>{{2}, {3}, {5}}), "error: argument 1[1]: an odd number");
  EXPECT_EQ(taken<Even>(4)->number, 4);
  EXPECT_EQ(refused<std::vector<Even>>(Value::list({2, 3})), "result[1] of \"f\": the int 3 where an even int is expected");
}

TEST(Convert, depth_ends_where_the_wire_format_ends) {
  Chain fits;
  Value nested = Value::list();
  for (int level = 1; level < ipc::kValueDepthMax; ++level) {
    fits = Chain{{fits}};
    nested = Value::list({nested});
  }
  EXPECT_EQ(sent(fits), nested);
  EXPECT_TRUE(taken<Chain>(nested));
  const std::string error = *sent(Chain{{fits}}).as_str();
  EXPECT_EQ(error.rfind("error: argument 1[0][0]", 0), 0u) << error;
  EXPECT_NE(error.find("nested deeper than 64 levels"), error.npos) << error;
}

TEST(Convert, several_arguments_are_one_vector_and_none_is_nothing) {
  Encoder two(2);
  two.argument(std::string_view("EURUSD"));
  two.argument(std::int64_t{1'000'000});
  const Payload payload = two.finish();
  EXPECT_EQ(payload.kind(), PayloadKind::arguments);
  EXPECT_EQ(payload.data().size(), 25u) << "the worked example of ipc/VALUES.md";
  EXPECT_EQ(core::decode_value(payload.data()), Value::list({"EURUSD", 1'000'000}));
  EXPECT_EQ(Encoder(0).finish().kind(), PayloadKind::none);
}

TEST(Convert, second_argument_that_fails_is_named) {
  Encoder two(2);
  two.argument(1);
  two.argument(std::vector<std::string>{"a", "\xFF"});
  EXPECT_EQ(two.finish().error(), "argument 2[1]: a str that is not UTF-8 (send it as samovar::Bytes)");
}

TEST(Convert, encoder_within_an_encoder_has_its_own_bytes) {
  Encoder outer(2);
  outer.argument(1);
  {
    Encoder inner(1);
    inner.argument(std::string(2000, 'x'));
    EXPECT_EQ(core::decode_value(inner.finish().data()), Value(std::string(2000, 'x')));
  }
  outer.argument(2);
  EXPECT_EQ(core::decode_value(outer.finish().data()), Value::list({1, 2}));
}

// A list of ten times the level below, ten levels: 10^10 values in few bytes. And a list that contains itself.
TEST(Convert, parts_that_are_shared_too_often_end_in_an_error) {
  std::vector<std::uint8_t> bytes{0};  // the innermost: an empty list
  std::size_t below = bytes.size();
  bytes.insert(bytes.begin(), {});
  std::uint8_t packed = static_cast<std::uint8_t>(ipc::ValueType::vector) << 2;
  for (int level = 0; level < 9; ++level) {
    bytes.push_back(10);
    const std::size_t at = bytes.size();
    for (std::size_t i = 0; i < 10; ++i) bytes.push_back(static_cast<std::uint8_t>(at + i - below));
    for (int i = 0; i < 10; ++i) bytes.push_back(packed);
    below = at;
  }
  bytes.insert(bytes.end(), {static_cast<std::uint8_t>(bytes.size() - below), packed, 1});
  const auto chain = taken<Chain>(PayloadKind::value, std::as_bytes(std::span(bytes)));
  ASSERT_FALSE(chain);
  EXPECT_NE(chain.error().find("shared so often"), std::string::npos) << chain.error();

  const std::uint8_t itself[] = {1, 0, static_cast<std::uint8_t>(packed), 2, packed, 1};  // slot 0 begins 0 bytes before itself
  const auto snake = taken<Chain>(PayloadKind::value, std::as_bytes(std::span(itself)));
  ASSERT_FALSE(snake);
  EXPECT_NE(snake.error().find("nested deeper"), std::string::npos) << snake.error();
}

TEST(Convert, any_bytes_are_read_without_harm) {
  std::vector<std::uint8_t> good;
  ASSERT_TRUE(core::encode_value(Value::list({Value::dict({{"bid", 1.5}, {"ask", 2}, {"venue", "X"}}), Value::dict({{"bid", 1}})}), good));
  for (std::size_t at = 0; at < good.size(); ++at) {
    for (int flip = 1; flip < 256; ++flip) {
      std::vector<std::uint8_t> bad = good;
      bad[at] = static_cast<std::uint8_t>(bad[at] ^ flip);
      const auto data = std::as_bytes(std::span(bad));
      (void)taken<std::vector<Quote>>(PayloadKind::value, data);
      (void)taken<Value>(PayloadKind::value, data);
      (void)taken<std::vector<std::map<std::string, Value>>>(PayloadKind::value, data);
    }
  }
  for (std::size_t size = 0; size < good.size(); ++size) {
    const std::vector<std::uint8_t> cut(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(size));
    (void)taken<Value>(PayloadKind::value, std::as_bytes(std::span(cut)));
  }
}

}  // namespace
}  // namespace samovar
