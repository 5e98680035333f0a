// samovar.schema(): a schema as Python sees it, and the types of its tables, structs and enums.
//
// Every function requires the GIL.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <cstddef>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "python_ext/native/schema.h"

namespace samovar::python {

// What stands behind the type of a table; the closure of the type's first attribute leads to it.
struct TableType {
  const Table* table = nullptr;
  struct SchemaObject* schema = nullptr;  // the type holds it, by its __schema__
  PyObject* names = nullptr;              // dict: name of a field -> its place in table->fields
  std::string type_name;
  std::deque<std::string> docs;
  std::vector<PyGetSetDef> attributes;
};

class Bench;

struct SchemaObject {
  PyObject_HEAD
  std::unique_ptr<Schema> schema;
  std::unique_ptr<Bench> bench;  // what tables are built on
  std::deque<TableType> table_types;
  PyObject* types;        // list: those of the tables
  PyObject* members;      // dict: name -> type of a table, or an IntEnum
  bool has_own_names;     // whether a member has the name of an attribute of ours, which comes first
  PyObject* origin;       // str: where it was read, for messages
  PyTypeObject* buffer_type;
  PyTypeObject* vector_type;
  PyTypeObject* scalars_type;
};

// The type of schemas. A new reference, or null with an exception.
PyObject* make_schema_type(PyObject* module);

inline SchemaObject& schema_of(PyObject* object) { return *reinterpret_cast<SchemaObject*>(object); }

bool is_schema(PyObject* object);

// Of a type that view_dealloc belongs to.
TableType& table_type_of(PyTypeObject* type);

// The root of a FlatBuffer, verified: over a copy of `bytes`, or in place, keeping `exporter`. Requires: is_schema(schema).
// A new reference, or null with an exception: ValueError, which begins with `what`, for what does not verify.
PyObject* view_copy(PyObject* schema, std::span<const std::byte> bytes, const char* what);
PyObject* view_in_place(PyObject* schema, PyObject* exporter, const char* what);

// For a name that does not exist: "; did you mean 'label'?", or nothing. Never fails.
std::string suggestion(PyObject* name, PyObject* candidates);

}  // namespace samovar::python
