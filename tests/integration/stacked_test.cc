// Methods with batch="stack": the tensors of several calls are one array in Python, its rows are the replies.
#include <gtest/gtest.h>

#include <vector>

#include <samovar/samovar.h>

#include "tests/support/pools.h"

namespace samovar::test {
namespace {

std::vector<float> floats(const Result<Reply>& reply) {
  const auto view = reply->tensor<float>();
  return view ? std::vector<float>(view->span().begin(), view->span().end()) : std::vector<float>();
}

TEST(Stacked, calls_have_their_rows_of_one_array) {
  Pool pool = start(options("stacked.py"));
  std::vector<std::vector<float>> inputs;
  for (int i = 0; i < 8; ++i) inputs.push_back({float(i), float(i) + 0.5f, -float(i)});
  std::vector<Payload> payloads;
  for (const auto& input : inputs) payloads.push_back(tensor(std::span(input), {3}));
  const auto replies = pool.call_many("doubled", payloads);
  for (std::size_t i = 0; i < replies.size(); ++i) {
    ASSERT_TRUE(replies[i]) << replies[i].error().to_string();
    EXPECT_EQ(floats(replies[i]), (std::vector<float>{2 * inputs[i][0], 2 * inputs[i][1], 2 * inputs[i][2]}));
  }
  for (const auto& count : pool.call_many("taken_with", payloads)) EXPECT_EQ(count->value(), Value(8));
}

TEST(Stacked, other_shapes_are_another_array_and_what_is_none_fails_alone) {
  Pool pool = start(options("stacked.py"));
  const std::vector<float> three(3, 1.0f), four(4, 2.0f);
  const auto counts = pool.call_many("taken_with", std::vector<Payload>{tensor(std::span(three), {3}), tensor(std::span(four), {4}), value(5), tensor(std::span(four), {2, 2}),
                                                                        tensor(std::span(three), {3}), tensor(std::span(four), {4}), text("no"), {}});
  EXPECT_EQ(counts[0]->value(), Value(2));
  EXPECT_EQ(counts[1]->value(), Value(2));
  EXPECT_EQ(counts[3]->value(), Value(1));
  EXPECT_EQ(counts[4]->value(), Value(2));
  for (const std::size_t i : {2u, 6u, 7u}) {
    ASSERT_FALSE(counts[i]);
    EXPECT_EQ(counts[i].error().context.python_type, "TypeError");
    EXPECT_NE(counts[i].error().message.find("so it takes tensors"), std::string::npos) << counts[i].error().message;
  }
}

TEST(Stacked, classes_take_named_tensors_and_return_dicts) {
  Pool pool = start(options("stacked.py"));
  std::vector<std::vector<float>> inputs{{1, 1}, {0, 3}, {5, 0}};
  const float bias = 100;
  std::vector<Payload> payloads;
  for (const auto& input : inputs) payloads.push_back(tensors({{"x", tensor(std::span(input), {2})}, {"bias", tensor(std::span(&bias, 1), {})}}));
  const auto replies = pool.call_many("Scores", payloads);
  ASSERT_TRUE(replies[0]) << replies[0].error().to_string();
  const auto item = [&](std::size_t i, const char* key) { return *replies[i]->value()->find(key); };
  EXPECT_EQ(item(0, "score"), Value(111.0));
  EXPECT_EQ(item(1, "score"), Value(130.0));
  EXPECT_EQ(item(2, "score"), Value(105.0));
  EXPECT_EQ(item(2, "rank"), Value(0));
}

}  // namespace
}  // namespace samovar::test
