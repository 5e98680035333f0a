// The worker's decoder of values: any bytes are refused with a ValueError, or become an object that goes there and back.
// Host and worker refuse the same bytes, and encode what they decoded alike.
#include "tests/fuzz/python.h"

#include <span>
#include <vector>

#include "core/values/value_codec.h"
#include "python_ext/native/ref.h"
#include "python_ext/native/values.h"
#include "tests/fuzz/value_seeds.h"

namespace samovar::fuzz {

std::vector<Input> seeds() { return value_seeds(); }

}  // namespace samovar::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace samovar;
  using fuzz::expect;
  fuzz::start_python();
  const auto bytes = std::as_bytes(std::span(data, size));
  const auto object = python::Ref::steal(python::decode_value(bytes));
  const auto value = core::decode_value(bytes);
  expect(static_cast<bool>(object) == value.has_value(), "host and worker take the same bytes");
  if (!object) {
    expect(fuzz::take_error({PyExc_ValueError}), "a refusal is a ValueError");
    return 0;
  }
  expect(PyErr_Occurred() == nullptr, "no exception is left behind");

  python::ValueEncoder encoder;
  expect(encoder.encode(object.get()), "what was decoded can be encoded");
  std::vector<std::uint8_t> of_host;
  expect(core::encode_value(*value, of_host).has_value(), "by the host, too");
  expect(fuzz::input_of(encoder.bytes()) == of_host, "host and worker have one encoding");
  const auto again = python::Ref::steal(python::decode_value(encoder.bytes()));
  expect(static_cast<bool>(again), "what was encoded can be decoded");
  return 0;
}
