#include "core/supervision/thread_counts.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <cstdint>
#include <string>

namespace samovar::core {
namespace {

// The variables of this process, as these tests need them.
class ThreadCounts : public testing::Test {
 protected:
  ThreadCounts() {
    for (const char* name : {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"}) unsetenv(name);
  }
  ~ThreadCounts() override { unsetenv("OMP_NUM_THREADS"); }

  static Options with(std::uint32_t threads) {
    Options options;
    options.worker_threads = threads;
    return options;
  }
};

TEST_F(ThreadCounts, are_told_to_each_library) {
  const auto variables = thread_counts(with(3));
  ASSERT_EQ(variables.size(), 4u);
  for (const auto& [name, value] : variables) EXPECT_EQ(value, "3") << name;
  EXPECT_EQ(thread_counts(with(0)).size(), 0u) << "left to them";
}

TEST_F(ThreadCounts, of_the_environment_win) {
  setenv("OMP_NUM_THREADS", "8", 1);
  for (const auto& [name, value] : thread_counts(with(1))) EXPECT_NE(name, "OMP_NUM_THREADS");
  EXPECT_FALSE(compute_with_one_thread(with(1)));
  setenv("OMP_NUM_THREADS", "1", 1);
  EXPECT_TRUE(compute_with_one_thread(with(1)));
  EXPECT_FALSE(compute_with_one_thread(with(4))) << "the others say 4";
}

TEST_F(ThreadCounts, are_one_only_where_somebody_says_so) {
  EXPECT_TRUE(compute_with_one_thread(with(1)));
  EXPECT_FALSE(compute_with_one_thread(with(0))) << "a thread for each core, then";
  EXPECT_FALSE(compute_with_one_thread(with(2)));
}

}  // namespace
}  // namespace samovar::core
