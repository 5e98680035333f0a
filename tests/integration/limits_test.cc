// What a worker may use: where a limit is reached, the method or the worker fails with its name, and the pool goes on.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>

#include "tests/support/child_host.h"
#include "tests/support/pools.h"

namespace samovar::test {
namespace {

using namespace std::chrono_literals;

TEST(WorkersLimit, of_memory_is_a_MemoryError_in_the_method_and_the_worker_serves_on) {
  if (kShadowed) GTEST_SKIP() << "shadow memory counts as data";
  Options limited = options();
  limited.worker_memory_max = 300 << 20;
  Pool pool = start(limited);
  const pid_t worker = worker_pid(pool);
  const auto refused = pool.call("allocate", value(1 << 30));

  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::method_failed);
  EXPECT_EQ(refused.error().context.python_type, "MemoryError");
  EXPECT_EQ(integer(pool.call("allocate", value(100 << 20))), 100 << 20);
  EXPECT_EQ(worker_pid(pool), worker);
}

TEST(WorkersLimit, of_memory_does_not_count_arenas) {
  if (kShadowed) GTEST_SKIP() << "shadow memory counts as data";
  Options limited = options();
  limited.worker_memory_max = 64 << 20;
  limited.response_arena_bytes = std::uint64_t{4} << 30;
  Pool pool = start(limited);
  const Result<Reply> large = pool.call("zeros", value(20 << 20));

  ASSERT_TRUE(large) << large.error().to_string();
}

TEST(WorkersLimit, of_descriptors_is_an_OSError_in_the_method) {
  Options limited = options();
  limited.worker_descriptors_max = 64;
  Pool pool = start(limited);
  const auto refused = pool.call("open_files", value(100));

  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().context.python_type, "OSError");
  EXPECT_NE(refused.error().message.find("Too many open files"), std::string::npos) << refused.error().to_string();
  EXPECT_EQ(integer(pool.call("open_files", value(30))), 30);
}

TEST(WorkersLimit, of_cpu_time_ends_the_worker_with_its_name) {
  Options limited = options();
  limited.worker_cpu_time_max = 1s;
  Pool pool = start(limited);
  const Gate gate;
  const auto lost = pool.call("busy_loop", text(gate.path()));

  ASSERT_FALSE(lost);
  EXPECT_EQ(lost.error().code, Code::worker_lost);
  EXPECT_NE(lost.error().message.find("CPU time limit exceeded"), std::string::npos) << lost.error().to_string();
  EXPECT_NE(lost.error().message.find("worker_cpu_time_max"), std::string::npos) << lost.error().to_string();
  EXPECT_TRUE(pool.call("echo")) << "its successor has a second of its own";
}

TEST(WorkersLimit, beyond_what_the_system_allows_is_refused_by_its_name) {
  Options limited = options();
  limited.worker_descriptors_max = 4'000'000'000;  // above fs.nr_open, for root as well
  const Error error = start_failure(limited);

  EXPECT_EQ(error.code, Code::invalid_option);
  EXPECT_NE(error.message.find("worker_descriptors_max = 4000000000 is refused"), std::string::npos) << error.to_string();
  EXPECT_NE(error.message.find("hard limit"), std::string::npos) << error.to_string();
}

TEST(WorkersLimit, of_niceness_below_the_hosts_is_refused_without_the_right_to_it) {
  const std::string told = in_child_host([] {
    if (setuid(65534) != 0) return std::string("no right to become nobody");
    Options eager = options();
    eager.worker_nice = -5;
    Result<Pool> pool = Pool::start(eager);
    return pool ? std::string("started") : pool.error().message;
  });
  if (told == "no right to become nobody") GTEST_SKIP() << told;

  EXPECT_NE(told.find("worker_nice = -5 is refused"), std::string::npos) << told;
}

// --- the kernel's out-of-memory killer ------------------------------------------------------------------------------------

// A memory cgroup below this process's own; empty where none can be made.
class MemoryGroup {
 public:
  explicit MemoryGroup(std::uint64_t bytes) {
    std::ifstream groups("/proc/self/cgroup");
    for (std::string line; std::getline(groups, line);) {
      const std::size_t at = line.find(":memory:");
      if (at == line.npos) continue;
      path_ = "/sys/fs/cgroup/memory" + line.substr(at + 8) + "/samovar-test-" + std::to_string(getpid());
    }
    std::error_code failed;
    if (path_.empty() || !std::filesystem::create_directory(path_, failed) || !write("memory.limit_in_bytes", std::to_string(bytes))) {
      path_.clear();
    }
    (void)write("memory.swappiness", "0");
  }
  ~MemoryGroup() {
    // Its processes have ended, and leave it a moment later.
    std::error_code failed;
    (void)wait_until([&] { return path_.empty() || std::filesystem::remove(path_, failed); });
  }
  MemoryGroup(const MemoryGroup&) = delete;
  MemoryGroup& operator=(const MemoryGroup&) = delete;

  bool exists() const { return !path_.empty(); }
  bool enter() const { return write("cgroup.procs", std::to_string(getpid())); }

 private:
  bool write(const char* file, const std::string& text) const {
    std::ofstream out(path_ / file);
    return static_cast<bool>(out << text << std::flush);
  }

  std::filesystem::path path_;
};

TEST(OutOfMemory, a_worker_that_the_kernel_killed_for_its_memory_is_told_as_such) {
  const MemoryGroup group(std::uint64_t{160} << 20);
  if (!group.exists()) GTEST_SKIP() << "no memory cgroup (version 1) can be made here";
  const std::string told = in_child_host([&] {
    if (!group.enter()) return std::string("cannot enter the cgroup");
    Pool pool = start(options());
    const auto lost = pool.call("hog");
    const auto killed = pool.call("kill_self", value(SIGKILL));  // by nobody's need of memory
    return (lost ? "?" : lost.error().message) + "|" + (killed ? "?" : killed.error().message) + "|" +
           std::to_string(integer(pool.call("echo", value(1))));
  });

  const std::size_t first = told.find('|');
  ASSERT_NE(first, told.npos) << told;
  EXPECT_NE(told.substr(0, first).find("out-of-memory killer"), std::string::npos) << told;
  EXPECT_NE(told.substr(first).find("was killed by signal 9"), std::string::npos) << told;
  EXPECT_EQ(told.substr(first).find("out-of-memory"), std::string::npos) << told;
  EXPECT_EQ(told.back(), '1') << told;
}

}  // namespace
}  // namespace samovar::test
