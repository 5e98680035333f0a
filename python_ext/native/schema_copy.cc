#include "python_ext/native/schema_copy.h"

#include <cstring>

#include "python_ext/native/schema_view.h"

namespace samovar::python {

bool ViewCopy::copy(const FlatBytes& from, const TableAt& at, const Table& table, const Path& path, int depth, Position& out) {
  if (!begin_table(path, depth)) return false;
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

bool ViewCopy::copy_reference(const FlatBytes& from, const Field& field, What what, const Table* of, std::uint32_t at, const Path& path, int depth, Position& out) {
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

bool ViewCopy::find_vector(const FlatBytes& from, const Field& field, std::uint32_t at, std::uint32_t& first, std::uint32_t& count) {
  std::uint32_t target = 0;
  const char* wrong = from.follow(at, target);
  if (wrong == nullptr) wrong = from.vector(target, field.width, field.align, first, count);
  return wrong == nullptr || changed(field, wrong);
}

bool ViewCopy::copy_vector(const FlatBytes& from, const Field& field, std::uint32_t at, const Path& path, int depth, Position& out) {
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
bool ViewCopy::copy_choice(const FlatBytes& from, const TableAt& at, const Field& field, std::uint32_t place, const Path& path, int depth, Ready& ready,
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
  return vector_of_choices(positions, numbers, path, ready, ready_type);
}

}  // namespace samovar::python
