// The UTF-8 of the code points of a str. What CPython makes it by keeps it in the str for as long as that lives.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <cstdint>

namespace samovar::python {

// The UTF-8 of `size` code points at `from`: its length, or -1 if there is a surrogate.
template <class CodePoint>
Py_ssize_t utf8_size(const CodePoint* from, Py_ssize_t size) {
  Py_ssize_t bytes = 0;
  for (Py_ssize_t i = 0; i < size; ++i) {
    const std::uint32_t c = from[i];
    if (c >= 0xd800 && c <= 0xdfff) return -1;
    bytes += c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
  }
  return bytes;
}

template <class CodePoint>
void write_utf8(std::uint8_t* to, const CodePoint* from, Py_ssize_t size) {
  const auto byte = [&to](std::uint32_t value) { *to++ = static_cast<std::uint8_t>(value); };
  for (Py_ssize_t i = 0; i < size; ++i) {
    const std::uint32_t c = from[i];
    if (c < 0x80) {
      byte(c);
    } else if (c < 0x800) {
      byte(0xc0U | c >> 6U);
      byte(0x80U | (c & 0x3fU));
    } else if (c < 0x10000) {
      byte(0xe0U | c >> 12U);
      byte(0x80U | (c >> 6U & 0x3fU));
      byte(0x80U | (c & 0x3fU));
    } else {
      byte(0xf0U | c >> 18U);
      byte(0x80U | (c >> 12U & 0x3fU));
      byte(0x80U | (c >> 6U & 0x3fU));
      byte(0x80U | (c & 0x3fU));
    }
  }
}

}  // namespace samovar::python
