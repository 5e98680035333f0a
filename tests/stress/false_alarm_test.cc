// Healthy workers on a machine that has too little CPU for them: whatever they do, none is suspected of being wedged or stopped.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/stress/event_audit.h"
#include "tests/stress/stress.h"
#include "tests/support/pools.h"

namespace samovar::test {
namespace {

using namespace std::chrono_literals;

// Some milliseconds to a second each, on a CPU of its own.
const std::vector<std::string> kWork = {
    "time.sleep(0.4)",
    "subprocess.run(['sleep', '0.3'])",
    "sum(range(5_000_000))",                               // Python
    "re.match('(a+)+$', 'a' * 23 + 'b')",                  // C, and the GIL held
    "(3 ** 1_000_000) // (7 ** 200_000)",
    "sorted(os.urandom(1_000_000))",
    "hashlib.pbkdf2_hmac('sha256', b'x', b'y', 300_000)",  // C, without the GIL
    "hashlib.sha256(bytes(30_000_000)).digest()",
};
// Longer than wedged_after and stopped_after are by default.
const std::vector<std::string> kLongWork = {
    "time.sleep(7)",
    "subprocess.run(['sleep', '7'])",
    "re.match('(a+)+$', 'a' * 28 + 'b')",
    "hashlib.pbkdf2_hmac('sha256', b'x', b'y', 15_000_000)",
};
const std::string kMatrices = "(lambda n: n.ones((700, 700)) @ n.ones((700, 700)))(__import__('numpy'))";

TEST(FalseAlarms, none_while_healthy_workers_starve) {
  const auto duration = random_test_length(5s);
  const unsigned cores = std::max(1u, std::thread::hardware_concurrency());
  EventAudit audit;
  Options chosen = options();
  chosen.workers = 2 * cores;
  chosen.heartbeat_interval = 50ms;
  chosen.on_event = audit.hook();
  Pool pool = start(chosen);
  std::vector<std::string> work = kWork;
  if (is_soak()) work.insert(work.end(), kLongWork.begin(), kLongWork.end());
  const bool with_numpy = pool.call("runs_for", text(kMatrices)).has_value();
  if (with_numpy) work.push_back(kMatrices);

  const auto until = std::chrono::steady_clock::now() + duration;
  std::atomic<std::uint64_t> calls = 0;
  {
    std::atomic<bool> over = false;
    std::vector<std::jthread> spinners, callers;
    for (unsigned thread = 0; thread < 2 * cores; ++thread) {
      spinners.emplace_back([&] {
        while (!over) {
        }
      });
    }
    for (unsigned caller = 0; caller < chosen.workers + 1; ++caller) {
      callers.emplace_back([&, caller] {
        std::minstd_rand dice(caller + 1);
        while (std::chrono::steady_clock::now() < until) {
          const std::string& code = work[dice() % work.size()];
          const Result<Reply> reply = pool.call("runs_for", text(code), {.timeout = 10min});
          EXPECT_TRUE(reply) << code << ": " << reply.error().to_string();
          ++calls;
        }
      });
    }
    callers.clear();
    over = true;
  }
  std::printf("%llu calls%s by %u workers beside %u busy threads on %u cores: %s\n", static_cast<unsigned long long>(calls),
              with_numpy ? ", with NumPy," : "", chosen.workers, 2 * cores, cores, audit.to_string().c_str());
  EXPECT_EQ(audit.count(EventKind::worker_suspected), 0u);
  EXPECT_EQ(audit.count(EventKind::worker_killed), 0u);
  EXPECT_EQ(audit.count(EventKind::worker_lost), 0u);
  EXPECT_GT(calls, chosen.workers);
}

}  // namespace
}  // namespace samovar::test
