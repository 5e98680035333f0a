#include "core/dispatch/breaker.h"

#include <gtest/gtest.h>

#include <array>
#include <iterator>

#include "core/dispatch/breakers.h"
#include "core/errors.h"

namespace samovar::core {
namespace {

using S = BreakerState;
using E = BreakerEvent;
using Answer = BreakerStep::Answer;
using Change = BreakerStep::Change;

constexpr std::int64_t kMs = 1'000'000;
constexpr BreakerRules kRules{.failures = 3, .window_ns = 100 * kMs, .delay_ns = 50 * kMs, .probes = 2};

// A breaker that has come to `state` by time 0; open ones may be tried from 50 ms on.
Breaker in(S state, const BreakerRules& rules = kRules) {
  Breaker breaker(rules);
  const std::int64_t opened_ns = state == S::half_open ? -rules.delay_ns : 0;
  if (state != S::closed) {
    for (std::uint32_t i = 0; i < rules.failures; ++i) breaker.next(E::failed, opened_ns);
  }
  if (state == S::half_open) breaker.next(E::call, 0);
  EXPECT_EQ(breaker.state(), state);
  return breaker;
}

// Every state and every event, written out: what follows, and the answer where the event is a call.
struct Cell {
  S after;
  Change change = Change::none;
  Answer answer = Answer::pass;
};
struct Row {
  S state;
  std::array<Cell, kBreakerEvents> cells;
};
constexpr Row kTable[] = {
    //             call                                          failed       probe_succeeded  probe_failed                  probe_dropped
    {S::closed,    {{{S::closed},                                {S::closed},    {S::closed},    {S::closed},                {S::closed}}}},
    {S::open,      {{{S::open, Change::none, Answer::refuse},    {S::open},      {S::open},      {S::open},                  {S::open}}}},
    {S::half_open, {{{S::half_open, Change::none, Answer::probe}, {S::half_open}, {S::half_open}, {S::open, Change::opened}, {S::half_open}}}},
};

TEST(Breaker, follows_the_table_for_every_state_and_event) {
  ASSERT_EQ(std::size(kTable), static_cast<std::size_t>(kBreakerStates));
  for (const Row& row : kTable) {
    for (int event = 0; event < kBreakerEvents; ++event) {
      SCOPED_TRACE("state " + std::to_string(static_cast<int>(row.state)) + ", event " + std::to_string(event));
      Breaker breaker = in(row.state);
      const BreakerStep step = breaker.next(static_cast<E>(event), 1 * kMs, breaker.period());
      const Cell& cell = row.cells[static_cast<std::size_t>(event)];
      EXPECT_EQ(breaker.state(), cell.after);
      EXPECT_EQ(step.change, cell.change);
      EXPECT_EQ(step.answer, cell.answer);
    }
  }
}

TEST(Breaker, opens_by_as_many_failures_as_the_rule_says_within_the_window) {
  Breaker breaker(kRules);
  breaker.next(E::failed, 0);
  breaker.next(E::failed, 90 * kMs);
  EXPECT_EQ(breaker.next(E::failed, 101 * kMs), BreakerStep{}) << "the first is out of the window";
  EXPECT_EQ(breaker.next(E::failed, 190 * kMs).change, Change::opened) << "90, 101 and 190 are within 100 ms";
  EXPECT_EQ(breaker.retry_ns(), 240 * kMs);
}

TEST(Breaker, never_opens_by_failures_that_are_far_between) {
  Breaker breaker(kRules);
  for (std::int64_t i = 0; i < 1000; ++i) ASSERT_EQ(breaker.next(E::failed, i * 51 * kMs), BreakerStep{}) << i;
}

TEST(Breaker, whose_rule_is_one_opens_by_the_first_and_whose_rule_is_zero_never) {
  EXPECT_EQ(Breaker({.failures = 1}).next(E::failed, 5).change, Change::opened);
  Breaker off({.failures = 0, .window_ns = 100 * kMs});
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(off.next(E::failed, 0), BreakerStep{});
}

TEST(Breaker, lets_nothing_through_until_the_delay_has_passed) {
  Breaker breaker = in(S::open);
  EXPECT_EQ(breaker.next(E::call, 50 * kMs - 1).answer, Answer::refuse);
  EXPECT_EQ(breaker.next(E::failed, 50 * kMs - 1), BreakerStep{}) << "of a call that was let through before: it prolongs nothing";
  EXPECT_EQ(breaker.next(E::call, 50 * kMs), (BreakerStep{Answer::probe, Change::probing}));
}

TEST(Breaker, lets_as_many_probes_through_as_the_rule_says_and_closes_when_all_have_succeeded) {
  Breaker breaker = in(S::half_open);
  EXPECT_EQ(breaker.next(E::call, 1).answer, Answer::probe);
  EXPECT_EQ(breaker.next(E::call, 2).answer, Answer::refuse);
  EXPECT_EQ(breaker.next(E::probe_succeeded, 3, breaker.period()), BreakerStep{});
  EXPECT_EQ(breaker.next(E::call, 4).answer, Answer::refuse) << "no more than it takes";
  EXPECT_EQ(breaker.next(E::probe_succeeded, 5, breaker.period()).change, Change::closed);
  EXPECT_EQ(breaker.next(E::call, 6), BreakerStep{});
}

TEST(Breaker, that_has_closed_counts_from_nothing) {
  Breaker breaker = in(S::half_open);
  breaker.next(E::call, 1);
  breaker.next(E::failed, 1);
  for (int i = 0; i < 2; ++i) breaker.next(E::probe_succeeded, 1, breaker.period());
  ASSERT_EQ(breaker.state(), S::closed);
  EXPECT_EQ(breaker.next(E::failed, 2), BreakerStep{});
  EXPECT_EQ(breaker.next(E::failed, 2), BreakerStep{});
  EXPECT_EQ(breaker.next(E::failed, 2).change, Change::opened);
}

TEST(Breaker, gives_the_place_of_a_dropped_probe_to_the_next_call) {
  Breaker breaker = in(S::half_open);
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(breaker.next(E::call, i).answer, Answer::probe);
    EXPECT_EQ(breaker.next(E::call, i).answer, Answer::refuse);
    breaker.next(E::probe_dropped, i, breaker.period());
  }
}

TEST(Breaker, opens_again_by_one_failed_probe_and_ignores_the_others_of_that_period) {
  Breaker breaker = in(S::half_open);
  breaker.next(E::call, 0);
  const std::uint32_t former = breaker.period();
  EXPECT_EQ(breaker.next(E::probe_failed, 10 * kMs, former).change, Change::opened);
  EXPECT_EQ(breaker.retry_ns(), 60 * kMs);
  EXPECT_EQ(breaker.next(E::probe_failed, 20 * kMs, former), BreakerStep{});
  EXPECT_EQ(breaker.retry_ns(), 60 * kMs);
  ASSERT_EQ(breaker.next(E::call, 60 * kMs).answer, Answer::probe);
  for (const E event : {E::probe_succeeded, E::probe_failed, E::probe_dropped}) {
    EXPECT_EQ(breaker.next(event, 61 * kMs, former), BreakerStep{});
    EXPECT_EQ(breaker.state(), S::half_open);
  }
  EXPECT_EQ(breaker.next(E::call, 62 * kMs).answer, Answer::probe);
  EXPECT_EQ(breaker.next(E::call, 62 * kMs).answer, Answer::refuse) << "two places, as before";
}

// --- what an outcome shows ------------------------------------------------------------------------------------------------

TEST(Finding, of_deaths_and_deadlines_is_failure_where_the_call_may_have_run) {
  EXPECT_EQ(finding_of(worker_lost("price", 0, "it died", true)), Finding::failure);
  EXPECT_EQ(finding_of(worker_lost("price", 0, "it died", false)), Finding::nothing);
  EXPECT_EQ(finding_of(deadline_exceeded("price", true)), Finding::failure);
  EXPECT_EQ(finding_of(deadline_exceeded("price", false)), Finding::nothing);
}

TEST(Finding, of_what_the_method_answered_is_success) {
  Error raised = make_error(Category::application, Code::method_failed, "ValueError");
  raised.context.started = true;
  EXPECT_EQ(finding_of(raised), Finding::success);
}

TEST(Finding, of_all_else_is_nothing) {
  Error stopped = pool_stopped();
  stopped.context.started = true;
  Error cancelled = call_cancelled("price");
  cancelled.context.started = true;
  for (const Error& error : {stopped, cancelled, queue_full(10), unknown_method("x", {}, "m"), payload_too_large(2, 1)}) {
    EXPECT_EQ(finding_of(error), Finding::nothing) << error.message;
  }
}

}  // namespace
}  // namespace samovar::core
