// A pool on a machine that hwloc says has two nodes, whatever it really has: node 0 exists everywhere, node 1 may not. Where pages
// really lie on two nodes, tests/numa looks.
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cinttypes>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "ipc/memory_policy.h"
#include "tests/support/child_host.h"
#include "tests/support/pools.h"

namespace samovar::test {
namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20;

// Each CPU is a node of its own, for hwloc; in this process.
void pretend_two_nodes() {
  setenv("HWLOC_SYNTHETIC", "numa:2 core:1 pu:1", 1);
  setenv("HWLOC_THISSYSTEM", "1", 1);
}

bool has_two_cpus() {
  cpu_set_t set;
  return sched_getaffinity(0, sizeof set, &set) == 0 && CPU_ISSET(0, &set) && CPU_ISSET(1, &set);
}

bool has_node(int node) { return access(("/sys/devices/system/node/node" + std::to_string(node)).c_str(), F_OK) == 0; }

Options on_nodes(std::vector<int> nodes, unsigned workers) {
  Options o = options("large.py");
  o.nodes = std::move(nodes);
  o.workers = workers;
  o.request_arena_bytes = o.response_arena_bytes = 4 * kMiB;
  return o;
}

// Where a process's mappings whose lines have `text` in them should lie: "prefer:0" -> how many.
std::map<std::string, int> policies_of(pid_t pid, const std::string& text) {
  std::map<std::string, int> policies;
  std::ifstream maps("/proc/" + std::to_string(pid) + "/numa_maps");
  for (std::string line; std::getline(maps, line);) {
    char policy[64] = "";
    if (line.find(text) != line.npos && std::sscanf(line.c_str(), "%*x %63s", policy) == 1) ++policies[policy];
  }
  return policies;
}

std::string to_string(const std::map<std::string, int>& policies) {
  std::string text;
  for (const auto& [policy, count] : policies) text += (text.empty() ? "" : " ") + policy + " x " + std::to_string(count);
  return text;
}

// From here on `call`, or else all that makes memory policies, is refused, as in a container.
void refuse_memory_policies(std::optional<unsigned> call = std::nullopt) {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call.value_or(SYS_mbind), 1, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call.value_or(SYS_set_mempolicy), 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter{std::size(program), program};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) {
    throw std::runtime_error("seccomp");
  }
}

// A large payload there and a large reply back, in both arenas.
bool serves(Pool& pool) {
  auto loan = pool.loan(kMiB);
  if (!loan) return false;
  std::memset(loan->data(), 1, kMiB);
  const auto size = pool.call("size", std::move(*loan));
  const auto zeros = pool.call("zeros", value(static_cast<std::int64_t>(kMiB)));
  return if_integer(size) == static_cast<std::int64_t>(kMiB) && zeros && zeros->data().size() == kMiB;
}

class Numa : public testing::Test {
 protected:
  void SetUp() override {
    if (!has_two_cpus()) GTEST_SKIP() << "this process may not use CPUs 0 and 1";
    if (!has_node(0)) GTEST_SKIP() << "this kernel knows no nodes";
  }
};

TEST_F(Numa, channel_arenas_and_the_workers_own_memory_prefer_its_node) {
  const std::string said = in_child_host([] {
    pretend_two_nodes();
    alignas(4096) static std::byte page[4096];
    if (!ipc::prefer_node(page, 0)) return std::string("refused here");
    Lines lines;
    Options o = on_nodes({0}, 1);
    o.log = lines.sink();
    Pool pool = start(std::move(o));
    if (!serves(pool)) return std::string("it does not serve");
    const pid_t worker = worker_pid(pool);
    return "ours: " + to_string(policies_of(getpid(), "memfd:samovar")) + "; its: " + to_string(policies_of(worker, "memfd:samovar")) +
           "; its heap: " + to_string(policies_of(worker, " heap ")) + "; " + lines.all();
  });
  if (said == "refused here") GTEST_SKIP() << said;
  EXPECT_TRUE(said.starts_with("ours: prefer:0 x 4; its: prefer:0 x 4; its heap: prefer:0 x 1; ")) << said;
  EXPECT_EQ(said.find("NUMA"), std::string::npos) << said;
}

TEST_F(Numa, nothing_is_asked_for_where_the_pool_is_not_told_to_keep_to_nodes) {
  const std::string said = in_child_host([] {
    pretend_two_nodes();
    Options o = on_nodes({}, 2);
    o.pinning = Pinning::none;
    Pool pool = start(std::move(o));
    return (serves(pool) ? "serves; " : "does not; ") + to_string(policies_of(worker_pid(pool), "memfd:samovar"));
  });
  EXPECT_EQ(said, "serves; default x 4");
}

TEST_F(Numa, a_pool_works_where_a_node_cannot_be_had_and_says_so_once) {
  if (has_node(1)) GTEST_SKIP() << "there is a node 1";
  const std::string said = in_child_host([] {
    pretend_two_nodes();
    Lines lines;
    Options o = on_nodes({}, 2);
    o.log = lines.sink();
    Pool pool = start(std::move(o));
    const bool works = serves(pool);
    const auto warnings = lines.with("NUMA");
    return (works ? "serves; " : "does not; ") + std::to_string(warnings.size()) + "; " + (warnings.empty() ? lines.all() : warnings.front());
  });
  EXPECT_TRUE(said.starts_with("serves; 1; ")) << said;
  EXPECT_NE(said.find("mbind(MPOL_PREFERRED, node 1): Invalid argument"), std::string::npos) << said;
}

TEST_F(Numa, a_pool_works_where_memory_policies_are_not_permitted_and_says_so_once) {
  const std::string said = in_child_host([] {
    pretend_two_nodes();
    refuse_memory_policies();  // of the workers, too
    Lines lines;
    Options o = on_nodes({}, 2);
    o.log = lines.sink();
    Pool pool = start(std::move(o));
    const bool works = serves(pool);
    const auto warnings = lines.with("NUMA");
    return (works ? "serves; " : "does not; ") + std::to_string(warnings.size()) + "; " + (warnings.empty() ? lines.all() : warnings.front());
  });
  EXPECT_TRUE(said.starts_with("serves; 1; ")) << said;
  EXPECT_NE(said.find("Operation not permitted"), std::string::npos) << said;
  EXPECT_NE(said.find("CAP_SYS_NICE"), std::string::npos) << said;
}

TEST_F(Numa, a_worker_that_may_not_choose_its_own_memory_says_so_and_serves) {
  const std::string said = in_child_host([] {
    pretend_two_nodes();
    refuse_memory_policies(SYS_set_mempolicy);
    Lines lines;
    Options o = on_nodes({0}, 1);
    o.log = lines.sink();
    o.log_level = LogLevel::info;
    Pool pool = start(std::move(o));
    const std::string works = serves(pool) ? "serves; " : "does not; ";
    (void)wait_until([&] { return lines.contain("any NUMA node"); });
    return works + lines.all();
  });
  EXPECT_TRUE(said.starts_with("serves; ")) << said;
  EXPECT_NE(said.find("the memory of worker 0 comes from any NUMA node: set_mempolicy(MPOL_PREFERRED, node 0): Operation not permitted"),
            std::string::npos) << said;
}

TEST_F(Numa, memory_in_use_on_all_nodes_together_has_one_limit) {
  const std::string said = in_child_host([] {
    pretend_two_nodes();
    Pool pool = start(on_nodes({}, 2));
    const auto half = pool.loan(2 * kMiB), other_half = pool.loan(2 * kMiB);
    const auto more = pool.loan(1);
    if (!half || !other_half || more) return std::string("not that limit");
    return more.error().to_string() + " " + std::to_string(pool.stats().request_arena_in_use / kMiB);
  });
  EXPECT_TRUE(said.starts_with("resource_exhausted: no room for 1 bytes")) << said;
  EXPECT_TRUE(said.ends_with(" 4")) << said;
}

}  // namespace
}  // namespace samovar::test
