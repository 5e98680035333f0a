// What tests of a Fleet share.
#pragma once

#include <gtest/gtest.h>

#include "tests/support/thread_worker.h"

namespace samovar::test {

// Ends the fleet: every accepted call has its one outcome, and nothing lies in a lane.
inline void expect_settled(Fleet& fleet) {
  fleet.finish();
  EXPECT_EQ(fleet->accepted(), fleet.counters().outcomes());
  EXPECT_EQ(fleet.counters().asynchronous.get(), 0u);
  // A pinned dispatcher hears of the workers' ends in its own time.
  EXPECT_TRUE(wait_until([&] { return fleet.counters().in_flight_sent.get() == fleet.counters().in_flight_ended.get(); }));
}

// As wait_until(), with callbacks.
template <typename Condition>
[[nodiscard]] bool poll_until(Fleet& fleet, Condition&& condition) {
  return wait_until([&] {
    fleet->poll();
    return condition();
  });
}

// A parameter of tests.
struct LieCase {
  Lie lie;
  const char* name;
};

}  // namespace samovar::test
