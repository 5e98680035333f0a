#include "core/supervision/limits.h"

#include <gtest/gtest.h>

#include "core/supervision/process.h"

namespace samovar::core {
namespace {

using namespace std::chrono_literals;

TEST(Limits, are_none_by_default) { EXPECT_TRUE(limits_of({}).empty()); }

TEST(Limits, that_are_set_are_soft_and_hard) {
  Options options;
  options.worker_memory_max = 1 << 30;
  options.worker_descriptors_max = 100;
  options.worker_core_bytes_max = 1;
  const std::vector<Limit> limits = limits_of(options);

  ASSERT_EQ(limits.size(), 3u);
  EXPECT_EQ(limits[0].option, "worker_memory_max");
  EXPECT_EQ(limits[0].resource, RLIMIT_DATA);
  EXPECT_EQ(limits[0].value.rlim_cur, rlim_t{1} << 30);
  EXPECT_EQ(limits[0].value.rlim_max, rlim_t{1} << 30);
  EXPECT_EQ(limits[1].resource, RLIMIT_NOFILE);
  EXPECT_EQ(limits[1].value.rlim_max, 100u);
  EXPECT_EQ(limits[2].resource, RLIMIT_CORE);
  EXPECT_EQ(limits[2].value.rlim_cur, 1u);
}

TEST(Limits, of_cpu_time_are_whole_seconds_and_leave_one_for_the_signal_that_says_why) {
  const auto seconds = [](Duration time) {
    Options options;
    options.worker_cpu_time_max = time;
    const std::vector<Limit> limits = limits_of(options);
    EXPECT_EQ(limits.at(0).value.rlim_max, limits.at(0).value.rlim_cur + 1);
    return limits.at(0).value.rlim_cur;
  };
  EXPECT_EQ(seconds(1ns), 1u);
  EXPECT_EQ(seconds(1s), 1u);
  EXPECT_EQ(seconds(1001ms), 2u);
  EXPECT_EQ(seconds(Duration::max()), 9'223'372'037u);
}

TEST(ExitStatus, says_what_a_limit_has_to_do_with_it) {
  const auto told = [](const ExitStatus& status) { return status.to_string(); };
  EXPECT_EQ(told({.code = {}, .signal = SIGKILL}), "was killed by signal 9 (Killed)");
  EXPECT_EQ(told({.code = {}, .signal = SIGKILL, .out_of_memory = true}),
            "was killed by signal 9 (Killed), by the kernel's out-of-memory killer: give it more memory, or limit it "
            "(worker_memory_max)");
  EXPECT_NE(told({.code = {}, .signal = SIGXCPU}).find("worker_cpu_time_max"), std::string::npos);
}

}  // namespace
}  // namespace samovar::core
