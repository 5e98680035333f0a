// The host's decoder of values: any bytes are refused with a message, or become a Value that goes there and back unchanged.
#include <flatbuffers/flexbuffers.h>

#include <span>
#include <vector>

#include "core/values/value_codec.h"
#include "tests/fuzz/target.h"
#include "tests/fuzz/value_seeds.h"

namespace samovar::fuzz {

std::vector<Input> seeds() { return value_seeds(); }

}  // namespace samovar::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace samovar;
  using fuzz::expect;
  const auto value = core::decode_value(std::as_bytes(std::span(data, size)));
  if (!value) {
    expect(!value.error().empty(), "a refusal says why");
    return 0;
  }
  std::vector<std::uint8_t> encoded;
  const auto written = core::encode_value(*value, encoded);
  expect(written.has_value(), "what was decoded can be encoded");
  const auto again = core::decode_value(std::as_bytes(std::span(encoded)));
  expect(again.has_value(), "what was encoded can be decoded");
  expect(again->to_string() == value->to_string(), "it reads as the same value");
  expect((*again == *value) == (*value == *value), "it is equal, unless it holds a NaN");
  std::vector<std::uint8_t> twice;
  expect(core::encode_value(*again, twice).has_value() && twice == encoded, "one value has one encoding");
  expect(flexbuffers::VerifyBuffer(encoded.data(), encoded.size()), "the stock verifier takes it");
  return 0;
}
