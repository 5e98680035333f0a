#include "python_ext/native/schema_values.h"

#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "python_ext/native/schema_copy.h"
#include "python_ext/native/schema_object.h"
#include "python_ext/native/schema_view.h"

namespace samovar::python {
namespace {

std::span<const std::uint8_t> utf8_of(PyObject* text, const Path& path) {
  Py_ssize_t size = 0;
  const char* utf8 = PyUnicode_AsUTF8AndSize(text, &size);
  if (utf8 != nullptr) return {reinterpret_cast<const std::uint8_t*>(utf8), static_cast<std::size_t>(size)};
  if (PyErr_ExceptionMatches(PyExc_UnicodeEncodeError) != 0) {
    PyErr_Clear();
    fail_at(path, PyExc_ValueError, "the str has a lone surrogate, which UTF-8 cannot say");
  }
  return {};
}

// Releases a buffer at the end of its scope.
class BufferView {
 public:
  ~BufferView() {
    if (view.obj != nullptr) PyBuffer_Release(&view);
  }
  Py_buffer view = {};
};

std::uint64_t masked(std::uint64_t bits, std::uint32_t width) { return width == 8 ? bits : bits & ((std::uint64_t{1} << (8 * width)) - 1); }

bool is_none_type(const Field& type_field, PyObject* type) {
  if (type_field.many == Many::vector) return false;
  return PyLong_Check(type) && PyObject_IsTrue(type) == 0;
}

}  // namespace

// ---- tables

bool TableBuild::table(const Table& table, PyObject* const* given, const Path& path, int depth, Position& out) {
  if (!begin_table(path, depth)) return false;
  const std::size_t count = table.fields.size();
  Few<Ready> ready(count);
  std::vector<std::uint8_t> scratch;
  for (std::size_t i = 0; i < count; ++i) {
    const Field& field = table.fields[i];
    PyObject* value = given[i];
    const bool is_given = value != nullptr && value != Py_None;
    const Path here{.up = &path, .name = field.name.c_str()};
    if (field.choice != nullptr) {  // a union writes its type
      PyObject* chosen = given[field.choice - table.fields.data()];
      if (is_given && (chosen == nullptr || chosen == Py_None) && !is_none_type(field, value)) {
        return fail_at(here, PyExc_ValueError, "a type is given, and no " + field.choice->name);
      }
      continue;
    }
    if (!is_given) {
      if (field.required) return fail_at(here, PyExc_TypeError, "is required and not given");
      continue;
    }
    if (field.what == What::choice) {
      const std::size_t type_index = static_cast<std::size_t>(field.type_field - table.fields.data());
      PyObject* type = given[type_index] == Py_None ? nullptr : given[type_index];
      const bool built = field.many == Many::vector ? choices(field, value, type, here, depth, ready[i], ready[type_index])
                                                    : choice(field, value, type, here, depth, ready[i], ready[type_index]);
      if (!built) return false;
    } else if (!this->field(field, value, here, depth, ready[i], scratch)) {
      return false;
    }
  }
  out = write(table, ready.data(), scratch);
  return true;
}

bool TableBuild::table_of(const Table& table, PyObject* value, const Path& path, int depth, Position& out) {
  if (Py_TYPE(value) == table.type) {
    return ViewCopy(builder_).copy(view_of(value).buffer->bytes, view_of(value).at, table, path, depth, out);
  }
  if (!PyDict_Check(value)) return wrong(table, value, path);
  const std::size_t count = table.fields.size();
  Few<PyObject*> given(count);
  Few<Ref> owned(count);  // user code may change the dict while it is read
  PyObject* key = nullptr;
  PyObject* item = nullptr;
  Py_ssize_t at = 0;
  while (PyDict_Next(value, &at, &key, &item) != 0) {
    std::size_t index = 0;
    if (!index_of(table, key, path, index)) return false;
    owned[index] = Ref::borrow(item);
    given[index] = item;
  }
  return this->table(table, given.data(), path, depth, out);
}

bool TableBuild::index_of(const Table& table, PyObject* name, const Path& path, std::size_t& out) {
  PyObject* names = table_type_of(table.type).names;
  if (PyUnicode_Check(name)) {
    if (PyObject* index = PyDict_GetItemWithError(names, name)) {
      out = PyLong_AsSize_t(index);
      return true;
    }
    if (PyErr_Occurred()) return false;
  }
  const Ref shown = Ref::steal(PyObject_Repr(name));
  const char* text = shown ? PyUnicode_AsUTF8(shown.get()) : nullptr;
  PyErr_Clear();
  return fail_at(path, PyExc_TypeError, std::string("no field ") + (text != nullptr ? text : "of that name") + suggestion(name, names));
}

// ---- structs

bool TableBuild::structure(const Table& table, PyObject* value, std::uint8_t* out, const Path& path) {
  if (Py_TYPE(value) == table.type) {
    const ViewObject& view = view_of(value);
    std::memcpy(out, view.buffer->bytes.data + view.at.at, table.size);
    return true;
  }
  const std::size_t count = table.fields.size();
  Few<PyObject*> given(count);
  Few<Ref> owned(count);
  if (PyDict_Check(value)) {
    PyObject* key = nullptr;
    PyObject* item = nullptr;
    Py_ssize_t at = 0;
    while (PyDict_Next(value, &at, &key, &item) != 0) {
      std::size_t index = 0;
      if (!index_of(table, key, path, index)) return false;
      owned[index] = Ref::borrow(item);
      given[index] = item;
    }
  } else if (PyTuple_Check(value) || PyList_Check(value)) {
    if (static_cast<std::size_t>(PySequence_Fast_GET_SIZE(value)) != count) {
      return fail_at(path, PyExc_TypeError, std::to_string(PySequence_Fast_GET_SIZE(value)) + " values where " + table.short_name + " has " +
                                                std::to_string(count) + " fields");
    }
    for (std::size_t i = 0; i < count; ++i) {
      given[i] = PySequence_Fast_GET_ITEM(value, static_cast<Py_ssize_t>(i));
      owned[i] = Ref::borrow(given[i]);
    }
  } else {
    return wrong(table, value, path);
  }
  return structure_fields(table, given.data(), out, path);
}

bool TableBuild::structure_fields(const Table& table, PyObject* const* given, std::uint8_t* out, const Path& path) {
  std::memset(out, 0, table.size);
  for (std::size_t i = 0; i < table.fields.size(); ++i) {
    const Field& field = table.fields[i];
    const Path here{.up = &path, .name = field.name.c_str()};
    if (given[i] == nullptr) return fail_at(here, PyExc_TypeError, "is not given, and a struct has all of its fields");
    std::uint8_t* to = out + field.offset;
    if (field.many == Many::one) {
      if (!element(field, given[i], to, here)) return false;
      continue;
    }
    std::size_t count = 0;
    const auto same_length = [&](std::size_t n) -> std::uint8_t* {
      count = n;
      return n == field.length ? to : nullptr;
    };
    if (!elements(field, given[i], here, same_length)) {
      if (PyErr_Occurred()) return false;
      return fail_at(here, PyExc_ValueError, std::to_string(count) + " values where it has " + std::to_string(field.length));
    }
  }
  return true;
}

bool TableBuild::wrong(const Table& table, PyObject* value, const Path& path) {
  const bool foreign = is_view(value) && view_of(value).table->name == table.name;
  return fail_at(path, PyExc_TypeError, a_thing(value) + " where " + table.short_name + (table.is_struct ? ", a tuple or a dict" : " or a dict") +
                                            " is expected" + (foreign ? " (it is of another samovar.schema() of the same file)" : ""));
}

bool TableBuild::field(const Field& field, PyObject* value, const Path& path, int depth, Ready& ready, std::vector<std::uint8_t>& scratch) {
  ready.present = true;
  if (field.many == Many::vector) return vector(field, value, path, depth, ready.position);
  if (field.what == What::scalar) {
    std::uint8_t bytes[8] = {};
    if (!write_scalar(field, value, bytes, path)) return false;
    std::memcpy(&ready.bits, bytes, sizeof bytes);
    // As generated code does: what is the default is not written.
    ready.present = field.optional || ready.bits != masked(field.default_bits, field.width);
    return true;
  }
  if (field.what == What::structure) {
    ready.scratch_at = scratch.size();
    scratch.resize(scratch.size() + field.width);
    return structure(*field.table, value, scratch.data() + ready.scratch_at, path);
  }
  return reference(field.what, field.table, value, path, depth, ready.position);
}

bool TableBuild::reference(What what, const Table* of, PyObject* value, const Path& path, int depth, Position& out) {
  if (what == What::text) return text(value, path, out);
  if (what == What::table) return table_of(*of, value, path, depth + 1, out);
  std::vector<std::uint8_t> bytes(of->size);
  if (!structure(*of, value, bytes.data(), path) || !check_room(of->size, path)) return false;
  out = push(bytes.data(), of->size, of->align);
  return true;
}

bool TableBuild::text(PyObject* value, const Path& path, Position& out) {
  if (!PyUnicode_Check(value)) return fail_at(path, PyExc_TypeError, a_thing(value) + " where a str is expected");
  const std::span<const std::uint8_t> utf8 = utf8_of(value, path);
  if (utf8.data() == nullptr || !check_room(utf8.size(), path)) return false;
  out = builder_.CreateString(reinterpret_cast<const char*>(utf8.data()), utf8.size()).o;
  return true;
}

bool TableBuild::element(const Field& field, PyObject* value, std::uint8_t* out, const Path& path) {
  return field.what == What::scalar ? write_scalar(field, value, out, path) : structure(*field.table, value, out, path);
}

Ref TableBuild::sequence(const Field& field, PyObject* value, const Path& path) {
  if (PyUnicode_Check(value) || PyDict_Check(value) || (Py_TYPE(value)->tp_iter == nullptr && !PySequence_Check(value))) {
    fail_at(path, PyExc_TypeError, a_thing(value) + " where " + (field.what == What::scalar ? "a list or an array" : "a list") + " is expected");
    return {};
  }
  return Ref::steal(PySequence_Fast(value, "not a sequence"));
}

template <class Make>
bool TableBuild::elements(const Field& field, PyObject* value, const Path& path, Make make) {
  if (field.what == What::scalar && PyObject_CheckBuffer(value)) return array(field, value, path, make);
  const Ref items = sequence(field, value, path);
  if (!items) return false;
  const Py_ssize_t count = PySequence_Fast_GET_SIZE(items.get());
  std::uint8_t* out = make(static_cast<std::size_t>(count));
  if (out == nullptr) return false;
  for (Py_ssize_t i = 0; i < count; ++i, out += field.width) {
    Ref item;
    if (!take(items.get(), i, count, path, item)) return false;
    if (!element(field, item.get(), out, {.up = &path, .index = i})) return false;
  }
  return true;
}

bool TableBuild::take(PyObject* items, Py_ssize_t i, Py_ssize_t count, const Path& path, Ref& out) {
  if (PySequence_Fast_GET_SIZE(items) != count) return fail_at(path, PyExc_RuntimeError, "the list has changed while it was read");
  out = Ref::borrow(PySequence_Fast_GET_ITEM(items, i));
  return true;
}

template <class Make>
bool TableBuild::array(const Field& field, PyObject* value, const Path& path, Make make) {
  BufferView buffer;
  if (PyObject_GetBuffer(value, &buffer.view, PyBUF_FULL_RO) != 0) {
    buffer.view.obj = nullptr;
    return false;
  }
  if (!check_array(field, buffer.view, path)) return false;
  const std::size_t size = static_cast<std::size_t>(buffer.view.len);
  std::uint8_t* out = make(size / field.width);
  if (out == nullptr) return false;
  if (PyBuffer_IsContiguous(&buffer.view, 'C') == 0) return PyBuffer_ToContiguous(out, &buffer.view, buffer.view.len, 'C') == 0;
  if (size != 0) std::memcpy(out, buffer.view.buf, size);
  return true;
}

bool TableBuild::vector(const Field& field, PyObject* value, const Path& path, int depth, Position& out) {
  if (field.what == What::scalar) {
    return elements(field, value, path, [&](std::size_t count) -> std::uint8_t* {
      if (!check_room(std::uint64_t{count} * field.width, path)) return nullptr;
      std::uint8_t* bytes = nullptr;
      out = builder_.CreateUninitializedVector(count, field.width, &bytes);
      return bytes;
    });
  }
  if (field.what == What::structure) {
    std::vector<std::uint8_t> bytes;
    std::size_t count = 0;
    if (!elements(field, value, path, [&](std::size_t n) -> std::uint8_t* {
          if (!check_room(std::uint64_t{n} * field.width, path)) return nullptr;
          count = n;
          bytes.resize(n * field.width + 1);
          return bytes.data();
        })) {
      return false;
    }
    out = vector_of_structs(field, bytes.data(), count);
    return true;
  }
  const Ref items = sequence(field, value, path);
  if (!items) return false;
  const Py_ssize_t count = PySequence_Fast_GET_SIZE(items.get());
  std::vector<Position> positions(static_cast<std::size_t>(count));
  for (Py_ssize_t i = 0; i < count; ++i) {
    Ref item;
    if (!take(items.get(), i, count, path, item)) return false;
    if (!reference(field.what, field.table, item.get(), {.up = &path, .index = i}, depth, positions[static_cast<std::size_t>(i)])) return false;
  }
  return vector_of_references(positions, path, out);
}

// ---- unions

const EnumValue* TableBuild::member_of(const Field& field, PyObject* value, PyObject* type, const Path& path) {
  const Enumeration& of = *field.enumeration;
  if (type != nullptr) {
    std::uint8_t number = 0;
    if (!write_scalar(*field.type_field, type, &number, path)) return nullptr;
    if (const EnumValue* member = of.find(number)) return member;
    fail_at(path, PyExc_ValueError, of.short_name + " has no type " + std::to_string(number));
    return nullptr;
  }
  const EnumValue* found = nullptr;
  int matches = 0;
  for (const EnumValue& member : of.values) {
    const bool is_it = member.what == What::text ? PyUnicode_Check(value) : member.table != nullptr && Py_TYPE(value) == member.table->type;
    if (!is_it) continue;
    found = &member;
    ++matches;
  }
  if (matches == 1) return found;
  std::string names;
  for (const EnumValue& member : of.values) {
    if (member.what != What::scalar) names += (names.empty() ? "" : ", ") + member.name;
  }
  fail_at(path, PyExc_TypeError, a_thing(value) + (matches > 1 ? " is more than one member of " : " is no member of ") + of.short_name + " (" + names +
                                     "); make one by its type, or say which by " + field.type_field->name);
  return nullptr;
}

bool TableBuild::choice(const Field& field, PyObject* value, PyObject* type, const Path& path, int depth, Ready& ready, Ready& ready_type) {
  const EnumValue* member = member_of(field, value, type, path);
  if (member == nullptr) return false;
  if (member->what == What::scalar) return fail_at(path, PyExc_ValueError, "its type is " + member->name + ", and a value is given");
  ready.present = ready_type.present = true;
  ready_type.bits = static_cast<std::uint64_t>(member->number);
  return reference(member->what, member->table, value, path, depth, ready.position);
}

bool TableBuild::choices(const Field& field, PyObject* value, PyObject* types, const Path& path, int depth, Ready& ready, Ready& ready_type) {
  const Ref items = sequence(field, value, path);
  const Ref kinds = items && types != nullptr ? sequence(*field.type_field, types, path) : Ref();
  if (!items || (types != nullptr && !kinds)) return false;
  const Py_ssize_t count = PySequence_Fast_GET_SIZE(items.get());
  if (kinds && PySequence_Fast_GET_SIZE(kinds.get()) != count) return fail_at(path, PyExc_ValueError, field.type_field->name + " has not as many items");
  std::vector<Position> positions;
  std::vector<std::uint8_t> numbers;
  for (Py_ssize_t i = 0; i < count; ++i) {
    const Path here{.up = &path, .index = i};
    Ref item;
    Ref kind;
    if (!take(items.get(), i, count, path, item) || (kinds && !take(kinds.get(), i, count, path, kind))) return false;
    const EnumValue* member = member_of(field, item.get(), kind.get(), here);
    if (member == nullptr) return false;
    positions.push_back(0);
    numbers.push_back(static_cast<std::uint8_t>(member->number));
    if (member->what == What::scalar) return fail_at(here, PyExc_ValueError, "its type is " + member->name + ", and a value is given");
    if (!reference(member->what, member->table, item.get(), here, depth, positions.back())) return false;
  }
  return vector_of_choices(positions, numbers, path, ready, ready_type);
}

}  // namespace samovar::python
