// A fuzz target: one file NAME_fuzz.cc that defines what stands here. libFuzzer calls it (`make fuzz`), and so does
// driver.cc (the default tests). It must not keep state from one input to the next, and ends in found() or a sanitizer's
// report.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <vector>

// Returns 0. `data` is exactly `size` bytes on the heap: what is read beside them is noticed by AddressSanitizer.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace samovar::fuzz {

using Input = std::vector<std::uint8_t>;

// Well-formed inputs to begin with, made by the code of today, so that they follow the format. What was found stands in
// corpus/NAME/*.hex beside them.
std::vector<Input> seeds();

// Ends the process: an input has shown a bug. `what` is the property that does not hold.
[[noreturn]] inline void found(const char* what) {
  std::fprintf(stderr, "fuzz: found: %s\n", what);
  std::abort();
}

inline void expect(bool holds, const char* what) {
  if (!holds) found(what);
}

inline Input input_of(std::span<const std::byte> bytes) {
  const auto* first = reinterpret_cast<const std::uint8_t*>(bytes.data());
  return {first, first + bytes.size()};
}

}  // namespace samovar::fuzz
