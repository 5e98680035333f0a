// TableWriter: what is common to building a table from Python's values and to copying one from another buffer.
//
// Every function requires the GIL. Nothing of Python's runs between the fields of one table: they are made ready first, then written.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <flatbuffers/flatbuffer_builder.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "python_ext/native/schema.h"
#include "python_ext/native/schema_scalars.h"

namespace samovar::python {

using Position = flatbuffers::uoffset_t;  // in a builder: counted from the end

// Memory for `count` of T, zeroed; on the stack where they are few.
template <class T>
class Few {
 public:
  explicit Few(std::size_t count) : many_(count > kFew ? std::make_unique<T[]>(count) : nullptr) {}
  T& operator[](std::size_t i) { return many_ ? many_[i] : few_[i]; }
  T* data() { return many_ ? many_.get() : few_; }

 private:
  static constexpr std::size_t kFew = 16;
  T few_[kFew] = {};
  std::unique_ptr<T[]> many_;
};

// A field that is ready to be written into its table.
struct Ready {
  bool present = false;
  std::uint64_t bits = 0;        // of a scalar
  Position position = 0;         // of what is referred to
  std::size_t scratch_at = 0;    // of a struct's bytes
};

class TableWriter {
 public:
  explicit TableWriter(flatbuffers::FlatBufferBuilder& builder) : builder_(builder) {}

 protected:
  // False with ValueError: for another table at `depth`, for so many bytes more.
  bool begin_table(const Path& path, int depth);
  bool check_room(std::uint64_t bytes, const Path& path);

  // Keeps the bytes of a struct until its table is written.
  static void keep(const std::uint8_t* bytes, std::uint32_t size, Ready& ready, std::vector<std::uint8_t>& scratch);

  // Requires of all below: check_room() for what they write.
  Position push(const std::uint8_t* bytes, std::size_t size, std::size_t align);
  Position vector_of_structs(const Field& field, const std::uint8_t* bytes, std::size_t count);

  // A position of 0 is no reference: a member of a union that is NONE. Both check the room themselves.
  bool vector_of_references(const std::vector<Position>& positions, const Path& path, Position& out);
  bool vector_of_choices(const std::vector<Position>& positions, const std::vector<std::uint8_t>& types, const Path& path, Ready& ready,
                         Ready& ready_type);

  // The table itself, the widest fields first: so padding is least. `ready` has one for each field.
  Position write(const Table& table, const Ready* ready, const std::vector<std::uint8_t>& scratch);

  flatbuffers::FlatBufferBuilder& builder_;
};

}  // namespace samovar::python
