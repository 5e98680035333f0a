#include "core/supervision/health.h"

#include <gtest/gtest.h>

#include <optional>

#include "ipc/clock.h"

namespace samovar::core {
namespace {

constexpr std::int64_t kMs = 1'000'000;
constexpr HealthLimits kLimits{.beat_ns = 250 * kMs, .kill_grace_ns = 5000 * kMs, .wedged_after_ns = 5000 * kMs, .blocked_after_ns = 250 * kMs,
                               .stopped_after_ns = 3000 * kMs};

// A worker and a clock. Each look() is a beat later, its guard stamps unless it is stopped.
class Patient {
 public:
  Vitals vitals{.now_ns = 1'000'000 * kMs, .state = WorkerState::serving, .deadline_ns = ipc::kNever, .alive_ns = 1'000'000 * kMs};
  ProcessReading process{.state = 'S'};
  HealthMemory memory;
  bool stamps = true;
  bool computes = false;  // the main thread
  bool probed = false;
  int proc_readings = 0;

  Patient() { look(); }

  void runs(std::int64_t deadline_ns = ipc::kNever) {
    vitals.has_calls = true;
    vitals.deadline_ns = deadline_ns;
  }
  void holds_gil() {
    probed = true;
    vitals.probe_began_ns = vitals.now_ns;
  }
  void drops_gil() { vitals.probe_ended_ns = vitals.now_ns; }

  Diagnosis look(std::int64_t later_ns = 250 * kMs) {
    vitals.now_ns += later_ns;
    if (stamps) vitals.alive_ns = vitals.now_ns;
    if (computes) process.cpu_ns += later_ns;
    vitals.process.reset();
    if (needs_process(vitals, kLimits)) {
      vitals.process = process;
      ++proc_readings;
    }
    return diagnose(memory, vitals, kLimits);
  }

  // Looks each beat until it is condemned, at most for `at_most_ns`. How long that took.
  std::optional<std::int64_t> condemned_within(std::int64_t at_most_ns) {
    const std::int64_t began_ns = vitals.now_ns;
    while (vitals.now_ns - began_ns <= at_most_ns) {
      const Diagnosis found = look();
      last = found.health;
      if (found.is_condemned) return vitals.now_ns - began_ns;
    }
    return std::nullopt;
  }
  Health last = Health::dead;
};

TEST(Health, follows_the_state_where_there_is_nothing_to_suspect) {
  const std::pair<WorkerState, Health> table[] = {
      {WorkerState::absent, Health::dead},       {WorkerState::starting, Health::starting},    {WorkerState::pinging, Health::starting},
      {WorkerState::serving, Health::idle},      {WorkerState::retiring, Health::retiring},    {WorkerState::stopping, Health::retiring},
      {WorkerState::terminating, Health::retiring}, {WorkerState::condemned, Health::retiring}, {WorkerState::killed, Health::retiring}};
  for (const auto& [state, health] : table) {
    Patient patient;
    patient.vitals.state = state;
    const Diagnosis found = patient.look();
    EXPECT_EQ(found.health, health) << to_string(state);
    EXPECT_FALSE(found.is_suspect || found.is_condemned) << to_string(state);
    EXPECT_EQ(patient.proc_readings, 0) << "/proc is read on suspicion only";
  }
}

TEST(Health, of_a_worker_whose_calls_wait_in_its_event_loop_is_idle) {
  Patient patient;
  patient.runs();
  patient.vitals.turn_began_ns = -1;
  EXPECT_EQ(patient.look().health, Health::idle);
  patient.vitals.turn_began_ns = patient.vitals.now_ns + 200 * kMs;
  EXPECT_EQ(patient.look().health, Health::busy);
}

TEST(Health, of_an_event_loop_that_does_not_come_round_is_blocked_and_worth_telling_but_no_reason_to_kill) {
  Patient patient;
  patient.runs();
  patient.vitals.turn_began_ns = patient.vitals.now_ns;
  for (int beat = 0; beat < 100; ++beat) {
    const Diagnosis found = patient.look();
    EXPECT_EQ(found.health, Health::blocked);
    EXPECT_EQ(found.since_ns, patient.vitals.turn_began_ns);
    EXPECT_TRUE(found.is_suspect);
    EXPECT_FALSE(found.is_condemned);
  }
  patient.vitals.turn_began_ns = patient.vitals.now_ns + 200 * kMs;
  EXPECT_FALSE(patient.look().is_suspect);
}

TEST(Health, of_an_event_loop_in_native_code_is_blocked_and_wedged_where_its_clock_stands_still) {
  Patient patient;
  patient.runs();
  patient.vitals.turn_began_ns = patient.vitals.now_ns;
  patient.holds_gil();
  patient.computes = true;
  EXPECT_EQ(patient.look().health, Health::blocked);
  patient.computes = false;
  ASSERT_TRUE(patient.condemned_within(2 * kLimits.wedged_after_ns));
  EXPECT_EQ(patient.last, Health::wedged);
}

TEST(Health, of_an_event_loop_past_a_deadline_is_overdue_whether_it_waits_or_not) {
  for (const std::int64_t turn_began_ns : {std::int64_t{-1}, std::int64_t{1}}) {
    Patient patient;
    patient.runs(patient.vitals.now_ns + 100 * kMs);
    patient.vitals.turn_began_ns = turn_began_ns;
    ASSERT_TRUE(patient.condemned_within(2 * kLimits.kill_grace_ns));
    EXPECT_EQ(patient.last, Health::overdue);
  }
}

TEST(Health, of_a_worker_that_computes_or_waits_with_the_gil_released_is_busy_for_ever) {
  Patient patient;
  patient.runs();
  for (int beat = 0; beat < 10'000; ++beat) {
    patient.vitals.probe_began_ns = patient.vitals.now_ns;
    patient.vitals.probe_ended_ns = patient.vitals.now_ns;
    const Diagnosis found = patient.look();
    ASSERT_EQ(found.health, Health::busy);
    ASSERT_FALSE(found.is_suspect);
  }
  EXPECT_EQ(patient.proc_readings, 0);
}

TEST(Health, of_native_code_that_holds_the_gil_and_computes_is_native_for_ever) {
  Patient patient;
  patient.runs();
  patient.computes = true;
  patient.holds_gil();
  patient.look();
  for (int beat = 0; beat < 10'000; ++beat) {
    const Diagnosis found = patient.look();
    ASSERT_EQ(found.health, Health::native);
    ASSERT_FALSE(found.is_suspect);
  }
}

TEST(Health, of_one_that_would_compute_if_it_got_a_cpu_is_native) {
  Patient waits;
  waits.runs();
  waits.holds_gil();
  Patient ready;
  ready.runs();
  ready.holds_gil();
  for (int beat = 0; beat < 100; ++beat) {
    waits.process.ready_ns += kMs;  // its clock stands still, and it waits in the run queue
    ready.process.state = 'R';
    ASSERT_EQ(waits.look().health, Health::native);
    ASSERT_EQ(ready.look().health, Health::native);
  }
}

TEST(Health, of_one_whose_gil_is_not_to_be_had_while_its_clock_stands_still_is_wedged) {
  Patient patient;
  patient.runs();
  patient.holds_gil();
  const auto took = patient.condemned_within(10'000 * kMs);
  ASSERT_TRUE(took);
  EXPECT_EQ(patient.last, Health::wedged);
  EXPECT_GE(*took, kLimits.wedged_after_ns);
  EXPECT_LE(*took, kLimits.wedged_after_ns * 11 / 10);
}

TEST(Health, of_a_wedge_begins_anew_with_each_probe_that_got_through) {
  Patient patient;
  patient.runs();
  for (int round = 0; round < 5; ++round) {
    patient.holds_gil();
    EXPECT_FALSE(patient.condemned_within(4000 * kMs));
    patient.drops_gil();
    EXPECT_EQ(patient.look().health, Health::busy);
  }
}

TEST(Health, of_one_that_computed_and_then_stands_still_is_wedged_once_it_stood_still_for_half_of_the_limit) {
  Patient patient;
  patient.runs();
  patient.holds_gil();
  patient.computes = true;
  EXPECT_FALSE(patient.condemned_within(20'000 * kMs));
  patient.computes = false;
  const auto took = patient.condemned_within(10'000 * kMs);
  ASSERT_TRUE(took);
  EXPECT_GE(*took, kLimits.wedged_after_ns / 2);
}

TEST(Health, of_one_that_a_signal_has_stopped_is_stopped_and_is_condemned_at_its_limit) {
  for (const bool busy : {false, true}) {
    Patient patient;
    if (busy) patient.runs();
    patient.stamps = false;
    patient.process.state = 'T';
    const auto took = patient.condemned_within(10'000 * kMs);
    ASSERT_TRUE(took);
    EXPECT_EQ(patient.last, Health::stopped);
    EXPECT_GE(*took, kLimits.stopped_after_ns - kLimits.beat_ns);
    EXPECT_LE(*took, kLimits.stopped_after_ns * 11 / 10);
  }
}

TEST(Health, of_one_in_a_debugger_is_stopped_and_is_never_condemned) {
  Patient patient;
  patient.runs(patient.vitals.now_ns + kMs);
  patient.stamps = false;
  patient.process.state = 't';
  EXPECT_FALSE(patient.condemned_within(100'000 * kMs));
  EXPECT_EQ(patient.last, Health::stopped);
}

TEST(Health, of_one_that_goes_on_after_a_stop_is_what_it_was) {
  Patient patient;
  patient.runs();
  patient.stamps = false;
  patient.process.state = 'T';
  EXPECT_FALSE(patient.condemned_within(2000 * kMs));
  patient.process.state = 'S';
  patient.stamps = true;
  EXPECT_EQ(patient.look().health, Health::busy);
  patient.stamps = false;
  patient.process.state = 'T';
  EXPECT_FALSE(patient.condemned_within(2000 * kMs)) << "the second stop counts from its own beginning";
}

TEST(Health, of_one_whose_guard_is_starved_of_cpu_is_not_stopped) {
  Patient patient;
  patient.runs();
  patient.stamps = false;
  patient.process.state = 'R';
  EXPECT_FALSE(patient.condemned_within(100'000 * kMs));
  EXPECT_EQ(patient.last, Health::busy);
  EXPECT_GT(patient.proc_readings, 0);
}

TEST(Health, of_one_past_its_deadline_is_overdue_and_condemned_after_the_grace) {
  Patient patient;
  const std::int64_t deadline_ns = patient.vitals.now_ns + 1000 * kMs;
  patient.runs(deadline_ns);
  Diagnosis found = patient.look();
  EXPECT_EQ(found.health, Health::busy);
  EXPECT_EQ(found.look_again_ns, deadline_ns);
  found = patient.look(deadline_ns - patient.vitals.now_ns);
  EXPECT_EQ(found.health, Health::overdue);
  EXPECT_TRUE(found.is_suspect);
  EXPECT_FALSE(found.is_condemned);
  EXPECT_EQ(found.look_again_ns, deadline_ns + kLimits.kill_grace_ns) << "to look just then";
  while (patient.vitals.now_ns < deadline_ns + kLimits.kill_grace_ns - 250 * kMs) EXPECT_FALSE(patient.look().is_condemned);
  EXPECT_TRUE(patient.look().is_condemned);
}

TEST(Health, of_one_past_its_deadline_whose_call_ends_is_idle) {
  Patient patient;
  patient.runs(patient.vitals.now_ns + kMs);
  EXPECT_EQ(patient.look().health, Health::overdue);
  patient.vitals.has_calls = false;
  EXPECT_EQ(patient.look().health, Health::idle);
}

TEST(Health, does_not_count_the_time_in_which_this_host_was_paused_itself) {
  Patient late;
  late.runs(late.vitals.now_ns + kMs);
  EXPECT_EQ(late.look().health, Health::overdue);
  const Diagnosis found = late.look(60'000 * kMs);  // a debugger held the host for a minute
  EXPECT_EQ(found.health, Health::overdue);
  EXPECT_FALSE(found.is_condemned);
  EXPECT_TRUE(late.condemned_within(6000 * kMs));

  Patient wedged;
  wedged.runs();
  wedged.holds_gil();
  wedged.look();
  EXPECT_FALSE(wedged.look(60'000 * kMs).is_condemned);
  Patient stopped;
  stopped.stamps = false;
  stopped.process.state = 'T';
  stopped.look();
  EXPECT_FALSE(stopped.look(60'000 * kMs).is_condemned);
}

TEST(Health, does_not_count_a_pause_before_the_first_look) {
  Patient patient;
  patient.memory = {};  // ready, and then host and worker were stopped; the host goes on first
  patient.stamps = false;
  patient.process.state = 'T';
  EXPECT_FALSE(patient.look(26'000 * kMs).is_condemned);
  patient.process.state = 'S';
  patient.stamps = true;
  EXPECT_EQ(patient.look().health, Health::idle);
  patient.stamps = false;
  patient.process.state = 'T';
  EXPECT_TRUE(patient.condemned_within(4000 * kMs));
}

TEST(Health, limits_that_are_for_ever_never_end) {
  Patient patient;
  patient.runs(patient.vitals.now_ns);
  const HealthLimits patience{.beat_ns = 250 * kMs, .kill_grace_ns = INT64_MAX, .wedged_after_ns = INT64_MAX, .stopped_after_ns = INT64_MAX};
  patient.vitals.now_ns += 500 * kMs;
  EXPECT_FALSE(diagnose(patient.memory, patient.vitals, patience).is_condemned);
  EXPECT_EQ(diagnose(patient.memory, patient.vitals, patience).look_again_ns, ipc::kNever);
}

}  // namespace
}  // namespace samovar::core
