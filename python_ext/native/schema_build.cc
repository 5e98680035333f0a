#include "python_ext/native/schema_build.h"

#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "python_ext/native/ref.h"
#include "python_ext/native/schema_object.h"
#include "python_ext/native/schema_scalars.h"
#include "python_ext/native/schema_view.h"

namespace samovar::python {
namespace {

using Builder = flatbuffers::FlatBufferBuilder;
using Position = flatbuffers::uoffset_t;  // in a builder: counted from the end

constexpr std::uint64_t kTableRoom = 0x20000;  // more than a table and its vtable can take
constexpr std::size_t kCopiedMax = 64 * 1024;  // beyond, the builder's memory is taken rather than copied

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

class Build {
 public:
  explicit Build(Builder& builder) : builder_(builder) {}

  // ---- tables

  // Requires: `given[i]` is the value of table.fields[i], or null.
  bool table(const Table& table, PyObject* const* given, const Path& path, int depth, Position& out) {
    if (!check_depth(path, depth) || !check_room(kTableRoom, path)) return false;
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

  // From a dict or a view.
  bool table_of(const Table& table, PyObject* value, const Path& path, int depth, Position& out) {
    if (Py_TYPE(value) == table.type) return copy(view_of(value).buffer->bytes, view_of(value).at, table, path, depth, out);
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

  // Which field a name means.
  static bool index_of(const Table& table, PyObject* name, const Path& path, std::size_t& out) {
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

  // From a view, a dict, a tuple or list in the order of the fields.
  bool structure(const Table& table, PyObject* value, std::uint8_t* out, const Path& path) {
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

  bool structure_fields(const Table& table, PyObject* const* given, std::uint8_t* out, const Path& path) {
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

  // ---- a view into another buffer

  bool copy(const FlatBytes& from, const TableAt& at, const Table& table, const Path& path, int depth, Position& out) {
    if (!check_depth(path, depth) || !check_room(kTableRoom, path)) return false;
    Few<Ready> ready(table.fields.size());
    std::vector<std::uint8_t> scratch;
    for (std::size_t i = 0; i < table.fields.size(); ++i) {
      const Field& field = table.fields[i];
      const std::uint32_t place = from.place(at, field.offset, field.inline_width());
      if (place == 0 || field.choice != nullptr) continue;
      const Path here{.up = &path, .name = field.name.c_str()};
      if (field.what == What::choice) {
        const std::size_t type_index = static_cast<std::size_t>(field.type_field - table.fields.data());
        if (!copy_choice(from, at, field, place, here, depth, ready[i], ready[type_index])) return false;
      } else if (field.many == Many::vector) {
        ready[i].present = true;
        if (!copy_vector(from, field, place, here, depth, ready[i].position)) return false;
      } else if (field.what == What::scalar) {
        ready[i].present = true;
        std::memcpy(&ready[i].bits, from.data + place, field.width);
      } else if (field.what == What::structure) {
        keep(from.data + place, field.width, ready[i], scratch);
      } else {
        ready[i].present = true;
        if (!copy_reference(from, field, field.what, field.table, place, here, depth, ready[i].position)) return false;
      }
    }
    out = write(table, ready.data(), scratch);
    return true;
  }

  bool wrong(const Table& table, PyObject* value, const Path& path) {
    const bool foreign = is_view(value) && view_of(value).table->name == table.name;
    return fail_at(path, PyExc_TypeError, a_thing(value) + " where " + table.short_name + (table.is_struct ? ", a tuple or a dict" : " or a dict") +
                                              " is expected" + (foreign ? " (it is of another samovar.schema() of the same file)" : ""));
  }

 private:
  bool check_depth(const Path& path, int depth) {
    return depth <= kTableDepthMax || fail_at(path, PyExc_ValueError, "is nested deeper than 64 tables");
  }

  // A FlatBufferBuilder does not look whether it grows beyond what offsets can say.
  bool check_room(std::uint64_t bytes, const Path& path) {
    return builder_.GetSize() + bytes + 0x1000 <= kBufferBytesMax || fail_at(path, PyExc_ValueError, "is more than a FlatBuffer can hold (2 GiB)");
  }

  void keep(const std::uint8_t* bytes, std::uint32_t size, Ready& ready, std::vector<std::uint8_t>& scratch) {
    ready.present = true;
    ready.scratch_at = scratch.size();
    scratch.insert(scratch.end(), bytes, bytes + size);
  }

  bool field(const Field& field, PyObject* value, const Path& path, int depth, Ready& ready, std::vector<std::uint8_t>& scratch) {
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

  static std::uint64_t masked(std::uint64_t bits, std::uint32_t width) { return width == 8 ? bits : bits & ((std::uint64_t{1} << (8 * width)) - 1); }

  bool reference(What what, const Table* of, PyObject* value, const Path& path, int depth, Position& out) {
    if (what == What::text) return text(value, path, out);
    if (what == What::table) return table_of(*of, value, path, depth + 1, out);
    std::vector<std::uint8_t> bytes(of->size);
    if (!structure(*of, value, bytes.data(), path) || !check_room(of->size, path)) return false;
    out = push(bytes.data(), of->size, of->align);
    return true;
  }

  Position push(const std::uint8_t* bytes, std::size_t size, std::size_t align) {
    builder_.PreAlign(size, align);
    builder_.PushBytes(bytes, size);
    return builder_.GetSize();
  }

  bool text(PyObject* value, const Path& path, Position& out) {
    if (!PyUnicode_Check(value)) return fail_at(path, PyExc_TypeError, a_thing(value) + " where a str is expected");
    const std::span<const std::uint8_t> utf8 = utf8_of(value, path);
    if (utf8.data() == nullptr || !check_room(utf8.size(), path)) return false;
    out = builder_.CreateString(reinterpret_cast<const char*>(utf8.data()), utf8.size()).o;
    return true;
  }

  // One element that lies where it is: a scalar or struct.
  bool element(const Field& field, PyObject* value, std::uint8_t* out, const Path& path) {
    return field.what == What::scalar ? write_scalar(field, value, out, path) : structure(*field.table, value, out, path);
  }

  // Items of a list, tuple or anything that can be iterated. Null with an exception.
  static Ref sequence(const Field& field, PyObject* value, const Path& path) {
    if (PyUnicode_Check(value) || PyDict_Check(value) || (Py_TYPE(value)->tp_iter == nullptr && !PySequence_Check(value))) {
      fail_at(path, PyExc_TypeError, a_thing(value) + " where " + (field.what == What::scalar ? "a list or an array" : "a list") + " is expected");
      return {};
    }
    return Ref::steal(PySequence_Fast(value, "not a sequence"));
  }

  // Scalars or structs one behind the other. `make` gives the memory for so many, or null: then false, maybe without an exception.
  template <class Make>
  bool elements(const Field& field, PyObject* value, const Path& path, Make make) {
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

  // Owns the item, for user code may change the list.
  static bool take(PyObject* items, Py_ssize_t i, Py_ssize_t count, const Path& path, Ref& out) {
    if (PySequence_Fast_GET_SIZE(items) != count) return fail_at(path, PyExc_RuntimeError, "the list has changed while it was read");
    out = Ref::borrow(PySequence_Fast_GET_ITEM(items, i));
    return true;
  }

  template <class Make>
  bool array(const Field& field, PyObject* value, const Path& path, Make make) {
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

  bool vector(const Field& field, PyObject* value, const Path& path, int depth, Position& out) {
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

  Position vector_of_structs(const Field& field, const std::uint8_t* bytes, std::size_t count) {
    builder_.StartVector(count * field.width / field.align, field.align);
    builder_.PushBytes(bytes, count * field.width);
    return builder_.EndVector(count);
  }

  // A position of 0 is no reference: a member of a union that is NONE.
  bool vector_of_references(const std::vector<Position>& positions, const Path& path, Position& out) {
    if (!check_room(std::uint64_t{positions.size()} * 4, path)) return false;
    builder_.StartVector(positions.size(), 4);
    for (auto position = positions.rbegin(); position != positions.rend(); ++position) {
      builder_.PushElement(*position == 0 ? 0 : builder_.ReferTo(*position));
    }
    out = builder_.EndVector(positions.size());
    return true;
  }

  // ---- unions

  bool is_none_type(const Field& type_field, PyObject* type) {
    if (type_field.many == Many::vector) return false;
    return PyLong_Check(type) && PyObject_IsTrue(type) == 0;
  }

  // Which member a value is: by its type, where that is given, else by what it is. Null with an exception.
  const EnumValue* member_of(const Field& field, PyObject* value, PyObject* type, const Path& path) {
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

  bool choice(const Field& field, PyObject* value, PyObject* type, const Path& path, int depth, Ready& ready, Ready& ready_type) {
    const EnumValue* member = member_of(field, value, type, path);
    if (member == nullptr) return false;
    if (member->what == What::scalar) return fail_at(path, PyExc_ValueError, "its type is " + member->name + ", and a value is given");
    ready.present = ready_type.present = true;
    ready_type.bits = static_cast<std::uint64_t>(member->number);
    return reference(member->what, member->table, value, path, depth, ready.position);
  }

  bool choices(const Field& field, PyObject* value, PyObject* types, const Path& path, int depth, Ready& ready, Ready& ready_type) {
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
    return write_choices(positions, numbers, path, ready, ready_type);
  }

  bool write_choices(const std::vector<Position>& positions, const std::vector<std::uint8_t>& numbers, const Path& path, Ready& ready, Ready& ready_type) {
    if (!vector_of_references(positions, path, ready.position) || !check_room(numbers.size(), path)) return false;
    ready_type.position = builder_.CreateVector(numbers.data(), numbers.size()).o;
    ready.present = ready_type.present = true;
    return true;
  }

  // ---- copies of what views show

  bool copy_reference(const FlatBytes& from, const Field& field, What what, const Table* of, std::uint32_t at, const Path& path, int depth, Position& out) {
    std::uint32_t target = 0;
    if (const char* wrong = from.follow(at, target, what == What::structure ? of->size : 4)) return changed(field, wrong);
    if (what == What::table) {
      TableAt place;
      if (const char* wrong = from.table(target, place)) return changed(field, wrong);
      return copy(from, place, *of, path, depth + 1, out);
    }
    if (what == What::structure) {
      if (!check_room(of->size, path)) return false;
      out = push(from.data + target, of->size, of->align);
      return true;
    }
    std::uint32_t first = 0;
    std::uint32_t count = 0;
    if (const char* wrong = from.text(target, first, count)) return changed(field, wrong);
    if (!check_room(count, path)) return false;
    out = builder_.CreateString(reinterpret_cast<const char*>(from.data + first), count).o;
    return true;
  }

  bool find_vector(const FlatBytes& from, const Field& field, std::uint32_t at, std::uint32_t& first, std::uint32_t& count) {
    std::uint32_t target = 0;
    const char* wrong = from.follow(at, target);
    if (wrong == nullptr) wrong = from.vector(target, field.width, field.align, first, count);
    return wrong == nullptr || changed(field, wrong);
  }

  bool copy_vector(const FlatBytes& from, const Field& field, std::uint32_t at, const Path& path, int depth, Position& out) {
    std::uint32_t first = 0;
    std::uint32_t count = 0;
    if (!find_vector(from, field, at, first, count) || !check_room(std::uint64_t{count} * field.width, path)) return false;
    if (field.what == What::structure) {
      out = vector_of_structs(field, from.data + first, count);
      return true;
    }
    if (field.what == What::scalar) {
      std::uint8_t* bytes = nullptr;
      out = builder_.CreateUninitializedVector(count, field.width, &bytes);
      if (count != 0) std::memcpy(bytes, from.data + first, std::size_t{count} * field.width);
      return true;
    }
    std::vector<Position> positions(count);
    for (std::uint32_t i = 0; i < count; ++i) {
      const Path here{.up = &path, .index = i};
      if (!copy_reference(from, field, field.what, field.table, first + 4 * i, here, depth, positions[i])) return false;
    }
    return vector_of_references(positions, path, out);
  }

  // Members that the schema does not know cannot be copied: they become NONE.
  bool copy_choice(const FlatBytes& from, const TableAt& at, const Field& field, std::uint32_t place, const Path& path, int depth, Ready& ready,
                   Ready& ready_type) {
    const std::uint32_t type_place = from.place(at, field.type_field->offset, field.type_field->inline_width());
    if (field.many == Many::one) {
      const EnumValue* member = type_place == 0 ? nullptr : field.enumeration->find(from.data[type_place]);
      if (member == nullptr || member->what == What::scalar) return true;
      ready.present = ready_type.present = true;
      ready_type.bits = static_cast<std::uint64_t>(member->number);
      return copy_reference(from, field, member->what, member->table, place, path, depth, ready.position);
    }
    std::uint32_t first = 0;
    std::uint32_t count = 0;
    std::uint32_t types = 0;
    std::uint32_t types_count = 0;
    if (!find_vector(from, field, place, first, count)) return false;
    if (type_place != 0 && !find_vector(from, *field.type_field, type_place, types, types_count)) return false;
    if (types_count != count) return changed(field, "has not as many types beside it");
    std::vector<Position> positions(count);
    std::vector<std::uint8_t> numbers(count);
    for (std::uint32_t i = 0; i < count; ++i) {
      const EnumValue* member = field.enumeration->find(from.data[types + i]);
      if (member == nullptr || member->what == What::scalar) continue;
      numbers[i] = static_cast<std::uint8_t>(member->number);
      const Path here{.up = &path, .index = i};
      if (!copy_reference(from, field, member->what, member->table, first + 4 * i, here, depth, positions[i])) return false;
    }
    return write_choices(positions, numbers, path, ready, ready_type);
  }

  // The table itself, the widest fields first: so padding is least.
  Position write(const Table& table, const Ready* ready, const std::vector<std::uint8_t>& scratch) {
    const Position start = builder_.StartTable();
    for (const Field* field : table.by_width) {
      const Ready& one = ready[field - table.fields.data()];
      if (!one.present) continue;
      if (field->many == Many::vector || field->what == What::text || field->what == What::table || field->what == What::choice) {
        builder_.AddElement(field->offset, builder_.ReferTo(one.position));
        continue;
      }
      const auto* bytes = field->what == What::scalar ? reinterpret_cast<const std::uint8_t*>(&one.bits) : scratch.data() + one.scratch_at;
      builder_.Align(field->align);
      builder_.PushBytes(bytes, field->width);
      builder_.TrackField(field->offset, builder_.GetSize());
    }
    return builder_.EndTable(start);
  }

  Builder& builder_;
};

// What was finished, seen through a view. Leaves the builder's memory to it, or takes it where that is large.
PyObject* seen(SchemaObject& schema, const Table& table, Builder& builder) {
  BufferObject* buffer = nullptr;
  const std::size_t size = builder.GetSize();
  if (size <= kCopiedMax) {
    buffer = buffer_of_copy(schema, std::as_bytes(std::span(builder.GetBufferPointer(), size)));
  } else {
    std::size_t reserved = 0;
    std::size_t offset = 0;
    std::unique_ptr<std::uint8_t[]> memory(builder.ReleaseRaw(reserved, offset));
    const std::span<const std::uint8_t> bytes(memory.get() + offset, size);
    buffer = buffer_of_memory(schema, std::move(memory), bytes);
  }
  if (buffer == nullptr) return nullptr;
  const Ref owned = Ref::steal(reinterpret_cast<PyObject*>(buffer));
  buffer->root = buffer->bytes.word(0);
  return view_table(*buffer, table, buffer->root);
}

// Runs `build` with a builder, finishes what it has made, and shows it. Null with an exception.
template <class Make>
PyObject* built(SchemaObject& schema, const Table& table, Make make) {
  Bench& bench = *schema.bench;
  std::optional<Builder> other;
  const bool is_busy = std::exchange(bench.busy, true);
  if (is_busy) other.emplace(1024);
  Builder& builder = is_busy ? *other : bench.builder;
  PyObject* view = nullptr;
  try {
    Position root = 0;
    Build build(builder);
    if (make(build, root)) {
      const std::string& identifier = schema.schema->identifier;
      const bool has_identifier = &table == schema.schema->root && !identifier.empty();
      builder.Finish(flatbuffers::Offset<void>(root), has_identifier ? identifier.c_str() : nullptr);
      view = seen(schema, table, builder);
    }
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (const std::length_error&) {
    PyErr_NoMemory();
  }
  if (!is_busy) {
    // After a failure it may be of any size, and after one to grow it would write beyond its memory.
    if (view == nullptr) bench.builder = Builder(1024);
    bench.builder.Clear();
    bench.busy = false;
  }
  return view;
}

PyObject* built_struct(SchemaObject& schema, const Table& table, PyObject* const* given, const Path& path) {
  try {
    std::vector<std::uint8_t> bytes(table.size);
    Builder unused(1);
    if (!Build(unused).structure_fields(table, given, bytes.data(), path)) return nullptr;
    BufferObject* buffer = buffer_of_copy(schema, std::as_bytes(std::span(bytes)));
    if (buffer == nullptr) return nullptr;
    const Ref owned = Ref::steal(reinterpret_cast<PyObject*>(buffer));
    return view_struct(*buffer, table, 0);
  } catch (const std::bad_alloc&) {
    return PyErr_NoMemory();
  }
}

}  // namespace

PyObject* build_called(PyObject* type, PyObject* const* arguments, std::size_t flagged_count, PyObject* names) {
  const TableType& of = table_type_of(reinterpret_cast<PyTypeObject*>(type));
  const Table& table = *of.table;
  const Path path{.name = table.short_name.c_str()};
  const auto count = static_cast<std::size_t>(PyVectorcall_NARGS(flagged_count));
  const std::size_t named = names != nullptr ? static_cast<std::size_t>(PyTuple_GET_SIZE(names)) : 0;
  try {
    if (count == 1 && named == 0 && !table.is_struct) {
      return built(*of.schema, table, [&](Build& build, Position& root) { return build.table_of(table, arguments[0], path, 1, root); });
    }
    if (count > (table.is_struct ? table.fields.size() : 0)) {
      fail_at(path, PyExc_TypeError,
              table.is_struct ? "it has " + std::to_string(table.fields.size()) + " fields, and " + std::to_string(count) + " values are given"
                              : std::string("a table takes its fields by name, or one dict or view"));
      return nullptr;
    }
    Few<PyObject*> given(table.fields.size());
    for (std::size_t i = 0; i < count; ++i) given[i] = arguments[i];
    for (std::size_t i = 0; i < named; ++i) {
      std::size_t index = 0;
      if (!Build::index_of(table, PyTuple_GET_ITEM(names, static_cast<Py_ssize_t>(i)), path, index)) return nullptr;
      if (given[index] != nullptr) {
        fail_at(path, PyExc_TypeError, table.fields[index].name + " is given twice");
        return nullptr;
      }
      given[index] = arguments[count + i];
    }
    if (table.is_struct) return built_struct(*of.schema, table, given.data(), path);
    return built(*of.schema, table, [&](Build& build, Position& root) { return build.table(table, given.data(), path, 1, root); });
  } catch (const std::bad_alloc&) {
    return PyErr_NoMemory();
  }
}

PyObject* rebuilt(PyObject* object) {
  const ViewObject& view = view_of(object);
  SchemaObject& schema = schema_of(view.buffer->schema);
  if (view.table->is_struct) {
    PyErr_Format(PyExc_TypeError, "a struct (%s) is no FlatBuffer: return a table that holds it", view.table->short_name.c_str());
    return nullptr;
  }
  const Path path{.name = view.table->short_name.c_str()};
  return built(schema, *view.table,
               [&](Build& build, Position& root) { return build.copy(view.buffer->bytes, view.at, *view.table, path, 1, root); });
}

}  // namespace samovar::python
