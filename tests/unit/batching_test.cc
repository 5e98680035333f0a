#include "core/dispatch/batching.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

namespace samovar::core {
namespace {

class Batches : public testing::Test {
 protected:
  Call& call(std::uint32_t method, std::int64_t deadline_ns = ipc::kNever) {
    Call& made = calls[used++];
    made.ticket = used;
    made.method = method;
    made.deadline_ns = deadline_ns;
    return made;
  }

  static constexpr BatchRule kRule{.max = 3, .wait_ns = 100};
  Batching batching;
  std::array<Call, 16> calls;
  std::size_t used = 0;
};

TEST_F(Batches, are_ready_when_they_are_full) {
  batching.add(call(0), kRule, 1000);
  batching.add(call(0), kRule, 0);
  EXPECT_EQ(batching.next_ready(1099), nullptr);
  EXPECT_TRUE(batching.add(call(0), kRule, 0)) << "whoever sleeps until 1100 has to be told";
  EXPECT_EQ(batching.next_ready(0), &calls[0]);
  EXPECT_EQ(batching.due_ns(), 0);
}

TEST_F(Batches, are_ready_when_their_oldest_has_waited) {
  EXPECT_TRUE(batching.add(call(0), kRule, 1000));
  EXPECT_FALSE(batching.add(call(0), kRule, 0));
  EXPECT_EQ(batching.due_ns(), 1100);
  EXPECT_EQ(batching.next_ready(1099), nullptr);
  EXPECT_EQ(batching.next_ready(1100), &calls[0]);
}

TEST_F(Batches, that_need_not_wait_are_ready_at_once) {
  batching.add(call(0), {.max = 3, .wait_ns = 0}, 0);
  EXPECT_EQ(batching.next_ready(0), &calls[0]);
}

TEST_F(Batches, leave_when_half_of_the_time_until_a_near_deadline_is_over) {
  batching.add(call(0), kRule, 1000);
  EXPECT_TRUE(batching.add(call(0, 1150), kRule, 0));
  EXPECT_EQ(batching.due_ns(), 1075);
  batching.add(call(1, 1200), kRule, 1000);
  EXPECT_EQ(batching.due_ns(), 1075) << "far enough";
  EXPECT_EQ(batching.next_ready(1075), &calls[0]);
}

TEST_F(Batches, whose_wait_is_longer_than_time_are_due_never) {
  batching.add(call(0), {.max = 3, .wait_ns = ipc::kNever}, 1000);
  EXPECT_EQ(batching.due_ns(), ipc::kNever);
}

TEST_F(Batches, leave_in_the_order_of_their_oldest_calls) {
  batching.add(call(5), kRule, 1000);
  for (int i = 0; i < 3; ++i) batching.add(call(2), kRule, 1000);
  EXPECT_EQ(batching.next_ready(1000), &calls[1]) << "only the second is ready";
  EXPECT_EQ(batching.next_ready(1100), &calls[0]) << "both are";
  EXPECT_EQ(batching.methods(), 2u);
}

TEST_F(Batches, that_are_gathered_are_ready_when_they_are_full_or_nothing_else_can_come) {
  const BatchRule rule{.max = 3, .wait_ns = 0};
  batching.gather(0);
  batching.add(call(0), rule, 0);
  batching.add(call(1), rule, 0);
  EXPECT_EQ(batching.next_ready(0), &calls[1]) << "the others are as ever";
  EXPECT_EQ(batching.next_ready(Batching::kAtOnce), &calls[0]);
  batching.add(call(0), rule, 0);
  batching.add(call(0), rule, 0);
  EXPECT_EQ(batching.next_ready(0), &calls[0]) << "full";
  batching.remove(calls[0]);
  EXPECT_EQ(batching.next_ready(0), &calls[1]);
  batching.gather(Batching::kNoMethod);
  batching.remove(calls[1]);
  EXPECT_EQ(batching.next_ready(0), &calls[2]);
}

TEST_F(Batches, keep_what_comes_back_in_its_place_and_do_not_make_it_wait) {
  Call& first = call(0);
  batching.add(first, kRule, 1000);
  batching.add(call(0), kRule, 0);
  batching.remove(first);
  EXPECT_FALSE(first.in_batch);
  EXPECT_EQ(batching.front(0), &calls[1]);
  batching.add_again(first, kRule);
  EXPECT_EQ(batching.front(0), &first);
  EXPECT_EQ(batching.next_ready(0), &first);
}

TEST_F(Batches, begin_anew_once_all_have_left) {
  batching.add(call(0), kRule, 1000);
  batching.remove(calls[0]);
  EXPECT_TRUE(batching.empty());
  EXPECT_EQ(batching.due_ns(), ipc::kNever);
  batching.add(call(0), kRule, 5000);
  EXPECT_EQ(batching.due_ns(), 5100);
}

TEST_F(Batches, tell_how_many_workers_they_are_worth) {
  for (int i = 0; i < 4; ++i) batching.add(call(0), kRule, 1000);
  batching.add(call(1), kRule, 1000);
  EXPECT_EQ(batching.ready_at(1000).batches, 2u) << "a full one, and one that has begun; method 1 still waits for more calls";
  EXPECT_EQ(batching.ready_at(1000).oldest, 1u);
  EXPECT_EQ(batching.ready_at(1100).batches, 3u);
  EXPECT_EQ(batching.size(), 5u);
}

TEST_F(Batches, can_be_emptied_while_they_are_looked_at) {
  for (std::uint32_t i = 0; i < 12; ++i) batching.add(call(i % 4), kRule, 1000);
  std::vector<std::uint64_t> seen;
  batching.for_each([&](Call& one) {
    seen.push_back(one.ticket);
    if (one.ticket % 3 != 0) batching.remove(one);
  });
  EXPECT_EQ(seen.size(), 12u);
  EXPECT_EQ(batching.size(), 4u);
  batching.for_each([&](Call& one) { batching.remove(one); });
  EXPECT_TRUE(batching.empty());
}

}  // namespace
}  // namespace samovar::core
