#include "tools/cli/digits_client.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace samovar::cli {
namespace {

tl::unexpected<Error> wrong_reply(std::string message) {
  return tl::unexpected(
      Error{.category = Category::application, .code = Code::invalid_result, .message = std::move(message), .context = {}});
}

Result<std::vector<std::byte>> fetch_bytes(Pool& pool, const char* method, std::size_t count, std::size_t item_bytes) {
  std::vector<std::byte> all;
  all.reserve(count * item_bytes);
  const std::size_t page = std::max<std::size_t>(pool.options().inline_bytes_max / item_bytes, 1);
  for (std::size_t first = 0; first < count; first += page) {
    const auto reply = pool.call(method, arguments({first, std::min(page, count - first)}));
    if (!reply) return tl::unexpected(reply.error());
    all.insert(all.end(), reply->data().begin(), reply->data().end());
  }
  if (all.size() != count * item_bytes) return wrong_reply(std::string(method) + ": the pages do not add up");
  return all;
}

}  // namespace

Result<Digits> fetch_digits(Pool& pool) {
  const auto about = pool.call("about");
  if (!about) return tl::unexpected(about.error());
  const auto facts = about->value();
  if (!facts) return tl::unexpected(facts.error());

  const auto number = [&](std::string_view key) {
    const Value* value = facts->find(key);
    return value ? value->as_number().value_or(-1) : -1;
  };
  const auto text = [&](std::string_view key) {
    const Value* value = facts->find(key);
    return value && value->as_str() ? *value->as_str() : "?";
  };
  Digits digits;
  digits.python = text("python");
  digits.versions = text("versions");
  digits.model = text("model");
  digits.support_vectors = static_cast<std::int64_t>(number("support_vectors"));
  digits.trained_ms = number("trained_ms");
  const double count = number("images");
  const double trained = number("trained");
  if (!(0 <= trained && trained < count && count <= 1e6)) return wrong_reply("about: not the facts expected: " + facts->to_string());
  digits.trained = static_cast<std::size_t>(trained);

  auto pixels = fetch_bytes(pool, "images", static_cast<std::size_t>(count), sizeof(Image));
  if (!pixels) return tl::unexpected(std::move(pixels).error());
  digits.images.resize(static_cast<std::size_t>(count));
  std::memcpy(digits.images.data(), pixels->data(), pixels->size());

  const auto labels = fetch_bytes(pool, "labels", static_cast<std::size_t>(count), 1);
  if (!labels) return tl::unexpected(labels.error());
  for (const std::byte label : *labels) digits.labels.push_back(std::to_integer<int>(label));
  return digits;
}

Result<std::int64_t> integer_of(const Result<Reply>& reply) {
  if (!reply) return tl::unexpected(reply.error());
  const auto value = reply->value();
  if (!value) return tl::unexpected(value.error());
  const auto integer = value->as_int();
  if (!integer) return wrong_reply("an int was expected, not " + value->to_string());
  return *integer;
}

}  // namespace samovar::cli
