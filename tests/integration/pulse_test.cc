// The pulse of a real worker: it beats whatever the interpreter does, and the GIL is probed on suspicion and only then.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "ipc/clock.h"
#include "tests/support/lone_worker.h"
#include "tests/support/pools.h"

namespace samovar::test {
namespace {

using namespace std::chrono_literals;

bool beats(const LoneWorker& worker, int times = 5) {
  for (int beat = 0; beat < times; ++beat) {
    const std::int64_t before = worker.pulse().alive_ns;
    if (!wait_until([&] { return worker.pulse().alive_ns > before; })) return false;
  }
  return true;
}

bool waits_for_the_gil(const LoneWorker& worker) {
  const ipc::Pulse pulse = worker.pulse();
  return pulse.probe_ended_ns < pulse.probe_began_ns;
}

// --- alive ------------------------------------------------------------------------------------------------------------------

TEST(Pulse, is_stamped_with_the_clock_that_host_and_worker_share) {
  LoneWorker worker("hangs.py");
  const std::int64_t before = ipc::now_ns();

  EXPECT_TRUE(wait_until([&] { return worker.pulse().alive_ns > before; }));
  EXPECT_LE(worker.pulse().alive_ns, ipc::now_ns());
}

TEST(Pulse, beats_before_the_users_module_is_imported) {
  const Folder folder;
  folder.write("slow.py", "import samovar, time\ntime.sleep(0.3)\n@samovar.method\ndef f():\n    return 1\n");
  LoneWorker worker(folder.file("slow.py"));
  EXPECT_NE(worker.pulse().alive_ns, 0);
}

class Busy : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(, Busy, testing::Values("sleeps", "loops", "computes_without_gil", "holds_gil", "waits_on_a_lock"),
                         [](const auto& info) { return std::string(info.param); });

TEST_P(Busy, worker_goes_on_to_beat_and_says_what_it_runs) {
  LoneWorker worker("hangs.py");
  const Gate gate;
  EXPECT_TRUE(beats(worker));
  worker.send(GetParam(), gate.path());
  ASSERT_TRUE(gate.reached());

  EXPECT_TRUE(beats(worker, 20));
  EXPECT_TRUE(worker.pulse().running);
  EXPECT_EQ(worker.pulse().started, 1u);
}

// --- probes -----------------------------------------------------------------------------------------------------------------

TEST(Probe, is_not_made_while_the_worker_is_idle_or_its_calls_are_short) {
  LoneWorker worker("hangs.py", 2ms, 1000ms);
  EXPECT_TRUE(beats(worker, 20));
  const std::int64_t until = ipc::in(100'000'000);
  while (ipc::now_ns() < until) EXPECT_EQ(worker.call("answer"), Value(42));
  EXPECT_TRUE(beats(worker, 20));

  EXPECT_EQ(worker.pulse().probe_began_ns, 0);
}

class LivingInterpreter : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(, LivingInterpreter, testing::Values("sleeps", "loops", "computes_without_gil", "waits_on_a_lock"),
                         [](const auto& info) { return std::string(info.param); });

TEST_P(LivingInterpreter, answers_each_probe) {
  LoneWorker worker("hangs.py");
  const Gate gate;
  worker.send(GetParam(), gate.path());
  ASSERT_TRUE(gate.reached());

  for (int probe = 0; probe < 5; ++probe) {
    const std::int64_t before = worker.pulse().probe_began_ns;
    ASSERT_TRUE(wait_until([&] { return worker.pulse().probe_began_ns > before; })) << probe;
    EXPECT_TRUE(wait_until([&] { return worker.pulse().probe_ended_ns > before; })) << probe;
  }
}

TEST(NativeCodeWithTheGil, leaves_the_probe_unanswered) {
  LoneWorker worker("hangs.py");
  const Gate gate;
  worker.send("holds_gil", gate.path());
  ASSERT_TRUE(gate.reached());
  ASSERT_TRUE(wait_until([&] { return waits_for_the_gil(worker); }));
  const std::int64_t began = worker.pulse().probe_began_ns;

  EXPECT_TRUE(beats(worker, 30));
  EXPECT_TRUE(waits_for_the_gil(worker));
  EXPECT_EQ(worker.pulse().probe_began_ns, began) << "one probe waits, and says since when";
}

TEST(NativeCodeWithTheGil, that_ends_lets_the_probe_be_answered_and_the_worker_serves_on) {
  LoneWorker worker("hangs.py");
  const Gate gate;
  worker.send("holds_gil_for_a_while", gate.path());
  ASSERT_TRUE(gate.reached());
  EXPECT_TRUE(wait_until([&] { return waits_for_the_gil(worker); }));

  EXPECT_EQ(worker.receive(), Value(1));
  EXPECT_TRUE(wait_until([&] { return !waits_for_the_gil(worker); }));
  EXPECT_EQ(worker.call("answer"), Value(42));
}

TEST(NativeCodeWithTheGil, in_another_thread_is_found_by_the_request_that_does_not_begin) {
  LoneWorker worker("hangs.py");
  EXPECT_EQ(worker.call("leaves_gil_to_a_hung_thread"), Value(1));
  worker.send("answer");

  EXPECT_TRUE(wait_until([&] { return waits_for_the_gil(worker); }));
  EXPECT_TRUE(beats(worker, 20));
  EXPECT_TRUE(waits_for_the_gil(worker));
  EXPECT_EQ(worker.pulse().started, 1u);
}

TEST(Probe, leaves_no_thread_behind_that_the_loop_would_look_out_for) {
  LoneWorker worker("hangs.py", 1ms, 1ms);
  ASSERT_TRUE(wait_until([&] { return worker.call("loops_for_ms", "10") == Value(1) && worker.pulse().probe_ended_ns != 0; }));
  ASSERT_TRUE(wait_until([&] { return !waits_for_the_gil(worker); }));

  EXPECT_TRUE(wait_until([&] { return worker.call("thread_states") == Value(1); }));
}

TEST(Probe, under_way_does_not_keep_the_worker_from_ending) {
  for (int life = 0; life < 10; ++life) {
    LoneWorker worker("hangs.py", 1ms, 1ms);
    ASSERT_TRUE(wait_until([&] { return worker.call("loops_for_ms", "10") == Value(1) && worker.pulse().probe_began_ns != 0; }));
    worker.send("loops_for_ms", "10");

    EXPECT_EQ(worker.stop().code, 0) << life;
  }
}

// --- memory -----------------------------------------------------------------------------------------------------------------

TEST(Pulse, tells_the_private_memory_as_of_the_last_work) {
  LoneWorker worker("hangs.py");
  ASSERT_TRUE(wait_until([&] { return worker.pulse().rss_anon_bytes != 0; }));
  EXPECT_GT(worker.pulse().rss_anon_bytes, 1u << 20);
  EXPECT_LT(worker.pulse().rss_anon_bytes, 64u << 20);

  EXPECT_EQ(worker.call("grows"), Value(64 << 20));

  EXPECT_TRUE(wait_until([&] { return worker.pulse().rss_anon_bytes > 64u << 20; })) << worker.pulse().rss_anon_bytes;
}

}  // namespace
}  // namespace samovar::test
