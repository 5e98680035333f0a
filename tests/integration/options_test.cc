// Every option does something: each is set as an operator would set it, by its variable, and its effect is seen from outside.
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <thread>

#include "core/config/option_table.h"
#include "core/topology/machine.h"
#include "ipc/layout.h"
#include "tests/support/pools.h"
#include "tests/support/processes.h"

namespace samovar::test {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

// A variable of this process, while a pool starts.
class Variable {
 public:
  Variable(std::string name, const std::string& value) : name_(std::move(name)) { setenv(name_.c_str(), value.c_str(), 1); }
  ~Variable() { unsetenv(name_.c_str()); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const std::string name_;
};

Options with(std::string_view option, const std::string& text, Options options = test::options()) {
  const core::OptionRow* row = core::find_option(option);
  if (!row) throw std::runtime_error("no row for " + std::string(option));
  const Variable variable(core::environment_name(*row), text);
  Result<Options> applied = apply_environment(std::move(options));
  if (!applied) throw std::runtime_error(applied.error().to_string());
  return std::move(*applied);
}

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// The bytes of our mappings whose names have `name` in them.
std::set<std::size_t> mapping_sizes(std::string_view name) {
  std::set<std::size_t> sizes;
  std::istringstream maps(read_file("/proc/self/maps"));
  for (std::string line; std::getline(maps, line);) {
    std::size_t begin = 0, end = 0;
    if (line.find(name) == line.npos || std::sscanf(line.c_str(), "%zx-%zx", &begin, &end) != 2) continue;
    sizes.insert(end - begin);
  }
  return sizes;
}

// How long it takes until a worker has been started in vain `tries` times.
Duration time_of_failing_starts(Options options, std::size_t tries) {
  Folder folder;
  const Variable marker("SAMOVAR_TEST_MARKER", folder.file("marker"));
  Lines lines;
  options.module = module("fails_later.py");
  options.log = lines.sink();
  Pool pool = start(std::move(options));
  const auto begin = Clock::now();
  EXPECT_FALSE(pool.call("die", value(1)));
  EXPECT_TRUE(wait_until([&] { return lines.with("did not become ready").size() >= tries; }));
  return Clock::now() - begin;
}

// Calls in the only worker's lane while it stands at a gate, of ten.
std::size_t calls_in_lane(Options options) {
  Gate gate;
  Pool pool = start(std::move(options));
  const auto ignore = [](Result<Reply>) {};
  EXPECT_TRUE(pool.submit("wait_at", text(gate.path()), ignore));
  EXPECT_TRUE(gate.reached());
  for (int call = 0; call < 9; ++call) EXPECT_TRUE(pool.submit("echo", {}, ignore));
  EXPECT_TRUE(wait_until([&] { return pool.stats().in_flight > 1; }));
  // The dispatcher sends what it may in one turn; another has passed when a call more is behind.
  EXPECT_TRUE(pool.submit("echo", {}, ignore));
  EXPECT_TRUE(wait_until([&] { return pool.poll(), pool.stats().in_flight + pool.stats().queued == 11; }));
  const std::size_t in_lane = pool.stats().in_flight;
  gate.open();
  return in_lane;
}

std::size_t sleeps_in_calls(Options options, int calls) {
  Pool pool = start(std::move(options));
  for (int call = 0; call < 100; ++call) EXPECT_TRUE(pool.call("echo"));
  rusage before{}, after{};
  getrusage(RUSAGE_THREAD, &before);
  for (int call = 0; call < calls; ++call) EXPECT_TRUE(pool.call("spin_us", value(200)));
  getrusage(RUSAGE_THREAD, &after);
  return static_cast<std::size_t>(after.ru_nvcsw - before.ru_nvcsw);
}

Value limit_of(Options options, const char* name) {
  Pool pool = start(std::move(options));
  return value_of(pool.call("limit_of", text(name)));
}

// How often a thread of a worker has gone to sleep.
std::size_t sleeps_of_thread(pid_t worker, std::string_view name) {
  for (const auto& task : std::filesystem::directory_iterator("/proc/" + std::to_string(worker) + "/task")) {
    const std::string status = read_file(task.path() / "status");
    if (status.find("Name:\t" + std::string(name) + "\n") == status.npos) continue;
    constexpr std::string_view kCount = "\nvoluntary_ctxt_switches:\t";
    return std::stoul(status.substr(status.find(kCount) + kCount.size()));
  }
  throw std::runtime_error("no thread " + std::string(name));
}

// The first such event of a pool that needs a second worker for a moment.
Event overflow_event(EventKind kind, Options options) {
  Happenings happenings;
  Gate gate;
  options.max_overflow = 1;
  options.heartbeat_interval = 5ms;
  options.on_event = happenings.hook();
  Pool pool = start(std::move(options));
  std::jthread first([&] { EXPECT_TRUE(pool.call("wait_at", text(gate.path()))); });
  EXPECT_TRUE(gate.reached());
  EXPECT_TRUE(pool.call("echo"));
  gate.open();
  EXPECT_TRUE(happenings.have(kind));
  return happenings.of(kind).front();
}

const std::map<std::string_view, std::function<void()>>& effects() {
  static const std::map<std::string_view, std::function<void()>> kEffects{
      {"module",
       [] {
         Pool pool = start(with("module", module("stress.py")));
         EXPECT_NE(pool.methods(), start(options()).methods());
       }},
      {"name",
       [] {
         Pool pool = start(with("name", "teapot"));
         EXPECT_FALSE(mapping_sizes("memfd:teapot").empty());
       }},
      {"workers",
       [] {
         Pool pool = start(with("workers", "3"));
         EXPECT_EQ(pool.stats().workers_ready, 3u);
         EXPECT_EQ(workers_of(getpid()).size(), 3u);
       }},
      {"workers_max",
       [] {
         Gate gate;
         Pool pool = start(with("workers_max", "2", with("resize_window", "50ms", with("heartbeat_interval", "5ms"))));
         std::jthread first([&] { EXPECT_TRUE(pool.call("wait_at", text(gate.path()))); });
         EXPECT_TRUE(gate.reached());
         EXPECT_TRUE(pool.call("echo"));
         EXPECT_EQ(pool.stats().workers_base, 2u);
         gate.open();
       }},
      {"resize_window",
       [] {
         Happenings happenings;
         Options chosen = with("resize_window", "300ms", with("workers_max", "2", with("heartbeat_interval", "5ms")));
         chosen.on_event = happenings.hook();
         Pool pool = start(chosen);
         const auto begin = Clock::now();
         std::jthread first([&] { EXPECT_TRUE(pool.call("sleep", value(1))); });
         EXPECT_TRUE(pool.call("sleep", value(1)));
         EXPECT_TRUE(happenings.have(EventKind::pool_resized));
         EXPECT_GT(Clock::now() - begin, 250ms);
       }},
      {"max_overflow",
       [] {
         Gate gate;
         Pool pool = start(with("max_overflow", "1"));
         std::jthread first([&] { EXPECT_TRUE(pool.call("wait_at", text(gate.path()))); });
         EXPECT_TRUE(gate.reached());
         EXPECT_TRUE(pool.call("echo"));
         EXPECT_EQ(pool.stats().workers_overflow, 1u);
         gate.open();
       }},
      {"overflow_after",
       [] {
         EXPECT_GE(overflow_event(EventKind::overflow_started, with("overflow_after", "200ms")).took, 200ms);
         EXPECT_LT(overflow_event(EventKind::overflow_started, with("overflow_after", "1ms")).took, 200ms);
       }},
      {"overflow_linger",
       [] {
         EXPECT_GE(overflow_event(EventKind::overflow_ended, with("overflow_linger", "300ms")).took, 300ms);
       }},
      {"dispatcher",
       [] {
         const auto threads = [](const char* dispatcher) {
           Pool pool = start(with("dispatcher", dispatcher));
           return thread_count();
         };
         EXPECT_EQ(threads("pinned"), threads("manual") + 1) << "the dispatcher's own";
       }},
      {"timeout",
       [] {
         Pool pool = start(with("timeout", "40ms"));
         const auto begin = Clock::now();
         EXPECT_EQ(code_of(pool.call("sleep", value(20))), Code::deadline_exceeded);
         EXPECT_LE(Clock::now() - begin, 5s);
       }},
      {"start_timeout",
       [] {
         const Error error = start_failure(with("start_timeout", "600ms", options("preload_hangs.py")));
         EXPECT_EQ(error.code, Code::start_timeout);
         EXPECT_NE(error.message.find("600 ms"), std::string::npos) << error.message;
       }},
      {"stop_timeout",
       [] {
         Lines lines;
         Options chosen = with("stop_timeout", "30ms");
         chosen.log = lines.sink();
         const auto begin = Clock::now();
         {
           Gate gate;
           Pool pool = start(chosen);
           EXPECT_TRUE(pool.submit("busy_sleep", text(gate.path()), [](Result<Reply>) {}));
           EXPECT_TRUE(gate.reached());
         }
         EXPECT_TRUE(lines.contain("did not end within stop_timeout")) << lines.all();
         EXPECT_LE(Clock::now() - begin, Options{}.stop_timeout);
       }},
      // Ten failures with the defaults take 0.05 + 0.1 + ... + 3.2 + 5 + 5 seconds, a quarter less at the least.
      {"restart_delay", [] { EXPECT_LE(time_of_failing_starts(with("restart_delay", "1ms"), 10), 10s); }},
      {"restart_delay_max", [] { EXPECT_LE(time_of_failing_starts(with("restart_delay_max", "50ms"), 10), 10s); }},
      {"worker_start",
       [] {
         const auto nurseries_with = [](const char* start_by) {
           const Pool pool = start(with("worker_start", start_by));
           return nurseries_of(getpid()).size();
         };
         EXPECT_EQ(nurseries_with("nursery"), 1u);
         EXPECT_EQ(nurseries_with("exec"), 0u);
       }},
      {"queue_limit",
       [] {
         Gate gate;
         Pool pool = start(with("queue_limit", "2", with("prefetch", "1")));
         EXPECT_TRUE(pool.submit("wait_at", text(gate.path()), [](Result<Reply>) {}));
         EXPECT_TRUE(gate.reached());
         const auto submit = [&] { return pool.submit("echo", {}, [](Result<Reply>) {}); };
         EXPECT_TRUE(submit());
         EXPECT_TRUE(submit());
         const auto refused = submit();
         ASSERT_FALSE(refused);
         EXPECT_EQ(refused.error().code, Code::queue_full);
         gate.open();
       }},
      {"prefetch",
       [] {
         EXPECT_EQ(calls_in_lane(with("prefetch", "3")), 3u);
         EXPECT_EQ(calls_in_lane(with("prefetch", "7")), 7u);
       }},
      {"concurrency",
       [] {
         Pool pool = start(with("concurrency", "3", options("aio_methods.py")));
         std::vector<std::unique_ptr<Gate>> gates;
         for (int call = 0; call < 3; ++call) {
           gates.push_back(std::make_unique<Gate>());
           EXPECT_TRUE(pool.submit("wait_at", text(gates.back()->path()), [](Result<Reply>) {}));
           EXPECT_TRUE(gates.back()->reached()) << call;
         }
         for (const auto& gate : gates) gate->open();
       }},
      {"requeue_limit",
       [] {
         // Behind a call that kills its worker, and then behind another one.
         Pool pool = start(with("requeue_limit", "1", with("prefetch", "4")));
         Gate gate;
         int attempts = 0;
         EXPECT_TRUE(pool.submit("wait_at", text(gate.path()), [](Result<Reply>) {}));
         EXPECT_TRUE(gate.reached());
         for (int call = 0; call < 2; ++call) EXPECT_TRUE(pool.submit("die", value(1), [](Result<Reply>) {}));
         EXPECT_TRUE(pool.submit("echo", {}, [&](Result<Reply> reply) { attempts = reply ? -1 : reply.error().context.attempts; }));
         EXPECT_TRUE(wait_until([&] { return pool.stats().in_flight == 4; })) << "all in one lane";
         gate.open();
         EXPECT_TRUE(wait_until([&] { return pool.poll(), attempts != 0; }));
         EXPECT_EQ(attempts, 2);
       }},
      {"max_attempts",
       [] {
         Pool pool = start(with("max_attempts", "2"));
         const auto lost = pool.call("die", value(1), {.idempotent = true});
         ASSERT_FALSE(lost);
         EXPECT_EQ(lost.error().context.attempts, 2);
       }},
      {"breaker_failures",
       [] {
         Pool pool = start(with("breaker_failures", "2"));
         EXPECT_EQ(code_of(pool.call("die", value(1))), Code::worker_lost);
         EXPECT_EQ(code_of(pool.call("die", value(1))), Code::worker_lost);
         EXPECT_EQ(code_of(pool.call("die", value(1))), Code::breaker_open);
         EXPECT_TRUE(pool.call("echo"));
       }},
      {"pool_breaker_failures",
       [] {
         Pool pool = start(with("pool_breaker_failures", "2"));
         EXPECT_EQ(code_of(pool.call("die", value(1))), Code::worker_lost);
         EXPECT_EQ(code_of(pool.call("kill_self", value(SIGKILL))), Code::worker_lost);
         EXPECT_EQ(code_of(pool.call("echo")), Code::breaker_open);
       }},
      {"breaker_window",
       [] {
         Pool pool = start(with("breaker_window", "1ms", with("breaker_failures", "2")));
         for (int call = 0; call < 4; ++call) {
           EXPECT_EQ(code_of(pool.call("die", value(1))), Code::worker_lost) << "a worker takes longer than that to start";
         }
       }},
      {"breaker_delay",
       [] {
         Pool pool = start(with("breaker_delay", "20ms", with("breaker_failures", "1")));
         EXPECT_EQ(code_of(pool.call("die", value(1))), Code::worker_lost);
         EXPECT_EQ(code_of(pool.call("die", value(1))), Code::breaker_open);
         const auto begin = Clock::now();
         EXPECT_TRUE(wait_until([&] { return code_of(pool.call("die", value(1))) == Code::worker_lost; }));
         EXPECT_LE(Clock::now() - begin, Options{}.breaker_delay);
       }},
      {"breaker_probes",
       [] {
         Gate gate;  // a worker that is late stands here, and then two probes
         Pool pool = start(with("breaker_probes", "2", with("breaker_failures", "1", with("breaker_delay", "1ms", with("workers", "3")))));
         EXPECT_EQ(code_of(pool.call("wait_at", text(gate.path()), {.timeout = 100ms})), Code::deadline_exceeded);
         EXPECT_TRUE(wait_until([&] { return pool.submit("wait_at", text(gate.path()), [](Result<Reply>) {}).has_value(); }));
         EXPECT_TRUE(pool.submit("wait_at", text(gate.path()), [](Result<Reply>) {}));
         const auto third = pool.submit("wait_at", text(gate.path()), [](Result<Reply>) {});
         ASSERT_FALSE(third);
         EXPECT_EQ(third.error().code, Code::breaker_open);
         gate.open();
       }},
      {"lane_bytes",
       [] {
         Pool pool = start(with("lane_bytes", "256KiB", with("name", "teapot")));
         EXPECT_TRUE(mapping_sizes("memfd:teapot").contains(ipc::host_segment_bytes(256 << 10)));
       }},
      {"inline_bytes_max",
       [] {
         Pool pool = start(with("inline_bytes_max", "100"));
         const std::string payload(101, 'x');
         EXPECT_TRUE(pool.call("keep", bytes(payload.data(), 100)));
         EXPECT_EQ(pool.stats().escaped_views, 0u);
         EXPECT_TRUE(pool.call("keep", bytes(payload.data(), 101)));
         EXPECT_EQ(pool.stats().escaped_views, 1u) << "one byte more lies in the arena, where the view still is";
       }},
      {"request_arena_bytes",
       [] {
         Pool pool = start(with("request_arena_bytes", "100KiB"));
         EXPECT_EQ(pool.options().request_arena_bytes, 128u << 10) << "in chunks of 64 KiB";
         EXPECT_TRUE(pool.loan(128 << 10));
         EXPECT_EQ(pool.loan((128 << 10) + 1).error().code, Code::payload_too_large);
       }},
      {"response_arena_bytes",
       [] {
         Pool pool = start(with("response_arena_bytes", "64KiB"));
         EXPECT_TRUE(pool.call("zeros", value(65536)));
         EXPECT_EQ(code_of(pool.call("zeros", value(65537))), Code::result_too_large);
       }},
      {"arena_trim_delay",
       [] {
         Pool quick = start(with("arena_trim_delay", "10ms"));
         Pool slow = start(with("arena_trim_delay", "1h"));
         for (Pool* pool : {&quick, &slow}) ASSERT_TRUE(pool->loan(1 << 20));
         EXPECT_TRUE(wait_until([&] { return quick.stats().request_arena_resident == 0; }));
         EXPECT_EQ(slow.stats().request_arena_resident, 1u << 20);
       }},
      {"escaped_views_max",
       [] {
         Pool pool = start(with("escaped_views_max", "0"));
         EXPECT_TRUE(pool.call("keep", bytes(std::string(5000, 'x').data(), 5000)));
         EXPECT_EQ(pool.stats().escaped_views, 0u) << "it was copied";
       }},
      {"stream_window",
       [] {
         Pool pool = start(with("stream_window", "3", options("streams.py")));
         const Folder folder;
         const auto far = [&](const char* text) { return wait_until([&] { return folder.read("far") == text; }); };
         Result<Stream> stream = pool.stream("written", text(folder.file("far")));
         EXPECT_TRUE(far("3"));
         EXPECT_TRUE(stream->next());
         EXPECT_TRUE(far("4")) << "one was taken";
       }},
      {"kill_grace",
       [] {
         Gate gate;
         Happenings happenings;
         Options chosen = with("kill_grace", "1ms", with("heartbeat_interval", "5ms"));
         chosen.on_event = happenings.hook();
         Pool pool = start(chosen);
         EXPECT_FALSE(pool.call("busy_sleep", text(gate.path()), {.timeout = 20ms}));
         EXPECT_TRUE(happenings.have(EventKind::worker_killed));
       }},
      {"stopped_after",
       [] {
         const auto call_to_a_stopped_worker = [](const char* limit) {
           Pool pool = start(with("stopped_after", limit, with("heartbeat_interval", "5ms")));
           const pid_t pid = worker_pid(pool);
           kill(pid, SIGSTOP);
           const auto reply = pool.call("echo", {}, {.timeout = 1500ms});
           kill(pid, SIGCONT);
           return code_of(reply);
         };
         EXPECT_NE(call_to_a_stopped_worker("30ms"), Code::deadline_exceeded) << "its successor answers, or it is lost";
         EXPECT_EQ(call_to_a_stopped_worker("1h"), Code::deadline_exceeded);
       }},
      {"starts_at_once",
       [] {
         const auto most_at_once = [](const char* limit) {
           Happenings happenings;
           Options chosen = with("starts_at_once", limit);
           chosen.workers = 3;
           chosen.worker_start = WorkerStart::exec;
           chosen.on_event = happenings.hook();
           start(chosen);
           int now = 0, most = 0;
           for (const Event& event : happenings.all()) {
             now += event.kind == EventKind::worker_started ? 1 : event.kind == EventKind::worker_ready ? -1 : 0;
             most = std::max(most, now);
           }
           return most;
         };
         EXPECT_EQ(most_at_once("1"), 1);
         EXPECT_EQ(most_at_once("3"), 3);
       }},
      {"restart_intensity",
       [] {
         const auto takes = [](const char* intensity) {
           Options chosen = with("restart_intensity", intensity);
           chosen.restart_delay = 2s;
           Pool pool = start(chosen);
           EXPECT_FALSE(pool.call("die", value(1)));
           const auto begin = Clock::now();
           EXPECT_TRUE(pool.call("echo"));
           return Clock::now() - begin;
         };
         EXPECT_GE(takes("0"), 1s);
         EXPECT_LT(takes("1"), 1s);
       }},
      {"restart_window",
       [] {
         const auto takes = [](const char* window) {
           Options chosen = with("restart_window", window);
           chosen.restart_intensity = 1;
           chosen.restart_delay = 2s;
           Pool pool = start(chosen);
           const auto begin = Clock::now();
           for (int death = 0; death < 2; ++death) EXPECT_FALSE(pool.call("die", value(1)));
           EXPECT_TRUE(pool.call("echo"));
           return Clock::now() - begin;
         };
         EXPECT_LT(takes("1ms"), 1s) << "each is alone in its window";
         EXPECT_GE(takes("1h"), 1s);
       }},
      {"quarantine_after",
       [] {
         const auto failures_told = [](const char* after) {
           Folder folder;
           const Variable marker("SAMOVAR_TEST_MARKER", folder.file("marker"));
           Happenings happenings;
           Options chosen = with("quarantine_after", after);
           chosen.module = module("fails_later.py");
           chosen.restart_delay = 1ms;
           chosen.on_event = happenings.hook();
           Pool pool = start(chosen);
           EXPECT_FALSE(pool.call("die", value(1)));
           EXPECT_EQ(code_of(pool.call("pid")), Code::pool_quarantined);
           std::size_t failures = 0;
           for (const Event& event : happenings.all()) {
             failures += event.kind == EventKind::worker_failed ? 1 : 0;
             if (event.kind == EventKind::pool_quarantined) break;
           }
           return failures;
         };
         EXPECT_EQ(failures_told("1"), 1u);
         EXPECT_EQ(failures_told("4"), 4u);
       }},
      {"fallback",
       [] {
         const auto second_call = [](const char* fallback) {
           Folder folder;
           const Variable marker("SAMOVAR_TEST_MARKER", folder.file("marker"));
           Options chosen = with("fallback", fallback, with("quarantine_after", "1"));
           chosen.module = module("fails_later.py");
           Pool pool = start(chosen);
           EXPECT_FALSE(pool.call("die", value(1)));
           return code_of(pool.call("pid"));
         };
         EXPECT_EQ(second_call("none"), Code::pool_quarantined);
         EXPECT_EQ(second_call("oneshot"), Code::module_failed) << "a fresh process says so itself";
       }},
      {"pool_enabled",
       [] {
         Pool pool = start(with("pool_enabled", "no"));
         EXPECT_NE(integer(pool.call("pid")), integer(pool.call("pid")));
       }},
      {"recycle_calls",
       [] {
         Options chosen = with("recycle_calls", "3", with("heartbeat_interval", "5ms"));
         Pool pool = start(chosen);
         for (int call = 0; call < 3; ++call) EXPECT_TRUE(pool.call("echo"));
         EXPECT_TRUE(wait_until([&] { return pool.stats().workers_recycled == 1; }));
       }},
      {"recycle_age",
       [] {
         Pool pool = start(with("recycle_age", "20ms", with("heartbeat_interval", "5ms")));
         EXPECT_TRUE(wait_until([&] { return pool.stats().workers_recycled >= 2; }));
       }},
      {"recycle_memory",
       [] {
         Options chosen = with("recycle_memory", "200MiB", with("heartbeat_interval", "5ms"));
         Pool pool = start(chosen);
         EXPECT_TRUE(pool.call("hoard", value(250 << 20)));
         EXPECT_TRUE(wait_until([&] { return pool.stats().workers_recycled == 1; }));
       }},
      {"idle_timeout",
       [] {
         Pool pool = start(with("idle_timeout", "20ms", with("heartbeat_interval", "5ms")));
         EXPECT_TRUE(pool.call("echo"));
         EXPECT_TRUE(wait_until([&] { return pool.stats().workers_recycled == 1; }));
       }},
      {"wedged_after",
       [] {
         const auto killed = [](const char* limit) {
           Gate gate;
           Pool pool = start(with("wedged_after", limit, with("heartbeat_interval", "5ms")));
           return code_of(pool.call("busy_wedged", text(gate.path()), {.timeout = 1500ms}));
         };
         EXPECT_EQ(killed("100ms"), Code::worker_lost);
         EXPECT_EQ(killed("1h"), Code::deadline_exceeded);
       }},
      {"spin_max",
       [] {
         constexpr int kCalls = 200;
         EXPECT_GE(sleeps_in_calls(with("spin_max", "0s"), kCalls), kCalls / 2u) << "each wait sleeps at once";
         EXPECT_LT(sleeps_in_calls(with("spin_max", "1s"), kCalls), kCalls / 2u) << "each wait spins";
       }},
      {"heartbeat_interval",
       [] {
         Pool slow = start(with("heartbeat_interval", "10s"));
         Pool quick = start(with("heartbeat_interval", "1ms"));
         const pid_t slow_worker = worker_pid(slow), quick_worker = worker_pid(quick);
         const std::size_t before = sleeps_of_thread(slow_worker, "samovar-guard");
         EXPECT_TRUE(wait_until([&] { return sleeps_of_thread(quick_worker, "samovar-guard") >= 50; }));
         EXPECT_LE(sleeps_of_thread(slow_worker, "samovar-guard"), before + 2);
       }},
      {"probe_after",
       [] {
         Pool late = start(with("probe_after", "1h", with("heartbeat_interval", "1ms")));
         Pool soon = start(with("probe_after", "1ms", with("heartbeat_interval", "1ms")));
         const pid_t late_worker = worker_pid(late), soon_worker = worker_pid(soon);
         EXPECT_TRUE(wait_until([&] {
           EXPECT_TRUE(late.call("spin_us", value(20'000)));
           EXPECT_TRUE(soon.call("spin_us", value(20'000)));
           return sleeps_of_thread(soon_worker, "samovar-prober") >= 10;
         }));
         EXPECT_EQ(sleeps_of_thread(late_worker, "samovar-prober"), 1u) << "until it is asked for the first time";
       }},
      {"worker_memory_max",
       [] {
         if (kShadowed) return;
         EXPECT_EQ(limit_of(with("worker_memory_max", "2GiB"), "RLIMIT_DATA"), Value::list({2ll << 30, 2ll << 30}));
       }},
      {"worker_descriptors_max", [] { EXPECT_EQ(limit_of(with("worker_descriptors_max", "99"), "RLIMIT_NOFILE"), Value::list({99, 99})); }},
      {"worker_cpu_time_max", [] { EXPECT_EQ(limit_of(with("worker_cpu_time_max", "1min"), "RLIMIT_CPU"), Value::list({60, 61})); }},
      {"worker_core_bytes_max",
       [] {
         const Value limit = limit_of(with("worker_core_bytes_max", "4KiB"), "RLIMIT_CORE");
         EXPECT_EQ(limit, Value::list({kShadowed ? 0 : 4096, 4096}));
       }},
      {"worker_nice",
       [] {
         Pool pool = start(with("worker_nice", "3"));
         EXPECT_EQ(integer(pool.call("niceness")), getpriority(PRIO_PROCESS, 0) + 3);
       }},
      {"python",
       [] {
         Folder folder;
         Options chosen = options();
         const std::string real = start(options()).options().python;
         folder.write("python", "#!/bin/sh\ntouch '" + folder.file("used") + "'\nexec '" + real + "' \"$@\"\n");
         Pool pool = start(with("python", folder.file("python")));
         EXPECT_TRUE(std::filesystem::exists(folder.file("used")));
       }},
      {"python_path",
       [] {
         Folder folder;
         folder.write("teapot.py", "import samovar\n\n@samovar.method\ndef pour():\n    return 'tea'\n");
         Options named = options();
         named.module = "teapot";
         Pool pool = start(with("python_path", "/nowhere:" + folder.path().string(), named));
         EXPECT_EQ(text_of(pool.call("pour")), "tea");
       }},
      {"worker_cpus",
       [] {
         Pool anywhere = start(options());
         const Value all = value_of(anywhere.call("affinity"));
         const std::string last = std::to_string(*all.as_list()->back().as_int());
         Pool pool = start(with("worker_cpus", last));
         EXPECT_EQ(value_of(pool.call("affinity")).to_string(), "[" + last + "]");
       }},
      {"dispatcher_cpu",
       [] {
         Pool pool = start(with("dispatcher_cpu", "0", with("dispatcher", "pinned")));
         std::size_t pinned = 0;
         for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
           pinned += read_file(task.path() / "status").find("\nCpus_allowed_list:\t0\n") != std::string::npos ? 1 : 0;
         }
         EXPECT_GE(pinned, 1u);
       }},
      {"cpus",
       [] {
         Pool anywhere = start(options());
         const Value all = value_of(anywhere.call("affinity"));
         const std::string last = std::to_string(*all.as_list()->back().as_int());
         Pool pool = start(with("cpus", last));
         EXPECT_EQ(value_of(pool.call("affinity")).to_string(), "[" + last + "]");
       }},
      {"nodes",
       [] {
         const core::Machine machine = core::this_machine();
         EXPECT_TRUE(start(with("nodes", std::to_string(machine.cpus.front().node))).call("echo"));
         const Error error = start_failure(with("nodes", "4000"));
         EXPECT_NE(error.message.find("nodes names node 4000"), std::string::npos) << error.message;
       }},
      {"pinning",
       [] {
         const auto cpus = [](const char* pinning) {
           Pool pool = start(with("pinning", pinning, with("dispatcher", "pinned")));
           return value_of(pool.call("affinity")).as_list()->size();
         };
         if (core::count_cores(core::this_machine()) < 2) return;
         EXPECT_LT(cpus("core"), cpus("none"));
       }},
      {"worker_threads",
       [] {
         const auto threads = [](const char* number) {
           Pool pool = start(with("worker_threads", number));
           return *value_of(pool.call("state")).find("threads");
         };
         EXPECT_EQ(threads("3"), Value("3"));
         EXPECT_EQ(threads("0"), Value("")) << "the environment is left alone";
       }},
      {"log_level",
       [] {
         const auto greeted = [](const char* level) {
           Lines lines;
           Options chosen = with("log_level", level);
           chosen.log = lines.sink();
           start(chosen);
           return lines.contain("ready in");
         };
         EXPECT_TRUE(greeted("info"));
         EXPECT_FALSE(greeted("error"));
       }},
  };
  return kEffects;
}

class EachOption : public testing::TestWithParam<core::OptionRow> {};

INSTANTIATE_TEST_SUITE_P(, EachOption,
                         testing::ValuesIn(core::option_table().begin(), core::option_table().end()),
                         [](const auto& info) { return std::string(info.param.name); });

TEST_P(EachOption, has_an_effect) {
  const auto found = effects().find(GetParam().name);
  ASSERT_NE(found, effects().end()) << GetParam().name << " is in the option table; show here that something reads it";
  found->second();
}

TEST(OptionsWithoutRow, log_gets_the_lines) {
  Lines lines;
  Options chosen = options();
  chosen.log_level = LogLevel::info;
  chosen.log = lines.sink();
  start(chosen);
  EXPECT_TRUE(lines.contain("worker 0"));
}

TEST(OptionsWithoutRow, environment_decides_whether_variables_count) {
  const Variable variable("SAMOVAR_WORKERS", "2");
  Options chosen = options();
  EXPECT_EQ(start(chosen).options().workers, 2u);
  chosen.environment = Environment::ignore;
  EXPECT_EQ(start(chosen).options().workers, 1u);
}

}  // namespace
}  // namespace samovar::test
