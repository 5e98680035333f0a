#include "python_ext/native/schema_build.h"

#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "python_ext/native/ref.h"
#include "python_ext/native/schema_copy.h"
#include "python_ext/native/schema_object.h"
#include "python_ext/native/schema_values.h"
#include "python_ext/native/schema_view.h"

namespace samovar::python {
namespace {

using Builder = flatbuffers::FlatBufferBuilder;

constexpr std::size_t kCopiedMax = 64 * 1024;  // beyond, the builder's memory is taken rather than copied

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
    if (make(builder, root)) {
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
    if (!TableBuild(unused).structure_fields(table, given, bytes.data(), path)) return nullptr;
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
      return built(*of.schema, table, [&](Builder& builder, Position& root) { return TableBuild(builder).table_of(table, arguments[0], path, 1, root); });
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
      if (!TableBuild::index_of(table, PyTuple_GET_ITEM(names, static_cast<Py_ssize_t>(i)), path, index)) return nullptr;
      if (given[index] != nullptr) {
        fail_at(path, PyExc_TypeError, table.fields[index].name + " is given twice");
        return nullptr;
      }
      given[index] = arguments[count + i];
    }
    if (table.is_struct) return built_struct(*of.schema, table, given.data(), path);
    return built(*of.schema, table, [&](Builder& builder, Position& root) { return TableBuild(builder).table(table, given.data(), path, 1, root); });
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
               [&](Builder& builder, Position& root) { return ViewCopy(builder).copy(view.buffer->bytes, view.at, *view.table, path, 1, root); });
}

}  // namespace samovar::python
