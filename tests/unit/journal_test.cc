#include "core/dispatch/journal.h"

#include <gtest/gtest.h>

namespace samovar::core {
namespace {

TEST(Journal, keeps_entries_in_lane_order_over_many_laps) {
  Journal journal(5);  // rounded up to 8
  std::vector<Call> calls(8);
  for (std::uint64_t number = 0; number < 100; ++number) {
    Call& call = calls[number % 8];
    call.ticket = 1000 + number;
    journal.push(call, number * 64);
    if (journal.full()) {
      EXPECT_EQ(journal.size(), 8u);
      EXPECT_EQ(journal.front().call_id, 1000 + journal.resolved());
      EXPECT_EQ(journal.front().lane_position, journal.resolved() * 64);
      EXPECT_EQ(journal.at(journal.sent() - 1).call, &call);
      journal.resolve(journal.front());
    }
  }
  EXPECT_EQ(journal.sent(), 100u);
  EXPECT_EQ(journal.resolved(), 93u);
}

TEST(Journal, an_entry_is_revocable_where_others_lie_before_it) {
  Journal journal(4);
  Call call;
  journal.push(call, 0);
  journal.push(call, 64);
  EXPECT_FALSE(journal.at(0).revocable);
  EXPECT_TRUE(journal.at(1).revocable);
  journal.resolve(journal.front());
  journal.resolve(journal.front());
  journal.push(call, 128);
  EXPECT_FALSE(journal.at(2).revocable);
  EXPECT_FALSE(journal.at(2).revoked);
}

TEST(Journal, believes_a_started_count_that_can_be_and_takes_any_other_as_all) {
  Journal journal(8);
  Call call;
  for (int i = 0; i < 6; ++i) journal.push(call, 0);
  for (int i = 0; i < 2; ++i) journal.resolve(journal.front());  // resolved 2, sent 6
  for (std::uint64_t said = 2; said <= 6; ++said) EXPECT_EQ(journal.believe_started(said), said);
  for (std::uint64_t said : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{7}, std::uint64_t{1000}, UINT64_MAX}) {
    EXPECT_EQ(journal.believe_started(said), 6u) << said;
  }
}

TEST(Journal, an_empty_one_believes_only_its_own_number) {
  Journal journal(8);
  EXPECT_EQ(journal.believe_started(0), 0u);
  EXPECT_EQ(journal.believe_started(5), 0u);
}

TEST(Journal, what_is_answered_early_keeps_its_place_until_those_before_it_are) {
  Journal journal(4);
  std::vector<Call> calls(4);
  for (std::uint64_t i = 0; i < 4; ++i) {
    calls[i].ticket = 10 + i;
    journal.push(calls[i], i * 64);
  }
  journal.resolve(*journal.find(12));
  journal.resolve(*journal.find(11));
  EXPECT_EQ(journal.size(), 2u);
  EXPECT_TRUE(journal.full()) << "their places are not free";
  EXPECT_EQ(journal.find(12), nullptr) << "answered once";
  EXPECT_EQ(journal.find(9), nullptr);
  journal.resolve(*journal.find(10));
  EXPECT_EQ(journal.size(), 1u);
  EXPECT_EQ(journal.resolved(), 3u);
  EXPECT_EQ(journal.front().call_id, 13u);
  journal.resolve(journal.front());
  EXPECT_TRUE(journal.empty());
}

TEST(Journal, what_is_set_aside_keeps_no_place_and_is_found_visited_and_resolved) {
  Journal journal(4);
  std::vector<Call> calls(100);
  for (std::uint64_t i = 0; i < 100; ++i) calls[i].ticket = 10 + i;
  journal.push(calls[0], 0);
  for (std::uint64_t i = 1; i < 100; ++i) {  // one long call, and short ones behind it
    if (journal.full()) journal.set_aside(i);
    ASSERT_FALSE(journal.full()) << i;
    journal.push(calls[i], i * 64);
    journal.resolve(*journal.find(10 + i));
    EXPECT_EQ(journal.size(), 1u);
  }
  EXPECT_FALSE(journal.empty());
  ASSERT_NE(journal.find(10), nullptr);
  EXPECT_EQ(journal.find(10)->call, &calls[0]);
  EXPECT_TRUE(journal.is_begun(*journal.find(10), 1)) << "whatever is said now";
  int visited = 0;
  journal.visit([&](Journal::Entry& entry, std::uint64_t number) {
    ++visited;
    EXPECT_EQ(entry.call_id, 10u);
    EXPECT_EQ(number, 0u);
  });
  EXPECT_EQ(visited, 1);
  journal.resolve(*journal.find(10));
  EXPECT_TRUE(journal.empty());
  EXPECT_EQ(journal.find(10), nullptr);
}

TEST(Journal, only_what_has_begun_is_set_aside) {
  Journal journal(4);
  std::vector<Call> calls(4);
  for (std::uint64_t i = 0; i < 4; ++i) {
    calls[i].ticket = 10 + i;
    journal.push(calls[i], i * 64);
  }
  journal.resolve(*journal.find(11));
  journal.set_aside(2);
  EXPECT_EQ(journal.size(), 3u);
  EXPECT_EQ(journal.resolved(), 2u);
  EXPECT_EQ(journal.front().call_id, 12u);
  EXPECT_TRUE(journal.is_begun(*journal.find(10), 2));
  EXPECT_FALSE(journal.is_begun(*journal.find(12), 2));
  EXPECT_TRUE(journal.is_begun(*journal.find(12), 3));
  std::vector<std::uint64_t> order;
  journal.visit([&](const Journal::Entry& entry, std::uint64_t) { order.push_back(entry.call_id); });
  EXPECT_EQ(order, (std::vector<std::uint64_t>{10, 12, 13}));
  journal.begin(0);
  EXPECT_TRUE(journal.empty());
  EXPECT_EQ(journal.find(10), nullptr);
}

TEST(Journal, grows_where_a_batch_is_larger_than_it) {
  Journal journal(4);
  journal.begin(1000);
  std::array<Call, 11> calls;
  for (std::size_t i = 0; i < calls.size(); ++i) {
    calls[i].ticket = i;
    journal.push(calls[i], 64 * i, false, static_cast<std::uint32_t>(calls.size() - 1 - i));
  }
  EXPECT_EQ(journal.size(), 11u);
  for (std::size_t i = 0; i < calls.size(); ++i) {
    EXPECT_EQ(journal.front().call, &calls[i]);
    EXPECT_EQ(journal.find(10), &journal.at(1010));
    journal.resolve(journal.front());
  }
  EXPECT_TRUE(journal.empty());
  EXPECT_EQ(journal.resolved(), 1011u);
}

TEST(Journal, what_waits_lies_behind_the_batch_of_the_first) {
  Journal journal(8);
  Call call;
  for (const std::uint32_t rest : {2u, 1u, 0u}) journal.push(call, 64, false, rest);
  EXPECT_EQ(journal.waiting_from(), 3u) << "nothing does";
  journal.push(call, 256);
  EXPECT_EQ(journal.waiting_from(), 3u);
  journal.resolve(journal.front());
  EXPECT_EQ(journal.waiting_from(), 3u);
  journal.resolve(journal.front());
  journal.resolve(journal.front());
  EXPECT_EQ(journal.waiting_from(), 4u);
}

// The worker counts the ping as started; its number is not a call's.
TEST(Journal, begins_at_the_lanes_number) {
  Journal journal(8);
  journal.begin(1);
  EXPECT_TRUE(journal.empty());
  Call call;
  journal.push(call, 64);
  journal.push(call, 128);
  EXPECT_EQ(journal.size(), 2u);
  EXPECT_EQ(journal.believe_started(1), 1u) << "the ping only";
  EXPECT_EQ(journal.believe_started(2), 2u) << "the ping and the first call";
  EXPECT_EQ(journal.at(1).lane_position, 64u);
  EXPECT_EQ(journal.front().lane_position, 64u);
  journal.begin(0);
  EXPECT_TRUE(journal.empty());
}

}  // namespace
}  // namespace samovar::core
