// What runs in the machine with two NUMA nodes: a pool with a worker on each, calls from both, and a look at where every page is.
// Usage: samovar_numa_guest models.py. It prints a line per check, "ok - ..." or "FAILED - ...", and at last "done".
//
// As the first process of a machine it mounts what it needs and switches the machine off; it may run on a real one with two nodes, too.
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fstream>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include <samovar/samovar.h>

#include "ipc/layout.h"
#include "ipc/memory_policy.h"
#include "tests/numa/memory_map.h"

namespace samovar::numa {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kMiB = std::size_t{1} << 20;
constexpr std::uint64_t kArenaBytes = 32 * kMiB;
constexpr int kCallsFromEachNode = 50;
constexpr char kName[] = "numa";

int failures = 0;

void check(bool is_so, const std::string& what, const std::string& found = {}) {
  std::printf("%s - %s%s%s\n", is_so ? "ok" : "FAILED", what.c_str(), found.empty() ? "" : ": ", found.c_str());
  std::fflush(stdout);
  failures += is_so ? 0 : 1;
}

template <typename T>
T must(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().to_string());
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

std::string on_node(int node) { return "node " + std::to_string(node); }

// --- the machine ----------------------------------------------------------------------------------------------------------

std::vector<int> cpus_of(int node) {
  std::vector<int> cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    const std::string link = "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/node" + std::to_string(node);
    if (access(link.c_str(), F_OK) == 0) cpus.push_back(cpu);
  }
  return cpus;
}

// Runs `body` in a thread that runs on the CPUs of `node` only.
void on(int node, const std::function<void()>& body) {
  std::exception_ptr failed;
  std::thread thread([&] {
    try {
      cpu_set_t set;
      CPU_ZERO(&set);
      for (const int cpu : cpus_of(node)) CPU_SET(static_cast<std::size_t>(cpu), &set);
      if (sched_setaffinity(0, sizeof set, &set) != 0) throw std::runtime_error("sched_setaffinity: " + std::string(std::strerror(errno)));
      if (ipc::node_of_this_thread() != node) throw std::runtime_error("this thread is not on " + on_node(node));
      body();
    } catch (...) {
      failed = std::current_exception();
    }
  });
  thread.join();
  if (failed) std::rethrow_exception(failed);
}

// --- the pool -------------------------------------------------------------------------------------------------------------

struct Worker {
  pid_t pid = 0;
  int node = -1;
  std::string channel;  // "numa-1"
};

Pool start(const char* module) {
  return must(Pool::start({.module = module,
                           .name = kName,
                           .workers = 2,
                           .dispatcher = Dispatcher::caller,
                           .timeout = 120s,  // an emulated machine is slow
                           .start_timeout = 120s,
                           .request_arena_bytes = kArenaBytes,
                           .response_arena_bytes = kArenaBytes,
                           .arena_trim_delay = 600s}));  // what was used is looked at later
}

std::int64_t integer(Pool& pool, std::string_view method, const Payload& payload = {}) {
  return *must(must(pool.call(method, payload)).value()).as_int();
}

// Where the pages of [begin, begin + bytes) are; a check that they are there and on `node`.
void check_pages(pid_t pid, std::uintptr_t begin, std::size_t bytes, int node, const std::string& what) {
  const auto pages = pages_by_node(pid, begin, bytes);
  check(pages.size() == 1 && pages.begin()->first == node, what + " of " + on_node(node) + " lies there", to_string(pages));
}

const Mapping* find(const std::vector<Mapping>& mappings, const std::string& memfd) {
  for (const Mapping& mapping : mappings) {
    if (mapping.is_memfd(memfd)) return &mapping;
  }
  return nullptr;
}

// The worker that answers an idle pool's caller on `node`, and what its process says of itself.
Worker worker_for(Pool& pool, int node) {
  Worker worker;
  on(node, [&] { worker.pid = static_cast<pid_t>(integer(pool, "who")); });
  std::set<int> nodes;
  on(node, [&] {
    const Value cpus = must(must(pool.call("allowed_cpus", {})).value());
    for (const Value& cpu : *cpus.as_list()) {
      for (int of = 0; of < 2; ++of) {
        for (const int one : cpus_of(of)) {
          if (one == *cpu.as_int()) nodes.insert(of);
        }
      }
    }
  });
  if (nodes.size() == 1) worker.node = *nodes.begin();
  for (const Mapping& mapping : mappings_of(worker.pid)) {
    const std::size_t at = mapping.name.find("memfd:"), end = mapping.name.find("-host ");
    if (at != mapping.name.npos && end != mapping.name.npos) worker.channel = mapping.name.substr(at + 6, end - at - 6);
  }
  return worker;
}

// --- the checks -----------------------------------------------------------------------------------------------------------

void check_calls_stay_on_their_node(Pool& pool, const std::vector<Worker>& workers) {
  for (const Worker& worker : workers) {
    int here = 0;
    on(worker.node, [&] {
      for (int i = 0; i < kCallsFromEachNode; ++i) here += integer(pool, "who") == worker.pid ? 1 : 0;
    });
    check(here == kCallsFromEachNode, "calls from " + on_node(worker.node) + " go to the worker there",
          std::to_string(here) + " of " + std::to_string(kCallsFromEachNode));
  }
}

void check_calls_cross_over_to_an_idle_worker(Pool& pool, const std::vector<Worker>& workers) {
  const char* const gate = "/tmp/samovar-numa-gate";
  std::optional<Result<Reply>> held;
  on(0, [&] {
    must(pool.submit("hold", text(gate), [&](Result<Reply> reply) noexcept { held.emplace(std::move(reply)); }));
    check(integer(pool, "who") == workers[1].pid, "a call from node 0, whose worker is busy, goes to the idle one of node 1");
    std::ofstream(gate) << "open";
    while (!held) pool.poll();
  });
  unlink(gate);
  check(*must(must(std::move(*held)).value()).as_int() == workers[0].pid, "the busy one was that of node 0");
}

void check_channel(const Worker& worker) {
  const std::vector<Mapping> ours = mappings_of(0);
  for (const char* part : {"-host", "-worker", "-responses"}) {
    const Mapping* segment = find(ours, worker.channel + part);
    const std::string what = "the segment " + worker.channel + part;
    if (!segment) {
      check(false, what + " is mapped");
      continue;
    }
    check(segment->policy == "prefer:" + std::to_string(worker.node), what + " prefers " + on_node(worker.node), segment->policy);
    if (part != std::string("-responses")) check_pages(0, segment->begin, segment->bytes(), worker.node, what);
  }
  if (const Mapping* lane = find(ours, worker.channel + "-host")) {
    const auto node = ipc::node_of_page(reinterpret_cast<const std::byte*>(lane->begin));
    check(node && *node == worker.node, "get_mempolicy says so, too, of " + worker.channel + "-host");
  }
}

void check_response_arena(Pool& pool, const Worker& worker) {
  on(worker.node, [&] {
    const Reply reply = must(pool.call("large_reply", value(static_cast<std::int64_t>(4 * kMiB))));
    long sum = 0;
    for (const std::byte b : reply.data()) sum += std::to_integer<int>(b);  // a page counts once it is mapped here, too
    check(reply.in_place() && sum == static_cast<long>(4 * kMiB) * 'y', "a large reply from " + on_node(worker.node) + " is read in place");
    check_pages(0, reinterpret_cast<std::uintptr_t>(reply.data().data()), reply.data().size(), worker.node, "the response arena");
  });
}

void check_request_arena(Pool& pool, const std::vector<Worker>& workers) {
  for (const Worker& worker : workers) {
    on(worker.node, [&] {
      Loan loan = must(pool.loan(3 * kMiB));
      std::memset(loan.data(), 1, loan.size());
      check_pages(0, reinterpret_cast<std::uintptr_t>(loan.data()), loan.size(), worker.node, "a loan");
      const auto of_loan = *must(must(pool.call("length", std::move(loan))).value()).as_list();
      check(*of_loan[0].as_int() == worker.pid && *of_loan[1].as_int() == static_cast<std::int64_t>(3 * kMiB),
            "a loan of " + on_node(worker.node) + " reaches the worker there");
      const std::vector<std::byte> own(5 * kMiB, std::byte{2});
      const auto of_copy = *must(must(pool.call("length", bytes(own))).value()).as_list();
      check(*of_copy[1].as_int() == static_cast<std::int64_t>(5 * kMiB), "a large payload from " + on_node(worker.node) + " arrives");
    });
  }
  const std::vector<Mapping> ours = mappings_of(0);
  const std::string region = "the request arena's region";
  std::vector<const Mapping*> parts;  // a policy each, so the kernel splits the mapping
  for (const Mapping& mapping : ours) {
    if (mapping.is_memfd(std::string(kName) + "-requests")) parts.push_back(&mapping);
  }
  check(parts.size() == 2 && parts[0]->bytes() == kArenaBytes && parts[1]->bytes() == kArenaBytes,
        "the request arena has a region for each node, as large as the whole may get", std::to_string(parts.size()) + " parts");
  for (std::size_t node = 0; node < parts.size() && node < 2; ++node) {
    check(parts[node]->policy == "prefer:" + std::to_string(node), region + " of " + on_node(static_cast<int>(node)) + " prefers it", parts[node]->policy);
    check_pages(0, parts[node]->begin, parts[node]->bytes(), static_cast<int>(node), region);
  }
}

// A part of what the nursery has loaded lies on each node (half, but for huge pages), and all workers have the same.
void check_shared_memory(Pool& pool, const Worker& worker) {
  const auto begin = static_cast<std::uintptr_t>(integer(pool, "preloaded"));
  const auto pages = pages_by_node(worker.pid, begin, 8 * kMiB);
  const std::size_t quarter = 8 * kMiB / ipc::kPageBytes / 4;
  check(pages.size() == 2 && pages.at(0) >= quarter && pages.at(1) >= quarter,
        "what the nursery has loaded lies on both nodes", to_string(pages));
}

void check_workers_memory(Pool& pool, const Worker& worker) {
  on(worker.node, [&] {
    const auto begin = static_cast<std::uintptr_t>(integer(pool, "take_memory", value(static_cast<std::int64_t>(8 * kMiB))));
    check_pages(worker.pid, begin, 8 * kMiB, worker.node, "what the user's code takes in the worker");
  });
  std::size_t other = 0;
  for (const Mapping& mapping : mappings_of(worker.pid)) {
    if (mapping.is_private_memory() && !mapping.policy.empty() && mapping.policy != "prefer:" + std::to_string(worker.node)) ++other;
  }
  check(other == 0, "all private memory of the worker of " + on_node(worker.node) + " prefers that node", std::to_string(other) + " mappings do not");
}

void check_replacement(Pool& pool, const std::vector<Worker>& workers) {
  kill(workers[1].pid, SIGKILL);
  const auto until = std::chrono::steady_clock::now() + 120s;
  Worker fresh;
  do {  // its node's callers are served by the other node meanwhile
    fresh = worker_for(pool, 1);
  } while ((fresh.pid == workers[1].pid || fresh.pid == workers[0].pid) && std::chrono::steady_clock::now() < until);
  check(fresh.node == 1 && fresh.channel != workers[1].channel, "the worker that takes the place of a killed one is on its node",
        fresh.channel + " on " + on_node(fresh.node));
  if (fresh.node == 1) {
    check_channel(fresh);
    check_workers_memory(pool, fresh);
  }
}

void run(const char* module) {
  std::string online;
  std::getline(std::ifstream("/sys/devices/system/node/online"), online);
  check(online == "0-1" && !cpus_of(0).empty() && !cpus_of(1).empty(), "the machine has two nodes with CPUs", online);
  std::optional<Pool> started;
  on(0, [&] { started.emplace(start(module)); });  // who touches pages first is on node 0, then: those of node 1 are there by policy only
  Pool& pool = *started;
  check(true, "a pool starts");
  std::vector<Worker> workers;
  for (const int node : {0, 1}) {
    workers.push_back(worker_for(pool, node));
    check(workers.back().node == node, "the worker that serves " + on_node(node) + " may run on that node's CPUs only",
          workers.back().channel + ", PID " + std::to_string(workers.back().pid) + ", " + on_node(workers.back().node));
  }
  if (failures > 0) return;  // what follows would say the same many times
  check_calls_stay_on_their_node(pool, workers);
  check_calls_cross_over_to_an_idle_worker(pool, workers);
  for (const Worker& worker : workers) {
    check_channel(worker);
    check_response_arena(pool, worker);
    check_workers_memory(pool, worker);
    check_shared_memory(pool, worker);
  }
  check_request_arena(pool, workers);
  check_replacement(pool, workers);
}

int checks(const char* module) {
  try {
    run(module);
  } catch (const std::exception& error) {
    check(false, "it comes to its end", error.what());
  }
  std::printf("done, %d failed\n", failures);
  std::fflush(stdout);
  return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

// The first process of the machine: what others find there is its business, and so are orphans, and the switch.
int be_first(const char* module) {
  mount("proc", "/proc", "proc", 0, nullptr);
  mount("sysfs", "/sys", "sysfs", 0, nullptr);
  mount("devtmpfs", "/dev", "devtmpfs", 0, nullptr);
  const pid_t child = fork();
  if (child == 0) _exit(checks(module));
  int status = 0;
  for (pid_t ended = 0; ended != child;) ended = wait(&status);
  reboot(RB_POWER_OFF);
  return EXIT_FAILURE;
}

}  // namespace
}  // namespace samovar::numa

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "Usage: samovar_numa_guest models.py\n");
    return EXIT_FAILURE;
  }
  return getpid() == 1 ? samovar::numa::be_first(argv[1]) : samovar::numa::checks(argv[1]);
}
