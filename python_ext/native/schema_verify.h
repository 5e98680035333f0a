// Whether bytes are a FlatBuffer of a schema, and where and why not. Plain C++: the GIL is not needed.
//
// Stricter than flatbuffers::Verifier: elements of vectors are aligned, and a table lies within the buffer as long as it says it
// is, which the view relies on. As lenient: a union of a type that the schema does not know is left alone, strings may be no UTF-8.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "python_ext/native/schema.h"

namespace samovar::python {

inline constexpr int kTableDepthMax = 64;                  // as flatbuffers::Verifier
inline constexpr std::uint64_t kBufferBytesMax = 0x7fffffff;  // offsets are signed 32 bits

// Where a table lies, each word read once and checked: everything of it is within the buffer. Bytes may change under it.
struct TableAt {
  std::uint32_t at = 0;
  std::uint32_t vtable = 0;
  std::uint16_t vtable_bytes = 0;
  std::uint16_t table_bytes = 0;
};

// A whole FlatBuffer, of at most kBufferBytesMax. Every function checks what it reads against these bounds, whatever was verified.
struct FlatBytes {
  const std::uint8_t* data = nullptr;
  std::uint32_t size = 0;

  // Null, or what is wrong with the table at `at`.
  const char* table(std::uint64_t at, TableAt& out) const;

  // Where `bytes` of a field begin, or 0: the field is absent.
  std::uint32_t place(const TableAt& table, std::uint16_t field, std::uint32_t bytes) const;

  // Where an offset leads, from its own place; at least `bytes` lie there. Null, or what is wrong. Requires: 4 bytes lie at `at`.
  const char* follow(std::uint32_t at, std::uint32_t& out, std::uint32_t bytes = 4) const;

  // The first element and the count of a vector at `at`. Null, or what is wrong.
  const char* vector(std::uint32_t at, std::uint32_t width, std::uint32_t align, std::uint32_t& first, std::uint32_t& count) const;

  // The characters of a string.
  const char* text(std::uint32_t at, std::uint32_t& first, std::uint32_t& count) const;

  std::uint32_t word(std::uint32_t at) const;  // requires: 4 bytes lie there
};

// Finds the root of `bytes`: plain, or with its size in front. Empty, or what is wrong and where: "Answer.items[3].label lies ...".
// With an identifier in the schema the buffer must carry it. Requires: schema.root. Takes time linear in the buffer.
std::string verify(const Schema& schema, FlatBytes bytes, TableAt& root);

}  // namespace samovar::python
