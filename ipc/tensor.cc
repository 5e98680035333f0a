#include "ipc/tensor.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace samovar::ipc {
namespace {

static_assert(std::endian::native == std::endian::little, "headers are little-endian; loads and stores here are memcpy");

// The second word of an entry; the first is the offset of its elements. Shape and name follow.
struct EntryWord {
  std::uint8_t dtype;
  std::uint8_t rank;
  std::uint16_t name_bytes;
  std::uint32_t item_bytes;
};
struct Tail {
  std::uint32_t count;
  std::uint32_t header_bytes;
};
static_assert(sizeof(EntryWord) == 8 && sizeof(Tail) == kTensorTailBytes);

constexpr std::size_t words_of(std::size_t bytes) { return (bytes + 7) / 8; }

tl::unexpected<std::string> wrong(std::string what) { return tl::unexpected(std::move(what)); }

tl::unexpected<std::string> wrong(std::size_t index, const std::string& what) {
  return tl::unexpected("tensor " + std::to_string(index) + " " + what);
}

// The end of a header, copied and checked: it fits into `bytes`, which it is the end of.
tl::expected<Tail, std::string> read_tail(std::span<const std::byte> bytes) {
  Tail tail;
  if (bytes.size() < sizeof tail) return wrong("its payload of " + std::to_string(bytes.size()) + " bytes is too short for a header");
  std::memcpy(&tail, bytes.data() + bytes.size() - sizeof tail, sizeof tail);
  if (tail.header_bytes % 8 != 0 || tail.header_bytes < sizeof tail + kTensorFixedBytes || tail.header_bytes > kTensorHeaderBytesMax ||
      tail.header_bytes > bytes.size()) {
    return wrong("its header cannot have " + std::to_string(tail.header_bytes) + " bytes of " + std::to_string(bytes.size()));
  }
  if (tail.count == 0 || tail.count > kTensorsMax) return wrong("its header tells of " + std::to_string(tail.count) + " tensors");
  return tail;
}

// Bytes of a tensor's elements. False: there is no such tensor.
bool count_bytes(std::uint32_t item_bytes, std::span<const std::uint64_t> shape, std::uint64_t& out) {
  // Of the dimensions that are not zero, since those of a slice count, too: (0, 2**62, 2**62) has no bytes and could still not be used.
  std::uint64_t bytes = item_bytes;
  bool empty = false;
  for (const std::uint64_t dimension : shape) {
    empty |= dimension == 0;
    if (dimension > kTensorBytesMax || __builtin_mul_overflow(bytes, std::max<std::uint64_t>(dimension, 1), &bytes) || bytes > kTensorBytesMax) return false;
  }
  out = empty ? 0 : bytes;
  return shape.size() <= kTensorRankMax;
}

// Requires: count_bytes() has said no.
std::string why_no_bytes(std::span<const std::uint64_t> shape) {
  if (shape.size() > kTensorRankMax) return "has " + std::to_string(shape.size()) + " dimensions, and " + std::to_string(kTensorRankMax) + " is the most";
  if (std::ranges::any_of(shape, [](std::uint64_t dimension) { return dimension > kTensorBytesMax; })) return "has a negative dimension: " + shape_text(shape);
  return "of shape " + shape_text(shape) + " has more than 2**63 bytes";
}

}  // namespace

std::string_view name_of(DType dtype) {
  constexpr std::string_view kNames[] = {"bool",    "int8",    "int16",   "int32",   "int64",    "uint8",     "uint16",     "uint32",
                                         "uint64",  "float16", "float32", "float64", "bfloat16", "complex64", "complex128", "bytes"};
  return kNames[static_cast<std::size_t>(dtype)];
}

std::string shape_text(std::span<const std::uint64_t> shape) {
  std::string text = "(";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (i > 0) text += ", ";
    text += std::to_string(static_cast<std::int64_t>(shape[i]));
  }
  text += shape.size() == 1 ? ",)" : ")";
  return text;
}

tl::expected<std::uint64_t, std::string> tensor_bytes(std::uint32_t item_bytes, std::span<const std::uint64_t> shape) {
  std::uint64_t bytes;
  if (count_bytes(item_bytes, shape, bytes)) return bytes;
  return wrong(why_no_bytes(shape));
}

void TensorLayout::clear() {
  data_bytes_ = 0;
  count_ = 0;
  header_.clear();
  names_.clear();
  gaps_.clear();
}

tl::expected<std::uint64_t, std::string> TensorLayout::add(DType dtype, std::uint32_t item_bytes, std::span<const std::uint64_t> shape,
                                                           std::string_view name) {
  if (count_ == kTensorsMax) return wrong("a payload has at most " + std::to_string(kTensorsMax) + " tensors");
  if (name.size() > kTensorNameBytesMax) {
    return wrong("the name of a tensor has at most " + std::to_string(kTensorNameBytesMax) + " bytes, this one has " + std::to_string(name.size()));
  }
  if (count_ > 0 && name.empty() != names_.empty()) return wrong("either all tensors of a payload have names or none has");
  if (std::find(names_.begin(), names_.end(), name) != names_.end()) return wrong("two tensors are named \"" + std::string(name) + "\"");
  std::uint64_t bytes;
  if (!count_bytes(item_bytes, shape, bytes)) return wrong(count_, why_no_bytes(shape));
  const std::uint64_t offset = (data_bytes_ + kTensorAlignment - 1) & ~std::uint64_t{kTensorAlignment - 1};
  if (bytes > kTensorBytesMax - kTensorHeaderBytesMax - offset) return wrong("the tensors have more than 2**63 bytes together");
  if (offset > data_bytes_) gaps_.push_back({data_bytes_, offset - data_bytes_});
  put(dtype, item_bytes, shape, name, offset);
  data_bytes_ = offset + bytes;
  return offset;
}

void TensorLayout::add_placed(DType dtype, std::uint32_t item_bytes, std::span<const std::uint64_t> shape, std::string_view name,
                              std::uint64_t offset) {
  put(dtype, item_bytes, shape, name, offset);
}

void TensorLayout::put(DType dtype, std::uint32_t item_bytes, std::span<const std::uint64_t> shape, std::string_view name,
                       std::uint64_t offset) {
  const EntryWord word{static_cast<std::uint8_t>(dtype), static_cast<std::uint8_t>(shape.size()), static_cast<std::uint16_t>(name.size()),
                       item_bytes};
  header_.push_back(offset);
  header_.push_back(std::bit_cast<std::uint64_t>(word));
  header_.insert(header_.end(), shape.begin(), shape.end());
  if (!name.empty()) {
    const std::size_t at = header_.size();
    header_.resize(at + words_of(name.size()));
    std::memcpy(header_.data() + at, name.data(), name.size());
    names_.emplace_back(name);
  }
  ++count_;
}

void TensorLayout::write_gaps(std::byte* payload) const {
  for (const Gap& gap : gaps_) std::memset(payload + gap.at, 0, gap.bytes);
}

void TensorLayout::write_header(std::byte* payload) const {
  write_gaps(payload);
  std::memset(payload + data_bytes_, 0, header_at() - data_bytes_);
  copy_header(payload + header_at());
}

void TensorLayout::copy_header(std::byte* out) const {
  std::memcpy(out, header_.data(), header_.size() * 8);
  const Tail tail{count_, static_cast<std::uint32_t>(header_bytes())};
  std::memcpy(out + header_.size() * 8, &tail, sizeof tail);
}

tl::expected<void, std::string> TensorHeader::read(std::span<const std::byte> payload) {
  entries_.clear();
  const auto tail = read_tail(payload);
  if (!tail) return tl::unexpected(tail.error());
  return take(payload.last(tail->header_bytes), tail->count, payload.size() - tail->header_bytes);
}

tl::expected<void, std::string> TensorHeader::read(std::span<const std::byte> header, std::uint64_t data_bytes) {
  entries_.clear();
  const auto tail = read_tail(header);
  if (!tail) return tl::unexpected(tail.error());
  if (tail->header_bytes != header.size()) {
    return wrong("its header says " + std::to_string(tail->header_bytes) + " bytes of itself and has " + std::to_string(header.size()));
  }
  return take(header, tail->count, data_bytes);
}

// The tail is not looked at again, so that what has been checked is what is used.
tl::expected<void, std::string> TensorHeader::take(std::span<const std::byte> header, std::uint32_t count, std::uint64_t data_bytes) {
  words_.resize((header.size() - kTensorTailBytes) / 8);
  std::memcpy(words_.data(), header.data(), words_.size() * 8);
  auto parsed = parse(count, data_bytes);
  if (!parsed) entries_.clear();
  return parsed;
}

// Requires: words_ is what stands before the tail of a header.
tl::expected<void, std::string> TensorHeader::parse(std::uint32_t count, std::uint64_t data_bytes) {
  std::size_t at = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (words_.size() - at < kTensorFixedBytes / 8) return wrong(i, "is missing in the header");
    TensorEntry& entry = entries_.emplace_back();
    entry.offset = words_[at];
    const auto word = std::bit_cast<EntryWord>(words_[at + 1]);
    at += kTensorFixedBytes / 8;
    if (word.dtype > kDTypeMax) return wrong(i, "has the unknown dtype " + std::to_string(word.dtype));
    entry.dtype = static_cast<DType>(word.dtype);
    entry.item_bytes = word.item_bytes;
    if (entry.dtype == DType::bytes ? entry.item_bytes == 0 : entry.item_bytes != item_bytes_of(entry.dtype)) {
      return wrong(i, "has elements of " + std::to_string(entry.item_bytes) + " bytes, which " + std::string(name_of(entry.dtype)) + " cannot have");
    }
    if (word.rank > kTensorRankMax) return wrong(i, "has " + std::to_string(word.rank) + " dimensions");
    if (word.name_bytes > kTensorNameBytesMax) return wrong(i, "has a name of " + std::to_string(word.name_bytes) + " bytes");
    const std::size_t name_words = words_of(word.name_bytes);
    if (words_.size() - at < word.rank + name_words) return wrong(i, "has a shape or a name that the header ends in");
    entry.shape = {words_.data() + at, word.rank};
    entry.name = {reinterpret_cast<const char*>(words_.data() + at + word.rank), word.name_bytes};
    at += word.rank + name_words;

    if (!count_bytes(entry.item_bytes, entry.shape, entry.bytes)) return wrong(i, why_no_bytes(entry.shape));
    if (entry.offset % alignment_of(entry.dtype) != 0) return wrong(i, "is not aligned: it begins at " + std::to_string(entry.offset));
    if (entry.offset > data_bytes || entry.bytes > data_bytes - entry.offset) {
      return wrong(i, "of " + std::to_string(entry.bytes) + " bytes at " + std::to_string(entry.offset) + " does not lie within the " +
                          std::to_string(data_bytes) + " bytes before the header");
    }
    if (entry.name.empty() != entries_.front().name.empty()) return wrong(i, "has a name and others have none, or the other way round");
    for (const TensorEntry& other : std::span(entries_.data(), i)) {
      if (!entry.name.empty() && other.name == entry.name) return wrong(i, "has the name of another one");
    }
  }
  if (at != words_.size()) return wrong("its header has " + std::to_string((words_.size() - at) * 8) + " bytes more than its tensors need");
  return {};
}

}  // namespace samovar::ipc
