// FlatBuffers of the user's own, from a C++ builder through a Python worker and back.
#include <gtest/gtest.h>

#include <cstring>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

#include <samovar/flatbuffers.h>

#include "answer_generated.h"
#include "tests/support/pools.h"

namespace samovar::test {
namespace {

using flatbuffers::FlatBufferBuilder;

void build(FlatBufferBuilder& builder, const std::vector<float>& scores, const char* label = "question") {
  const auto item = fbs::CreateItemDirect(builder, "first", 1.5F, fbs::Color::Red);
  const std::vector<flatbuffers::Offset<fbs::Item>> items{item};
  fbs::FinishAnswerBuffer(builder, fbs::CreateAnswerDirect(builder, label, 0.5, 3, &scores, &items, item));
}

std::vector<float> numbers(std::size_t count) {
  std::vector<float> scores(count);
  std::iota(scores.begin(), scores.end(), 0.0F);
  return scores;
}

class FlatBuffers : public testing::Test {
 protected:
  static Options its_options() {
    Options chosen = options();
    chosen.module = SAMOVAR_TEST_SCHEMAS "/flat.py";
    return chosen;
  }
  Pool pool = start(its_options());
};

TEST_F(FlatBuffers, a_builder_is_sent_and_the_method_sees_its_fields) {
  FlatBufferBuilder builder;
  build(builder, {1, 2, 3});

  const auto shown = pool.call("shown", flatbuffer(builder));

  ASSERT_TRUE(shown) << shown.error().to_string();
  EXPECT_EQ(shown->text(), "Answer(label='question', score=0.5, count=3, scores=<3 float>, items=<1 Item>, best=<Item>, extra_type=0)");
  EXPECT_EQ(value_of(pool.call("total", flatbuffer(builder))), Value(6.0));
}

TEST_F(FlatBuffers, what_the_native_builder_makes_is_read_by_generated_code) {
  const auto reply = pool.call("built", arguments({Value(3)}));

  ASSERT_TRUE(reply) << reply.error().to_string();
  EXPECT_EQ(reply->kind(), PayloadKind::flatbuffer);
  const auto answer = reply->as<fbs::Answer>(fbs::AnswerIdentifier());
  ASSERT_TRUE(answer) << answer.error().to_string();
  EXPECT_EQ((*answer)->label()->string_view(), "made here");
  EXPECT_EQ((*answer)->scores()->Get(2), 0.5F);
  EXPECT_EQ((*answer)->items()->Get(0)->color(), fbs::Color::Blue);
  EXPECT_EQ((*answer)->items()->Get(1)->position()->z(), 3.0F);
  EXPECT_EQ((*answer)->extra_as_Note()->text()->string_view(), "a note");
  EXPECT_EQ((*answer)->names()->Get(1)->string_view(), "б");
  EXPECT_EQ((*answer)->points()->Get(1)->x(), 4.0F);
  EXPECT_EQ((*answer)->maybe().value(), 7);
}

TEST_F(FlatBuffers, an_answer_outlives_its_reply) {
  const auto answer = pool.call("built", arguments({Value(5000)}))->as<fbs::Answer>();

  ASSERT_TRUE(answer) << answer.error().to_string();
  EXPECT_EQ((*answer)->scores()->size(), 5000U);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(answer->bytes().data()) % 16, 0U);
}

TEST_F(FlatBuffers, stock_generated_python_reads_and_builds_on_the_same_bytes) {
  for (const std::size_t count : {std::size_t{4}, std::size_t{10'000}}) {
    FlatBufferBuilder builder;
    build(builder, numbers(count));

    const auto reply = pool.call("stock", flatbuffer(builder));

    ASSERT_TRUE(reply) << reply.error().to_string();
    const auto answer = reply->as<fbs::Answer>(fbs::AnswerIdentifier());
    ASSERT_TRUE(answer) << answer.error().to_string();
    EXPECT_EQ((*answer)->label()->string_view(), "QUESTION");
    EXPECT_EQ((*answer)->score(), static_cast<double>(count) * static_cast<double>(count - 1) / 2);
    EXPECT_EQ((*answer)->best()->score(), 1.5F);
  }
}

TEST_F(FlatBuffers, an_echo_of_a_large_one_is_a_reference_to_the_argument) {
  FlatBufferBuilder builder;
  build(builder, numbers(1 << 20));

  const auto reply = pool.call("echo", flatbuffer(builder));

  ASSERT_TRUE(reply) << reply.error().to_string();
  EXPECT_TRUE(reply->in_place());
  EXPECT_EQ(reply->data().size(), builder.GetSize());
  EXPECT_EQ(std::memcmp(reply->data().data(), builder.GetBufferPointer(), builder.GetSize()), 0);
  const auto answer = reply->as<fbs::Answer>();
  ASSERT_TRUE(answer) << answer.error().to_string();
  EXPECT_EQ((*answer)->scores()->Get(12345), 12345.0F);
}

TEST_F(FlatBuffers, a_builder_on_a_loan_is_sent_without_a_copy) {
  auto question = LoanBuilder::make(pool, 5 << 20);
  ASSERT_TRUE(question) << question.error().to_string();
  build(question->builder(), numbers(1 << 20));
  ASSERT_TRUE(question->is_loan());
  const std::size_t size = question->builder().GetSize();
  const Payload payload = flatbuffer(std::move(*question));
  ASSERT_TRUE(payload.block());
  EXPECT_EQ(payload.data().size(), size);

  const auto reply = pool.call("echo", payload);

  ASSERT_TRUE(reply) << reply.error().to_string();
  EXPECT_EQ(reply->data().data(), payload.data().data()) << "a reference to the very bytes, past the beginning of their block";
  EXPECT_EQ(reply->data().size(), size);
  EXPECT_EQ(value_of(pool.call("total", payload)), Value(549755289600.0));
}

TEST_F(FlatBuffers, a_loan_that_is_too_small_grows_on_the_heap_and_is_copied) {
  for (const std::size_t count : {std::size_t{100}, std::size_t{200'000}}) {
    auto question = LoanBuilder::make(pool, 64);
    ASSERT_TRUE(question) << question.error().to_string();
    build(question->builder(), numbers(count));
    EXPECT_FALSE(question->is_loan());
    const Payload payload = flatbuffer(std::move(*question));
    EXPECT_FALSE(payload.block());

    const auto total = pool.call("total", payload);

    EXPECT_EQ(value_of(total), Value(static_cast<double>(count) * static_cast<double>(count - 1) / 2));
  }
}

TEST_F(FlatBuffers, a_builder_on_a_loan_that_is_dropped_gives_it_back) {
  {
    auto question = LoanBuilder::make(pool, 1 << 20);
    ASSERT_TRUE(question);
    build(question->builder(), numbers(100));
  }
  EXPECT_EQ(pool.stats().request_arena_in_use, 0U);
}

TEST_F(FlatBuffers, a_vector_that_is_kept_keeps_its_block) {
  FlatBufferBuilder builder;
  build(builder, numbers(100'000));
  ASSERT_TRUE(pool.call("keeps", flatbuffer(builder)));

  const auto later = pool.call("kept_total");

  EXPECT_EQ(value_of(later), Value::list({Value(4999950000.0), Value(true), Value("f")}));
}

TEST_F(FlatBuffers, a_part_is_returned_as_a_flatbuffer_of_its_own) {
  FlatBufferBuilder builder;
  build(builder, {1});

  const auto item = pool.call("best", flatbuffer(builder))->as<fbs::Item>();

  ASSERT_TRUE(item) << item.error().to_string();
  EXPECT_EQ((*item)->name()->string_view(), "first");
  EXPECT_EQ((*item)->score(), 1.5F);
  EXPECT_EQ((*item)->color(), fbs::Color::Red);
}

TEST_F(FlatBuffers, without_a_schema_the_method_gets_read_only_bytes) {
  FlatBufferBuilder builder;
  build(builder, {1});
  EXPECT_EQ(pool.call("kind", flatbuffer(builder))->text(), "memoryview True");
}

TEST_F(FlatBuffers, with_its_size_in_front_it_is_read_as_well_both_ways) {
  FlatBufferBuilder builder;
  const std::vector<float> scores{1, 2};
  fbs::FinishSizePrefixedAnswerBuffer(builder, fbs::CreateAnswerDirect(builder, "sized", 0.5, 3, &scores));

  const auto reply = pool.call("echo", flatbuffer(builder));

  ASSERT_TRUE(reply) << reply.error().to_string();
  const auto answer = reply->as<fbs::Answer>();
  ASSERT_TRUE(answer) << answer.error().to_string();
  EXPECT_EQ((*answer)->label()->string_view(), "sized");
  EXPECT_EQ(value_of(pool.call("total", flatbuffer(builder))), Value(3.0));
}

// ---- what is wrong is an error of that call alone

TEST_F(FlatBuffers, one_that_does_not_verify_is_refused_before_the_method_sees_it) {
  for (const std::size_t count : {std::size_t{4}, std::size_t{10'000}}) {
    FlatBufferBuilder builder;
    build(builder, numbers(count));
    std::vector<std::byte> bytes(builder.GetSize());
    std::memcpy(bytes.data(), builder.GetBufferPointer(), bytes.size());
    bytes.resize(bytes.size() / 2);

    const auto reply = pool.call("shown", flatbuffer(bytes));

    ASSERT_FALSE(reply);
    EXPECT_EQ(reply.error().code, Code::invalid_payload) << reply.error().to_string();
    EXPECT_NE(reply.error().message.find("the FlatBuffer does not verify: Answer"), std::string::npos) << reply.error().message;
    EXPECT_TRUE(pool.call("shown", flatbuffer(builder)));
  }
  EXPECT_EQ(pool.stats().request_arena_in_use, 0U);
}

TEST_F(FlatBuffers, another_file_identifier_is_refused_in_words) {
  FlatBufferBuilder builder;
  builder.Finish(fbs::CreateAnswer(builder), "SHOP");

  const auto reply = pool.call("shown", flatbuffer(builder));

  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().code, Code::invalid_payload);
  EXPECT_NE(reply.error().message.find("has the file identifier \"SHOP\" where \"ANSW\" is expected"), std::string::npos) << reply.error().message;
}

TEST_F(FlatBuffers, something_else_is_refused_by_a_method_with_a_schema) {
  const auto reply = pool.call("shown", text("hello"));

  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().code, Code::invalid_payload);
  EXPECT_NE(reply.error().message.find("shown takes a FlatBuffer"), std::string::npos) << reply.error().message;
}

TEST_F(FlatBuffers, a_reply_that_does_not_verify_is_an_invalid_result) {
  const auto damaged = pool.call("damaged")->as<fbs::Answer>();
  ASSERT_FALSE(damaged);
  EXPECT_EQ(damaged.error().code, Code::invalid_result);
  EXPECT_NE(damaged.error().message.find("does not verify"), std::string::npos) << damaged.error().message;

  const auto other = pool.call("of_another_type")->as<fbs::Answer>(fbs::AnswerIdentifier());
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().message, "the reply has not the file identifier \"ANSW\"");

  const auto no_flatbuffer = pool.call("kind", bytes("x", 1))->as<fbs::Answer>();
  ASSERT_FALSE(no_flatbuffer);
  EXPECT_EQ(no_flatbuffer.error().code, Code::invalid_result);

  EXPECT_EQ(pool.call("damaged")->value().error().code, Code::invalid_result);
}

TEST_F(FlatBuffers, a_table_that_cannot_be_built_says_where) {
  const auto reply = pool.call("built_wrongly");

  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().code, Code::method_failed);
  EXPECT_NE(reply.error().message.find("Answer.items[1].score: a str where a float is expected"), std::string::npos) << reply.error().message;
}

TEST_F(FlatBuffers, bytes_that_the_host_changes_after_verification_kill_nobody) {
  auto lent = pool.loan(1 << 20);
  ASSERT_TRUE(lent);
  FlatBufferBuilder builder;
  build(builder, numbers(10'000));
  std::memcpy(lent->data(), builder.GetBufferPointer(), builder.GetSize());
  lent->truncate(builder.GetSize());
  std::byte* memory = lent->data();
  const std::size_t size = builder.GetSize();
  ASSERT_TRUE(pool.call("keeps", Payload(std::move(*lent), PayloadKind::flatbuffer)));
  std::memset(memory, 0xff, size);  // the method still has a view of it

  const auto later = pool.call("kept_total");

  ASSERT_FALSE(later);
  EXPECT_EQ(later.error().code, Code::method_failed) << later.error().to_string();
  EXPECT_EQ(pool.stats().workers_lost, 0U);
}

}  // namespace
}  // namespace samovar::test
