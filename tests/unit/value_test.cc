// Value, and its bytes: what the host writes and what it makes of anything at all. tests/python/test_values.py looks at the
// other room with the same table of bytes.
#define FLATBUFFERS_LOCALE_INDEPENDENT 0
#include <flatbuffers/flexbuffers.h>
#include <gtest/gtest.h>
#include <samovar/value.h>

#include <bit>
#include <cmath>
#include <cstdio>
#include <functional>
#include <limits>
#include <ostream>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "core/values/value_codec.h"
#include "ipc/value_format.h"

namespace samovar {

// What GoogleTest prints.
void PrintTo(const Value& value, std::ostream* out) { *out << value.to_string(); }

namespace {

using Raw = std::vector<std::uint8_t>;

constexpr std::int64_t kInt64Min = std::numeric_limits<std::int64_t>::min();
constexpr std::int64_t kInt64Max = std::numeric_limits<std::int64_t>::max();
constexpr std::uint64_t kUint64Max = std::numeric_limits<std::uint64_t>::max();

tl::expected<Value, std::string> decode(const Raw& raw) {
  // A heap block of exactly this size, so that AddressSanitizer sees a read outside it.
  const Raw exact(raw);
  return core::decode_value(std::as_bytes(std::span(exact)));
}

Raw encode(const Value& value) {
  Raw raw;
  const auto done = core::encode_value(value, raw);
  EXPECT_TRUE(done) << done.error();
  return raw;
}

std::string encode_error(const Value& value) {
  Raw raw;
  const auto done = core::encode_value(value, raw);
  EXPECT_TRUE(raw.empty() || done);
  return done ? "" : done.error();
}

std::string decode_error(const Raw& raw) {
  const auto value = decode(raw);
  return value ? "decoded: " + value->to_string() : value.error();
}

std::string hex(const Raw& raw) {
  std::string text;
  char two[4];
  for (const std::uint8_t byte : raw) {
    std::snprintf(two, sizeof(two), "%02x ", byte);
    text += two;
  }
  if (!text.empty()) text.pop_back();
  return text;
}

bool stock_verifies(const Raw& raw, bool with_tracker) {
  std::vector<std::uint8_t> tracker;
  return flexbuffers::VerifyBuffer(raw.data(), raw.size(), with_tracker ? &tracker : nullptr);
}

Value nested_lists(int levels, Value innermost) {
  for (int i = 0; i < levels; ++i) {
    Value::List outer;
    outer.push_back(std::move(innermost));
    innermost = std::move(outer);
  }
  return innermost;
}

Value nested_dicts(int dicts, Value innermost) {
  for (int i = 0; i < dicts; ++i) {
    Value::Dict outer;
    outer.emplace_back(1, std::move(innermost));
    innermost = std::move(outer);
  }
  return innermost;
}

struct Golden {
  Value value;
  const char* bytes;
};

// tests/python/test_values.py has the same bytes.
std::vector<Golden> golden() {
  return {
      {nullptr, "00 00 01"},
      {true, "01 68 01"},
      {false, "00 68 01"},
      {7, "07 04 01"},
      {-1, "ff 04 01"},
      {300, "2c 01 05 02"},
      {kInt64Min, "00 00 00 00 00 00 00 80 07 08"},
      {kUint64Max, "ff ff ff ff ff ff ff ff 0b 08"},
      {1.5, "00 00 00 00 00 00 f8 3f 0f 08"},
      {-0.0, "00 00 00 00 00 00 00 80 0f 08"},
      {"a", "01 61 00 02 14 01"},
      {std::string("\xc3\xa9\0x", 4), "04 c3 a9 00 78 00 05 14 01"},
      {Value::bytes("ab", 2), "02 61 62 02 64 01"},
      {Value::list(), "00 00 28 01"},
      {Value::dict(), "00 00 6b 00 76 00 02 05 04 02 01 02 0b 0b 28 28 04 24 01"},
      {Value::list({"EURUSD", 1'000'000}),
       "06 45 55 52 55 53 44 00 02 00 00 00 0b 00 00 00 40 42 0f 00 14 06 0a 2a 01"},
      {Value::dict({{"a", 1}, {3, Value::list({nullptr, Value::dict({{"x", Value::bytes("", 0)}})})}}),
       "01 61 00 02 03 03 14 04 01 78 00 01 03 14 00 01 01 64 6b 00 76 00 02 05 04 02 01 02 10 0d 28 28 02 00 06 00 24 "
       "02 01 06 04 28 6b 00 76 00 02 05 04 02 01 02 30 0f 28 28 04 24 01"},
  };
}

TEST(ValueTest, each_kind_is_told_apart) {
  EXPECT_TRUE(Value().is_none());
  EXPECT_TRUE(Value(nullptr).is_none());
  EXPECT_TRUE(Value(true).is_bool());
  EXPECT_TRUE(Value(std::uint8_t{3}).is_int());
  EXPECT_TRUE(Value(1.0F).is_double());
  EXPECT_TRUE(Value("text").is_str());
  EXPECT_TRUE(Value(std::string_view("text")).is_str());
  EXPECT_TRUE(Value(Bytes(3)).is_bytes());
  EXPECT_TRUE(Value::list({1, "a", nullptr}).is_list());
  EXPECT_TRUE(Value::dict({{"a", 1}, {2, "b"}}).is_dict());
  static_assert(!std::is_convertible_v<void*, Value> && !std::is_convertible_v<char, Value>);
}

TEST(ValueTest, an_accessor_of_another_kind_gives_nothing) {
  EXPECT_EQ(Value(1).as_bool(), std::nullopt);
  EXPECT_EQ(Value(true).as_int(), std::nullopt);
  EXPECT_EQ(Value(1).as_double(), std::nullopt);
  EXPECT_EQ(Value(1).as_number(), 1.0);
  EXPECT_EQ(Value("a").as_bytes(), nullptr);
  EXPECT_EQ(Value("a").find("a"), nullptr);
  EXPECT_EQ(*Value("a").as_str(), "a");
}

TEST(ValueTest, an_int_keeps_its_value_across_signedness) {
  EXPECT_EQ(Value(kUint64Max).as_uint(), kUint64Max);
  EXPECT_EQ(Value(kUint64Max).as_int(), std::nullopt);
  EXPECT_EQ(Value(std::uint64_t{5}), Value(5));
  EXPECT_EQ(Value(5).as_uint(), 5U);
  EXPECT_EQ(Value(-5).as_uint(), std::nullopt);
  EXPECT_EQ(Value(kInt64Min).as_int(), kInt64Min);
}

TEST(ValueTest, equality_is_strict) {
  EXPECT_NE(Value(1), Value(1.0));
  EXPECT_NE(Value(1), Value(true));
  EXPECT_NE(Value(NAN), Value(NAN));
  EXPECT_NE(Value::dict({{"a", 1}, {"b", 2}}), Value::dict({{"b", 2}, {"a", 1}}));
  EXPECT_EQ(Value::list({1, Value::list({"x"})}), Value::list({1, Value::list({"x"})}));
}

TEST(ValueTest, find_looks_a_str_key_up) {
  const Value value = Value::dict({{1, "one"}, {"a", 1}, {std::string("a\0b", 3), 2}});
  EXPECT_EQ(*value.find("a"), Value(1));
  EXPECT_EQ(*value.find(std::string_view("a\0b", 3)), Value(2));
  EXPECT_EQ(value.find("b"), nullptr);
}

TEST(ValueTest, to_string_is_a_python_literal) {
  const Value value = Value::dict({{"a", Value::list({nullptr, true, -3, kUint64Max, 1.0, 0.1, 1e300})},
                                   {"it's", Value::bytes("\x00'\xff", 3)},
                                   {3, Value::list()},
                                   {nullptr, Value::dict()}});
  EXPECT_EQ(value.to_string(),
            "{'a': [None, True, -3, 18446744073709551615, 1.0, 0.1, 1e+300], \"it's\": b\"\\x00'\\xff\", 3: [], None: {}}");
  EXPECT_EQ(Value("\xc3\xa9\n\x01").to_string(), "'\xc3\xa9\\n\\x01'");
  EXPECT_EQ(Value("\xff").to_string(), "'\\xff'");
  EXPECT_EQ(Value(-INFINITY).to_string(), "-inf");
}

TEST(ValueCodecTest, bytes_are_the_golden_ones_and_come_back) {
  for (const auto& [value, bytes] : golden()) {
    const Raw raw = encode(value);
    EXPECT_EQ(hex(raw), bytes) << value.to_string();
    const auto back = decode(raw);
    ASSERT_TRUE(back) << back.error();
    EXPECT_EQ(*back, value) << back->to_string();
    EXPECT_TRUE(stock_verifies(raw, false) && stock_verifies(raw, true)) << value.to_string();
  }
}

TEST(ValueCodecTest, the_numbers_are_those_of_flexbuffers) {
  using ipc::ValueType;
  EXPECT_EQ(static_cast<int>(ValueType::uint), flexbuffers::FBT_UINT);
  EXPECT_EQ(static_cast<int>(ValueType::key), flexbuffers::FBT_KEY);
  EXPECT_EQ(static_cast<int>(ValueType::indirect_float), flexbuffers::FBT_INDIRECT_FLOAT);
  EXPECT_EQ(static_cast<int>(ValueType::map), flexbuffers::FBT_MAP);
  EXPECT_EQ(static_cast<int>(ValueType::vector_key), flexbuffers::FBT_VECTOR_KEY);
  EXPECT_EQ(static_cast<int>(ValueType::vector_int2), flexbuffers::FBT_VECTOR_INT2);
  EXPECT_EQ(static_cast<int>(ValueType::vector_float4), flexbuffers::FBT_VECTOR_FLOAT4);
  EXPECT_EQ(static_cast<int>(ValueType::blob), flexbuffers::FBT_BLOB);
  EXPECT_EQ(static_cast<int>(ValueType::bool_), flexbuffers::FBT_BOOL);
  EXPECT_EQ(static_cast<int>(ValueType::vector_bool), flexbuffers::FBT_VECTOR_BOOL);
}

TEST(ValueCodecTest, a_stock_reader_understands_what_we_write) {
  const Raw raw = encode(Value::list({"EURUSD", -3, kUint64Max, 0.25, Value::bytes("\0x", 2), Value::dict({{"a\0", 1}})}));
  const auto list = flexbuffers::GetRoot(raw).AsVector();
  ASSERT_EQ(list.size(), 6U);
  EXPECT_EQ(list[0].AsString().str(), "EURUSD");
  EXPECT_EQ(list[1].AsInt64(), -3);
  EXPECT_EQ(list[2].AsUInt64(), kUint64Max);
  EXPECT_EQ(list[3].AsDouble(), 0.25);
  EXPECT_EQ(list[4].AsBlob().size(), 2U);
  const auto map = list[5].AsMap();
  EXPECT_EQ(map["k"].AsVector()[0].AsString().str(), "a");
  EXPECT_EQ(map["v"].AsVector()[0].AsInt64(), 1);
}

TEST(ValueCodecTest, floats_keep_their_bits) {
  for (const std::uint64_t bits : {0x7ff0000000000000ULL, 0xfff8000000000123ULL, 0x7ff0000000000001ULL,
                                   0x8000000000000000ULL, 0x0000000000000001ULL, 0x3ff8000000000000ULL}) {
    const auto back = decode(encode(Value::list({1, std::bit_cast<double>(bits)})));
    ASSERT_TRUE(back) << back.error();
    EXPECT_EQ(std::bit_cast<std::uint64_t>(*(*back->as_list())[1].as_double()), bits);
  }
}

TEST(ValueCodecTest, wide_offsets_come_back) {
  for (const std::size_t size : {254U, 255U, 256U, 65'534U, 65'536U, 70'000U}) {
    const std::string text(size, 'x');
    Value::List many(size, Value(7));
    const Value value = Value::list({text, 1, text, Value::dict({{"a", text}, {text, many}}), Value(many)});
    const Raw raw = encode(value);
    EXPECT_EQ(decode(raw), value);
    EXPECT_TRUE(stock_verifies(raw, false) && stock_verifies(raw, true));
  }
}

TEST(ValueCodecTest, depth_is_refused_exactly_where_the_reader_and_the_stock_verifier_refuse_it) {
  const auto fits = [](const Value& value) {
    const Raw raw = encode(value);
    return decode(raw) == value && stock_verifies(raw, false) && stock_verifies(raw, true);
  };
  EXPECT_TRUE(fits(nested_lists(64, 1)));
  EXPECT_TRUE(fits(nested_lists(63, "a")));
  EXPECT_TRUE(fits(nested_lists(63, Value::list())));
  EXPECT_TRUE(fits(nested_dicts(32, 1)));
  EXPECT_TRUE(fits(nested_dicts(31, Value::list({"a"}))));
  EXPECT_NE(encode_error(nested_lists(64, "a")).find("]: nested deeper than 64 levels"), std::string::npos);
  EXPECT_NE(encode_error(nested_lists(65, 1)), "");
  EXPECT_NE(encode_error(nested_lists(63, Value::dict())), "");
  EXPECT_NE(encode_error(nested_dicts(33, 1)), "");
  EXPECT_NE(encode_error(nested_dicts(32, "a")), "");
  // By hand, as the encoder does not write it: each list is one slot that points at the list before.
  for (const int levels : {64, 65}) {
    Raw raw{0};
    std::size_t inner_at = 1;
    for (int i = 1; i < levels; ++i) {
      raw.push_back(1);
      const std::size_t slot_at = raw.size();
      raw.push_back(static_cast<std::uint8_t>(slot_at - inner_at));
      raw.push_back(0x28);
      inner_at = slot_at;
    }
    raw.push_back(static_cast<std::uint8_t>(raw.size() - inner_at));
    raw.insert(raw.end(), {0x28, 1});
    EXPECT_EQ(decode(raw).has_value(), levels == 64) << levels;
    EXPECT_EQ(stock_verifies(raw, false), levels == 64) << levels;
  }
}

TEST(ValueCodecTest, an_error_names_the_path) {
  EXPECT_EQ(encode_error(Value::dict({{"a", Value::list({1, 2, 3, "\xff"})}})),
            "value[\"a\"][3]: a str that is not UTF-8 (send it as bytes)");
  EXPECT_EQ(encode_error(Value::list({Value::dict({{Value::list(), 1}})})),
            "value[0][<list>]: a list or dict is not supported as a key");
  EXPECT_EQ(encode_error(Value::dict({{1, 1}, {"x", 2}, {true, 3}})), "value[True]: two keys are equal");
  EXPECT_EQ(encode_error(Value::dict({{3, Value::dict({{"\xed\xa0\x80", 1}})}})),
            "value[3][\"\\xed\\xa0\\x80\"]: a str that is not UTF-8 (send it as bytes)");
}

TEST(ValueCodecTest, keys_equal_in_python_are_refused_by_both_sides) {
  const std::vector<std::pair<Value, Value>> equal = {
      {1, 1.0},   {1, true}, {0.0, -0.0}, {false, 0}, {"a", "a"}, {Value::bytes("a", 1), Value::bytes("a", 1)},
      {nullptr, nullptr}, {std::uint64_t{1} << 63U, 9223372036854775808.0}};
  const std::vector<std::pair<Value, Value>> different = {
      {1, "1"}, {"a", Value::bytes("a", 1)}, {NAN, NAN}, {kInt64Max, 9223372036854775808.0},
      {9007199254740993, 9007199254740992.0}, {nullptr, 0}, {nullptr, false}, {"a", std::string("a\0", 2)}};
  // Two keys, and two among many: the check has a way for each.
  const auto refused = [](const Value& left, const Value& right, std::size_t others) {
    Value::Dict dict;
    dict.emplace_back(left, 1);
    for (std::size_t i = 0; i < others; ++i) dict.emplace_back("other" + std::to_string(i), i);
    dict.emplace_back(right, 2);
    return encode_error(dict).ends_with("two keys are equal");
  };
  for (const std::size_t others : {0U, 20U}) {
    for (const auto& [left, right] : equal) EXPECT_TRUE(refused(left, right, others)) << left.to_string();
    for (const auto& [left, right] : different) EXPECT_FALSE(refused(left, right, others)) << left.to_string();
  }
}

// {k: keys, v: values}, as our encoder would not write it.
Raw foreign_dict(const std::function<void(flexbuffers::Builder&)>& keys,
                 const std::function<void(flexbuffers::Builder&)>& values) {
  flexbuffers::Builder builder;
  builder.Map([&] {
    builder.Key("k");
    keys(builder);
    builder.Key("v");
    values(builder);
  });
  builder.Finish();
  return builder.GetBuffer();
}

void ints(flexbuffers::Builder& builder, std::initializer_list<int> numbers) {
  builder.Vector([&] {
    for (const int number : numbers) builder.Int(number);
  });
}

TEST(ValueCodecTest, a_foreign_encoder_may_use_what_is_natural) {
  flexbuffers::Builder builder(512, flexbuffers::BUILDER_FLAG_SHARE_ALL);
  const std::int32_t numbers[] = {1, -2, 3};
  const double floats[] = {0.5, 1.5};
  builder.Vector([&] {
    builder.Vector(numbers, 3);
    builder.FixedTypedVector(floats, 2);
    builder.TypedVector([&] {
      builder.Key("x");
      builder.Key("y");
    });
    builder.TypedVector([&] {
      builder.Bool(true);
      builder.Bool(false);
    });
    builder.IndirectInt(-5);
    builder.IndirectUInt(kUint64Max);
    builder.IndirectDouble(0.1);  // not 0.25: 2.0.8 writes half of a double that a float could hold
    builder.Float(0.25F);
    builder.Key("key");
    for (int i = 0; i < 100; ++i) builder.String("shared");
  });
  builder.Finish();
  const auto value = decode(builder.GetBuffer());
  ASSERT_TRUE(value) << value.error();
  Value::List want = {Value::list({1, -2, 3}), Value::list({0.5, 1.5}), Value::list({"x", "y"}),
                      Value::list({true, false}), -5, kUint64Max, 0.1, 0.25, "key"};
  want.resize(want.size() + 100, Value("shared"));
  EXPECT_EQ(*value, Value(want));

  const auto typed = decode(foreign_dict([](auto& b) { b.TypedVector([&] { b.Key("x"); b.Key("y"); }); },
                                         [](auto& b) { b.TypedVector([&] { b.Int(1); b.Int(2); }); }));
  EXPECT_EQ(typed, Value::dict({{"x", 1}, {"y", 2}}));
}

TEST(ValueCodecTest, what_is_no_value_of_ours_is_refused) {
  flexbuffers::Builder ordinary;
  ordinary.Map([&] { ordinary.Int("a", 1); });
  ordinary.Finish();
  EXPECT_NE(decode_error(ordinary.GetBuffer()).find("keys are not k and v"), std::string::npos);

  const auto one = [](auto& b) { ints(b, {1}); };
  EXPECT_NE(decode_error(foreign_dict([](auto& b) { ints(b, {1, 2}); }, one)).find("more keys"), std::string::npos);
  EXPECT_NE(decode_error(foreign_dict([](auto& b) { ints(b, {1, 1}); }, [](auto& b) { ints(b, {1, 2}); })).find("equal"),
            std::string::npos);
  EXPECT_NE(decode_error(foreign_dict([](auto& b) { b.Vector([&] { b.Vector([] {}); }); }, one)).find("no key"),
            std::string::npos);
  EXPECT_NE(decode_error(foreign_dict([](auto& b) { b.Int(1); }, one)).find("not a vector"), std::string::npos);

  // FlexBuffers 2.0.8 cannot say how long its strings are (FBT_VECTOR_STRING_DEPRECATED).
  const Raw strings{1, 'a', 0, 1, 3, 1, 15U << 2U, 1};
  EXPECT_NE(decode_error(strings).find("type is not supported"), std::string::npos);
  const Raw half{0, 60, flexbuffers::PackedType(flexbuffers::BIT_WIDTH_16, flexbuffers::FBT_FLOAT), 2};
  EXPECT_NE(decode_error(half).find("less than four bytes"), std::string::npos);
  EXPECT_NE(decode_error({3, 'a', 0xff, 'b', 0, 4, 0x14, 1}).find("not UTF-8"), std::string::npos);
  EXPECT_NE(decode_error({}), "");
  EXPECT_NE(decode_error({0, 1}), "");
}

// Verifier 2.0.8, as its readers are told to call it, lets the first two through and refuses the third. If one of these
// expectations about it fails after an upgrade, ipc/VALUES.md has a sentence to lose; our own reader does not change.
TEST(ValueCodecTest, buffers_that_the_stock_verifier_judges_wrongly) {
  // A list whose only item is itself: with a reuse tracker, "seen already" counts as verified.
  const Raw cyclic{1, 0, 0x28, 2, 0x28, 1};
  EXPECT_TRUE(stock_verifies(cyclic, true));
  EXPECT_FALSE(stock_verifies(cyclic, false));
  EXPECT_NE(decode_error(cyclic).find("nested deeper than 64 levels"), std::string::npos);

  // A key without an end: it stops at the first byte that is not NUL, where it should at the first that is.
  const Raw endless{'a', 'b', 2, 0x10, 1};
  EXPECT_TRUE(stock_verifies(endless, false) && stock_verifies(endless, true));
  EXPECT_NE(decode_error(endless).find("a key does not end"), std::string::npos);

  // Sixty-five strings that are one: each use of a known vector leaves the depth one higher.
  flexbuffers::Builder builder(512, flexbuffers::BUILDER_FLAG_SHARE_ALL);
  builder.Vector([&] {
    for (int i = 0; i < 65; ++i) builder.String("one");
  });
  builder.Finish();
  EXPECT_TRUE(stock_verifies(builder.GetBuffer(), false));
  EXPECT_FALSE(stock_verifies(builder.GetBuffer(), true));
  EXPECT_TRUE(decode(builder.GetBuffer()));
}

TEST(ValueCodecTest, sharing_cannot_multiply) {
  // Eight levels, each a list of 100 times the one below: 10^16 values in 1.6 KB.
  Raw raw{0};
  std::size_t inner_at = 1;
  for (int level = 0; level < 8; ++level) {
    if (raw.size() % 2 != 0) raw.push_back(0);
    raw.insert(raw.end(), {100, 0});
    const std::size_t first = raw.size();
    for (int i = 0; i < 100; ++i) {
      const std::size_t back = raw.size() - inner_at;
      raw.insert(raw.end(), {static_cast<std::uint8_t>(back & 0xffU), static_cast<std::uint8_t>(back >> 8U)});
    }
    raw.insert(raw.end(), 100, static_cast<std::uint8_t>(level == 0 ? 0x28 : 0x29));
    inner_at = first;
  }
  const std::size_t back = raw.size() - inner_at;
  raw.insert(raw.end(), {static_cast<std::uint8_t>(back & 0xffU), static_cast<std::uint8_t>(back >> 8U), 0x29, 2});
  EXPECT_NE(decode_error(raw).find("shared so often"), std::string::npos);
}

class RandomValues {
 public:
  explicit RandomValues(unsigned seed) : random_(seed) {}

  std::uint64_t below(std::uint64_t end) { return random_() % end; }

  Value key() {
    switch (below(6)) {
      case 0: return nullptr;
      case 1: return below(2) == 0;
      case 2: return static_cast<std::int64_t>(random_() >> below(64));
      case 3: return static_cast<double>(random_()) / 7;
      case 4: return bytes();
      default: return text();
    }
  }
  Value value(int levels) {
    if (levels == 0 || below(3) == 0) return below(8) == 0 ? Value(random_()) : key();
    if (below(2) == 0) {
      Value::List items;
      for (std::uint64_t n = below(6); n > 0; --n) items.push_back(value(levels - 1));
      return items;
    }
    Value::Dict entries;
    for (std::uint64_t n = below(5); n > 0; --n) entries.emplace_back(key(), value(levels - 1));
    return entries;
  }

 private:
  std::string text() {
    static const char* const kParts[] = {"a", "key", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x90\x8d", " "};
    std::string result;
    for (std::uint64_t n = below(below(20) == 0 ? 300 : 8); n > 0; --n) result += kParts[below(6)];
    if (below(5) == 0) result += '\0';
    return result;
  }
  Value bytes() {
    std::string result;
    for (std::uint64_t n = below(12); n > 0; --n) result += static_cast<char>(random_());
    return Value::bytes(result.data(), result.size());
  }

  std::mt19937_64 random_;
};

TEST(ValueCodecTest, random_values_come_back) {
  RandomValues random(1);
  int round_trips = 0;
  for (int i = 0; i < 3000; ++i) {
    const Value value = random.value(6);
    Raw raw;
    const auto done = core::encode_value(value, raw);
    if (!done) {
      ASSERT_NE(done.error().find("two keys are equal"), std::string::npos) << done.error();
      continue;
    }
    ++round_trips;
    const auto back = decode(raw);
    ASSERT_TRUE(back) << back.error() << " " << value.to_string();
    ASSERT_EQ(*back, value) << value.to_string();
    ASSERT_TRUE(stock_verifies(raw, false) && stock_verifies(raw, true)) << value.to_string();
  }
  EXPECT_GT(round_trips, 1000);
}

TEST(ValueCodecTest, every_truncation_is_read_within_its_bytes) {
  for (const auto& [value, bytes] : golden()) {
    const Raw raw = encode(value);
    for (std::size_t size = 0; size < raw.size(); ++size) static_cast<void>(decode(Raw(raw.begin(), raw.begin() + size)));
  }
}

// Under AddressSanitizer this is the proof; tests/fuzz has the long run.
TEST(ValueCodecTest, mutated_bytes_never_crash_and_what_decodes_encodes_again) {
  RandomValues random(2);
  int decoded = 0;
  for (int i = 0; i < 40'000; ++i) {
    Raw raw;
    if (!core::encode_value(random.value(4), raw)) continue;
    for (std::uint64_t n = 1 + random.below(4); n > 0; --n) {
      raw[random.below(raw.size())] = static_cast<std::uint8_t>(random.below(256));
    }
    const auto value = decode(raw);
    if (!value) continue;
    ++decoded;
    Raw again;
    const auto done = core::encode_value(*value, again);
    ASSERT_TRUE(done) << done.error() << " " << value->to_string();
  }
  EXPECT_GT(decoded, 1000);
}

}  // namespace
}  // namespace samovar
