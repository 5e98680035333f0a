// Schema: what a .bfbs (flatc -b --schema) says of tables, structs, enums and unions, checked and laid out for the view, the
// verifier and the builder. Plain C++: no Python object is touched here, the GIL is not needed.
//
// Threads: any; constant once made, but for Table::type, which whoever made the types sets.
// Invariants: (1) Every index, offset and size has been checked against the others; nothing here needs a second look.
//   (2) A struct contains structs to a depth of at most kStructDepthMax, never itself, and its parts lie within it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

struct _typeobject;

namespace samovar::python {

struct Table;
struct Enumeration;

// A scalar as it lies in a buffer, little-endian.
enum class Scalar : std::uint8_t { boolean, i8, u8, i16, u16, i32, u32, i64, u64, f32, f64 };
std::uint32_t width_of(Scalar scalar);
const char* name_of(Scalar scalar);         // as a schema says it: "ubyte", "float"
const char* buffer_format(Scalar scalar);   // as Python's struct module says it: "B", "f"

enum class What : std::uint8_t { scalar, text, structure, table, choice };  // choice: a union
enum class Many : std::uint8_t { one, vector, array };                      // array: of fixed length, in structs only

// What stands in one place: a field, an element, a member of a union.
struct Field {
  std::string name;
  std::string doc;
  What what = What::scalar;
  Many many = Many::one;
  Scalar scalar = Scalar::boolean;             // where `what` is scalar
  std::uint16_t offset = 0;                    // of its entry in the vtable; in a struct: of its bytes
  std::uint16_t length = 0;                    // of an array
  std::uint32_t width = 0;                     // of one element where it lies: 4 for what is referred to
  std::uint32_t align = 1;
  bool required = false;
  bool optional = false;                       // a scalar without a default: None
  std::uint64_t default_bits = 0;              // of a scalar: its first `width` bytes
  const Table* table = nullptr;                // of a structure or table
  const Enumeration* enumeration = nullptr;    // of a union, or of a scalar that is an enum
  const Field* type_field = nullptr;           // of a union: where its type stands; of a vector of unions: their types
  const Field* choice = nullptr;               // of the type of a union: the union
  const Table* owner = nullptr;

  // Bytes that it takes in its table or struct.
  std::uint32_t inline_width() const { return many == Many::vector ? 4 : many == Many::array ? width * length : width; }
  std::uint32_t inline_align() const { return many == Many::vector ? 4 : align; }
};

struct Table {
  std::string name;        // "shop.Item"
  std::string short_name;  // "Item"
  std::string doc;
  bool is_struct = false;
  std::uint32_t size = 0;   // of a struct
  std::uint32_t align = 1;  // of a struct
  std::vector<Field> fields;             // without deprecated ones; in order of offset
  std::vector<const Field*> by_width;    // as a table is best written: the widest first
  const Field* find(std::string_view field) const;

  _typeobject* type = nullptr;  // the type of its views; not owned
};

struct EnumValue {
  std::string name;
  std::int64_t number = 0;
  What what = What::table;       // of a member of a union: table, structure or text; of NONE: scalar
  const Table* table = nullptr;
};

struct Enumeration {
  std::string name;
  std::string short_name;
  bool is_union = false;
  Scalar scalar = Scalar::u8;
  std::vector<EnumValue> values;  // by number
  const EnumValue* find(std::int64_t number) const;
  const EnumValue* find(std::string_view name) const;
};

inline constexpr int kStructDepthMax = 32;

struct Schema {
  std::deque<Table> tables;
  std::deque<Enumeration> enums;
  const Table* root = nullptr;   // null: the schema names none
  std::string identifier;        // four characters, or empty
};

// The schema that `bfbs` holds, or what is wrong with it. Any bytes may be given. Throws std::bad_alloc and nothing else.
std::variant<std::unique_ptr<Schema>, std::string> read_schema(std::span<const std::byte> bfbs);

}  // namespace samovar::python
