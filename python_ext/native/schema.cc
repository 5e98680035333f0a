#include "python_ext/native/schema.h"

#include <flatbuffers/reflection_generated.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>
#include <set>

namespace samovar::python {
namespace {

constexpr std::uint32_t kTableBytesMax = 0xffff;  // a vtable says how long its table is in 16 bits
constexpr std::uint32_t kAlignMax = 256;

// As they stand in the buffer: any number, where the generated accessors would make an enum of it.
int base_of(const reflection::Type& type) {
  return reinterpret_cast<const flatbuffers::Table&>(type).GetField<std::int8_t>(reflection::Type::VT_BASE_TYPE, reflection::None);
}
int element_of(const reflection::Type& type) {
  return reinterpret_cast<const flatbuffers::Table&>(type).GetField<std::int8_t>(reflection::Type::VT_ELEMENT, reflection::None);
}

std::optional<Scalar> scalar_of(int type) {
  switch (type) {
    case reflection::Bool: return Scalar::boolean;
    case reflection::Byte: return Scalar::i8;
    case reflection::UType:
    case reflection::UByte: return Scalar::u8;
    case reflection::Short: return Scalar::i16;
    case reflection::UShort: return Scalar::u16;
    case reflection::Int: return Scalar::i32;
    case reflection::UInt: return Scalar::u32;
    case reflection::Long: return Scalar::i64;
    case reflection::ULong: return Scalar::u64;
    case reflection::Float: return Scalar::f32;
    case reflection::Double: return Scalar::f64;
    default: return std::nullopt;
  }
}

std::string last_part(const std::string& name) { return name.substr(name.rfind('.') + 1); }

std::string joined(const flatbuffers::Vector<flatbuffers::Offset<flatbuffers::String>>* lines) {
  std::string text;
  if (lines == nullptr) return text;
  for (const auto* line : *lines) {
    if (!text.empty()) text += '\n';
    const std::string_view one = line->string_view();
    text += one.substr(std::min(one.find_first_not_of(' '), one.size()));
  }
  return text;
}

std::uint64_t default_bits(Scalar scalar, const reflection::Field& field) {
  if (scalar == Scalar::f32) return std::bit_cast<std::uint32_t>(static_cast<float>(field.default_real()));
  if (scalar == Scalar::f64) return std::bit_cast<std::uint64_t>(field.default_real());
  return static_cast<std::uint64_t>(field.default_integer());
}

// Names become attributes and parts of C strings.
bool is_name(std::string_view name) {
  return !name.empty() && name.size() < 1000 && !name.starts_with("__") &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
         });
}

class Reader {
 public:
  explicit Reader(const reflection::Schema& from) : from_(from), out_(std::make_unique<Schema>()) {}

  // Empty, or what is wrong.
  std::string read() {
    for (const auto* object : *from_.objects()) out_->tables.emplace_back().is_struct = object->is_struct();
    for (flatbuffers::uoffset_t i = 0; i < from_.enums()->size(); ++i) out_->enums.emplace_back();
    // Sizes of structs come first: fields refer to them.
    for (flatbuffers::uoffset_t i = 0; i < from_.objects()->size(); ++i) {
      if (!head(*from_.objects()->Get(i), out_->tables[i])) return why_;
    }
    for (flatbuffers::uoffset_t i = 0; i < from_.enums()->size(); ++i) {
      if (!enumeration(*from_.enums()->Get(i), out_->enums[i])) return why_;
    }
    for (flatbuffers::uoffset_t i = 0; i < from_.objects()->size(); ++i) {
      if (!fields(*from_.objects()->Get(i), out_->tables[i])) return why_;
    }
    for (const Table& table : out_->tables) {
      if (table.is_struct && !is_shallow(table, 0)) return table.name + " contains structs too deeply, or itself";
    }
    if (const auto* root = from_.root_table()) {
      for (const Table& table : out_->tables) {
        if (table.name == root->name()->string_view() && !table.is_struct) out_->root = &table;
      }
      if (out_->root == nullptr) return "its root table is not among its tables";
    }
    if (const auto* identifier = from_.file_ident(); identifier != nullptr && identifier->size() != 0) {
      if (identifier->size() != 4) return "its file identifier has not four characters";
      out_->identifier = identifier->str();
    }
    return {};
  }

  std::unique_ptr<Schema> take() { return std::move(out_); }

 private:
  bool fail(std::string why) {
    why_ = std::move(why);
    return false;
  }

  bool head(const reflection::Object& object, Table& out) {
    out.name = object.name()->str();
    if (!is_name(out.name)) return fail("a table has a name that cannot be one in Python");
    out.short_name = last_part(out.name);
    out.doc = joined(object.documentation());
    if (!out.is_struct) return true;
    const std::int32_t size = object.bytesize();
    const std::int32_t align = object.minalign();
    if (size <= 0 || size > static_cast<std::int32_t>(kTableBytesMax) || align <= 0 || align > static_cast<std::int32_t>(kAlignMax) ||
        !std::has_single_bit(static_cast<std::uint32_t>(align)) || size % align != 0) {
      return fail(out.name + " has a size or alignment that cannot be");
    }
    out.size = static_cast<std::uint32_t>(size);
    out.align = static_cast<std::uint32_t>(align);
    return true;
  }

  bool enumeration(const reflection::Enum& from, Enumeration& out) {
    out.name = from.name()->str();
    if (!is_name(out.name)) return fail("an enum has a name that cannot be one in Python");
    out.short_name = last_part(out.name);
    out.is_union = from.is_union();
    const auto scalar = scalar_of(base_of(*from.underlying_type()));
    if (!scalar || *scalar == Scalar::f32 || *scalar == Scalar::f64) return fail(out.name + " is no enum of integers");
    out.scalar = *scalar;
    if (out.is_union && width_of(out.scalar) != 1) return fail(out.name + " has types that are not bytes");
    for (const auto* value : *from.values()) {
      EnumValue& to = out.values.emplace_back();
      to.name = value->name()->str();
      if (!is_name(to.name)) return fail(out.name + " has a value whose name cannot be one in Python");
      to.number = value->value();
      if (!out.is_union) continue;
      const auto* type = value->union_type();
      if (type == nullptr || base_of(*type) == reflection::None) {
        to.what = What::scalar;
      } else if (base_of(*type) == reflection::String) {
        to.what = What::text;
      } else if (base_of(*type) == reflection::Obj && is_table(type->index())) {
        to.table = &out_->tables[static_cast<std::size_t>(type->index())];
        to.what = to.table->is_struct ? What::structure : What::table;
      } else {
        return fail(out.name + "." + to.name + " is no table, struct or string");
      }
    }
    std::stable_sort(out.values.begin(), out.values.end(), [](const auto& a, const auto& b) { return a.number < b.number; });
    return true;
  }

  bool is_table(std::int32_t index) const { return index >= 0 && static_cast<std::size_t>(index) < out_->tables.size(); }
  bool is_enum(std::int32_t index) const { return index >= 0 && static_cast<std::size_t>(index) < out_->enums.size(); }

  bool fields(const reflection::Object& object, Table& out) {
    std::vector<const reflection::Field*> living;
    std::set<std::uint16_t> offsets;
    std::set<std::string_view> names;
    for (const auto* field : *object.fields()) {
      if (!offsets.insert(field->offset()).second) return fail(out.name + " has two fields in one place");
      if (!names.insert(field->name()->string_view()).second) return fail(out.name + " has two fields of one name");
      if (!field->deprecated()) living.push_back(field);
    }
    std::sort(living.begin(), living.end(), [](auto* a, auto* b) { return a->offset() < b->offset(); });
    out.fields.reserve(living.size());  // they are pointed to
    std::uint32_t end = 0;
    for (const auto* field : living) {
      Field& to = out.fields.emplace_back();
      to.owner = &out;
      if (!this->field(*field, to) || !place(out, to)) return false;
      // Without this, structs within structs could be exponentially many.
      if (out.is_struct && to.offset < end) return fail(out.name + "." + to.name + " lies over another field");
      end = to.offset + to.inline_width();
    }
    return types_of_unions(out) && order(out);
  }

  bool field(const reflection::Field& from, Field& to) {
    to.name = from.name()->str();
    if (!is_name(to.name) || to.name.find('.') != to.name.npos) return fail(to.owner->name + " has a field whose name cannot be one in Python");
    to.doc = joined(from.documentation());
    to.offset = from.offset();
    to.required = from.required();
    const reflection::Type& type = *from.type();
    int base = base_of(type);
    if (base == reflection::Vector || base == reflection::Array) {
      to.many = base == reflection::Vector ? Many::vector : Many::array;
      to.length = type.fixed_length();
      base = element_of(type);
    }
    to.width = to.align = 4;
    if (const auto scalar = scalar_of(base)) {
      to.what = What::scalar;
      to.scalar = *scalar;
      to.width = to.align = width_of(*scalar);
      if (is_enum(type.index())) to.enumeration = &out_->enums[static_cast<std::size_t>(type.index())];
      if (to.many == Many::one) {
        to.optional = from.optional();
        to.default_bits = default_bits(*scalar, from);
      }
      return true;
    }
    if (base == reflection::String) {
      to.what = What::text;
      return true;
    }
    if (base == reflection::Obj && is_table(type.index())) {
      to.table = &out_->tables[static_cast<std::size_t>(type.index())];
      to.what = to.table->is_struct ? What::structure : What::table;
      if (to.table->is_struct) {
        to.width = to.table->size;
        to.align = to.table->align;
      }
      return true;
    }
    if (base == reflection::Union && is_enum(type.index()) && out_->enums[static_cast<std::size_t>(type.index())].is_union) {
      to.what = What::choice;
      to.enumeration = &out_->enums[static_cast<std::size_t>(type.index())];
      return true;
    }
    return fail(to.owner->name + "." + to.name + " is of a type that this version of samovar does not know");
  }

  // Whether a field can stand where it says.
  bool place(const Table& in, const Field& field) {
    const std::string name = in.name + "." + field.name;
    if (in.is_struct) {
      if (field.many == Many::vector || (field.what != What::scalar && field.what != What::structure)) {
        return fail(name + " cannot be in a struct");
      }
      if (field.many == Many::array && field.length == 0) return fail(name + " has no length");
      if (std::uint64_t{field.offset} + std::uint64_t{field.width} * (field.many == Many::array ? field.length : 1u) > in.size) {
        return fail(name + " lies outside of its struct");
      }
      if (field.offset % field.align != 0 || field.align > in.align) return fail(name + " is not aligned");
      return true;
    }
    if (field.many == Many::array) return fail(name + " is an array, which only structs can have");
    if (field.offset < 4 || field.offset % 2 != 0 || field.offset == 0xfffe) return fail(name + " has no place in a vtable");
    return true;
  }

  bool types_of_unions(Table& table) {
    for (Field& field : table.fields) {
      if (field.what != What::choice) continue;
      const std::string name = field.name + "_type";
      const auto type = std::find_if(table.fields.begin(), table.fields.end(), [&](const Field& one) { return one.name == name; });
      if (type == table.fields.end() || type->what != What::scalar || type->scalar != Scalar::u8 || type->many != field.many) {
        return fail(table.name + "." + field.name + " is a union without a field for its type");
      }
      field.type_field = &*type;
      type->choice = &field;
    }
    return true;
  }

  bool order(Table& table) {
    std::uint64_t bytes = 4;
    for (const Field& field : table.fields) {
      table.by_width.push_back(&field);
      bytes += field.inline_width() + field.inline_align();
    }
    if (!table.is_struct && bytes > kTableBytesMax) return fail(table.name + " is larger than a table can be (64 KiB)");
    std::stable_sort(table.by_width.begin(), table.by_width.end(),
                     [](const Field* a, const Field* b) { return a->inline_align() > b->inline_align(); });
    return true;
  }

  bool is_shallow(const Table& table, int depth) const {
    if (depth > kStructDepthMax) return false;
    return std::all_of(table.fields.begin(), table.fields.end(), [&](const Field& field) {
      // What contains itself would have to be smaller than itself; with equal sizes it goes on until the depth says so.
      return field.what != What::structure || (field.width <= table.size && is_shallow(*field.table, depth + 1));
    });
  }

  const reflection::Schema& from_;
  std::unique_ptr<Schema> out_;
  std::string why_;
};

}  // namespace

std::uint32_t width_of(Scalar scalar) {
  constexpr std::uint32_t kWidths[] = {1, 1, 1, 2, 2, 4, 4, 8, 8, 4, 8};
  return kWidths[static_cast<std::size_t>(scalar)];
}

const char* name_of(Scalar scalar) {
  constexpr const char* kNames[] = {"bool", "byte", "ubyte", "short", "ushort", "int", "uint", "long", "ulong", "float", "double"};
  return kNames[static_cast<std::size_t>(scalar)];
}

const char* buffer_format(Scalar scalar) {
  constexpr const char* kFormats[] = {"?", "b", "B", "h", "H", "i", "I", "q", "Q", "f", "d"};
  return kFormats[static_cast<std::size_t>(scalar)];
}

const Field* Table::find(std::string_view field) const {
  const auto found = std::find_if(fields.begin(), fields.end(), [&](const Field& one) { return one.name == field; });
  return found == fields.end() ? nullptr : &*found;
}

const EnumValue* Enumeration::find(std::int64_t number) const {
  const auto found = std::lower_bound(values.begin(), values.end(), number, [](const EnumValue& a, std::int64_t b) { return a.number < b; });
  return found == values.end() || found->number != number ? nullptr : &*found;
}

const EnumValue* Enumeration::find(std::string_view name) const {
  const auto found = std::find_if(values.begin(), values.end(), [&](const EnumValue& one) { return one.name == name; });
  return found == values.end() ? nullptr : &*found;
}

std::variant<std::unique_ptr<Schema>, std::string> read_schema(std::span<const std::byte> bfbs) {
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(bfbs.data());
  if (bfbs.size() < 8 || bfbs.size() >= FLATBUFFERS_MAX_BUFFER_SIZE || !reflection::SchemaBufferHasIdentifier(bytes)) {
    return std::string("it is not what `flatc -b --schema` writes (no BFBS identifier)");
  }
  // The Verifier wants the alignment that a buffer of its own has.
  std::vector<std::uint64_t> aligned((bfbs.size() + 7) / 8);
  std::memcpy(aligned.data(), bytes, bfbs.size());
  flatbuffers::Verifier verifier(reinterpret_cast<const std::uint8_t*>(aligned.data()), bfbs.size());
  if (!reflection::VerifySchemaBuffer(verifier)) return std::string("its bytes are damaged (they do not verify as a schema)");
  Reader reader(*reflection::GetSchema(aligned.data()));
  std::string why = reader.read();
  if (!why.empty()) return why;
  return reader.take();
}

}  // namespace samovar::python
