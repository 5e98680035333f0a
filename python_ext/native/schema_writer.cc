#include "python_ext/native/schema_writer.h"

#include "python_ext/native/schema_verify.h"

namespace samovar::python {
namespace {

constexpr std::uint64_t kTableRoom = 0x20000;  // more than a table and its vtable can take

}  // namespace

bool TableWriter::begin_table(const Path& path, int depth) {
  if (depth > kTableDepthMax) return fail_at(path, PyExc_ValueError, "is nested deeper than 64 tables");
  return check_room(kTableRoom, path);
}

// A FlatBufferBuilder does not look whether it grows beyond what offsets can say.
bool TableWriter::check_room(std::uint64_t bytes, const Path& path) {
  return builder_.GetSize() + bytes + 0x1000 <= kBufferBytesMax || fail_at(path, PyExc_ValueError, "is more than a FlatBuffer can hold (2 GiB)");
}

void TableWriter::keep(const std::uint8_t* bytes, std::uint32_t size, Ready& ready, std::vector<std::uint8_t>& scratch) {
  ready.present = true;
  ready.scratch_at = scratch.size();
  scratch.insert(scratch.end(), bytes, bytes + size);
}

Position TableWriter::push(const std::uint8_t* bytes, std::size_t size, std::size_t align) {
  builder_.PreAlign(size, align);
  builder_.PushBytes(bytes, size);
  return builder_.GetSize();
}

Position TableWriter::vector_of_structs(const Field& field, const std::uint8_t* bytes, std::size_t count) {
  builder_.StartVector(count * field.width / field.align, field.align);
  builder_.PushBytes(bytes, count * field.width);
  return builder_.EndVector(count);
}

bool TableWriter::vector_of_references(const std::vector<Position>& positions, const Path& path, Position& out) {
  if (!check_room(std::uint64_t{positions.size()} * 4, path)) return false;
  builder_.StartVector(positions.size(), 4);
  for (auto position = positions.rbegin(); position != positions.rend(); ++position) {
    builder_.PushElement(*position == 0 ? 0 : builder_.ReferTo(*position));
  }
  out = builder_.EndVector(positions.size());
  return true;
}

bool TableWriter::vector_of_choices(const std::vector<Position>& positions, const std::vector<std::uint8_t>& types, const Path& path, Ready& ready,
                                    Ready& ready_type) {
  if (!vector_of_references(positions, path, ready.position) || !check_room(types.size(), path)) return false;
  ready_type.position = builder_.CreateVector(types.data(), types.size()).o;
  ready.present = ready_type.present = true;
  return true;
}

Position TableWriter::write(const Table& table, const Ready* ready, const std::vector<std::uint8_t>& scratch) {
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

}  // namespace samovar::python
