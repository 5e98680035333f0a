#include "python_ext/native/schema_verify.h"

#include <cstring>
#include <vector>

namespace samovar::python {
namespace {

constexpr const char* kOutside = "lies outside of the buffer";
constexpr const char* kUnaligned = "is not aligned";

template <class T>
T load(const std::uint8_t* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

bool is_aligned(std::uint64_t at, std::uint32_t align) { return (at & (align - 1)) == 0; }

class Verifier {
 public:
  // Tables and elements may be shared; what is looked at in all is bounded, so that sharing cannot cost exponential time.
  explicit Verifier(FlatBytes bytes) : bytes_(bytes), left_(1'000'000u + bytes.size) {}

  bool table(const Table& table, std::uint64_t at, TableAt& out) {
    if (const char* what = bytes_.table(at, out)) return fail(what);
    if (!spend()) return false;
    if (++depth_ > kTableDepthMax) return fail("is nested deeper than 64 tables");
    for (const Field& field : table.fields) {
      if (!this->field(field, out)) return step("." + field.name);
    }
    --depth_;
    return true;
  }

  std::string words(const Table& root) const {
    std::string text = root.short_name;
    for (auto step = steps_.rbegin(); step != steps_.rend(); ++step) text += *step;
    return text + ' ' + what_;
  }

 private:
  bool fail(const char* what) {
    what_ = what;
    return false;
  }
  bool step(std::string step) {
    steps_.push_back(std::move(step));
    return false;
  }
  bool spend() { return left_-- > 0 || fail("is one of more tables and elements than the buffer has room for"); }

  bool field(const Field& field, const TableAt& table) {
    const std::uint16_t entry =
        field.offset + 2u <= table.vtable_bytes ? load<std::uint16_t>(bytes_.data + table.vtable + field.offset) : std::uint16_t{0};
    if (entry == 0) return !field.required || fail("is required and absent");
    const std::uint32_t at = table.at + entry;
    if (entry < 4 || entry + field.inline_width() > table.table_bytes) return fail("lies outside of its table");
    if (!is_aligned(at, field.inline_align())) return fail(kUnaligned);
    if (field.many == Many::vector) return vector(field, table, at);
    switch (field.what) {
      case What::scalar:
      case What::structure: return true;
      case What::text:
      case What::table: return reference(field.what, field.table, at);
      case What::choice: {
        std::uint32_t ignored = 0;
        if (const char* wrong = bytes_.follow(at, ignored, 1)) return fail(wrong);  // of whatever type
        const std::uint32_t type = bytes_.place(table, field.type_field->offset, 1);
        return type == 0 || member(*field.enumeration, bytes_.data[type], at);
      }
    }
    return true;
  }

  bool reference(What what, const Table* of, std::uint32_t at) {
    std::uint32_t target = 0;
    if (const char* wrong = bytes_.follow(at, target, what == What::structure ? of->size : 4)) return fail(wrong);
    if (what == What::structure) return is_aligned(target, of->align) || fail(kUnaligned);
    if (what == What::table) {
      TableAt ignored;
      return table(*of, target, ignored);
    }
    std::uint32_t first = 0;
    std::uint32_t count = 0;
    const char* wrong = bytes_.text(target, first, count);
    return wrong == nullptr || fail(wrong);
  }

  bool member(const Enumeration& of, std::uint8_t type, std::uint32_t at) {
    const EnumValue* value = of.find(type);
    return value == nullptr || value->what == What::scalar || reference(value->what, value->table, at);
  }

  bool vector(const Field& field, const TableAt& table, std::uint32_t at) {
    std::uint32_t target = 0;
    std::uint32_t first = 0;
    std::uint32_t count = 0;
    if (const char* wrong = bytes_.follow(at, target)) return fail(wrong);
    if (const char* wrong = bytes_.vector(target, field.width, field.align, first, count)) return fail(wrong);
    if (field.what == What::scalar || field.what == What::structure) return true;
    std::uint32_t types = 0;
    if (field.what == What::choice && !types_of(field, table, count, types)) return false;
    for (std::uint32_t i = 0; i < count; ++i) {
      if (!spend()) return false;
      const std::uint32_t element = first + 4 * i;
      const bool holds = field.what == What::choice ? member(*field.enumeration, bytes_.data[types + i], element)
                                                    : reference(field.what, field.table, element);
      if (!holds) return step("[" + std::to_string(i) + "]");
    }
    return true;
  }

  bool types_of(const Field& field, const TableAt& table, std::uint32_t count, std::uint32_t& first) {
    const std::uint32_t at = bytes_.place(table, field.type_field->offset, 4);
    std::uint32_t target = 0;
    std::uint32_t types = 0;
    if (at == 0) return count == 0 || fail("has no types beside it");
    if (const char* wrong = bytes_.follow(at, target)) return fail(wrong);
    if (const char* wrong = bytes_.vector(target, 1, 1, first, types)) return fail(wrong);
    return types == count || fail("has not as many types beside it");
  }

  const FlatBytes bytes_;
  std::uint64_t left_;
  int depth_ = 0;
  const char* what_ = "";
  std::vector<std::string> steps_;  // the innermost first
};

// Empty, or what is wrong with the buffer whose root offset lies at `start`.
std::string verify_from(const Schema& schema, FlatBytes bytes, std::uint32_t start, TableAt& root) {
  const std::uint32_t head = schema.identifier.empty() ? 4 : 8;
  if (bytes.size < start + head) return "of " + std::to_string(bytes.size) + " bytes is too short to be one";
  if (!schema.identifier.empty()) {
    const std::string found(reinterpret_cast<const char*>(bytes.data + start + 4), 4);
    if (found != schema.identifier) {
      const bool shows = found.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_. -") == found.npos;
      return "has " + (shows ? "the file identifier \"" + found + "\"" : std::string("no file identifier")) + " where \"" + schema.identifier +
             "\" is expected: finish it with the one of the schema (Finish…Buffer() does)";
    }
  }
  Verifier verifier(bytes);
  if (verifier.table(*schema.root, std::uint64_t{start} + bytes.word(start), root)) return {};
  return "does not verify: " + verifier.words(*schema.root);
}

}  // namespace

std::uint32_t FlatBytes::word(std::uint32_t at) const { return load<std::uint32_t>(data + at); }

const char* FlatBytes::table(std::uint64_t at, TableAt& out) const {
  if (at < 4 || at + 4 > size) return kOutside;
  if (!is_aligned(at, 4)) return kUnaligned;
  const std::int64_t vtable = static_cast<std::int64_t>(at) - load<std::int32_t>(data + at);
  if (vtable < 0 || vtable + 4 > static_cast<std::int64_t>(size)) return "has its vtable outside of the buffer";
  if (!is_aligned(static_cast<std::uint64_t>(vtable), 2)) return "has a vtable that is not aligned";
  out.at = static_cast<std::uint32_t>(at);
  out.vtable = static_cast<std::uint32_t>(vtable);
  out.vtable_bytes = load<std::uint16_t>(data + vtable);
  out.table_bytes = load<std::uint16_t>(data + vtable + 2);
  if (out.vtable_bytes < 4 || out.vtable_bytes % 2 != 0 || out.vtable_bytes > size - out.vtable) return "has a vtable that cannot be";
  if (out.table_bytes < 4 || out.table_bytes > size - out.at) return kOutside;
  return nullptr;
}

std::uint32_t FlatBytes::place(const TableAt& table, std::uint16_t field, std::uint32_t bytes) const {
  if (field + 2u > table.vtable_bytes) return 0;
  const std::uint16_t entry = load<std::uint16_t>(data + table.vtable + field);
  // What is verified fails the second test only where the bytes have changed since.
  return entry < 4 || entry + bytes > table.table_bytes ? 0 : table.at + entry;
}

const char* FlatBytes::follow(std::uint32_t at, std::uint32_t& out, std::uint32_t bytes) const {
  const std::uint32_t offset = word(at);
  if (offset < 4 || offset > size - at || bytes > size - at - offset) return kOutside;
  out = at + offset;
  return nullptr;
}

const char* FlatBytes::vector(std::uint32_t at, std::uint32_t width, std::uint32_t align, std::uint32_t& first, std::uint32_t& count) const {
  if (!is_aligned(at, 4)) return kUnaligned;
  count = word(at);
  first = at + 4;
  if (std::uint64_t{count} * width > size - first) return kOutside;
  return count == 0 || is_aligned(first, align) ? nullptr : kUnaligned;
}

const char* FlatBytes::text(std::uint32_t at, std::uint32_t& first, std::uint32_t& count) const {
  if (const char* wrong = vector(at, 1, 1, first, count)) return wrong;
  if (count >= size - first) return kOutside;
  return data[first + count] == 0 ? nullptr : "does not end in a zero";
}

std::string verify(const Schema& schema, FlatBytes bytes, TableAt& root) {
  std::string why = verify_from(schema, bytes, 0, root);
  // With the size in front, alignment still counts from the beginning of all.
  if (!why.empty() && bytes.size >= 8 && bytes.word(0) == bytes.size - 4 && verify_from(schema, bytes, 4, root).empty()) return {};
  return why;
}

}  // namespace samovar::python
