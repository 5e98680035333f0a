// Tensors through real workers: what C++ sends is what Python sees and the other way round, and nothing is copied that need not be.
#include <gtest/gtest.h>

#include <algorithm>
#include <complex>
#include <cstring>
#include <fstream>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include <samovar/samovar.h>

#include "tests/support/pools.h"
#include "tests/support/wait_until.h"

namespace samovar::test {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kMiB = std::size_t{1} << 20;

class Tensors : public testing::Test {
 protected:
  Tensors() : pool(start(with_arenas())) {}

  static Options with_arenas() {
    Options o = options("tensors.py");
    o.request_arena_bytes = o.response_arena_bytes = 64 * kMiB;
    o.arena_trim_delay = 20ms;
    return o;
  }

  std::string described(const Payload& payload) { return value_of(pool.call("describe", payload)).to_string(); }
  Result<Reply> result(std::string_view name) { return pool.call("result", text(name)); }
  std::uint64_t in_use() const { return pool.stats().request_arena_in_use; }

  Pool pool;
};

std::vector<float> ramp(std::size_t n) {
  std::vector<float> values(n);
  std::iota(values.begin(), values.end(), 0.0f);
  return values;
}

template <typename T>
std::vector<T> vector_of(const Result<TensorViewOf<T>>& view) {
  if (!view) throw std::runtime_error(view.error().to_string());
  return {view->span().begin(), view->span().end()};
}

// What was wrong with a call, worded for the test to look at.
std::string message_of(const Result<Reply>& reply) { return reply ? "no error" : reply.error().message; }

#define EXPECT_SAYS(text, part) EXPECT_NE(std::string(text).find(part), std::string::npos) << text

template <typename T>
class TensorsOf : public Tensors {};
using Elements = testing::Types<bool, std::int8_t, std::int16_t, std::int32_t, std::int64_t, std::uint8_t, std::uint16_t, std::uint32_t,
                                std::uint64_t, float16, float, double, std::complex<float>, std::complex<double>>;
TYPED_TEST_SUITE(TensorsOf, Elements);

TYPED_TEST(TensorsOf, go_there_and_back_small_and_large) {
  for (const std::size_t n : {std::size_t{6}, std::size_t{30'000}}) {
    std::vector<unsigned char> bytes(n * sizeof(TypeParam));
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<unsigned char>(std::is_same_v<TypeParam, bool> ? i % 2 : i * 7 % 120);
    const std::span<const TypeParam> elements(reinterpret_cast<const TypeParam*>(bytes.data()), n);
    const Payload payload = TensorRef(elements, Shape{n / 3, 3});
    const auto name = this->described(payload);
    EXPECT_EQ(name, "['" + std::string(to_string(dtype_of<TypeParam>())) + "', [" + std::to_string(n / 3) + ", 3], 'ndarray']");
    const auto reply = this->pool.call("copy", payload);
    ASSERT_TRUE(reply) << reply.error().to_string();
    const auto view = reply->template tensor<TypeParam, 2>();
    ASSERT_TRUE(view) << view.error().to_string();
    EXPECT_EQ(view->shape(), (Shape{n / 3, 3}));
    EXPECT_EQ(std::memcmp(view->data(), bytes.data(), bytes.size()), 0);
  }
}

TEST_F(Tensors, arrive_read_only_aligned_and_in_place) {
  for (const std::size_t n : {std::size_t{16}, std::size_t{100'000}}) {
    EXPECT_EQ(value_of(pool.call("is_right", tensor(ramp(n)))).to_string(), "[True, True, True, True, True]") << n;
    const auto refused = pool.call("write_into", tensor(ramp(n)));
    EXPECT_EQ(code_of(refused), Code::method_failed);
    EXPECT_SAYS(message_of(refused), "read-only");
  }
}

TEST_F(Tensors, may_have_no_elements_or_no_dimensions) {
  EXPECT_EQ(described(tensor(std::vector<float>(), {0, 3})), "['float32', [0, 3], 'ndarray']");
  const std::vector<double> one{2.5};
  EXPECT_EQ(described(tensor(one, {})), "['float64', [], 'ndarray']");
  const auto scalar = result("scalar");
  EXPECT_EQ(vector_of(scalar->tensor<double, 0>()), one);
  const auto nothing = result("nothing");
  EXPECT_EQ(nothing->tensor<std::int16_t>()->shape(), (Shape{3, 0, 2}));
  EXPECT_EQ(nothing->tensor<std::int16_t>()->size(), 0u);
}

TEST_F(Tensors, of_bytes_and_bfloat16_arrive_as_what_they_are) {
  const std::string text = "ab\0\0cde\0";
  EXPECT_EQ(described(tensor(DType::bytes, 4, std::as_bytes(std::span("ab\0\0cde\0", 8)), {2})), "['|S4', [2], 'ndarray']");
  const auto bytes = result("bytes_array");
  const auto view = bytes->tensor();
  ASSERT_TRUE(view) << view.error().to_string();
  EXPECT_EQ(view->dtype(), DType::bytes);
  EXPECT_EQ(view->item_bytes(), 3u);
  EXPECT_EQ(std::memcmp(view->elements().data(), "ab\0c\0\0", 6), 0);

  const std::vector<bfloat16> brain{bfloat16(1.5f), bfloat16(-2.0f)};
  const auto back = pool.call("raw_echo", tensor(brain));
  ASSERT_TRUE(back) << back.error().to_string();
  EXPECT_EQ(vector_of(back->tensor<bfloat16>()), brain);
  EXPECT_EQ(value_of(pool.call("raw", tensor(brain))).to_string(), "['Tensor', 'bfloat16', [2], True, 'H', 4, 4]");
}

TEST_F(Tensors, of_bfloat16_are_arrays_of_ml_dtypes) {
  for (const std::size_t n : {2u, 5000u}) {
    std::vector<bfloat16> brain(n, bfloat16(1.5f));
    brain.back() = bfloat16(-2.0f);
    std::vector<bfloat16> doubled(n, bfloat16(3.0f)), more(n, bfloat16(2.5f));
    doubled.back() = bfloat16(-4.0f), more.back() = bfloat16(-1.0f);
    EXPECT_EQ(described(tensor(brain)), "['bfloat16', [" + std::to_string(n) + "], 'ndarray']");
    EXPECT_EQ(value_of(pool.call("is_right", tensor(brain))).to_string(), "[True, True, True, True, True]");
    EXPECT_EQ(vector_of(pool.call("add_one", tensor(brain))->tensor<bfloat16>()), more);
    EXPECT_EQ(vector_of(pool.call("doubled_in_place", tensor(brain))->tensor<bfloat16>()), doubled);
    EXPECT_EQ(vector_of(pool.call("copy", tensor(brain))->tensor<bfloat16>()), brain);
    EXPECT_EQ(pool.call("strided", tensor(brain))->tensor<bfloat16>()->size(), n / 2);
    EXPECT_FALSE(pool.call("copy", tensor(brain))->tensor<float16>()) << "of the same size, and another thing";
  }
}

TEST_F(Tensors, with_names_are_a_dict_and_without_a_list) {
  const auto a = ramp(3);
  const std::vector<std::uint8_t> b(70'000, 1);
  EXPECT_EQ(described(tensors({{"image", tensor(a, {3, 1})}, {"mask", tensor(b)}})),
            "{'image': ['float32', [3, 1], 'ndarray'], 'mask': ['uint8', [70000], 'ndarray']}");
  EXPECT_EQ(described(tensors({tensor(a), tensor(b)})), "[['float32', [3], 'ndarray'], ['uint8', [70000], 'ndarray']]");
  EXPECT_EQ(value_of(pool.call("total", tensors({{"image", tensor(a)}, {"mask", tensor(b)}}))).to_string(), "70003.0");

  const auto named = result("named");
  EXPECT_EQ(vector_of(named->tensor<std::int64_t>("a")), (std::vector<std::int64_t>{1, 2}));
  EXPECT_EQ(vector_of(named->tensor<std::uint8_t>("b")), (std::vector<std::uint8_t>{1, 0}));
  EXPECT_SAYS(named->tensor("c").error().message, "no tensor \"c\"; it has a, b");
  EXPECT_SAYS(named->tensor().error().message, "2 tensors");
  const auto several = result("several");
  const auto all = several->tensors();
  ASSERT_TRUE(all) << all.error().to_string();
  ASSERT_EQ(all->size(), 2u);
  EXPECT_EQ((*all)[1].dtype(), DType::float32);
  const auto listed = result("one_in_a_list");
  EXPECT_EQ(vector_of(listed->tensor<std::int64_t>()), std::vector<std::int64_t>{4});
}

TEST_F(Tensors, many_with_long_names_have_a_header_that_does_not_fit_into_a_record) {
  std::vector<std::string> names;
  std::vector<NamedTensor> named;
  const auto values = ramp(3000);
  for (int i = 0; i < 100; ++i) names.push_back(std::string(200, 'n') + std::to_string(i));
  for (const std::string& name : names) named.push_back({name, tensor(values)});
  EXPECT_EQ(value_of(pool.call("total", tensors(named))), Value(100.0 * 3000 * 2999 / 2));
  const auto back = pool.call("echo", tensors(named));
  ASSERT_TRUE(back) << back.error().to_string();
  EXPECT_EQ(vector_of(back->tensor<float>(names[57])), values);

  std::vector<TensorSpec> specs;
  for (const std::string& name : names) specs.push_back({.name = name, .shape = {10}});
  auto loan = pool.loan_tensors(specs);
  ASSERT_TRUE(loan) << loan.error().to_string();
  for (const auto& part : loan->parts()) std::memset(part.elements.data(), 0, part.elements.size());
  EXPECT_EQ(value_of(pool.call("total", std::move(*loan))), Value(0.0));
  EXPECT_EQ(in_use(), 0u);
}

TEST_F(Tensors, of_a_loan_are_written_in_place_and_read_in_place) {
  auto loan = pool.loan_tensor<float>({1000, 700, 3});
  ASSERT_TRUE(loan) << loan.error().to_string();
  EXPECT_EQ(loan->span().size(), 2'100'000u);
  EXPECT_EQ(loan->shape(), (Shape{1000, 700, 3}));
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(loan->span().data()) % 64, 0u);
  std::ranges::fill(loan->span(), 1.0f);
  const float* const where = loan->span().data();
  const auto back = pool.call("echo", std::move(*loan));
  ASSERT_TRUE(back) << back.error().to_string();
  const auto view = back->tensor<float, 3>();
  ASSERT_TRUE(view) << view.error().to_string();
  EXPECT_EQ(view->data(), where) << "the very elements that were sent";
  EXPECT_EQ(view->at(999, 699, 2), 1.0f);
}

TEST_F(Tensors, several_may_share_a_loan) {
  auto loan = pool.loan_tensors({{"a", DType::float32, {5000}}, {"b", DType::uint8, {3, 3}}});
  ASSERT_TRUE(loan) << loan.error().to_string();
  std::ranges::fill(*loan->span<float>("a"), 2.0f);
  std::ranges::fill(*loan->span<std::uint8_t>(1), 3);
  EXPECT_SAYS(loan->span<double>("a").error().message, "is float32, not float64");
  EXPECT_SAYS(loan->span<float>("c").error().message, "no tensor \"c\"");
  EXPECT_EQ(value_of(pool.call("total", std::move(*loan))), Value(10027.0));
  EXPECT_EQ(in_use(), 0u);
  auto small = pool.loan_tensor<std::int32_t>({2});
  small->span()[0] = small->span()[1] = 21;
  EXPECT_EQ(value_of(pool.call("total", std::move(*small))), Value(42.0)) << "one that fits into a record";
}

TEST_F(Tensors, are_copied_by_submit_and_may_be_sent_many_times) {
  const auto values = ramp(10'000);
  auto loan = pool.loan_tensor<float>({10'000});
  loan->write(std::span(values).first(100));
  loan->write(std::span(values).subspan(100), 100);
  const Payload payload = std::move(*loan);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(value_of(pool.call("total", payload)), Value(10'000.0 * 9999 / 2));
  std::vector<Result<Reply>> replies;
  for (const std::size_t n : {std::size_t{4}, std::size_t{10'000}}) {
    auto local = ramp(n);
    ASSERT_TRUE(pool.submit("total", tensor(local), [&](Result<Reply> r) noexcept { replies.push_back(std::move(r)); }));
    std::ranges::fill(local, -1.0f);
  }
  EXPECT_TRUE(wait_until([&] { return pool.poll(), replies.size() == 2; }));
  EXPECT_EQ(value_of(replies[0]).to_string() + value_of(replies[1]).to_string(), "6.049995000.0");
}

TEST_F(Tensors, that_cannot_be_are_refused_before_they_are_sent) {
  const auto values = ramp(6);
  const auto refused = [&](const Payload& payload, std::string_view why) {
    const auto reply = pool.call("total", payload);
    EXPECT_EQ(code_of(reply), Code::invalid_payload);
    EXPECT_SAYS(message_of(reply), why);
  };
  refused(tensor(values, {2, 2}), "a tensor of shape (2, 2) has 4 elements, and 6 were given");
  refused(tensor(values, {std::uint64_t{1} << 62, 8}), "more than 2**63 bytes");
  refused(tensor(values, {static_cast<std::uint64_t>(-1)}), "negative dimension");
  refused(tensor(values, Shape(std::vector<std::uint64_t>(33, 1))), "at most 32 dimensions, this one has 33");
  refused(tensor(DType::float32, 8, std::as_bytes(std::span(values)), {3}), "cannot have 8 bytes");
  refused(tensors({{"a", tensor(values)}, {"a", tensor(values)}}), "two tensors are named \"a\"");
  refused(tensors({{"", tensor(values)}}), "is empty");
  refused(tensors(std::vector<TensorRef>(257, tensor(values))), "at most 256");
  refused(tensors(std::vector<TensorRef>()), "at least one");
  EXPECT_EQ(pool.loan_tensor<float>({std::uint64_t{1} << 62, 8}).error().code, Code::invalid_payload);
  EXPECT_EQ(pool.loan_tensor<float>({65 * kMiB}).error().code, Code::payload_too_large);
}

TEST_F(Tensors, with_a_header_that_is_wrong_fail_their_call_alone) {
  const std::vector<std::byte> noise(100, std::byte{0x5a});
  const auto broken = pool.call("total", Payload(PayloadKind::tensor, noise));
  EXPECT_EQ(code_of(broken), Code::invalid_payload);
  EXPECT_SAYS(message_of(broken), "header");
  EXPECT_EQ(code_of(pool.call("total", Payload(PayloadKind::tensor, {}))), Code::invalid_payload);
  const auto not_utf8 = pool.call("total", tensors({{"\xff", tensor(ramp(2))}}));
  EXPECT_SAYS(message_of(not_utf8), "not UTF-8");
  EXPECT_EQ(value_of(pool.call("total", tensor(ramp(2)))), Value(1.0));
}

TEST_F(Tensors, are_made_by_the_method_s_own_maker) {
  const auto values = ramp(1000);
  for (const std::size_t n : {std::size_t{4}, std::size_t{100'000}}) {
    EXPECT_EQ(value_of(pool.call("made", tensor(std::vector<std::uint8_t>(n, 2)))).to_string(),
              "[[" + std::to_string(n) + "], " + std::to_string(2 * n) + "]");
    const auto refused = pool.call("refused", tensor(std::vector<std::uint8_t>(n, 2)));
    EXPECT_EQ(code_of(refused), Code::method_failed);
    EXPECT_SAYS(message_of(refused), "ValueError: not this tensor");
  }
  EXPECT_EQ(in_use(), 102'400u) << "the refused one has been kept";
  EXPECT_TRUE(pool.call("forget"));
  EXPECT_TRUE(wait_until([&] { return pool.poll(), in_use() == 0; }));
}

TEST_F(Tensors, are_read_only_by_dlpack_or_copied) {
  for (const std::size_t n : {std::size_t{4}, std::size_t{100'000}}) {
    const Value told = value_of(pool.call("dlpack", tensor(ramp(n))));
    EXPECT_EQ(told.find("old")->to_string(), "['dltensor', False, True]");
    EXPECT_EQ(told.find("new")->to_string(), "['dltensor_versioned', True, False, True]");
    EXPECT_EQ(*told.find("copied"), Value(false));
    EXPECT_SAYS(told.find("old_without_copy")->to_string(), "can only be copied");
    EXPECT_SAYS(told.find("on_a_gpu")->to_string(), "memory of the CPU");
    EXPECT_SAYS(told.find("with_a_stream")->to_string(), "no stream");
  }
  ASSERT_TRUE(pool.call("forget"));  // the handler's classes are garbage, and view its argument
  EXPECT_TRUE(wait_until([&] { return pool.poll(), pool.stats().escaped_views == 0; }));
  EXPECT_SAYS(message_of(pool.call("dlpack", tensor(DType::bytes, 2, std::as_bytes(std::span("ab", 2)), {1}))), "no type for bytes");
}

// --- results ------------------------------------------------------------------------------------------------------------

TEST_F(Tensors, of_results_are_gathered_in_one_copy) {
  EXPECT_EQ(vector_of(result("fortran")->tensor<std::int32_t, 2>()), (std::vector<std::int32_t>{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(vector_of(result("reversed")->tensor<std::int8_t>()), (std::vector<std::int8_t>{5, 4, 3, 2, 1, 0}));
  EXPECT_EQ(vector_of(result("strided")->tensor<std::uint16_t, 3>()),
            (std::vector<std::uint16_t>{1, 3, 9, 11, 13, 15, 21, 23}));
  EXPECT_EQ(vector_of(result("broadcast")->tensor<double>()), (std::vector<double>{1, 2, 1, 2, 1, 2}));
  const auto large = result("large_strided");
  const auto view = large->tensor<double, 2>();
  ASSERT_TRUE(view) << view.error().to_string();
  EXPECT_EQ(view->shape(), (Shape{200, 100}));
  EXPECT_EQ(view->at(0, 0), 499.0);
  EXPECT_EQ(view->at(199, 99), 398.0 * 500 + 4);
}

TEST_F(Tensors, of_results_may_be_any_buffer_or_dlpack_object) {
  EXPECT_EQ(vector_of(result("array")->tensor<double>()), (std::vector<double>{1, 2, 3}));
  EXPECT_EQ(vector_of(result("ctypes")->tensor<std::int32_t, 2>()), (std::vector<std::int32_t>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(vector_of(result("dlpack")->tensor<float, 2>()), (std::vector<float>{0, 2, 3, 5}));
  EXPECT_EQ(vector_of(result("old_dlpack")->tensor<std::int32_t>()), (std::vector<std::int32_t>{0, 1, 2}));
  EXPECT_EQ(vector_of(result("matrix")->tensor<double, 2>()), (std::vector<double>{0, 1, 2, 3}));
  EXPECT_EQ(result("memoryview")->kind(), PayloadKind::bytes) << "as ever";
}

TEST_F(Tensors, of_results_that_cannot_be_sent_say_where_and_why) {
  const auto refused = [&](std::string_view name, std::string_view why) {
    const auto reply = result(name);
    EXPECT_EQ(code_of(reply), Code::invalid_result) << name;
    EXPECT_SAYS(message_of(reply), why);
  };
  refused("object", "result: an array of dtype object cannot be sent");
  refused("structured", "dtype [('x', '<f4'), ('y', '<i4')] cannot be sent");
  refused("big_endian", "byte order");
  refused("text", "dtype <U1");
  refused("longdouble", "cannot be sent");
  refused("time", "datetime64[s]");
  refused("masked", "MaskedArray");
  refused("mixed", "result[\"b\"]: float stands beside tensors");
  refused("mixed_list", "result[1]: str stands beside tensors");
  refused("number_key", "named by str, and 1 is int");
  refused("empty_key", "empty");
  refused("long_key", "at most 255 bytes");
  refused("surrogate_key", "UTF-8");
  refused("object_inside", "result[\"b\"]: an array of dtype object");
  refused("many", "result[256]: a payload has at most 256 tensors");
  refused("numpy_scalar", ".item()");
  refused("on_a_device", "device (2, 0)");
  refused("dlpack_raises", "no such array");
  refused("dlpack_of_nothing", "no array of DLPack");
  EXPECT_EQ(value_of(pool.call("total", tensor(ramp(3)))), Value(3.0)) << "the worker goes on";
}

TEST_F(Tensors, wrong_types_of_a_reply_say_what_came_and_what_was_asked_for) {
  const auto reply = result("float");
  EXPECT_SAYS((reply->tensor<double, 1>().error().message), "is float32 of shape (2,), and float64 of 1 dimension was asked for");
  EXPECT_SAYS((reply->tensor<float, 2>().error().message), "float32 of 2 dimensions was asked for");
  EXPECT_SAYS(reply->value().error().message, "tensor()");
  EXPECT_SAYS(pool.call("echo", text("a"))->tensor().error().message, "the reply is a str and no tensor");
}

TEST_F(Tensors, a_view_keeps_its_memory_past_reply_and_pool) {
  std::vector<TensorViewOf<float>> views;
  {
    Pool other = start(with_arenas());
    for (const std::int64_t n : {4, 100'000}) {
      auto reply = other.call("filled", arguments({n, 3.0}));
      ASSERT_TRUE(reply) << reply.error().to_string();
      views.push_back(*reply->tensor<float>());
    }
  }
  EXPECT_EQ(views[0].at(3), 3.0f);
  EXPECT_EQ(views[1].at(99'999), 3.0f);
}

// --- made in place ------------------------------------------------------------------------------------------------------

TEST_F(Tensors, made_in_place_are_sent_from_there_whole_or_in_part) {
  constexpr std::int64_t kRows = 1000;
  const auto made = [&](std::string_view what) { return pool.call("made_in_place", arguments({kRows, what})); };
  const auto first = [](const Result<Reply>& reply) {
    const auto all = reply ? reply->tensors() : Result<std::vector<TensorView>>(tl::unexpected(reply.error()));
    if (!all) throw std::runtime_error(all.error().to_string());
    double value;
    std::memcpy(&value, all->front().elements().data(), sizeof value);
    return value;
  };
  EXPECT_EQ(first(made("all")), 0.0);
  EXPECT_EQ(made("all")->tensor<double>()->at(999, 3), 3999.0);
  EXPECT_EQ(first(made("reshaped")), 0.0);
  EXPECT_EQ(first(made("named")), 0.0);
  EXPECT_EQ(first(made("twice")), 0.0);
  EXPECT_EQ(first(made("copy")), 0.0);
  EXPECT_EQ(made("part")->tensor<double>()->at(0, 1), 9.0);
  EXPECT_EQ(made("row")->tensor<double>()->at(1), 13.0);
  EXPECT_EQ(made("transposed")->tensor<double>()->at(3, 999), 3999.0);
  EXPECT_EQ(made("as_bytes")->tensor<std::uint8_t>()->shape(), (Shape{1000, 8}));
  EXPECT_EQ(made("misaligned")->tensor<std::uint8_t>()->size(), 32'000u - 4);
}

TEST_F(Tensors, made_in_place_and_kept_are_not_written_over) {
  Options o = with_arenas();
  o.response_arena_bytes = kMiB;
  Pool small = start(o);
  {
    const auto kept = small.call("kept_in_place", arguments({50'000}));  // 400 kB
    ASSERT_TRUE(kept) << kept.error().to_string();
    EXPECT_EQ(kept->tensor<std::int64_t>()->at(49'999), 1);
  }
  for (int i = 0; i < 20; ++i) {
    const auto other = small.call("filled", arguments({100'000, 5.0}));  // 400 kB
    ASSERT_TRUE(other) << other.error().to_string();
  }
  const auto again = small.call("again");
  ASSERT_TRUE(again) << again.error().to_string();
  EXPECT_EQ(again->tensor<std::int64_t>()->at(49'999), 1);
  const auto once_more = small.call("again");  // while the host has the block: a copy
  ASSERT_TRUE(once_more) << once_more.error().to_string();
  EXPECT_NE(once_more->data().data(), again->data().data());
  EXPECT_EQ(once_more->tensor<std::int64_t>()->at(0), 1);
}

TEST_F(Tensors, made_in_place_are_free_when_both_sides_have_let_go) {
  Options o = with_arenas();
  o.response_arena_bytes = kMiB;
  Pool small = start(o);
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(small.call("made_for_nothing", arguments({100'000}))) << "800 kB each, never sent";
    ASSERT_TRUE(small.call("kept_in_place", arguments({100'000}))) << "given back by the host first, then by Python";
    ASSERT_TRUE(small.call("forget"));
    const auto reply = small.call("kept_in_place", arguments({100'000}));
    ASSERT_TRUE(reply) << "and the other way round: " << reply.error().to_string();
    ASSERT_TRUE(small.call("forget"));
    EXPECT_EQ(reply->tensor<std::int64_t>()->at(99'999), 1);
  }
}

TEST_F(Tensors, made_in_place_without_room_are_made_elsewhere_and_fail_when_sent) {
  Options o = with_arenas();
  o.response_arena_bytes = kMiB;
  Pool small = start(o);
  const auto held = small.call("filled", arguments({200'000, 1.0}));
  ASSERT_TRUE(held) << held.error().to_string();
  const auto refused = small.call("filled", arguments({200'000, 1.0}));
  EXPECT_EQ(code_of(refused), Code::resource_exhausted);
  EXPECT_EQ(code_of(small.call("filled", arguments({2'000'000, 1.0}))), Code::result_too_large);
}

TEST_F(Tensors, made_in_a_thread_are_sent_all_the_same) {
  const auto reply = pool.call("empty_in_a_thread", value(100'000));
  ASSERT_TRUE(reply) << reply.error().to_string();
  EXPECT_EQ(reply->tensor<std::uint8_t>()->at(99'999), 7);
}

TEST_F(Tensors, made_in_place_are_what_was_asked_for_or_say_why_not) {
  const auto made = [&](const Value& shape, const Value& dtype) { return pool.call("empty_of", arguments({shape, dtype})); };
  EXPECT_EQ(value_of(made(3, "int16")).to_string(), "['int16', [3]]");
  EXPECT_EQ(value_of(made(Value(Value::List{2, 3}), "S5")).to_string(), "['|S5', [2, 3]]");
  EXPECT_EQ(value_of(made(Value(Value::List{}), "<f8")).to_string(), "['float64', []]");
  EXPECT_EQ(value_of(made(4, nullptr)).to_string(), "['float32', [4]]");
  EXPECT_SAYS(message_of(made(-1, "int16")), "negative: -1");
  EXPECT_SAYS(message_of(made("x", "int16")), "int");
  EXPECT_SAYS(message_of(made(3, "no_such")), "no_such");
  EXPECT_SAYS(message_of(made(3, ">f8")), "cannot be sent");
  EXPECT_SAYS(message_of(made(3, "O")), "cannot be sent");
  EXPECT_SAYS(message_of(made(Value(Value::List(std::vector<Value>(33, Value(1)))), "int16")), "at most 32 dimensions");
  EXPECT_SAYS(message_of(made(Value(Value::List{std::int64_t{1} << 40, std::int64_t{1} << 40}), "int16")), "larger than any memory");
  EXPECT_TRUE(pool.call("empty_after_the_end"));
  EXPECT_SAYS(message_of(pool.call("use_held_context")), "the call has ended");
}

// --- views that outlive their calls -------------------------------------------------------------------------------------

// What a handler does to its arrays, the next call must not see.
TEST_F(Tensors, nobody_has_kept_serve_the_next_call_and_others_do_not) {
  const std::vector<float> small(30'000, 1.0f);
  const std::vector<float> large(60'000, 1.0f);
  const auto place = [&](std::string_view method, const std::vector<float>& data) { return value_of(pool.call(method, tensor(data))); };
  const auto described = [](const Value& value) {
    const auto& list = *value.as_list();
    return list[1].to_string() + list[2].to_string() + list[3].to_string();
  };
  const Value first = place("place_of", small);
  EXPECT_EQ(place("place_of", small), first) << "the same array";
  for (const std::string_view what : {"nothing", "shape", "dtype", "strides", "flags", "weak", "base", "view"}) {
    SCOPED_TRACE(what);
    value_of(pool.call("to_change", text(what)));
    for (int i = 0; i < 2; ++i) {
      place("place_of_changed", small);
      EXPECT_EQ(described(place("place_of", small)), "'float32'[30000]30000.0");
      place("place_of_changed", small);
      EXPECT_EQ(described(place("place_of", large)), "'float32'[60000]60000.0");
      for (const double value : {3.0, 4.0}) {
        const auto reply = pool.call("filled_and_changed", arguments({30'000, value}));
        ASSERT_TRUE(reply) << reply.error().to_string();
        const auto bytes = reply->tensor();
        ASSERT_TRUE(bytes);
        float element;
        std::memcpy(&element, bytes->elements().data() + 4 * 29'999, sizeof element);
        EXPECT_EQ(element, value);
      }
    }
    value_of(pool.call("forget"));
  }
  EXPECT_TRUE(wait_until([&] { return pool.poll(), in_use() == 0; }));
}

TEST_F(Tensors, viewed_after_their_call_stay_until_the_last_view_dies) {
  for (const char* method : {"hold", "hold_part", "hold_dlpack"}) {
    ASSERT_TRUE(pool.call(method, tensor(ramp(100'000)))) << method;
    EXPECT_EQ(pool.stats().escaped_views, 1u) << method;
    ASSERT_TRUE(pool.call("total", tensor(std::vector<float>(100'000, 9.0f))));
    EXPECT_EQ(value_of(pool.call("held_total")), Value(std::string_view(method) == "hold_part" ? 3.0 : 4999950000.0)) << method;
    EXPECT_EQ(in_use(), 401'408u) << method;
    ASSERT_TRUE(pool.call("forget"));
    EXPECT_TRUE(wait_until([&] { return pool.poll(), in_use() == 0; })) << method;
    EXPECT_EQ(pool.stats().escaped_views, 0u);
  }
}

TEST_F(Tensors, small_ones_may_be_kept_too) {
  ASSERT_TRUE(pool.call("hold", tensor(ramp(4))));
  ASSERT_TRUE(pool.call("total", tensor(std::vector<float>(4, 9.0f))));
  EXPECT_EQ(value_of(pool.call("held_total")), Value(6.0));
}

TEST_F(Tensors, beyond_the_cap_of_escaped_views_are_copied) {
  Options o = with_arenas();
  o.escaped_views_max = 1;
  Pool capped = start(o);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(capped.call("hold", tensor(ramp(10'000))));
  EXPECT_EQ(capped.stats().escaped_views, 1u);
  EXPECT_EQ(value_of(capped.call("total", tensor(ramp(10'000)))), Value(10'000.0 * 9999 / 2));
}

TEST_F(Tensors, parts_of_an_argument_go_back_as_references) {
  auto loan = pool.loan_tensor<float>({100'000});
  const float* const where = loan->span().data();
  std::ranges::fill(loan->span(), 4.0f);
  const auto back = pool.call("raw_echo", std::move(*loan));
  ASSERT_TRUE(back) << back.error().to_string();
  EXPECT_EQ(back->tensor<float>()->data(), where);
  EXPECT_EQ(in_use(), 401'408u);
}

TEST_F(Tensors, without_numpy_are_samovar_s_own) {
  Pool bare = start(options("tensors_without_numpy.py"));
  EXPECT_EQ(value_of(bare.call("describe", tensor(ramp(6), {2, 3}))).to_string(), "['float32', [2, 3], 'Tensor']");
  const auto back = bare.call("echo", tensor(ramp(100'000)));
  EXPECT_EQ(vector_of(back->tensor<float>()), ramp(100'000));
  EXPECT_EQ(value_of(bare.call("empty_of", arguments({Value(Value::List{2, 2}), "int16"}))).to_string(), "['int16', [2, 2]]");
  EXPECT_SAYS(message_of(bare.call("empty_of", arguments({3, ">f8"}))), "others need NumPy");
}

}  // namespace
}  // namespace samovar::test
