// Every payload kind, both ways, through a real worker.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "tests/support/pools.h"

namespace samovar::test {
namespace {

std::string as_string(const Reply& reply) { return std::string(reply.text()); }

class Payloads : public testing::Test {
 protected:
  Pool pool = start(options());
};

TEST_F(Payloads, nothing_goes_and_none_comes) {
  const auto reply = pool.call("echo");

  ASSERT_TRUE(reply) << reply.error().to_string();
  EXPECT_EQ(reply->kind(), PayloadKind::none);
  EXPECT_TRUE(reply->data().empty());
  EXPECT_TRUE(reply->value()->is_none());
  EXPECT_EQ(reply->worker(), 0);
}

TEST_F(Payloads, bytes_are_a_memoryview_in_python_and_bytes_again_here) {
  std::string every_byte;
  for (int byte = 0; byte < 256; ++byte) every_byte += static_cast<char>(byte);

  const auto reply = pool.call("echo", bytes(every_byte.data(), every_byte.size()));

  ASSERT_TRUE(reply) << reply.error().to_string();
  EXPECT_EQ(reply->kind(), PayloadKind::bytes);
  EXPECT_EQ(as_string(*reply), every_byte);
  EXPECT_EQ(value_of(pool.call("types", bytes("x", 1))), Value::list({"memoryview"}));
  EXPECT_EQ(as_string(*pool.call("bytearray_of", bytes("abc", 3))), "abc");
}

TEST_F(Payloads, text_is_a_str_and_stays_utf8) {
  const std::string text_in = std::string("Самовар \xF0\x9F\xAB\x96 a\0b", 22);

  const auto reply = pool.call("echo", text(text_in));

  ASSERT_TRUE(reply) << reply.error().to_string();
  EXPECT_EQ(reply->kind(), PayloadKind::text);
  EXPECT_EQ(as_string(*reply), text_in);
  EXPECT_EQ(value_of(pool.call("types", text("x"))), Value::list({"str"}));
}

TEST_F(Payloads, text_that_is_not_utf8_is_refused) {
  const auto reply = pool.call("echo", text("a\xFF"));

  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().code, Code::invalid_payload) << reply.error().to_string();
  EXPECT_EQ(reply.error().category, Category::request);
  EXPECT_TRUE(pool.call("echo"));
}

TEST_F(Payloads, empty_bytes_and_text_are_no_none) {
  const auto empty_bytes = pool.call("echo", bytes("", 0));
  ASSERT_TRUE(empty_bytes) << empty_bytes.error().to_string();
  EXPECT_EQ(empty_bytes->kind(), PayloadKind::bytes);
  EXPECT_TRUE(empty_bytes->data().empty());

  const auto empty_text = pool.call("echo", text(""));
  ASSERT_TRUE(empty_text) << empty_text.error().to_string();
  EXPECT_EQ(empty_text->kind(), PayloadKind::text);
  EXPECT_EQ(integer(pool.call("size", text(""))), 0);
}

TEST_F(Payloads, values_of_every_type_come_back_equal) {
  const Value sent = Value::list(
      {nullptr, true, false, 0, -1, std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::int64_t>::max(),
       std::numeric_limits<std::uint64_t>::max(), 0.0, -0.5, std::numeric_limits<double>::infinity(),
       std::numeric_limits<double>::denorm_min(), "", "text", std::string("NUL\0in", 6), Value::bytes("\0\xFF", 2),
       Value::bytes("", 0), Value::list(), Value::list({Value::list({1}), "nested"}), Value::dict(),
       Value::dict({{"a", 1}, {"b", Value::dict({{"c", nullptr}})}})});

  const Value back = value_of(pool.call("echo", value(sent)));

  EXPECT_EQ(back, sent) << back.to_string();
  EXPECT_TRUE(std::signbit(*value_of(pool.call("echo", value(-0.0))).as_double()));
  EXPECT_TRUE(std::isnan(*value_of(pool.call("echo", value(std::nan("")))).as_double()));
}

TEST_F(Payloads, a_value_of_each_type_is_that_type_in_python) {
  const Payload payload = arguments({nullptr, true, 1, 1.5, "s", Value::bytes("b", 1), Value::list(), Value::dict()});

  EXPECT_EQ(value_of(pool.call("types", payload)),
            Value::list({"NoneType", "bool", "int", "float", "str", "bytes", "list", "dict"}));
}

TEST_F(Payloads, dicts_keep_their_order_and_keys_of_every_kind) {
  const Value sent = Value::dict({{"z", 1},
                                  {"a", 2},
                                  {std::string("k\0ey", 4), 3},
                                  {std::string("k\0", 2), 4},
                                  {"k", 5},
                                  {"", 6},
                                  {7, "int"},
                                  {nullptr, "none"},
                                  {2.5, "float"},
                                  {Value::bytes("\0b", 2), "bytes"}});

  EXPECT_EQ(value_of(pool.call("echo", value(sent))), sent);
  EXPECT_EQ(value_of(pool.call("result_of", text("{'z': 1, 'a': 2, 'k\\0ey': 3}"))),
            Value::dict({{"z", 1}, {"a", 2}, {std::string("k\0ey", 4), 3}}));
}

TEST_F(Payloads, arguments_are_spread_to_positional_parameters) {
  EXPECT_EQ(value_of(pool.call("spread", arguments({1, "two", Value::list({3})}))), Value::list({1, "two", Value::list({3})}));
  EXPECT_EQ(value_of(pool.call("spread", arguments({}))), Value::list());
  EXPECT_EQ(value_of(pool.call("with_argument_and_ctx", arguments({"x"}))), Value::list({"x", 0}));
}

TEST_F(Payloads, wrong_number_of_arguments_is_a_type_error_of_the_call) {
  const auto reply = pool.call("size", arguments({1, 2, 3}));

  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().code, Code::method_failed);
  EXPECT_EQ(reply.error().context.python_type, "TypeError");
}

TEST_F(Payloads, inline_bytes_max_is_no_border_that_a_caller_sees) {
  for (std::size_t size : {4095u, 4096u, 4097u, 5000u}) {
    const std::string sent(size, 'x');
    EXPECT_EQ(as_string(*pool.call("echo", bytes(sent.data(), sent.size()))), sent);
    EXPECT_EQ(as_string(*pool.call("echo", text(sent))), sent);
    EXPECT_EQ(value_of(pool.call("echo", value(sent))), Value(sent));
    EXPECT_EQ(pool.call("zeros", value(size))->data().size(), size);
    EXPECT_EQ(as_string(*pool.call("letters", value(size))), sent);
  }
  EXPECT_EQ(pool.stats().request_arena_in_use, 0u);
}

TEST_F(Payloads, every_size_around_granules_and_lines_is_echoed) {
  for (std::size_t size = 0; size <= 4096; size += size < 300 ? 1 : 61) {
    std::string payload(size, '\0');
    for (std::size_t i = 0; i < size; ++i) payload[i] = static_cast<char>(i * 31 + size);
    const auto reply = pool.call("echo", bytes(payload.data(), payload.size()));
    ASSERT_TRUE(reply) << size << ": " << reply.error().to_string();
    ASSERT_EQ(as_string(*reply), payload) << size;
  }
}

TEST_F(Payloads, larger_inline_bytes_max_carries_larger_payloads) {
  Options large = options();
  large.inline_bytes_max = 1 << 20;
  large.lane_bytes = 8 << 20;
  Pool larger = start(large);
  std::string payload(1 << 20, '\0');
  for (std::size_t i = 0; i < payload.size(); ++i) payload[i] = static_cast<char>(i * 2654435761u >> 13);

  for (int round = 0; round < 20; ++round) {
    const auto reply = larger.call("echo", bytes(payload.data(), payload.size()));
    ASSERT_TRUE(reply) << reply.error().to_string();
    ASSERT_EQ(std::memcmp(reply->data().data(), payload.data(), payload.size()), 0);
  }
}

TEST_F(Payloads, a_result_that_cannot_be_encoded_names_the_path_inside_it) {
  const struct {
    const char* expression;
    const char* path;
  } cases[] = {
      {"{'a': [1, 2, 3, {4}]}", "result[\"a\"][3]: set is not supported"},
      {"[object()]", "result[0]: object is not supported"},
      {"{1: {2: [lambda: 0]}}", "result[1][2][0]: function is not supported"},
      {"{4}", "result: set is not supported"},
      {"[2 ** 64]", "result[0]"},
      {"{'k': '\\ud800'}", "result[\"k\"]"},
      {"{(1, 2): 3}", "tuple"},
  };
  for (const auto& [expression, path] : cases) {
    const auto reply = pool.call("result_of", text(expression));
    ASSERT_FALSE(reply) << expression;
    EXPECT_EQ(reply.error().code, Code::invalid_result) << expression << ": " << reply.error().to_string();
    EXPECT_NE(reply.error().message.find(path), std::string::npos) << expression << ": " << reply.error().message;
  }
  EXPECT_TRUE(pool.call("echo"));
}

TEST_F(Payloads, results_that_contain_themselves_are_an_error) {
  const auto reply = pool.call("result_of", text("(lambda l: (l.append(l), l)[1])([])"));

  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().code, Code::invalid_result) << reply.error().to_string();
  EXPECT_TRUE(pool.call("echo"));
}

TEST_F(Payloads, a_view_that_is_not_contiguous_is_an_error_that_says_what_to_do) {
  const auto reply = pool.call("every_other", bytes("abcdef", 6));

  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().code, Code::invalid_result);
  EXPECT_NE(reply.error().message.find("bytes(view)"), std::string::npos) << reply.error().message;
}

TEST_F(Payloads, a_value_that_cannot_be_encoded_fails_here) {
  Value deep = Value::list();
  for (int level = 0; level < 80; ++level) deep = Value::list({deep});

  const auto reply = pool.call("echo", value(deep));

  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().code, Code::invalid_payload);
  EXPECT_EQ(pool.stats().accepted, 0u);
}

TEST_F(Payloads, a_payload_kept_by_the_method_is_not_overwritten_by_the_next) {
  ASSERT_TRUE(pool.call("keep", bytes("first", 5)));
  for (int call = 0; call < 100; ++call) ASSERT_TRUE(pool.call("echo", bytes("other", 5)));

  EXPECT_EQ(as_string(*pool.call("kept_bytes")), "first");
}

TEST_F(Payloads, submitted_payloads_are_copied) {
  std::string mine(1000, 'a');
  std::string got;
  const auto submitted = pool.submit("echo", bytes(mine.data(), mine.size()), [&](Result<Reply> r) { got = as_string(*r); });
  ASSERT_TRUE(submitted);
  mine.assign(1000, 'b');

  ASSERT_TRUE(wait_until([&] { return pool.poll() > 0; }));
  EXPECT_EQ(got, std::string(1000, 'a'));
}

TEST_F(Payloads, methods_can_have_any_name) { EXPECT_EQ(text_of(pool.call("named by its author")), "named"); }

TEST_F(Payloads, timed_calls_tell_the_time_in_the_handler) {
  const auto timed = pool.call("spin_us", value(2000), {.timed = true});
  ASSERT_TRUE(timed);
  EXPECT_GE(timed->service_time(), std::chrono::microseconds(1990));
  EXPECT_EQ(pool.call("spin_us", value(10))->service_time().count(), 0);
}

TEST_F(Payloads, replies_outlive_their_worker_and_the_pool) {
  auto pool_on_heap = std::make_unique<Pool>(start(options()));
  std::vector<Reply> replies;
  for (int i = 0; i < 200; ++i) {
    const std::string payload = "reply " + std::to_string(i);
    auto reply = pool_on_heap->call("echo", text(payload));
    ASSERT_TRUE(reply);
    replies.push_back(std::move(*reply));
  }
  ASSERT_FALSE(pool_on_heap->call("die", value(0)));
  pool_on_heap.reset();

  for (int i = 0; i < 200; ++i) EXPECT_EQ(as_string(replies[static_cast<std::size_t>(i)]), "reply " + std::to_string(i));
}

}  // namespace
}  // namespace samovar::test
