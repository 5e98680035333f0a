// The builder: tables and structs of a schema from Python's values, checked, finished and seen through a view.
//
// Every function requires the GIL; conversions (__index__, __float__, buffers) may run user code, which may drop it and build, too.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <flatbuffers/flatbuffer_builder.h>

namespace samovar::python {

// A FlatBufferBuilder that keeps its memory from one table to the next. Guarded by the GIL: whoever finds it in use takes one of
// their own, so that user code run by a conversion cannot write into what is half built.
class Bench {
 public:
  flatbuffers::FlatBufferBuilder builder{1024};
  bool busy = false;
};

// tp_vectorcall of a table's type: Item(label="x", scores=[...]) -> a view of what was built; Item(view_or_dict) copies. Tables take
// their fields by name, structs by name or in order.
// Null with TypeError, ValueError or OverflowError that begins with the path: "Answer.items[3].score: a str where a float is expected".
PyObject* build_called(PyObject* type, PyObject* const* arguments, std::size_t flagged_count, PyObject* names);

// A finished FlatBuffer of its own for a table that is a part of another one. A new reference, or null with an exception.
PyObject* rebuilt(PyObject* view);

}  // namespace samovar::python
