// A worker stands still at every instruction of the extension in the life of a call while another one does what it has not
// begun; then it goes on, or is killed: no call runs twice or is told twice. A sample by default.
#include <gtest/gtest.h>

#include <algorithm>
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

enum class Then { goes_on, is_killed };

void stand_still_at(Stage& stage, Point point, Then then) {
  stage.set(no_deadline(), false);
  stage.step_to(point);
  const ChannelState state = stage.state();
  SCOPED_TRACE((then == Then::goes_on ? "stopped at " : "killed at ") + point.to_string() + ": " + state.to_string());
  const pid_t pid = stage.worker().pid();
  const std::vector<std::uint64_t>& lane = stage.in_lane();
  ASSERT_GT(lane.size(), 2u);

  // The oldest call that it has not answered stays with it, begun or not. All others are told meanwhile.
  const std::uint64_t kept = lane[state.published];
  const auto others_told = [&] {
    stage.pool().poll();
    return std::all_of(stage.calls().begin(), stage.calls().end(),
                       [&](const auto& call) { return call->number == kept || call->times_told() > 0; });
  };
  stage.let_other_run();
  EXPECT_TRUE(wait_until(others_told)) << "calls wait behind a worker that stands still";

  if (then == Then::goes_on) {
    stage.worker().let_run();
  } else {
    stage.worker().kill();
  }
  if (!stage.all_told()) return;
  for (const auto& call : stage.calls()) {
    EXPECT_TRUE(call->is_right()) << call->describe();
    EXPECT_LE(stage.times_begun(*call), 1) << "ran twice. " << call->describe();
    const auto place = static_cast<std::uint64_t>(std::find(lane.begin(), lane.end(), call->number) - lane.begin());
    if (call->number != kept) {
      EXPECT_EQ(call->replied_by() == pid, place < state.published) << call->describe();
    } else if (then == Then::goes_on) {
      EXPECT_EQ(call->replied_by(), pid) << call->describe();
    } else if (place < state.started) {
      EXPECT_EQ(call->error(), Code::worker_lost) << call->describe();
    } else {
      EXPECT_TRUE(call->replied_by() && call->replied_by() != pid) << call->describe();
    }
  }
  stage.expect_at_rest();
  EXPECT_EQ(stage.pool().stats().late_replies, stage.before().late_replies);
}

TEST(TakenBack, at_any_instruction_calls_run_elsewhere_and_once) {
  if (const std::string why = why_no_tracing(); !why.empty()) GTEST_SKIP() << why;
  const Script script{"taken_back", "told", 64, 8, Until::second_call_begins, Dispatcher::caller, 2};
  Stage stage(script);
  for (int call = 0; call < 10; ++call) stage.expect_served();
  stage.set(no_deadline(), false);
  const Course course = stage.survey();
  stage.let_other_run();
  ASSERT_TRUE(stage.all_told());
  stage.expect_at_rest();

  const std::vector<Point> points = choose_points(course);
  for (std::size_t i = 0; i < points.size() && !testing::Test::HasFailure(); ++i) {
    stand_still_at(stage, points[i], i % 2 == 0 ? Then::goes_on : Then::is_killed);
  }
  std::cout << stage.report(course, points.size()) << "; " << stage.pool().stats().taken_back << " calls taken back\n";
}

}  // namespace
}  // namespace samovar::test
