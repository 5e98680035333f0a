// A worker is killed at every instruction of the extension in the life of a call: each call has the one outcome that the
// channel foretold, and the pool serves on as if nothing had been. A sample by default, all of them in `make soak`.
#include <gtest/gtest.h>

#include <chrono>
#include <iostream>
#include <string>
#include <vector>

#include "tests/stress/steps/points.h"
#include "tests/stress/steps/stage.h"
#include "tests/stress/stress.h"

namespace samovar::test {
namespace {

using namespace std::chrono_literals;

// What else is true of the calls when the worker is killed.
enum class Twist {
  none,
  idempotent,  // calls that may run again, do
  cancelled,   // the first and the last have their outcome already
};
constexpr Twist kTwists[] = {Twist::none, Twist::idempotent, Twist::cancelled};

class Killed : public testing::TestWithParam<Script> {};

INSTANTIATE_TEST_SUITE_P(, Killed,
                         testing::Values(Script{"small", "told", 64, 4, Until::second_call_begins},
                                         Script{"small_pinned", "told", 64, 4, Until::second_call_begins, Dispatcher::pinned},
                                         Script{"last", "told", 64, 1, Until::sleep},
                                         Script{"large", "told_at_length", 200, 3, Until::second_call_begins},
                                         Script{"kept", "kept", 200, 3, Until::second_call_answered}),
                         [](const auto& info) { return std::string(info.param.name); });

// Each call's outcome, where the worker `killed` was killed in `state`.
void expect_foretold(Stage& stage, pid_t killed, const ChannelState& state, Twist twist) {
  auto& calls = stage.calls();
  for (std::size_t i = 0; i < calls.size(); ++i) {
    Told& call = *calls[i];
    const bool cancelled = twist == Twist::cancelled && (i == 0 || i + 1 == calls.size());
    EXPECT_TRUE(call.is_right()) << call.describe();
    if (cancelled && call.error()) {
      EXPECT_EQ(call.error(), Code::cancelled) << call.describe();
    } else if (i < state.published) {
      EXPECT_EQ(call.replied_by(), killed) << "its reply was published. " << call.describe();
    } else if (i < state.started && twist != Twist::idempotent) {
      EXPECT_EQ(call.error(), Code::worker_lost) << "it was running. " << call.describe();
    } else {
      EXPECT_FALSE(call.error()) << "it can run elsewhere. " << call.describe();
      EXPECT_NE(call.replied_by(), killed) << call.describe();
    }
    const int begun = stage.times_begun(call);
    EXPECT_LE(begun, call.idempotent ? 2 : 1) << "ran twice. " << call.describe();
  }
}

// The killed worker has begun none that it did not announce as started, and its successor served the others in their order.
void expect_order(Stage& stage, pid_t killed, const ChannelState& state) {
  const std::uint64_t first = stage.calls().front()->number;
  std::uint64_t last_elsewhere = 0;
  for (const Stage::Note& note : stage.notes()) {
    if (note.crc != 0) continue;
    if (note.pid == static_cast<std::uint32_t>(killed)) {
      EXPECT_LT(note.number, first + state.started) << "begun and not announced";
    } else {
      EXPECT_GT(note.number, last_elsewhere) << "out of order";
      last_elsewhere = note.number;
    }
  }
}

void kill_at(Stage& stage, Point point, Twist twist) {
  stage.set(no_deadline(), twist == Twist::idempotent);
  stage.step_to(point);
  const ChannelState state = stage.state();
  SCOPED_TRACE("killed at " + point.to_string() + ": " + state.to_string());
  if (twist == Twist::cancelled) {
    stage.calls().front()->stop.request_stop();
    stage.calls().back()->stop.request_stop();
  }
  const pid_t killed = stage.worker().pid();
  stage.worker().kill();

  if (!stage.all_told()) return;
  expect_foretold(stage, killed, state, twist);
  expect_order(stage, killed, state);
  stage.expect_at_rest();
  EXPECT_EQ(stage.pool().stats().workers_lost, stage.before().workers_lost + 1);
}

TEST_P(Killed, at_any_instruction_leaves_each_call_one_outcome) {
  if (const std::string why = why_no_tracing(); !why.empty()) GTEST_SKIP() << why;
  const Footprint before = Footprint::now();
  {
    Stage stage(GetParam());
    stage.expect_served();  // as each successor will have, when it is stepped through
    stage.set(no_deadline(), false);
    const Course course = stage.survey();
    ASSERT_TRUE(stage.all_told());
    stage.expect_at_rest();

      const std::vector<Point> points = choose_points(course);
    for (std::size_t i = 0; i < points.size() && !HasFailure(); ++i) {
      kill_at(stage, points[i], kTwists[i % std::size(kTwists)]);
    }
    std::cout << stage.report(course, points.size()) << "\n";
  }
  EXPECT_TRUE(wait_until([&] { return Footprint::now() == before; })) << Footprint::now().to_string();
}

}  // namespace
}  // namespace samovar::test
