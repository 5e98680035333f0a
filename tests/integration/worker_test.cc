// What a worker is: its preload, its ctx, its output, its surroundings, its other threads.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/pools.h"
#include "tests/support/processes.h"

namespace samovar::test {
namespace {

TEST(Worker, preload_runs_once_before_the_worker_is_ready) {
  Pool pool = start(options());

  EXPECT_EQ(integer(pool.call("preloads")), 1);
  EXPECT_EQ(integer(pool.call("preloads")), 1);
}

TEST(Worker, methods_are_known_by_the_pool) {
  Pool pool = start(options());
  const std::vector<std::string> methods = pool.methods();

  EXPECT_NE(std::find(methods.begin(), methods.end(), "echo"), methods.end());
  EXPECT_NE(std::find(methods.begin(), methods.end(), "named by its author"), methods.end());
  EXPECT_EQ(std::find(methods.begin(), methods.end(), "write_line"), methods.end());
}

TEST(Worker, ctx_tells_deadline_worker_and_call) {
  Pool pool = start(options());

  const Value first = value_of(pool.call("about", {}, {.timeout = std::chrono::seconds(10)}));
  const Value second = value_of(pool.call("about", {}, {.timeout = Duration::max()}));

  EXPECT_GT(*first.find("deadline")->as_double(), 5);
  EXPECT_LE(*first.find("deadline")->as_double(), 10.01);
  EXPECT_EQ(*first.find("cancelled"), Value(false));
  EXPECT_EQ(*first.find("worker"), Value(0));
  EXPECT_TRUE(first.find("session")->is_none());
  EXPECT_LT(*first.find("call_id")->as_int(), *second.find("call_id")->as_int());
  EXPECT_TRUE(second.find("deadline")->is_none()) << second.to_string();
}

TEST(Worker, finds_clean_signals_no_foreign_descriptors_and_an_empty_stdin) {
  Folder folder;
  folder.write("open", "by the host");
  const int inherited = open(folder.file("open").c_str(), O_RDONLY);  // not CLOEXEC
  sigset_t blocked, before;
  sigfillset(&blocked);
  pthread_sigmask(SIG_BLOCK, &blocked, &before);
  signal(SIGUSR1, SIG_IGN);
  Pool pool = start(options());
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  signal(SIGUSR1, SIG_DFL);
  close(inherited);

  const Value state = value_of(pool.call("state"));

  EXPECT_EQ(*state.find("blocked"), Value(0));
  EXPECT_EQ(*state.find("ignored"), Value(0));
  EXPECT_EQ(*state.find("stdin"), Value(""));
  EXPECT_EQ(*state.find("leads_group"), Value(true));
  EXPECT_EQ(*state.find("threads"), Value("1"));
  EXPECT_EQ(state.to_string().find("samovar-test"), std::string::npos) << state.to_string();
  // Socket, eventfd, pidfd of the host, response arena, stack dump.
  EXPECT_EQ(state.find("descriptors")->as_list()->size(), 5u) << state.to_string();
}

TEST(Worker, works_on_the_cpus_it_was_given) {
  Options pinned = options();
  pinned.workers = 2;
  const std::vector<int> usable = [] {
    cpu_set_t set;
    sched_getaffinity(0, sizeof set, &set);
    std::vector<int> cpus;
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(static_cast<std::size_t>(cpu), &set)) cpus.push_back(cpu);
    }
    return cpus;
  }();
  pinned.worker_cpus = {usable.back()};
  Pool pool = start(pinned);

  for (int call = 0; call < 4; ++call) EXPECT_EQ(value_of(pool.call("affinity")), Value::list({usable.back()}));
}

// --- output -------------------------------------------------------------------------------------------------------------

class Output : public testing::Test {
 protected:
  Output() : pool(start([this] {
    Options with_log = options();
    with_log.log = lines.sink();
    with_log.log_level = LogLevel::info;
    return with_log;
  }())) {}

  bool heard(std::string_view line) {
    return wait_until([&] { return lines.contain(line); }) || (std::fputs(lines.all().c_str(), stderr), false);
  }

  Lines lines;
  Pool pool;
};

TEST_F(Output, of_all_ways_to_print_reaches_the_log_with_the_workers_number) {
  ASSERT_TRUE(pool.call("say", text("from print")));
  ASSERT_TRUE(pool.call("say_error", text("from stderr")));
  ASSERT_TRUE(pool.call("log", text("from logging")));
  ASSERT_TRUE(pool.call("say_native", text("from native code")));

  EXPECT_TRUE(heard("worker 0: from print"));
  EXPECT_TRUE(heard("worker 0: from stderr"));
  EXPECT_TRUE(heard("worker 0: methods: from logging"));
  EXPECT_TRUE(heard("worker 0: from native code"));
}

TEST_F(Output, is_drained_however_much_it_is) {
  ASSERT_TRUE(pool.call("say_much", value(5000)));  // a megabyte, and a pipe holds 64 KiB

  EXPECT_TRUE(heard("worker 0: line 4999 "));
  EXPECT_EQ(lines.with("worker 0: line ").size(), 5000u);
}

TEST_F(Output, that_ends_without_a_newline_is_told_when_the_worker_ends) {
  ASSERT_TRUE(pool.call("say_unfinished", text("last words")));
  ASSERT_FALSE(pool.call("die", value(1)));

  EXPECT_TRUE(heard("worker 0: last words"));
}

TEST_F(Output, of_a_worker_that_died_is_part_of_the_error) {
  ASSERT_TRUE(pool.call("say", text("all is well")));
  const auto lost = pool.call("die", value(1));

  ASSERT_FALSE(lost);
  EXPECT_NE(lost.error().context.output.find("all is well"), std::string::npos) << lost.error().to_string();
}

TEST_F(Output, of_the_supervisor_tells_when_a_worker_is_ready) {
  EXPECT_EQ(lines.with("worker_ready").size(), 1u) << lines.all();
}

// --- logging --------------------------------------------------------------------------------------------------------------

class Logging : public testing::Test {
 protected:
  // What has come of `text`: its level, or nothing yet.
  std::optional<LogLevel> level_of(std::string_view text) {
    const std::lock_guard lock(mutex);
    for (const auto& [level, line] : lines) {
      if (line.find(text) != line.npos) return level;
    }
    return std::nullopt;
  }
  bool heard(std::string_view text) {
    return wait_until([&] { return level_of(text).has_value(); });
  }
  Pool start_logging(LogLevel level) {
    Options with_log = options();
    with_log.log_level = level;
    with_log.log = [this](LogLevel at, std::string_view line) {
      const std::lock_guard lock(mutex);
      lines.emplace_back(at, line);
    };
    return start(std::move(with_log));
  }

  std::mutex mutex;
  std::vector<std::pair<LogLevel, std::string>> lines;  // guarded by mutex
};

TEST_F(Logging, of_a_worker_arrives_with_its_level_and_prints_are_info) {
  Pool pool = start_logging(LogLevel::debug);
  ASSERT_TRUE(pool.call("log_at_each_level"));
  ASSERT_TRUE(heard("worker 0: the last line"));

  EXPECT_EQ(level_of("worker 0: methods.sub: a debug record"), LogLevel::debug);
  EXPECT_EQ(level_of("worker 0: methods.sub: an info record"), LogLevel::info);
  EXPECT_EQ(level_of("worker 0: methods.sub: a warning record"), LogLevel::warning);
  EXPECT_EQ(level_of("worker 0: methods.sub: an error record"), LogLevel::error);
  EXPECT_EQ(level_of("worker 0: methods.sub: a critical record"), LogLevel::error);
  EXPECT_EQ(level_of("worker 0: ZeroDivisionError: division by zero"), LogLevel::error) << "the traceback's lines have it, too";
  EXPECT_EQ(level_of("worker 0: the last line"), LogLevel::info);
}

TEST_F(Logging, below_the_level_of_the_pool_is_not_told) {
  Pool pool = start_logging(LogLevel::warning);
  ASSERT_TRUE(pool.call("log_at_each_level"));

  ASSERT_TRUE(heard("a critical record"));
  EXPECT_TRUE(level_of("a warning record"));
  EXPECT_FALSE(level_of("an info record"));
}

TEST_F(Logging, is_part_of_the_last_output_without_its_marks) {
  Pool pool = start_logging(LogLevel::warning);
  ASSERT_TRUE(pool.call("log", text("rather odd")));
  const auto lost = pool.call("die", value(1));

  ASSERT_FALSE(lost);
  EXPECT_EQ(lost.error().context.output, "methods: rather odd\n");
}

TEST_F(Logging, of_a_crash_ends_with_its_python_stack) {
  Pool pool = start_logging(LogLevel::info);
  const auto lost = pool.call("kill_self", value(SIGSEGV));

  ASSERT_FALSE(lost);
  EXPECT_NE(lost.error().context.output.find("Fatal Python error: Segmentation fault"), std::string::npos) << lost.error().to_string();
  EXPECT_NE(lost.error().context.output.find("in kill_self"), std::string::npos) << lost.error().to_string();
}

// --- other threads of the worker ------------------------------------------------------------------------------------------

class OtherThreads : public testing::Test {
 protected:
  std::int64_t ticks() { return integer(pool.call("ticked")); }
  Pool pool = start(options());
};

TEST_F(OtherThreads, make_progress_while_the_worker_waits) {
  ASSERT_TRUE(pool.call("start_ticking"));
  const std::int64_t before = ticks();

  EXPECT_TRUE(wait_until([&] { return ticks() > before + 20; }));  // the host naps between its looks
}

TEST_F(OtherThreads, make_progress_while_calls_pour_in) {
  ASSERT_TRUE(pool.call("start_ticking"));
  const std::int64_t before = ticks();
  std::int64_t calls = 0;
  const auto until = std::chrono::steady_clock::now() + kPatience;
  while (ticks() < before + 20 && std::chrono::steady_clock::now() < until) ++calls;

  EXPECT_GE(ticks(), before + 20) << calls;
}

TEST_F(OtherThreads, make_progress_while_the_lane_is_never_empty) {
  ASSERT_TRUE(pool.call("start_ticking"));
  const std::int64_t before = ticks();
  std::int64_t outstanding = 0, now = 0;
  const auto until = std::chrono::steady_clock::now() + kPatience;
  while (now < before + 20 && std::chrono::steady_clock::now() < until) {
    while (outstanding < 200) {
      ASSERT_TRUE(pool.submit("ticked", {}, [&](Result<Reply> reply) {
        --outstanding;
        now = integer(reply);
      }));
      ++outstanding;
    }
    pool.poll();
  }

  EXPECT_GE(now, before + 20);
  EXPECT_TRUE(wait_until([&] { return pool.poll(), outstanding == 0; }));
}

TEST_F(OtherThreads, that_compute_do_not_keep_calls_from_running) {
  ASSERT_TRUE(pool.call("start_computing"));
  const std::int64_t before = ticks();
  for (int call = 0; call < 50; ++call) ASSERT_TRUE(pool.call("echo"));

  EXPECT_TRUE(wait_until([&] { return ticks() > before; }));
}

// --- children of the worker ---------------------------------------------------------------------------------------------

TEST(WorkersChildren, a_child_that_a_method_forked_never_serves) {
  Pool pool = start(options());

  EXPECT_GT(integer(pool.call("fork_and_return")), 0);
  for (int call = 0; call < 20; ++call) ASSERT_TRUE(pool.call("echo"));
  EXPECT_EQ(pool.stats().workers_lost, 0u);
}

TEST(WorkersChildren, end_with_a_worker_that_is_killed) {
  Pool pool = start(options());
  const auto child = static_cast<pid_t>(integer(pool.call("leave_child")));
  ASSERT_TRUE(is_alive(child));

  ASSERT_FALSE(pool.call("kill_self", value(SIGKILL)));

  EXPECT_TRUE(wait_until([&] { return !is_alive(child); }));
}

TEST(WorkersChildren, end_with_the_pool) {
  pid_t child;
  {
    Pool pool = start(options());
    child = static_cast<pid_t>(integer(pool.call("leave_child")));
    ASSERT_TRUE(is_alive(child));
  }
  EXPECT_TRUE(wait_until([&] { return !is_alive(child); }));
}

}  // namespace
}  // namespace samovar::test
