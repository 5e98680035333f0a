#include "tests/fuzz/value_seeds.h"

#include <flatbuffers/flexbuffers.h>

#include <cstdint>
#include <limits>
#include <string>

#include "core/values/value_codec.h"

namespace samovar::fuzz {
namespace {

Value nested(int levels) {
  Value value = 7;
  while (levels-- > 0) value = Value::list({value});
  return value;
}

std::vector<Value> values() {
  return {
      nullptr,
      true,
      -1,
      std::numeric_limits<std::int64_t>::min(),
      std::numeric_limits<std::uint64_t>::max(),
      1.5,
      std::numeric_limits<double>::quiet_NaN(),
      "",
      "EURUSD \xc3\xa9 \xe2\x82\xac \xf0\x9f\xab\x96",
      Value::bytes("\0\xff", 2),
      Value::list(),
      Value::list({1, 300, 70'000, 5'000'000'000, "a", nullptr, 2.5}),
      Value::dict(),
      Value::dict({{"bid", 1.0842}, {"ask", 1.0845}, {"ok", true}}),
      Value::dict({{nullptr, 0}, {false, 1}, {2, 2}, {2.5, 3}, {"k", 4}, {Value::bytes("v", 1), Value::dict({{"k", "v"}})}}),
      std::string(300, 'x'),
      nested(64)};
}

template <typename Build>
Input stock(Build build, flexbuffers::BuilderFlag flags = flexbuffers::BUILDER_FLAG_SHARE_ALL) {
  flexbuffers::Builder builder(256, flags);
  build(builder);
  builder.Finish();
  return builder.GetBuffer();
}

void typed_vectors(flexbuffers::Builder& b) {
  const std::int32_t ints[] = {1, -2, 300, 70'000};
  const double doubles[] = {1.5, 2.5, 3.5};
  const std::uint8_t bytes[] = {1, 2, 3};
  b.Vector([&] {
    b.Vector(ints, 4);
    b.FixedTypedVector(ints, 3);
    b.FixedTypedVector(doubles, 2);
    b.Vector(bytes, 3);
    b.TypedVector([&] {
      b.Key("x");
      b.Key("yy");
    });
    b.TypedVector([&] {
      b.Bool(true);
      b.Bool(false);
    });
  });
}

void shared_parts(flexbuffers::Builder& b) {
  b.Vector([&] {
    for (int i = 0; i < 3; ++i) {
      b.String("the same string");
      b.Key("the same key");
    }
    b.IndirectInt(-70'000);
    b.IndirectUInt(1ULL << 63U);
    b.IndirectFloat(2.5F);
    b.Float(1.5F);
  });
}

void dict_with_typed_parts(flexbuffers::Builder& b) {
  b.Map([&] {
    b.Key("k");
    b.TypedVector([&] {
      b.Key("x");
      b.Key("y");
    });
    b.Key("v");
    b.TypedVector([&] {
      b.Int(1);
      b.Int(70'000);
    });
  });
}

void map_of_another_kind(flexbuffers::Builder& b) {
  b.Map([&] { b.Int("foreign", 1); });
}

// Lists whose slots all point at the list below: a few bytes that would be 4^12 values.
Input shared_beyond_the_budget() {
  constexpr std::uint8_t kVectorOfOneByteSlots = 10U << 2U;
  Input bytes = {1, 7, 1U << 2U};  // [7]: its length, its slot, the slot's type
  std::size_t below = 1;
  for (int level = 0; level < 12; ++level) {
    bytes.push_back(4);
    const std::size_t at = bytes.size();
    for (std::size_t slot = 0; slot < 4; ++slot) bytes.push_back(static_cast<std::uint8_t>(at + slot - below));
    for (std::size_t slot = 0; slot < 4; ++slot) bytes.push_back(kVectorOfOneByteSlots);
    below = at;
  }
  bytes.push_back(static_cast<std::uint8_t>(bytes.size() - below));
  bytes.push_back(kVectorOfOneByteSlots);
  bytes.push_back(1);
  return bytes;
}

}  // namespace

std::vector<Input> value_seeds() {
  std::vector<Input> inputs;
  for (const Value& value : values()) {
    Input bytes;
    if (core::encode_value(value, bytes)) inputs.push_back(std::move(bytes));
  }
  inputs.push_back(stock(typed_vectors));
  inputs.push_back(stock(shared_parts));
  inputs.push_back(stock(shared_parts, flexbuffers::BUILDER_FLAG_NONE));
  inputs.push_back(stock(dict_with_typed_parts));
  inputs.push_back(stock(map_of_another_kind));
  inputs.push_back(shared_beyond_the_budget());
  return inputs;
}

}  // namespace samovar::fuzz
