// TableBuild: tables and structs of a schema from Python's values, into a FlatBufferBuilder.
//
// Every function requires the GIL, and may run user code: __index__, __float__, buffers, iterators. Each is false with an exception that
// begins with the path.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "python_ext/native/ref.h"
#include "python_ext/native/schema_writer.h"

namespace samovar::python {

class TableBuild : private TableWriter {
 public:
  using TableWriter::TableWriter;

  // Requires: `given[i]` is the value of table.fields[i], or null.
  bool table(const Table& table, PyObject* const* given, const Path& path, int depth, Position& out);

  // From a dict or a view.
  bool table_of(const Table& table, PyObject* value, const Path& path, int depth, Position& out);

  // Which field a name means.
  static bool index_of(const Table& table, PyObject* name, const Path& path, std::size_t& out);

  // From a view, a dict, a tuple or list in the order of the fields.
  bool structure(const Table& table, PyObject* value, std::uint8_t* out, const Path& path);

  // Requires: `given[i]` is the value of table.fields[i], or null.
  bool structure_fields(const Table& table, PyObject* const* given, std::uint8_t* out, const Path& path);

 private:
  bool wrong(const Table& table, PyObject* value, const Path& path);
  bool field(const Field& field, PyObject* value, const Path& path, int depth, Ready& ready, std::vector<std::uint8_t>& scratch);
  bool reference(What what, const Table* of, PyObject* value, const Path& path, int depth, Position& out);
  bool text(PyObject* value, const Path& path, Position& out);

  // One element that lies where it is: a scalar or struct.
  bool element(const Field& field, PyObject* value, std::uint8_t* out, const Path& path);

  // Items of a list, tuple or anything that can be iterated. Null with an exception.
  static Ref sequence(const Field& field, PyObject* value, const Path& path);

  // Scalars or structs one behind the other. `make` gives the memory for so many, or null: then false, maybe without an exception.
  template <class Make>
  bool elements(const Field& field, PyObject* value, const Path& path, Make make);

  // Owns the item, for user code may change the list.
  static bool take(PyObject* items, Py_ssize_t i, Py_ssize_t count, const Path& path, Ref& out);

  template <class Make>
  bool array(const Field& field, PyObject* value, const Path& path, Make make);
  bool vector(const Field& field, PyObject* value, const Path& path, int depth, Position& out);

  // ---- unions

  // Which member a value is: by its type, where that is given, else by what it is. Null with an exception.
  const EnumValue* member_of(const Field& field, PyObject* value, PyObject* type, const Path& path);

  bool choice(const Field& field, PyObject* value, PyObject* type, const Path& path, int depth, Ready& ready, Ready& ready_type);
  bool choices(const Field& field, PyObject* value, PyObject* types, const Path& path, int depth, Ready& ready, Ready& ready_type);
};

}  // namespace samovar::python
