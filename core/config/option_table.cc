#include "core/config/option_table.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

#include "ipc/arena.h"
#include "ipc/layout.h"

namespace samovar::core {
namespace {

constexpr std::int64_t kCountMax = std::numeric_limits<std::uint32_t>::max();
constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kMillisecond = 1'000'000;
constexpr std::int64_t kPrefetchMax = 1024;
constexpr std::int64_t kConcurrencyMax = 1024;
constexpr std::int64_t kStreamWindowMax = 65'536;
constexpr std::int64_t kBreakerFailuresMax = 10'000;  // the time of each is kept

// All of them and those of a full lane may be released before the host looks at the worker's release ring.
constexpr std::int64_t kEscapedViewsMax = ipc::kReleaseEntries / 2;
static_assert(kEscapedViewsMax + kPrefetchMax + kConcurrencyMax <= ipc::kReleaseEntries);

constexpr OptionRow kOptions[] = {
    {.name = "module", .member = &Options::module, .form = Form::path,
     .doc = "The Python module: a file, or an importable name"},
    {.name = "name", .member = &Options::name,
     .doc = "Of the pool, in log lines and in the names of its memory"},
    {.name = "workers", .member = &Options::workers, .max = 1024,
     .doc = "Worker processes", .default_means = "one for each core this process may use, as far as its CPU quota goes"},
    {.name = "dispatcher", .member = &Options::dispatcher,
     .doc = "Who moves calls and replies: auto, caller, manual or pinned", .default_means = "pinned where workers + 2 <= cores, else caller"},
    {.name = "workers_max", .member = &Options::workers_max, .max = 1024,
     .doc = "What `workers` grows to while calls have to wait for long; it shrinks again", .default_means = "workers: the pool keeps its size"},
    {.name = "max_overflow", .member = &Options::max_overflow, .max = 1024,
     .doc = "Further workers that are started while calls wait and no worker is free; 0: none"},
    {.name = "overflow_after", .member = &Options::overflow_after, .min = kMillisecond,
     .doc = "How long calls have waited when overflow workers are started"},
    {.name = "overflow_linger", .member = &Options::overflow_linger, .min = kMillisecond,
     .doc = "An overflow worker leaves when for so long there was one worker too many"},
    {.name = "resize_window", .member = &Options::resize_window, .min = kMillisecond,
     .doc = "How long a load lasts before the pool grows to workers_max for it, and shrinks again"},
    {.name = "worker_start", .member = &Options::worker_start,
     .doc = "How workers come to be: nursery (forked from a process that has loaded the module) or exec (each loads it)"},
    {.name = "timeout", .member = &Options::timeout, .min = 1,
     .doc = "Of a call that names none"},
    {.name = "start_timeout", .member = &Options::start_timeout, .min = 1,
     .doc = "From a worker's spawn until it is ready, import and preload included"},
    {.name = "stop_timeout", .member = &Options::stop_timeout,
     .doc = "A worker's time to end before SIGTERM; SIGKILL follows a second later"},
    {.name = "restart_delay", .member = &Options::restart_delay, .min = 1,
     .doc = "Before a worker that failed to start is tried again; doubles with each failure"},
    {.name = "restart_delay_max", .member = &Options::restart_delay_max, .min = 1,
     .doc = "What restart_delay grows to"},
    {.name = "queue_limit", .member = &Options::queue_limit, .min = 1, .max = kCountMax,
     .doc = "Calls that wait for a worker; one more gets queue_full"},
    {.name = "prefetch", .member = &Options::prefetch, .max = kPrefetchMax,
     .doc = "Calls in one worker's lane, the running one included", .default_means = "as many as make up 50 us of work, at most 64"},
    {.name = "concurrency", .member = &Options::concurrency, .min = 1, .max = kConcurrencyMax,
     .doc = "Calls that run at once in one worker, where its module has `async def` methods"},
    {.name = "requeue_limit", .member = &Options::requeue_limit, .max = kCountMax,
     .doc = "How often a call that had not begun moves on from a worker that died"},
    {.name = "max_attempts", .member = &Options::max_attempts, .min = 1, .max = kCountMax,
     .doc = "How often an idempotent call is begun in all, where workers die while they run it"},
    {.name = "lane_bytes", .member = &Options::lane_bytes, .form = Form::bytes, .min = ipc::kLaneBytesMin, .max = ipc::kLaneBytesMax,
     .doc = "Each lane of each worker: a power of two, at least four payloads of inline_bytes_max"},
    {.name = "inline_bytes_max", .member = &Options::inline_bytes_max, .form = Form::bytes, .min = ipc::kBlockReferenceBytes,
     .max = ipc::kLaneBytesMax / ipc::kRecordsPerLaneMin,
     .doc = "Largest payload that travels inside a lane; larger ones lie in an arena"},
    {.name = "request_arena_bytes", .member = &Options::request_arena_bytes, .form = Form::bytes, .min = ipc::kArenaBytesMin,
     .max = ipc::kArenaBytesMax, .doc = "Loans and large payloads of calls at one time; costs only what is in use"},
    {.name = "response_arena_bytes", .member = &Options::response_arena_bytes, .form = Form::bytes, .min = ipc::kArenaBytesMin,
     .max = ipc::kArenaBytesMax, .doc = "Large replies of one worker at one time; costs only what is in use"},
    {.name = "arena_trim_delay", .member = &Options::arena_trim_delay, .min = 1,
     .doc = "Memory of an arena that nobody used for two of these goes back to the kernel"},
    {.name = "escaped_views_max", .member = &Options::escaped_views_max, .max = kEscapedViewsMax,
     .doc = "Large payloads that one worker still views after their calls; beyond, payloads are copied"},
    {.name = "stream_window", .member = &Options::stream_window, .min = 1, .max = kStreamWindowMax,
     .doc = "Chunks of a stream that its worker may be ahead of who takes them"},
    {.name = "spin_max", .member = &Options::spin_max, .max = kSecond,
     .doc = "Longest spin before a wait sleeps; beside a payload of megabytes up to 1 ms more; 0s: sleep at once"},
    {.name = "worker_memory_max", .member = &Options::worker_memory_max, .form = Form::bytes,
     .doc = "A worker's private memory (RLIMIT_DATA); more is a MemoryError in its method; 0: as the host's"},
    {.name = "worker_descriptors_max", .member = &Options::worker_descriptors_max, .max = kCountMax,
     .doc = "Files, sockets and so on that a worker may have open; 0: as the host's"},
    {.name = "worker_cpu_time_max", .member = &Options::worker_cpu_time_max,
     .doc = "CPU time of a worker's life, rounded up to seconds; SIGXCPU ends it then; 0s: as the host's"},
    {.name = "worker_core_bytes_max", .member = &Options::worker_core_bytes_max, .form = Form::bytes,
     .doc = "Size of a worker's core dump; 0: as the host's; 1: none"},
    {.name = "worker_nice", .member = &Options::worker_nice, .min = -20, .max = 19,
     .doc = "Added to the host's nice value; below 0 needs CAP_SYS_NICE"},
    {.name = "kill_grace", .member = &Options::kill_grace,
     .doc = "How long a call may run past its deadline before its worker is killed"},
    {.name = "wedged_after", .member = &Options::wedged_after, .min = kMillisecond,
     .doc = "A worker whose GIL is not to be had, and whose main thread does not run, for so long is killed"},
    {.name = "stopped_after", .member = &Options::stopped_after, .min = kMillisecond,
     .doc = "A worker that a signal has stopped for so long is killed; one in a debugger is not"},
    {.name = "starts_at_once", .member = &Options::starts_at_once, .max = kCountMax,
     .doc = "Workers that start together; while starts fail, one", .default_means = "as many as workers has by default"},
    {.name = "restart_intensity", .member = &Options::restart_intensity, .max = kCountMax,
     .doc = "Workers lost within restart_window; more, and the next restarts wait"},
    {.name = "restart_window", .member = &Options::restart_window, .min = 1,
     .doc = "See restart_intensity"},
    {.name = "quarantine_after", .member = &Options::quarantine_after, .min = 1, .max = kCountMax,
     .doc = "Starts in a row that failed, with no worker left, until calls fail at once; until one succeeds"},
    {.name = "fallback", .member = &Options::fallback,
     .doc = "What becomes of calls that the pool cannot run: none (an error) or oneshot (a fresh Python process each)"},
    {.name = "pool_enabled", .member = &Options::pool_enabled,
     .doc = "Whether workers are kept; where not, every call runs in a fresh Python process"},
    {.name = "recycle_calls", .member = &Options::recycle_calls,
     .doc = "Calls until a worker is replaced, drained first; the limits of workers are spread over a fifth; 0: never"},
    {.name = "recycle_age", .member = &Options::recycle_age,
     .doc = "A worker's age, likewise"},
    {.name = "recycle_memory", .member = &Options::recycle_memory, .form = Form::bytes,
     .doc = "A worker's private memory (RssAnon, beyond what it was forked with), likewise"},
    {.name = "idle_timeout", .member = &Options::idle_timeout,
     .doc = "A worker that has had calls, and none for so long, is replaced by a fresh one; 0s: never"},
    {.name = "heartbeat_interval", .member = &Options::heartbeat_interval, .min = kMillisecond, .max = 10 * kSecond,
     .doc = "How often a worker's guard stamps its pulse, and the pool looks at it"},
    {.name = "probe_after", .member = &Options::probe_after, .min = kMillisecond,
     .doc = "A call that runs longer has its worker's GIL probed"},
    {.name = "breaker_failures", .member = &Options::breaker_failures, .max = kBreakerFailuresMax,
     .doc = "Failures of one method within breaker_window, before its calls are refused; 0: never"},
    {.name = "pool_breaker_failures", .member = &Options::pool_breaker_failures, .max = kBreakerFailuresMax,
     .doc = "Failures of all methods together within breaker_window, before all calls are refused; 0: never"},
    {.name = "breaker_window", .member = &Options::breaker_window, .min = kMillisecond,
     .doc = "The time within which failures are counted"},
    {.name = "breaker_delay", .member = &Options::breaker_delay, .min = kMillisecond,
     .doc = "How long calls are refused before some are tried again"},
    {.name = "breaker_probes", .member = &Options::breaker_probes, .min = 1, .max = kCountMax,
     .doc = "Calls that are then tried at once; so many successes end the refusing"},
    {.name = "python", .member = &Options::python, .form = Form::path,
     .doc = "The interpreter: a path, or a name to be found in $PATH", .default_means = "the one the extension was built for, else python3"},
    {.name = "python_path", .member = &Options::python_path, .form = Form::path,
     .doc = "Folders in front of sys.path"},
    {.name = "worker_cpus", .member = &Options::worker_cpus, .max = std::numeric_limits<int>::max(),
     .doc = "Worker i runs on worker_cpus[i % size], whatever cpus, nodes and pinning say", .default_means = "see pinning"},
    {.name = "dispatcher_cpu", .member = &Options::dispatcher_cpu, .min = -1, .max = std::numeric_limits<int>::max(),
     .doc = "The CPU of a pinned dispatcher", .default_means = "one whose core is nobody else's"},
    {.name = "cpus", .member = &Options::cpus, .max = std::numeric_limits<int>::max(),
     .doc = "CPUs that workers and a pinned dispatcher may use", .default_means = "all that this process may use"},
    {.name = "nodes", .member = &Options::nodes, .max = std::numeric_limits<int>::max(),
     .doc = "NUMA nodes whose CPUs they may use", .default_means = "all"},
    {.name = "pinning", .member = &Options::pinning,
     .doc = "What keeps workers on their CPUs: auto, none, core (each has its own) or node (each has all cores of a NUMA node)",
     .default_means = "core where the dispatcher is pinned and workers + 2 <= cores, node on several NUMA nodes, else none"},
    {.name = "worker_threads", .member = &Options::worker_threads, .max = 1024,
     .doc = "Threads of BLAS and OpenMP in each worker, unless the environment has OMP_NUM_THREADS and the like; 0: left to them"},
    {.name = "log_level", .member = &Options::log_level,
     .doc = "The least that is logged: debug, info, warning or error"},
};

// prod has no line: the defaults are made for it.
constexpr ProfileSetting kProfileSettings[] = {
    {"dev", "workers", "1"},
    {"dev", "timeout", "10min"},  // a call may stand in a debugger
    {"dev", "stop_timeout", "1s"},
    {"dev", "log_level", "debug"},
    {"test", "workers", "2"},  // state that workers do not share shows
    {"test", "timeout", "5s"},
    {"test", "start_timeout", "20s"},
    {"test", "stop_timeout", "1s"},
    {"test", "restart_delay", "10ms"},
    {"test", "restart_delay_max", "100ms"},
    {"test", "log_level", "warning"},
};

// How many members an aggregate has: as many as it takes initialisers of any type.
struct Anything {
  template <typename T>
  operator T() const;
};

template <typename T, std::size_t... I>
constexpr bool takes(std::index_sequence<I...>) {
  return requires { T{((void)I, Anything{})...}; };
}

template <typename T, std::size_t N = 1>
constexpr std::size_t member_count() {
  if constexpr (takes<T>(std::make_index_sequence<N + 1>{})) {
    return member_count<T, N + 1>();
  } else {
    return N;
  }
}

// What no text can set: the event hook, the log sink, whether the environment counts, and where the values come from.
constexpr std::size_t kMembersWithoutRow = 4;
static_assert(member_count<Options>() == std::size(kOptions) + kMembersWithoutRow, "each member of Options has a row in kOptions");

}  // namespace

std::span<const OptionRow> option_table() { return kOptions; }

const OptionRow* find_option(std::string_view name) {
  const auto found = std::find_if(std::begin(kOptions), std::end(kOptions), [&](const OptionRow& row) { return row.name == name; });
  return found == std::end(kOptions) ? nullptr : found;
}

std::size_t index_of(const OptionRow& row) { return static_cast<std::size_t>(&row - kOptions); }

std::vector<std::string_view> option_names() {
  std::vector<std::string_view> names;
  for (const OptionRow& row : kOptions) names.push_back(row.name);
  return names;
}

std::string environment_name(const OptionRow& row) {
  std::string name = "SAMOVAR_";
  for (const char c : row.name) name += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return name;
}

std::span<const ProfileSetting> profile_settings() { return kProfileSettings; }

}  // namespace samovar::core
