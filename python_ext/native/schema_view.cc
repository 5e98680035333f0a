#include "python_ext/native/schema_view.h"

#include <cstring>
#include <new>
#include <string>

#include "python_ext/native/ref.h"
#include "python_ext/native/schema_object.h"
#include "python_ext/native/schema_sequence.h"

namespace samovar::python {
namespace {

template <class T>
T load(const std::uint8_t* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

PyObject* to_python(bool value) { return Py_NewRef(value ? Py_True : Py_False); }
PyObject* to_python(std::int32_t value) { return PyLong_FromLong(value); }
PyObject* to_python(std::int64_t value) { return PyLong_FromLongLong(value); }
PyObject* to_python(std::uint64_t value) { return PyLong_FromUnsignedLongLong(value); }
PyObject* to_python(double value) { return PyFloat_FromDouble(value); }

template <Scalar kScalar>
PyObject* read(const std::uint8_t* from) {
  if constexpr (kScalar == Scalar::boolean) return to_python(load<std::uint8_t>(from) != 0);
  if constexpr (kScalar == Scalar::i8) return to_python(std::int32_t{load<std::int8_t>(from)});
  if constexpr (kScalar == Scalar::u8) return to_python(std::int32_t{load<std::uint8_t>(from)});
  if constexpr (kScalar == Scalar::i16) return to_python(std::int32_t{load<std::int16_t>(from)});
  if constexpr (kScalar == Scalar::u16) return to_python(std::int32_t{load<std::uint16_t>(from)});
  if constexpr (kScalar == Scalar::i32) return to_python(load<std::int32_t>(from));
  if constexpr (kScalar == Scalar::u32) return to_python(std::int64_t{load<std::uint32_t>(from)});
  if constexpr (kScalar == Scalar::i64) return to_python(load<std::int64_t>(from));
  if constexpr (kScalar == Scalar::u64) return to_python(load<std::uint64_t>(from));
  if constexpr (kScalar == Scalar::f32) return to_python(double{load<float>(from)});
  if constexpr (kScalar == Scalar::f64) return to_python(load<double>(from));
}

// The getter of a scalar field: this is what has to be fast.
template <Scalar kScalar>
PyObject* get_scalar(PyObject* self, void* closure) {
  const ViewObject& view = view_of(self);
  const Field& field = *static_cast<const Field*>(closure);
  const std::uint32_t at = view.buffer->bytes.place(view.at, field.offset, field.width);
  if (at != 0) [[likely]] return read<kScalar>(view.buffer->bytes.data + at);
  if (field.optional) Py_RETURN_NONE;
  return read<kScalar>(reinterpret_cast<const std::uint8_t*>(&field.default_bits));
}

template <Scalar kScalar>
PyObject* get_struct_scalar(PyObject* self, void* closure) {
  const ViewObject& view = view_of(self);
  return read<kScalar>(view.buffer->bytes.data + view.at.at + static_cast<const Field*>(closure)->offset);
}

PyObject* get_any(PyObject* self, void* closure) { return read_field(view_of(self), *static_cast<const Field*>(closure)); }

template <template <Scalar> class Of>
getter pick(Scalar scalar) {
  switch (scalar) {
    case Scalar::boolean: return Of<Scalar::boolean>::get;
    case Scalar::i8: return Of<Scalar::i8>::get;
    case Scalar::u8: return Of<Scalar::u8>::get;
    case Scalar::i16: return Of<Scalar::i16>::get;
    case Scalar::u16: return Of<Scalar::u16>::get;
    case Scalar::i32: return Of<Scalar::i32>::get;
    case Scalar::u32: return Of<Scalar::u32>::get;
    case Scalar::i64: return Of<Scalar::i64>::get;
    case Scalar::u64: return Of<Scalar::u64>::get;
    case Scalar::f32: return Of<Scalar::f32>::get;
    case Scalar::f64: return Of<Scalar::f64>::get;
  }
  return nullptr;
}
template <Scalar kScalar>
struct InTable {
  static constexpr getter get = get_scalar<kScalar>;
};
template <Scalar kScalar>
struct InStruct {
  static constexpr getter get = get_struct_scalar<kScalar>;
};

PyObject* raise_changed(const Field& field, const char* what) {
  changed(field, what);
  return nullptr;
}

PyObject* read_text(BufferObject& buffer, const Field& field, std::uint32_t at) {
  std::uint32_t first = 0;
  std::uint32_t count = 0;
  if (const char* what = buffer.bytes.text(at, first, count)) return raise_changed(field, what);
  PyObject* text = PyUnicode_DecodeUTF8(reinterpret_cast<const char*>(buffer.bytes.data + first), count, nullptr);
  if (text == nullptr && PyErr_ExceptionMatches(PyExc_UnicodeDecodeError) != 0) {
    PyErr_Format(PyExc_ValueError, "%s.%s: the string is not UTF-8", field.owner->short_name.c_str(), field.name.c_str());
  }
  return text;
}

PyObject* read_vector(const ViewObject& view, const Field& field, std::uint32_t at) {
  BufferObject& buffer = *view.buffer;
  std::uint32_t target = 0;
  std::uint32_t first = 0;
  std::uint32_t count = 0;
  if (const char* what = buffer.bytes.follow(at, target)) return raise_changed(field, what);
  if (const char* what = buffer.bytes.vector(target, field.width, field.align, first, count)) return raise_changed(field, what);
  if (field.what == What::scalar) return view_scalars(buffer, field, first, count);
  std::uint32_t types = 0;
  if (field.what == What::choice && count != 0) {
    std::uint32_t types_count = 0;
    const std::uint32_t place = buffer.bytes.place(view.at, field.type_field->offset, 4);
    if (place == 0) return raise_changed(field, "has no types beside it");
    if (const char* what = buffer.bytes.follow(place, target)) return raise_changed(field, what);
    if (const char* what = buffer.bytes.vector(target, 1, 1, types, types_count)) return raise_changed(field, what);
    if (types_count != count) return raise_changed(field, "has not as many types beside it");
  }
  return view_sequence(buffer, field, first, count, types);
}

PyObject* read_struct_field(const ViewObject& view, const Field& field) {
  const std::uint32_t at = view.at.at + field.offset;
  if (field.many == Many::array) {
    return field.what == What::scalar ? view_scalars(*view.buffer, field, at, field.length)
                                      : view_sequence(*view.buffer, field, at, field.length, 0);
  }
  if (field.what == What::structure) return view_struct(*view.buffer, *field.table, at);
  return pick<InStruct>(field.scalar)(reinterpret_cast<PyObject*>(const_cast<ViewObject*>(&view)), const_cast<Field*>(&field));
}

PyObject* shown(const Field& field, PyObject* value) {
  constexpr Py_ssize_t kShownMax = 60;
  if (PyMemoryView_Check(value)) {
    return PyUnicode_FromFormat("<%zd %s>", PyMemoryView_GET_BUFFER(value)->shape[0], element_name(field));
  }
  if (is_view(value)) return PyUnicode_FromFormat("<%s>", view_of(value).table->short_name.c_str());
  if (!PyUnicode_Check(value) || PyUnicode_GET_LENGTH(value) <= kShownMax) return PyObject_Repr(value);
  const Ref clipped = Ref::steal(PyUnicode_Substring(value, 0, kShownMax));
  return clipped ? PyUnicode_FromFormat("%R...", clipped.get()) : nullptr;
}

}  // namespace

PyObject* read_reference(BufferObject& buffer, const Field& field, What what, const Table* table, std::uint32_t at) {
  std::uint32_t target = 0;
  if (const char* wrong = buffer.bytes.follow(at, target, what == What::structure ? table->size : 4)) return raise_changed(field, wrong);
  if (what == What::text) return read_text(buffer, field, target);
  if (what == What::structure) return view_struct(buffer, *table, target);
  return view_table(buffer, *table, target);
}

PyObject* read_member(BufferObject& buffer, const Field& field, std::uint8_t type, std::uint32_t at) {
  const EnumValue* value = field.enumeration->find(type);
  if (value == nullptr || value->what == What::scalar) Py_RETURN_NONE;  // NONE, or of a later version of the schema
  return read_reference(buffer, field, value->what, value->table, at);
}

bool changed(const Field& field, const char* what) {
  PyErr_Format(PyExc_RuntimeError, "%s.%s %s: the bytes of this FlatBuffer have changed since they were verified",
               field.owner->short_name.c_str(), field.name.c_str(), what);
  return false;
}

PyObject* verified_root(SchemaObject& schema, BufferObject* buffer, const char* what) {
  const Ref owned = Ref::steal(as_object(*buffer));
  const Table* root = schema.schema->root;
  if (root == nullptr) {
    PyErr_Format(PyExc_ValueError, "%U names no root_type: a FlatBuffer of it cannot be told", schema.origin);
    return nullptr;
  }
  TableAt at;
  std::string why;
  try {
    why = verify(*schema.schema, buffer->bytes, at);
  } catch (const std::bad_alloc&) {
    return PyErr_NoMemory();
  }
  if (!why.empty()) {
    PyErr_Format(PyExc_ValueError, "%s %s", what, why.c_str());
    return nullptr;
  }
  buffer->root = at.at;
  return view_table(*buffer, *root, at.at);
}

PyObject* view_table(BufferObject& buffer, const Table& table, std::uint32_t at) {
  TableAt place;
  if (const char* what = buffer.bytes.table(at, place)) {
    PyErr_Format(PyExc_RuntimeError, "%s %s: the bytes of this FlatBuffer have changed since they were verified", table.short_name.c_str(), what);
    return nullptr;
  }
  PyObject* object = make_over<ViewObject>(table.type, buffer);
  if (object == nullptr) return nullptr;
  view_of(object).table = &table;
  view_of(object).at = place;
  return object;
}

PyObject* view_struct(BufferObject& buffer, const Table& table, std::uint32_t at) {
  PyObject* object = make_over<ViewObject>(table.type, buffer);
  if (object == nullptr) return nullptr;
  view_of(object).table = &table;
  view_of(object).at.at = at;
  return object;
}

PyObject* read_field(const ViewObject& view, const Field& field) {
  if (view.table->is_struct) return read_struct_field(view, field);
  if (field.what == What::scalar && field.many == Many::one) {
    return pick<InTable>(field.scalar)(reinterpret_cast<PyObject*>(const_cast<ViewObject*>(&view)), const_cast<Field*>(&field));
  }
  const FlatBytes& bytes = view.buffer->bytes;
  const std::uint32_t at = bytes.place(view.at, field.offset, field.inline_width());
  if (at == 0) Py_RETURN_NONE;
  if (field.many == Many::vector) return read_vector(view, field, at);
  if (field.what == What::structure) return view_struct(*view.buffer, *field.table, at);
  if (field.what != What::choice) return read_reference(*view.buffer, field, field.what, field.table, at);
  const std::uint32_t type = bytes.place(view.at, field.type_field->offset, 1);
  if (type == 0) Py_RETURN_NONE;
  return read_member(*view.buffer, field, bytes.data[type], at);
}

getter getter_of(const Table& table, const Field& field) {
  if (field.what != What::scalar || field.many != Many::one) return get_any;
  return table.is_struct ? pick<InStruct>(field.scalar) : pick<InTable>(field.scalar);
}

void view_dealloc(PyObject* self) { dealloc_over<ViewObject>(self); }

PyObject* view_repr(PyObject* self) {
  const ViewObject& view = view_of(self);
  const Ref parts = Ref::steal(PyList_New(0));
  if (!parts) return nullptr;
  for (const Field& field : view.table->fields) {
    const Ref value = Ref::steal(read_field(view, field));
    if (!value) return nullptr;
    if (value.get() == Py_None) continue;
    const Ref text = Ref::steal(shown(field, value.get()));
    const Ref part = text ? Ref::steal(PyUnicode_FromFormat("%s=%U", field.name.c_str(), text.get())) : Ref();
    if (!part || PyList_Append(parts.get(), part.get()) != 0) return nullptr;
  }
  const Ref comma = Ref::steal(PyUnicode_FromString(", "));
  const Ref all = comma ? Ref::steal(PyUnicode_Join(comma.get(), parts.get())) : Ref();
  return all ? PyUnicode_FromFormat("%s(%U)", view.table->short_name.c_str(), all.get()) : nullptr;
}

PyObject* view_getattro(PyObject* self, PyObject* name) {
  PyObject* value = PyObject_GenericGetAttr(self, name);
  if (value != nullptr || PyErr_ExceptionMatches(PyExc_AttributeError) == 0) return value;
  PyErr_Clear();
  const std::string near = suggestion(name, table_type_of(Py_TYPE(self)).names);
  PyErr_Format(PyExc_AttributeError, "%s has no field %R%s", view_of(self).table->short_name.c_str(), name, near.c_str());
  return nullptr;
}

int view_getbuffer(PyObject* self, Py_buffer* out, int flags) {
  const ViewObject& view = view_of(self);
  if (is_root(view)) {
    const FlatBytes& bytes = view.buffer->bytes;
    return PyBuffer_FillInfo(out, self, const_cast<std::uint8_t*>(bytes.data), bytes.size, 1, flags);
  }
  out->obj = nullptr;
  PyErr_Format(PyExc_BufferError, "this %s is a part of a FlatBuffer and has no bytes of its own: %s(...) makes one that has",
               view.table->short_name.c_str(), view.table->short_name.c_str());
  return -1;
}

}  // namespace samovar::python
