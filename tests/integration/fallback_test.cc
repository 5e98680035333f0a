// Calls that run in a fresh process each: the same results and the same errors as in the pool, whatever the way in.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include "tests/support/pools.h"
#include "tests/support/processes.h"

namespace samovar::test {
namespace {

using namespace std::chrono_literals;

Options switched_off() {
  Options chosen = options();
  chosen.pool_enabled = false;
  chosen.workers = 2;
  return chosen;
}

std::string told(const Result<Reply>& reply) {
  if (reply) return std::to_string(static_cast<int>(reply->kind())) + " " + std::string(reply->text());
  const Error& error = reply.error();
  return std::string(to_string(error.category)) + " " + std::string(to_string(error.code)) + " " + error.context.python_type + "\n" +
         (error.code == Code::worker_lost ? "" : error.message + error.context.traceback);
}

TEST(OneShots, answer_as_the_pool_does) {
  Pool pool = start(options());
  Pool alone = start(switched_off());
  const std::string large(100'000, 'x');
  const std::pair<const char*, Payload> calls[] = {
      {"echo", {}},           {"echo", text("tea")},        {"echo", value(17)},        {"echo", value(2.5)},
      {"types", value(1)},    {"size", bytes(large.data(), large.size())}, {"letters", value(100'000)}, {"fail", text("no luck")},
      {"fail_own", {}},       {"fail_chained", {}},         {"leave", value(3)},        {"die", value(5)},
      {"result_of", text("object()")}, {"recurse", {}}};
  for (const auto& [method, payload] : calls) EXPECT_EQ(told(alone.call(method, payload)), told(pool.call(method, payload))) << method;
  EXPECT_EQ(code_of(alone.call("echoo")), Code::unknown_method);
  EXPECT_EQ(alone.stats().one_shots, std::size(calls));
  EXPECT_EQ(alone.stats().accepted, alone.stats().replied + alone.stats().failed);
  EXPECT_EQ(alone.stats().workers_ready, 0u);
}

TEST(OneShots, run_each_call_in_a_process_of_its_own_and_leave_none) {
  const Footprint before = Footprint::now();
  {
    Pool alone = start(switched_off());
    EXPECT_NE(integer(alone.call("pid")), integer(alone.call("pid")));
    EXPECT_EQ(integer(alone.call("count")), 1);
    EXPECT_EQ(integer(alone.call("count")), 1) << "nothing is kept";
  }
  EXPECT_TRUE(wait_until([&] { return Footprint::now() == before; })) << Footprint::now().to_string();
}

TEST(OneShots, keep_deadlines_and_end_the_process) {
  Pool alone = start(switched_off());
  Gate gate;
  EXPECT_EQ(code_of(alone.call("busy_loop", text(gate.path()), {.timeout = 500ms})), Code::deadline_exceeded);
  EXPECT_TRUE(wait_until([&] { return children_of(getpid()).empty(); }));
  EXPECT_EQ(alone.stats().timed_out, 1u);
}

TEST(OneShots, serve_callbacks_and_batches) {
  Options chosen = switched_off();
  chosen.queue_limit = 2;
  Pool alone = start(chosen);
  std::atomic<int> answered{0};
  ASSERT_TRUE(alone.submit("echo", value(1), [&](Result<Reply> reply) { answered += if_integer(reply) == 1 ? 1 : 100; }));
  EXPECT_TRUE(wait_until([&] { return alone.poll(), answered == 1; }));

  const std::vector<Payload> payloads(6, text("leaf"));  // more than the queue holds
  for (const auto& reply : alone.call_many("echo", payloads)) EXPECT_EQ(text_of(reply), "leaf");
  const Stats stats = alone.stats();
  EXPECT_EQ(stats.accepted, 7u);
  EXPECT_EQ(stats.replied, 7u);
}

TEST(OneShots, end_with_the_pool) {
  Gate gate;
  std::atomic<int> stopped{0};
  {
    Pool alone = start(switched_off());
    for (int call = 0; call < 4; ++call) {
      ASSERT_TRUE(alone.submit("wait_at", text(gate.path()), [&](Result<Reply> reply) { stopped += code_of(reply) == Code::pool_stopped; }));
    }
    ASSERT_TRUE(gate.reached());
  }
  EXPECT_EQ(stopped, 4);
  EXPECT_TRUE(children_of(getpid()).empty());
}

TEST(OneShots, are_chosen_by_one_variable) {
  setenv("SAMOVAR_POOL_ENABLED", "false", 1);
  Pool pool = start(options());
  unsetenv("SAMOVAR_POOL_ENABLED");
  EXPECT_EQ(text_of(pool.call("echo", text("tea"))), "tea");
  EXPECT_EQ(pool.stats().one_shots, 1u);
}

class Fallbacks : public testing::Test {
 protected:
  Fallbacks() {
    chosen.fallback = Fallback::oneshot;
    chosen.on_event = happenings.hook();
    chosen.restart_delay = 5ms;
    chosen.restart_delay_max = 50ms;
  }
  Happenings happenings;
  Options chosen = options();
};

TEST_F(Fallbacks, take_over_while_the_pool_is_quarantined) {
  Folder folder;
  folder.write("module.py", "import os, pathlib, samovar\n\n@samovar.method\ndef pid():\n    return os.getpid()\n\n"
                            "@samovar.method\ndef die(status):\n    os._exit(status)\n\n"
                            "broken = pathlib.Path(__file__).with_name('broken')\n"
                            "if broken.exists():\n    raise RuntimeError('broken')\n");
  chosen.module = folder.file("module.py");
  chosen.worker_start = WorkerStart::exec;
  Pool pool = start(chosen);
  folder.write("broken", "");
  EXPECT_EQ(code_of(pool.call("die", value(1))), Code::worker_lost);
  ASSERT_TRUE(happenings.have(EventKind::pool_quarantined));
  const auto failed = pool.call("pid");
  EXPECT_EQ(code_of(failed), Code::module_failed) << "a fresh process does not import it either, and says so itself";
  EXPECT_EQ(failed.error().context.python_type, "RuntimeError");
  EXPECT_EQ(pool.stats().one_shots, 1u);
  std::filesystem::remove(folder.file("broken"));
  EXPECT_TRUE(pool.call("pid"));
  ASSERT_TRUE(happenings.have(EventKind::pool_released));
  const std::uint64_t one_shots = pool.stats().one_shots;
  EXPECT_TRUE(pool.call("pid"));
  EXPECT_EQ(pool.stats().one_shots, one_shots) << "the pool serves again";
}

TEST_F(Fallbacks, take_over_while_a_breaker_is_open) {
  chosen.breaker_failures = 2;
  chosen.breaker_delay = 1h;
  Pool pool = start(chosen);
  for (int call = 0; call < 2; ++call) EXPECT_EQ(code_of(pool.call("die", value(1))), Code::worker_lost);
  ASSERT_TRUE(happenings.have(EventKind::breaker_opened));
  const std::uint64_t lost = pool.stats().workers_lost;
  EXPECT_EQ(code_of(pool.call("die", value(1))), Code::worker_lost);
  EXPECT_EQ(pool.stats().workers_lost, lost) << "no worker died of it";
  EXPECT_EQ(pool.stats().one_shots, 1u);
  EXPECT_TRUE(pool.call("echo"));
  EXPECT_EQ(pool.stats().one_shots, 1u) << "other methods stay in the pool";
}

}  // namespace
}  // namespace samovar::test
