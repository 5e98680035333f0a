// A worker is stopped at every instruction of the extension in the life of a call, for longer than its callers wait, and then
// goes on: what it says late is dropped and counted, it has read what it was sent, and it serves on. A sample by default.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <iostream>
#include <string>
#include <vector>

#include "tests/stress/steps/points.h"
#include "tests/stress/steps/stage.h"
#include "tests/stress/stress.h"

namespace samovar::test {
namespace {

using namespace std::chrono_literals;

// What becomes of the calls while the worker is stopped.
enum class Twist { overdue, none, cancelled };
constexpr Twist kTwists[] = {Twist::overdue, Twist::none, Twist::cancelled};

class Stopped : public testing::TestWithParam<Script> {};

INSTANTIATE_TEST_SUITE_P(, Stopped,
                         testing::Values(Script{"small", "told", 64, 4, Until::second_call_begins},
                                         Script{"last", "told", 64, 1, Until::sleep},
                                         Script{"large", "told_at_length", 200, 3, Until::second_call_begins},
                                         Script{"kept", "kept", 200, 3, Until::second_call_answered}),
                         [](const auto& info) { return std::string(info.param.name); });

// While the worker stands still: each call that it has not answered gets its outcome from the host.
void expect_outcomes_without(Stage& stage, const ChannelState& state, Twist twist) {
  if (twist == Twist::none) return;
  if (twist == Twist::cancelled) {
    for (const auto& call : stage.calls()) call->stop.request_stop();
  }
  if (!stage.all_told()) return;
  const Code expected = twist == Twist::overdue ? Code::deadline_exceeded : Code::cancelled;
  for (std::size_t i = 0; i < stage.calls().size(); ++i) {
    Told& call = *stage.calls()[i];
    // A published reply may come too late as well: the host had not yet taken it.
    if (call.error() || i >= state.published) {
      EXPECT_EQ(call.error(), expected) << call.describe();
    }
  }
}

// What it was to read was not used for anything else meanwhile, and each call that it began is a reply or a late one.
void expect_harmless(Stage& stage, const Told& sent_meanwhile) {
  std::uint64_t ended = 0, replied = 0;
  for (const auto& call : stage.calls()) {
    EXPECT_TRUE(call->is_right()) << call->describe();
    EXPECT_LE(stage.times_begun(*call), 1) << "ran twice. " << call->describe();
    replied += call->replied_by().has_value();
  }
  for (const Stage::Note& note : stage.notes()) {
    if (note.number == sent_meanwhile.number) continue;
    const auto& calls = stage.calls();
    const auto call = std::find_if(calls.begin(), calls.end(), [&](const auto& c) { return c->number == note.number; });
    EXPECT_TRUE(call != calls.end() && (note.crc == 0 || note.crc == (*call)->checksum()))
        << "memory was reused too early: a handler has read what nobody sent it";
    ended += note.crc != 0;
  }
  EXPECT_EQ(stage.pool().stats().late_replies - stage.before().late_replies, ended - replied);
}

void stop_at(Stage& stage, Point point, Twist twist, Duration timeout) {
  stage.set(twist == Twist::overdue ? timeout : no_deadline(), false);
  stage.step_to(point);
  const ChannelState state = stage.state();
  SCOPED_TRACE("stopped at " + point.to_string() + ": " + state.to_string());
  const pid_t pid = stage.worker().pid();
  stage.worker().stop();

  expect_outcomes_without(stage, state, twist);
  std::vector<Loan> loans;  // whoever may still read a block keeps it: these are others
  for (int i = 0; i < 8; ++i) {
    auto loan = stage.pool().loan(stage.calls().front()->argument.size());
    ASSERT_TRUE(loan) << loan.error().to_string();
    std::memset(loan->data(), 0xff, loan->size());
    loans.push_back(std::move(*loan));
  }
  const auto sent_meanwhile = stage.send(no_deadline());
  kill(pid, SIGCONT);

  EXPECT_TRUE(wait_until([&] { return stage.pool().poll(), sent_meanwhile->times_told() > 0; })) << "it was not woken";
  EXPECT_EQ(sent_meanwhile->replied_by(), pid) << sent_meanwhile->describe();
  EXPECT_TRUE(sent_meanwhile->is_right()) << sent_meanwhile->describe();
  if (!stage.all_told()) return;
  loans.clear();
  expect_harmless(stage, *sent_meanwhile);
  stage.expect_at_rest();
  EXPECT_EQ(stage.pool().stats().workers_lost, stage.before().workers_lost) << "suspicion is no proof";
}

TEST_P(Stopped, at_any_instruction_does_no_harm_when_it_goes_on) {
  if (const std::string why = why_no_tracing(); !why.empty()) GTEST_SKIP() << why;
  Stage stage(GetParam());
  for (int call = 0; call < 10; ++call) stage.expect_served();  // the same worker all the time: a warm one
  stage.set(no_deadline(), false);
  const Course course = stage.survey();
  ASSERT_TRUE(stage.all_told());
  stage.expect_at_rest();

  const std::vector<Point> points = choose_points(course);
  for (std::size_t i = 0; i < points.size() && !HasFailure(); ++i) {
    const Duration timeout = course.time_to(points[i]) * 3 / 2 + 20ms;  // later than the stop, and not long after
    stop_at(stage, points[i], kTwists[i % std::size(kTwists)], timeout);
  }
  std::cout << stage.report(course, points.size()) << "; " << stage.pool().stats().late_replies << " late replies\n";
}

}  // namespace
}  // namespace samovar::test
