// pool.reload(): fresh code, no call lost; code that does not start changes nothing.
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <chrono>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "tests/support/pools.h"
#include "tests/support/processes.h"

namespace samovar::test {
namespace {

using namespace std::chrono_literals;

class Reloads : public testing::Test {
 protected:
  Reloads() {
    write("VERSION = 1", "");
    chosen.module = folder.file("versions.py");
    chosen.on_event = happenings.hook();
  }

  void write(const std::string& head, const std::string& tail) {
    folder.write("versions.py", "import os\nimport samovar\n\n" + head +
                                    "\n\n@samovar.method\ndef version(number=0):\n    return VERSION\n\n@samovar.method\ndef pid():\n"
                                    "    return os.getpid()\n\n@samovar.method\ndef die(status):\n    os._exit(status)\n\n" + tail);
  }
  static std::int64_t version(Pool& pool) { return integer(pool.call("version")); }

  Folder folder;
  Happenings happenings;
  Options chosen = options();
};

TEST_F(Reloads, replace_all_workers_by_fresh_code) {
  chosen.workers = 2;
  Pool pool = start(chosen);
  const Footprint before = Footprint::now();
  ASSERT_EQ(version(pool), 1);
  write("VERSION = 2", "");
  const Result<void> reloaded = pool.reload();
  ASSERT_TRUE(reloaded) << reloaded.error().to_string();

  for (int call = 0; call < 20; ++call) EXPECT_EQ(version(pool), 2);
  EXPECT_EQ(happenings.count(EventKind::pool_reloaded), 1u);
  EXPECT_EQ(happenings.count(EventKind::worker_recycled), 2u);
  EXPECT_EQ(happenings.of(EventKind::worker_recycled).front().state, "reload");
  EXPECT_EQ(pool.stats().workers_ready, 2u);
  EXPECT_EQ(pool.stats().workers_lost, 0u);
  const auto is_as_before = [&] { return Footprint::now().descriptors.size() == before.descriptors.size(); };
  EXPECT_TRUE(wait_until(is_as_before)) << Footprint::now().to_string();
  ASSERT_TRUE(pool.reload()) << "and once more, from the other slot";
  EXPECT_EQ(version(pool), 2);
}

TEST_F(Reloads, lose_no_call_under_load) {
  chosen.workers = 2;
  Pool pool = start(chosen);
  std::atomic<bool> enough{false};
  std::atomic<std::uint64_t> calls{0};
  std::vector<std::jthread> callers;
  for (int caller = 0; caller < 3; ++caller) {
    callers.emplace_back([&] {
      while (!enough) {
        const auto reply = pool.call("version");
        EXPECT_TRUE(reply) << reply.error().to_string();
        ++calls;
      }
    });
  }
  for (int version = 2; version < 5; ++version) {
    write("VERSION = " + std::to_string(version), "");
    const Result<void> reloaded = pool.reload();
    EXPECT_TRUE(reloaded) << reloaded.error().to_string();
    EXPECT_EQ(Reloads::version(pool), version);
  }
  enough = true;
  callers.clear();
  EXPECT_GT(calls, 100u);
  EXPECT_EQ(pool.stats().failed, 0u);
  EXPECT_EQ(pool.stats().requeued, 0u);
}

TEST_F(Reloads, of_code_that_does_not_import_keep_the_old_workers_and_say_why) {
  Pool pool = start(chosen);
  const std::int64_t pid = integer(pool.call("pid"));
  write("VERSION = 1 / 0", "");
  const Result<void> reloaded = pool.reload();
  ASSERT_FALSE(reloaded);
  EXPECT_EQ(reloaded.error().code, Code::module_failed);
  EXPECT_EQ(reloaded.error().context.python_type, "ZeroDivisionError");
  EXPECT_NE(reloaded.error().context.traceback.find("versions.py"), std::string::npos);
  EXPECT_EQ(integer(pool.call("pid")), pid);
  EXPECT_EQ(version(pool), 1);
  ASSERT_EQ(happenings.count(EventKind::reload_failed), 1u);
  EXPECT_NE(happenings.of(EventKind::reload_failed).front().details.find("ZeroDivisionError"), std::string::npos);

  write("VERSION = 3", "");
  EXPECT_TRUE(pool.reload());
  EXPECT_EQ(version(pool), 3);
}

TEST_F(Reloads, make_methods_callable_that_the_fresh_code_adds) {
  Pool pool = start(chosen);
  EXPECT_EQ(code_of(pool.call("added")), Code::unknown_method);
  write("VERSION = 2", "@samovar.method\ndef added(a, b):\n    return a + b\n");
  ASSERT_TRUE(pool.reload());
  EXPECT_EQ(pool.method<std::int64_t(int, int)>("added")(2, 3), 5);
  EXPECT_EQ(version(pool), 2) << "those known before keep their numbers";
}

// What a method says of itself: each call with how many it was taken.
std::vector<std::int64_t> batches(Pool& pool, std::string_view method, std::size_t calls) {
  std::vector<std::int64_t> sizes;
  for (const Result<Reply>& outcome : pool.call_many(method, std::vector<Payload>(calls), {.timeout = 20s})) sizes.push_back(integer(outcome));
  return sizes;
}

TEST_F(Reloads, change_how_many_calls_a_method_takes_at_once) {
  using Sizes = std::vector<std::int64_t>;
  const std::string takes_one = "@samovar.method\ndef NAME(item=None):\n    return 1\n\n";
  const auto takes = [](const std::string& size) {
    return "@samovar.method(batch=True, max_batch=" + size + ", max_wait='1h')\ndef NAME(items):\n    return [len(items)] * len(items)\n\n";
  };
  const auto named = [](std::string text, const std::string& name) { return text.replace(text.find("NAME"), 4, name); };
  chosen.prefetch = 1;
  write("VERSION = 1", named(takes("4"), "shrinks") + named(takes_one, "begins") + named(takes("3"), "ends"));
  Pool pool = start(chosen);
  EXPECT_EQ(batches(pool, "shrinks", 4), Sizes(4, 4));
  EXPECT_EQ(batches(pool, "begins", 2), Sizes(2, 1));
  EXPECT_EQ(batches(pool, "ends", 3), Sizes(3, 3));
  write("VERSION = 2", named(takes("2"), "shrinks") + named(takes("3"), "begins") + named(takes_one, "ends"));
  ASSERT_TRUE(pool.reload());
  EXPECT_EQ(batches(pool, "shrinks", 4), Sizes(4, 2));
  EXPECT_EQ(batches(pool, "begins", 3), Sizes(3, 3));
  EXPECT_EQ(batches(pool, "ends", 1), Sizes(1, 1)) << "waits for no others";
  write("VERSION = 3", "");
  ASSERT_TRUE(pool.reload());
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(code_of(pool.call("shrinks", {}, {.timeout = 60s})), Code::unknown_method);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 20s) << "waits for no others either; half of its time it did";
}

TEST_F(Reloads, wait_for_calls_that_run) {
  chosen.module = module("methods.py");
  Gate gate;
  Pool pool = start(chosen);
  std::jthread caller([&] { EXPECT_TRUE(pool.call("wait_at", text(gate.path()))); });
  ASSERT_TRUE(gate.reached());
  std::jthread reloader([&] { EXPECT_TRUE(pool.reload()); });
  EXPECT_TRUE(wait_until([&] { return happenings.count(EventKind::worker_ready) == 2; }));
  EXPECT_TRUE(pool.call("echo")) << "the new worker serves already";
  EXPECT_EQ(happenings.count(EventKind::worker_recycled), 0u);
  gate.open();
  reloader.join();
  EXPECT_EQ(happenings.count(EventKind::worker_recycled), 1u);
}

TEST_F(Reloads, end_where_the_pool_ends) {
  write("import time\nVERSION = 1", "");
  Pool pool = start(chosen);
  write("import time\ntime.sleep(3600)\nVERSION = 2", "");
  std::jthread reloader([&] {
    const Result<void> reloaded = pool.reload();
    ASSERT_FALSE(reloaded);
    EXPECT_EQ(reloaded.error().code, Code::pool_stopped);
  });
  ASSERT_TRUE(happenings.have(EventKind::nursery_started, 2));
  pool.drain(1s);
  reloader.join();
  EXPECT_EQ(pool.reload().error().code, Code::pool_stopped) << "afterwards, too";
}

TEST_F(Reloads, survive_the_death_of_the_worker_that_is_being_replaced) {
  Pool pool = start(chosen);
  const auto pid = static_cast<pid_t>(integer(pool.call("pid")));
  write("import time\ntime.sleep(0.2)\nVERSION = 2", "");
  std::jthread reloader([&] { EXPECT_TRUE(pool.reload()); });
  ASSERT_TRUE(happenings.have(EventKind::worker_started, 2));
  kill(pid, SIGKILL);
  reloader.join();
  EXPECT_EQ(version(pool), 2);
}

}  // namespace
}  // namespace samovar::test
