#include "python_ext/native/schema_object.h"

#include <new>
#include <utility>

#include "python_ext/native/ref.h"
#include "python_ext/native/schema_build.h"
#include "python_ext/native/schema_sequence.h"
#include "python_ext/native/schema_view.h"

namespace samovar::python {
namespace {

PyObject* get_table_name(PyObject*, void* closure) {
  return PyUnicode_FromString(static_cast<const TableType*>(closure)->table->name.c_str());
}

// "[float], required", and what the schema's author has written.
std::string described(const Field& field) {
  std::string type = field.what == What::text ? "string" : field.table != nullptr ? field.table->name : "";
  if (field.enumeration != nullptr) type = field.enumeration->name;
  if (type.empty()) type = name_of(field.scalar);
  if (field.many == Many::vector) type = "[" + type + "]";
  if (field.many == Many::array) type = "[" + type + ":" + std::to_string(field.length) + "]";
  return type + (field.required ? ", required" : field.optional ? ", optional" : "") + (field.doc.empty() ? "" : "\n\n" + field.doc);
}

// The type of a table's or struct's views. False with an exception.
bool add_type(SchemaObject& self, Table& table) {
  TableType& of = self.table_types.emplace_back();
  of.table = &table;
  of.schema = &self;
  of.names = PyDict_New();
  if (of.names == nullptr) return false;
  of.type_name = "samovar.schema." + table.name;
  of.attributes.push_back({"__table__", get_table_name, nullptr, "The name of the table or struct in its schema.", &of});
  for (std::size_t i = 0; i < table.fields.size(); ++i) {
    Field& field = table.fields[i];
    const Ref name = Ref::steal(PyUnicode_InternFromString(field.name.c_str()));
    const Ref index = Ref::steal(PyLong_FromSize_t(i));
    if (!name || !index || PyDict_SetItem(of.names, name.get(), index.get()) != 0) return false;
    of.attributes.push_back({field.name.c_str(), getter_of(table, field), nullptr, of.docs.emplace_back(described(field)).c_str(), &field});
  }
  of.attributes.push_back({nullptr, nullptr, nullptr, nullptr, nullptr});

  PyType_Slot slots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(view_dealloc)},
                         {Py_tp_repr, reinterpret_cast<void*>(view_repr)},
                         {Py_tp_getattro, reinterpret_cast<void*>(view_getattro)},
                         {Py_tp_getset, of.attributes.data()},
                         {Py_bf_getbuffer, reinterpret_cast<void*>(view_getbuffer)},
                         {Py_tp_doc, const_cast<char*>(table.doc.c_str())},
                         {0, nullptr}};
  PyType_Spec spec = {of.type_name.c_str(), sizeof(ViewObject), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};
  const Ref type = Ref::steal(PyType_FromSpec(&spec));
  if (!type || PyObject_SetAttrString(type.get(), "__schema__", reinterpret_cast<PyObject*>(&self)) != 0) return false;
  table.type = reinterpret_cast<PyTypeObject*>(type.get());
  table.type->tp_vectorcall = build_called;
  table.type->tp_flags |= Py_TPFLAGS_IMMUTABLETYPE;  // whoever changed it could reach into views of another layout
  PyType_Modified(table.type);
  return PyList_Append(self.types, type.get()) == 0;
}

Ref int_enum(const Enumeration& from) {
  const Ref module = Ref::steal(PyImport_ImportModule("enum"));
  const Ref base = module ? Ref::steal(PyObject_GetAttrString(module.get(), "IntEnum")) : Ref();
  const Ref values = base ? Ref::steal(PyList_New(0)) : Ref();
  if (!values) return {};
  for (const EnumValue& value : from.values) {
    const bool is_large = from.scalar == Scalar::u64 && value.number < 0;
    const Ref pair = Ref::steal(is_large ? Py_BuildValue("(sK)", value.name.c_str(), static_cast<unsigned long long>(value.number))
                                         : Py_BuildValue("(sL)", value.name.c_str(), static_cast<long long>(value.number)));
    if (!pair || PyList_Append(values.get(), pair.get()) != 0) return {};
  }
  return Ref::steal(PyObject_CallFunction(base.get(), "sO", from.short_name.c_str(), values.get()));
}

// Under its full name, and under the short one unless that is another's full name or two have it: then under None.
bool add_member(PyObject* members, const std::string& name, const std::string& short_name, PyObject* member) {
  if (name != short_name) {
    const Ref key = Ref::steal(PyUnicode_FromString(short_name.c_str()));
    const int known = key ? PyDict_Contains(members, key.get()) : -1;
    if (known < 0 || PyDict_SetItem(members, key.get(), known == 1 ? Py_None : member) != 0) return false;
  }
  return PyDict_SetItemString(members, name.c_str(), member) == 0;
}

bool add_members(SchemaObject& self) {
  for (Table& table : self.schema->tables) {
    if (!add_type(self, table)) return false;
    if (!add_member(self.members, table.name, table.short_name, reinterpret_cast<PyObject*>(table.type))) return false;
  }
  for (const Enumeration& one : self.schema->enums) {
    const Ref member = int_enum(one);
    if (!member || !add_member(self.members, one.name, one.short_name, member.get())) return false;
  }
  PyObject* name = nullptr;
  Py_ssize_t at = 0;
  while (PyDict_Next(self.members, &at, &name, nullptr) != 0) {
    self.has_own_names = self.has_own_names || PyObject_HasAttr(reinterpret_cast<PyObject*>(Py_TYPE(&self)), name) != 0;
  }
  return true;
}

// ---- the type `Schema`

int traverse(PyObject* object, visitproc visit, void* arg) {
  SchemaObject& self = schema_of(object);
  Py_VISIT(Py_TYPE(object));
  Py_VISIT(self.types);
  Py_VISIT(self.members);
  return 0;
}

int clear(PyObject* object) {
  SchemaObject& self = schema_of(object);
  Py_CLEAR(self.types);
  Py_CLEAR(self.members);
  return 0;
}

void dealloc(PyObject* object) {
  PyObject_GC_UnTrack(object);
  SchemaObject& self = schema_of(object);
  clear(object);
  for (TableType& of : self.table_types) Py_XDECREF(of.names);
  Py_XDECREF(self.origin);
  Py_XDECREF(self.buffer_type);
  Py_XDECREF(self.vector_type);
  Py_XDECREF(self.scalars_type);
  self.table_types.~deque();
  self.schema.~unique_ptr();
  self.bench.~unique_ptr();
  PyTypeObject* type = Py_TYPE(object);
  type->tp_free(object);
  Py_DECREF(type);
}

// Schema(bfbs, origin): `origin` is what messages call it.
PyObject* make(PyTypeObject* type, PyObject* arguments, PyObject* names) {
  static const char* const kNames[] = {"bfbs", "origin", nullptr};
  Py_buffer bfbs;
  PyObject* origin = nullptr;
  if (!PyArg_ParseTupleAndKeywords(arguments, names, "y*U:Schema", const_cast<char**>(kNames), &bfbs, &origin)) return nullptr;
  std::variant<std::unique_ptr<Schema>, std::string> read;
  try {
    read = read_schema({static_cast<const std::byte*>(bfbs.buf), static_cast<std::size_t>(bfbs.len)});
  } catch (const std::bad_alloc&) {
    PyBuffer_Release(&bfbs);
    return PyErr_NoMemory();
  }
  PyBuffer_Release(&bfbs);
  if (const std::string* why = std::get_if<std::string>(&read)) {
    PyErr_Format(PyExc_ValueError, "%U is no schema: %s", origin, why->c_str());
    return nullptr;
  }
  Ref object = Ref::steal(type->tp_alloc(type, 0));
  if (!object) return nullptr;
  SchemaObject& self = schema_of(object.get());
  new (&self.schema) std::unique_ptr<Schema>(std::move(std::get<std::unique_ptr<Schema>>(read)));
  new (&self.bench) std::unique_ptr<Bench>();
  new (&self.table_types) std::deque<TableType>();
  self.origin = Py_NewRef(origin);
  self.types = PyList_New(0);
  self.members = PyDict_New();
  PyObject* module = PyType_GetModule(type);
  const auto shared = [&](PyTypeObject*& to, PyObject* (*make_type)(PyObject*)) {
    to = reinterpret_cast<PyTypeObject*>(make_type(module));
    return to != nullptr;
  };
  try {
    self.bench = std::make_unique<Bench>();
    if (module == nullptr || self.types == nullptr || self.members == nullptr || !shared(self.buffer_type, make_buffer_type) ||
        !shared(self.vector_type, make_vector_type) || !shared(self.scalars_type, make_scalars_type) || !add_members(self)) {
      return nullptr;
    }
  } catch (const std::bad_alloc&) {
    return PyErr_NoMemory();
  }
  return object.release();
}

PyObject* lookup(PyObject* object, PyObject* name) {
  SchemaObject& self = schema_of(object);
  PyObject* member = PyDict_GetItemWithError(self.members, name);
  if (member != nullptr && member != Py_None) return Py_NewRef(member);
  if (PyErr_Occurred()) return nullptr;
  if (member == Py_None) {
    PyErr_Format(PyExc_AttributeError, "%U has more than one %U: say which with its namespace, schema[\"namespace.%U\"]", self.origin, name, name);
  } else {
    PyErr_Format(PyExc_AttributeError, "%U has no table, struct or enum %R%s", self.origin, name, suggestion(name, self.members).c_str());
  }
  return nullptr;
}

PyObject* getattro(PyObject* object, PyObject* name) {
  const SchemaObject& self = schema_of(object);
  if (!self.has_own_names) {
    PyObject* member = PyDict_GetItemWithError(self.members, name);
    if (member != nullptr && member != Py_None) return Py_NewRef(member);
    if (PyErr_Occurred()) return nullptr;
  }
  PyObject* value = PyObject_GenericGetAttr(object, name);
  if (value != nullptr || PyErr_ExceptionMatches(PyExc_AttributeError) == 0) return value;
  PyErr_Clear();
  return lookup(object, name);
}

PyObject* subscript(PyObject* object, PyObject* name) {
  PyObject* member = PyUnicode_Check(name) ? lookup(object, name) : nullptr;
  if (member == nullptr && (PyErr_Occurred() == nullptr || PyErr_ExceptionMatches(PyExc_AttributeError) != 0)) PyErr_SetObject(PyExc_KeyError, name);
  return member;
}

PyObject* list_names(PyObject* object, PyObject*) {
  const Ref own = Ref::steal(PyObject_Dir(reinterpret_cast<PyObject*>(Py_TYPE(object))));
  const Ref names = own ? Ref::steal(PyDict_Keys(schema_of(object).members)) : Ref();
  return names ? PySequence_Concat(own.get(), names.get()) : nullptr;
}

PyObject* repr(PyObject* object) { return PyUnicode_FromFormat("<samovar.schema %U>", schema_of(object).origin); }

PyObject* view(PyObject* object, PyObject* buffer) { return view_in_place(object, buffer, "the FlatBuffer"); }

PyObject* get_root(PyObject* object, void*) {
  const Table* root = schema_of(object).schema->root;
  return Py_NewRef(root != nullptr ? reinterpret_cast<PyObject*>(root->type) : Py_None);
}

PyObject* get_identifier(PyObject* object, void*) { return PyUnicode_FromString(schema_of(object).schema->identifier.c_str()); }

PyMethodDef kMethods[] = {
    {"view", view, METH_O,
     "view(buffer) -> the root table\n\nVerifies a finished FlatBuffer (bytes, memoryview, array; plain or with its size in front) and shows it,\n"
     "in place. Raises ValueError that says where and why it does not verify."},
    {"__dir__", list_names, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr}};

PyGetSetDef kProperties[] = {{"root", get_root, nullptr, "The type of the root table; None where the schema names none.", nullptr},
                             {"file_identifier", get_identifier, nullptr, "The four characters that a buffer of it carries, or ''.", nullptr},
                             {nullptr, nullptr, nullptr, nullptr, nullptr}};

}  // namespace

PyObject* make_schema_type(PyObject* module) {
  static PyType_Slot slots[] = {
      {Py_tp_new, reinterpret_cast<void*>(make)},
      {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
      {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
      {Py_tp_clear, reinterpret_cast<void*>(clear)},
      {Py_tp_repr, reinterpret_cast<void*>(repr)},
      {Py_tp_getattro, reinterpret_cast<void*>(getattro)},
      {Py_mp_subscript, reinterpret_cast<void*>(subscript)},
      {Py_tp_methods, kMethods},
      {Py_tp_getset, kProperties},
      {Py_tp_doc, const_cast<char*>("A FlatBuffers schema: its tables, structs and enums by name. samovar.schema() makes one.")},
      {0, nullptr}};
  static PyType_Spec spec = {"samovar.Schema", sizeof(SchemaObject), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE, slots};
  return PyType_FromModuleAndSpec(module, &spec, nullptr);
}

TableType& table_type_of(PyTypeObject* type) { return *static_cast<TableType*>(type->tp_getset->closure); }

bool is_schema(PyObject* object) { return Py_TYPE(object)->tp_dealloc == dealloc; }

PyObject* view_copy(PyObject* schema, std::span<const std::byte> bytes, const char* what) {
  BufferObject* buffer = buffer_of_copy(schema_of(schema), bytes);
  return buffer != nullptr ? verified_root(schema_of(schema), buffer, what) : nullptr;
}

PyObject* view_in_place(PyObject* schema, PyObject* exporter, const char* what) {
  BufferObject* buffer = buffer_of_exporter(schema_of(schema), exporter);
  if (buffer == nullptr) return nullptr;
  if (reinterpret_cast<std::uintptr_t>(buffer->bytes.data) % 8 == 0) return verified_root(schema_of(schema), buffer, what);
  const Ref unaligned = Ref::steal(reinterpret_cast<PyObject*>(buffer));
  return view_copy(schema, std::as_bytes(std::span(buffer->bytes.data, buffer->bytes.size)), what);
}

std::string suggestion(PyObject* name, PyObject* candidates) {
  const Ref difflib = PyUnicode_Check(name) ? Ref::steal(PyImport_ImportModule("difflib")) : Ref();
  const Ref list = difflib ? Ref::steal(PySequence_List(candidates)) : Ref();
  const Ref near = list ? Ref::steal(PyObject_CallMethod(difflib.get(), "get_close_matches", "OOi", name, list.get(), 1)) : Ref();
  PyObject* first = near && PyList_Check(near.get()) && PyList_GET_SIZE(near.get()) == 1 ? PyList_GET_ITEM(near.get(), 0) : nullptr;
  const char* text = first != nullptr && PyUnicode_Check(first) ? PyUnicode_AsUTF8(first) : nullptr;
  std::string result = text != nullptr ? "; did you mean '" + std::string(text) + "'?" : "";
  PyErr_Clear();
  return result;
}

}  // namespace samovar::python
