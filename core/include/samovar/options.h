// Options of a pool and of a call. Every limit has a name, a default and a unit.
// What may be set from outside the program stands in core/config/option_table.cc, too: a row for each member.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include <samovar/api.h>
#include <samovar/events.h>

namespace samovar {

using Duration = std::chrono::nanoseconds;

// Who moves calls and replies between the queue and the workers.
enum class Dispatcher : std::uint8_t {
  automatic,  // pinned where a core is free for it (workers + 2 <= cores; their second threads do not count), else caller
  caller,     // a thread that waits in call() works for everybody meanwhile: the fastest way on few cores
  manual,     // the service runs poll() in its own event loop
  pinned,     // a thread of the pool, on a core of its own
};

SAMOVAR_API std::string_view to_string(Dispatcher dispatcher);

enum class LogLevel : std::uint8_t { debug, info, warning, error };

SAMOVAR_API std::string_view to_string(LogLevel level);

// Called from threads of the pool, one line at a time.
using LogSink = std::function<void(LogLevel, std::string_view line)>;

// Whether SAMOVAR_* variables outrank what the program sets; see config.h.
enum class Environment : std::uint8_t { apply, ignore };

// What becomes of calls that the pool cannot run, because it is quarantined or a breaker is open.
enum class Fallback : std::uint8_t {
  none,     // they end in an error that says so
  oneshot,  // each runs in a fresh Python process: slow, with the same results and the same errors
};

SAMOVAR_API std::string_view to_string(Fallback fallback);

// How worker processes come to be.
enum class WorkerStart : std::uint8_t {
  nursery,  // forked from one process that has imported and preloaded the module: ready in milliseconds, and its memory is shared
  exec,     // each is a Python process of its own, which imports and preloads
};

SAMOVAR_API std::string_view to_string(WorkerStart start);

// What keeps a worker on its CPUs; `samovar topology` draws what follows from it.
enum class Pinning : std::uint8_t {
  automatic,  // core where the dispatcher is pinned and a core is free for each worker and one more, node on several NUMA nodes, else none
  none,       // wherever the kernel likes, within `cpus` and `nodes`
  core,       // each worker has a core of its own, as long as there are some
  node,       // each worker has a NUMA node, and may use all of its cores
};

SAMOVAR_API std::string_view to_string(Pinning pinning);

namespace core {
struct Origins;
}

struct Options {
  // The user's Python module: "models.py", "path/to/models.py" or an importable name, "package.models".
  std::string module{};

  std::string name = "samovar";  // in log lines and in the workers' process names

  unsigned workers = 0;  // 0: one for each core this process may use, if its CPU quota is not less
  Dispatcher dispatcher = Dispatcher::automatic;

  // Workers beyond `workers`: at once in a burst (overflow), and for as long as a load lasts (workers_max).
  unsigned workers_max = 0;   // `workers` is where the pool begins, and the least; it grows up to this. 0: it keeps its size
  unsigned max_overflow = 0;  // further workers while calls wait; 0: none
  Duration overflow_after = std::chrono::milliseconds(10);  // calls that have waited so long with no worker free bring them
  Duration overflow_linger = std::chrono::seconds(10);      // one leaves when so long there was a worker too many
  Duration resize_window = std::chrono::seconds(30);        // what a load must last for, until `workers` follows it

  Duration timeout = std::chrono::seconds(30);         // of a call that names none
  WorkerStart worker_start = WorkerStart::nursery;     // where loading the module starts threads it is exec all the same
  Duration start_timeout = std::chrono::seconds(60);   // spawn to ready, import and preload included
  Duration stop_timeout = std::chrono::seconds(5);     // a worker's time to end before SIGTERM, and again before SIGKILL
  Duration restart_delay = std::chrono::milliseconds(50);  // before a failed worker start is tried again; doubles
  Duration restart_delay_max = std::chrono::seconds(5);

  std::uint32_t queue_limit = 1000;    // calls that wait for a worker
  std::uint32_t prefetch = 0;          // calls in one worker's lane, the running one included; 0: 50 us of work, at most 64
  std::uint32_t concurrency = 1;       // calls that run at once in one worker whose module has `async def` methods
  std::uint32_t requeue_limit = 3;     // how often an unstarted call moves on from a dead worker
  std::uint32_t max_attempts = 3;      // how often an idempotent call is begun in all, where workers die while they run it
  std::uint32_t lane_bytes = 64 * 1024;      // each lane of each worker; a power of two
  std::uint32_t inline_bytes_max = 4096;     // larger payloads of calls and replies lie in an arena, not in a lane

  // Arenas are sparse: they cost what is in use, and what was in the last two arena_trim_delay.
  std::uint64_t request_arena_bytes = std::uint64_t{1} << 30;   // of the pool: loans and large payloads at one time
  std::uint64_t response_arena_bytes = std::uint64_t{1} << 30;  // of each worker: large replies at one time
  Duration arena_trim_delay = std::chrono::seconds(1);          // until freed memory goes back to the kernel
  std::uint32_t escaped_views_max = 256;  // large payloads that one worker still views after their calls; more are copied

  std::uint32_t stream_window = 64;  // chunks of a stream that its worker may be ahead of who takes them

  Duration spin_max = std::chrono::microseconds(50);  // longest spin before a wait sleeps, see CONFIGURATION.md; 0: sleep at once

  std::string python{};                  // interpreter; empty: the one the extension was built for, else python3 in $PATH
  std::vector<std::string> python_path{};  // in front of sys.path
  std::vector<int> worker_cpus{};        // worker i runs on worker_cpus[i % size]; empty: wherever the kernel likes
  int dispatcher_cpu = -1;               // pinned: which CPU; -1: one whose core is nobody else's
  std::vector<int> cpus{};               // that workers and a pinned dispatcher may use; empty: all
  std::vector<int> nodes{};              // NUMA nodes whose CPUs they may use; empty: all
  Pinning pinning = Pinning::automatic;
  std::uint32_t worker_threads = 1;      // of BLAS and OpenMP in each worker, unless the environment says; 0: left to them

  // What each worker may use; 0: as the host.
  std::uint64_t worker_memory_max = 0;       // bytes of private memory (RLIMIT_DATA); more is a MemoryError
  std::uint32_t worker_descriptors_max = 0;  // open files, sockets and so on
  Duration worker_cpu_time_max{};            // of its life, in whole seconds, rounded up; SIGXCPU ends it then
  std::uint64_t worker_core_bytes_max = 0;   // of a core dump; 1: none
  int worker_nice = 0;                       // added to the host's; below 0 needs CAP_SYS_NICE

  Duration kill_grace = std::chrono::seconds(5);     // a call may run so long past its deadline before its worker is killed
  Duration wedged_after = std::chrono::seconds(5);   // the GIL not to be had and the main thread not running: killed
  Duration stopped_after = std::chrono::seconds(3);  // stopped by a signal (not by a debugger): killed

  std::uint32_t starts_at_once = 0;        // workers that start together; 0: one for each such core
  std::uint32_t restart_intensity = 10;    // workers lost within restart_window; more, and the next restarts wait
  Duration restart_window = std::chrono::seconds(10);
  std::uint32_t quarantine_after = 3;      // starts in a row that failed, with no worker left: calls fail at once until one succeeds

  Fallback fallback = Fallback::none;
  bool pool_enabled = true;                // false: every call runs in a fresh Python process

  // A worker is replaced after so much, drained first, never two at once; the limits of workers are spread. 0: never.
  std::uint64_t recycle_calls = 0;
  Duration recycle_age{};
  std::uint64_t recycle_memory = 0;        // bytes, private (RssAnon, beyond what it was forked with)
  Duration idle_timeout{};                 // without a call, after some

  Duration heartbeat_interval = std::chrono::milliseconds(250);  // how often a worker's guard stamps its pulse, and the pool looks at it
  Duration probe_after = std::chrono::milliseconds(50);          // a call that runs longer has its worker's GIL probed

  // Circuit breakers: calls of a method that keeps failing are refused at once (breaker_open), until one of them succeeds. What
  // the method raises is an answer and no failure: worker_lost and deadline_exceeded of calls that ran are failures.
  std::uint32_t breaker_failures = 0;                  // of one method, within breaker_window, before it is refused; 0: never
  std::uint32_t pool_breaker_failures = 0;             // of all methods together, before all are refused; 0: never
  Duration breaker_window = std::chrono::seconds(10);
  Duration breaker_delay = std::chrono::seconds(1);    // until calls are tried again
  std::uint32_t breaker_probes = 1;                    // tried at once; so many successes end the refusing

  EventHook on_event{};              // see events.h
  LogSink log{};                     // empty: to stderr
  LogLevel log_level = LogLevel::info;

  Environment environment = Environment::apply;   // SAMOVAR_WORKERS and so on outrank these options when a pool starts
  std::shared_ptr<const core::Origins> origins{};  // set by load_options(): file and line of each value, for messages
};

enum class WhenFull : std::uint8_t { fail, wait };

struct CallOptions {
  std::optional<Duration> timeout{};                                // default: the pool's
  std::optional<std::chrono::steady_clock::time_point> deadline{};  // the earlier of both holds
  std::stop_token stop{};                                           // cancels the call
  WhenFull when_full = WhenFull::fail;                              // a full queue: an error, or a wait until the deadline
  bool idempotent = false;                                          // may run again where a worker died while it ran: see max_attempts
  bool timed = false;                                               // the reply tells the time in the handler
  std::optional<Duration> chunk_timeout{};                          // of a stream: the longest wait for each chunk; none but `timeout`, for all
};

}  // namespace samovar
