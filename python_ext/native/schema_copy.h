// ViewCopy: a table that a view shows, written into another buffer. The bytes it comes from may change meanwhile.
//
// Every function requires the GIL. Runs no user code.
#pragma once

#include "python_ext/native/schema_verify.h"
#include "python_ext/native/schema_writer.h"

namespace samovar::python {

class ViewCopy : private TableWriter {
 public:
  using TableWriter::TableWriter;

  // Fails: false with ValueError (too deep, too large) or RuntimeError (the bytes have changed since they were verified).
  bool copy(const FlatBytes& from, const TableAt& at, const Table& table, const Path& path, int depth, Position& out);

 private:
  bool copy_reference(const FlatBytes& from, const Field& field, What what, const Table* of, std::uint32_t at, const Path& path, int depth,
                      Position& out);
  static bool find_vector(const FlatBytes& from, const Field& field, std::uint32_t at, std::uint32_t& first, std::uint32_t& count);
  bool copy_vector(const FlatBytes& from, const Field& field, std::uint32_t at, const Path& path, int depth, Position& out);
  bool copy_choice(const FlatBytes& from, const TableAt& at, const Field& field, std::uint32_t place, const Path& path, int depth, Ready& ready,
                   Ready& ready_type);
};

}  // namespace samovar::python
