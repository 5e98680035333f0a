#include "core/dispatch/placement.h"

#include <gtest/gtest.h>

#include <vector>

namespace samovar::core {
namespace {

TEST(Credit, is_the_option_where_one_is_given) {
  EXPECT_EQ(credit(7, 0), 7u);
  EXPECT_EQ(credit(1, 1), 1u);
  EXPECT_EQ(credit(1024, 1'000'000'000), 1024u);
}

TEST(Credit, by_time_is_50_us_of_work_from_1_to_64_calls) {
  EXPECT_EQ(credit(0, 0), 1u) << "unknown";
  EXPECT_EQ(credit(0, -5), 1u);
  EXPECT_EQ(credit(0, 1), 64u);
  EXPECT_EQ(credit(0, 500), 64u);
  EXPECT_EQ(credit(0, 781), 64u);
  EXPECT_EQ(credit(0, 1'000), 50u);
  EXPECT_EQ(credit(0, 10'000), 5u);
  EXPECT_EQ(credit(0, 25'000), 2u);
  EXPECT_EQ(credit(0, 25'001), 1u);
  EXPECT_EQ(credit(0, 50'000), 1u);
  EXPECT_EQ(credit(0, 50'001), 1u);
  EXPECT_EQ(credit(0, INT64_MAX), 1u);
}

WorkerLoad load(std::uint32_t in_flight, std::uint32_t credit, std::uint64_t last_used = 0, bool available = true) {
  return {.available = available, .in_flight = in_flight, .credit = credit, .last_used = last_used};
}

int choose(std::vector<WorkerLoad> loads) { return choose_worker(loads); }

TEST(ChooseWorker, finds_none_among_none_busy_or_absent_ones) {
  EXPECT_EQ(choose({}), -1);
  EXPECT_EQ(choose({load(0, 1, 0, false)}), -1);
  EXPECT_EQ(choose({load(1, 1), load(4, 4), load(0, 8, 0, false)}), -1);
  EXPECT_EQ(choose({load(5, 4)}), -1) << "its credit has shrunk meanwhile";
}

TEST(ChooseWorker, prefers_an_idle_worker_to_one_with_credit) {
  EXPECT_EQ(choose({load(1, 64, 100), load(0, 1, 1)}), 1);
  EXPECT_EQ(choose({load(0, 1, 1), load(1, 64, 100)}), 0);
}

TEST(ChooseWorker, prefers_fewer_calls_among_busy_ones) {
  EXPECT_EQ(choose({load(3, 8), load(2, 8), load(4, 8)}), 1);
  EXPECT_EQ(choose({load(3, 8), load(2, 2), load(4, 8)}), 0) << "the one with two has no credit left";
}

TEST(ChooseWorker, prefers_the_most_recently_used_among_equals) {
  EXPECT_EQ(choose({load(0, 1, 5), load(0, 1, 9), load(0, 1, 7)}), 1);
  EXPECT_EQ(choose({load(2, 4, 9), load(2, 4, 5)}), 0);
  EXPECT_EQ(choose({load(2, 4, 5), load(2, 4, 9)}), 1);
}

int choose_near(int node, std::vector<WorkerLoad> loads) { return choose_worker_near(loads, node); }

WorkerLoad on(int node, WorkerLoad load) {
  load.node = node;
  return load;
}

TEST(ChooseWorkerNear, prefers_an_idle_worker_of_the_callers_node_to_one_used_more_recently) {
  EXPECT_EQ(choose_near(0, {on(0, load(0, 1, 1)), on(1, load(0, 1, 9))}), 0);
  EXPECT_EQ(choose_near(1, {on(0, load(0, 1, 9)), on(1, load(0, 1, 1))}), 1);
}

TEST(ChooseWorkerNear, prefers_the_most_recently_used_of_the_callers_node) {
  EXPECT_EQ(choose_near(1, {on(1, load(0, 1, 3)), on(0, load(0, 1, 9)), on(1, load(0, 1, 5))}), 2);
}

TEST(ChooseWorkerNear, crosses_over_to_an_idle_worker_rather_than_wait) {
  EXPECT_EQ(choose_near(0, {on(0, load(1, 64, 9)), on(1, load(0, 1, 1))}), 1);
  EXPECT_EQ(choose_near(0, {on(0, load(0, 1, 9, false)), on(1, load(0, 1, 1))}), 1);
}

TEST(ChooseWorkerNear, prefers_fewer_calls_before_the_node_and_the_node_among_equals_when_all_are_busy) {
  EXPECT_EQ(choose_near(0, {on(0, load(2, 8)), on(1, load(1, 8))}), 1);
  EXPECT_EQ(choose_near(0, {on(1, load(2, 8, 9)), on(0, load(2, 8, 1))}), 1);
}

TEST(ChooseWorkerNear, is_choose_worker_for_a_caller_on_a_node_without_workers) {
  EXPECT_EQ(choose_near(7, {on(0, load(0, 1, 5)), on(1, load(0, 1, 9)), on(0, load(0, 1, 7))}), 1);
  EXPECT_EQ(choose_near(-1, {on(0, load(0, 1, 5)), on(1, load(0, 1, 9))}), 1);
}

TEST(ChooseWorker, skips_an_absent_worker_that_would_be_best) {
  EXPECT_EQ(choose({load(0, 1, 99, false), load(0, 1, 1)}), 1);
}

}  // namespace
}  // namespace samovar::core
