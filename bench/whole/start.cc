#include "bench/whole/start.h"

#include <signal.h>
#include <stdlib.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <filesystem>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

#include "bench/whole/call.h"
#include "bench/whole/child.h"
#include "bench/whole/environment.h"
#include "ipc/clock.h"
#include "samovar/pool.h"

namespace samovar::bench {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

constexpr seconds kStartLimit{60};
constexpr minutes kUseLimit{20};
constexpr unsigned kManyWorkers = 8;
constexpr unsigned kBurstBase = 2, kBurstCalls = 4 * kBurstBase;
constexpr double kBusySeconds = 0.3;  // each call of a burst
constexpr std::chrono::milliseconds kBurstLinger{50};
constexpr int kUseAttempts = 5;  // until each worker has had a call
constexpr const char* kModelVariable = "SAMOVAR_BENCH_MODEL";

// The saved forest, and the variable that tells model.py where it is.
class Model {
 public:
  static Made<Model> grow(const std::string& python) {
    std::string folder = (std::filesystem::temp_directory_path() / "samovar-bench-XXXXXX").string();
    if (!mkdtemp(folder.data())) return tl::unexpected("mkdtemp: " + std::string(std::strerror(errno)));
    Model model(std::move(folder));
    auto child = Child::start({python, bench_directory() + "/whole/grow_forest.py", model.path()}, -1);
    if (!child) return tl::unexpected(child.error());
    auto said = (*child)->finish();
    if (!said || !std::filesystem::exists(model.path())) {
      return tl::unexpected("the forest does not grow (it needs NumPy and scikit-learn in " + python + ")" +
                            (said ? "" : ": " + said.error()));
    }
    setenv(kModelVariable, model.path().c_str(), 1);
    return model;
  }
  Model(Model&& other) noexcept : folder_(std::exchange(other.folder_, {})) {}
  ~Model() {
    if (folder_.empty()) return;
    unsetenv(kModelVariable);
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }

  std::string path() const { return folder_ + "/forest.pickle"; }

 private:
  explicit Model(std::string folder) : folder_(std::move(folder)) {}

  std::string folder_;
};

// Workers that have become ready, each told once.
class Births {
 public:
  EventHook hook() {
    return [this](const Event& event) {
      if (event.kind != EventKind::worker_ready) return;
      const std::lock_guard lock(mutex_);
      ready_.push_back(event);
      told_.notify_all();
    };
  }
  void forget() {
    const std::lock_guard lock(mutex_);
    ready_.clear();
  }
  std::optional<Event> next() {
    std::unique_lock lock(mutex_);
    if (!told_.wait_for(lock, kStartLimit, [&] { return !ready_.empty(); })) return std::nullopt;
    Event event = std::move(ready_.front());
    ready_.pop_front();
    return event;
  }

 private:
  std::mutex mutex_;
  std::condition_variable told_;
  std::deque<Event> ready_;  // guarded by mutex_
};

class Measuring {
 public:
  explicit Measuring(const StartSettings& settings) : settings_(settings) {}

  Start run() {
    keep("fork to ready", forks());
    keep("burst", bursts("noop.py", figures_.burst_ready));
    keep("burst with the model", bursts("model.py", figures_.model_burst_ready));
    if (settings_.execs > 0) keep("exec to ready", execs());
    if (settings_.predictions > 0) keep("memory", memory());
    return std::move(figures_);
  }

 private:
  void keep(const char* figure, const Outcome& outcome) {
    if (!outcome) figures_.failures.push_back(std::string(figure) + ": " + outcome.error());
  }

  Made<Pool> start(WorkerStart worker_start, unsigned workers, unsigned max_overflow = 0, const char* module = "model.py") {
    auto pool = start_pool({.python = settings_.python,
                            .module = module,
                            .workers = workers,
                            .worker_start = worker_start,
                            .max_overflow = max_overflow,
                            .overflow_linger = kBurstLinger,
                            .on_event = births_.hook(),
                            .log = [](LogLevel, std::string_view) {}});
    births_.forget();
    if (!pool || worker_start == WorkerStart::exec) return pool;
    const std::vector<ProcessStats> processes = pool->processes();
    if (std::none_of(processes.begin(), processes.end(), [](const ProcessStats& p) { return p.worker < 0; })) {
      return tl::unexpected(std::string("the workers are not forked: importing scikit-learn has started threads, see OMP_NUM_THREADS"));
    }
    return pool;
  }

  // Kills the only worker and waits until another one is ready and answers.
  Outcome replace(Pool& pool, Histogram& took) {
    const auto pid = worker_pid(pool);
    if (!pid) return tl::unexpected(pid.error());
    kill(*pid, SIGKILL);
    const std::optional<Event> ready = births_.next();
    if (!ready) return tl::unexpected(std::string("a killed worker is not replaced"));
    const auto answers = worker_pid(pool);
    if (!answers) return tl::unexpected(answers.error());
    if (*answers != ready->pid) return tl::unexpected(std::string("another worker answers than the one that became ready"));
    took.add(ready->took.count());
    return {};
  }

  Outcome kill_and_call(Pool& pool) {
    const auto pid = worker_pid(pool);
    if (!pid) return tl::unexpected(pid.error());
    const std::int64_t killed_ns = ipc::now_ns();
    kill(*pid, SIGKILL);
    const Result<Reply> reply = pool.call("pid");
    const std::int64_t replied_ns = ipc::now_ns();
    if (!reply) return tl::unexpected("after a kill: " + reply.error().to_string());
    figures_.kill_to_next_reply.add(replied_ns - killed_ns);
    return {};
  }

  Outcome forks() {
    auto pool = start(WorkerStart::nursery, 1);
    if (!pool) return tl::unexpected(pool.error());
    const auto size = pool->call("size");
    if (!size) return tl::unexpected(size.error().to_string());
    figures_.model_bytes = static_cast<std::uint64_t>(size->value()->as_int().value_or(0));
    for (std::size_t i = 0; i < settings_.forks; ++i) {
      if (Outcome replaced = replace(*pool, figures_.fork_ready); !replaced) return replaced;
    }
    for (std::size_t i = 0; i < settings_.forks; ++i) {
      if (Outcome called = kill_and_call(*pool); !called) return called;
    }
    return {};
  }

  Outcome bursts(const char* module, Histogram& took) {
    auto pool = start(WorkerStart::nursery, kBurstBase, kBurstCalls - kBurstBase, module);
    if (!pool) return tl::unexpected(pool.error());
    for (std::size_t i = 0; i < settings_.bursts; ++i) {
      if (Outcome answered = burst(*pool, took); !answered) return answered;
    }
    return {};
  }

  Outcome burst(Pool& pool, Histogram& took) {
    if (!wait_for_base(pool)) return tl::unexpected(std::string("the overflow workers of the last burst do not leave"));
    std::set<std::int64_t> base;
    for (const ProcessStats& process : pool.processes()) base.insert(process.pid);
    std::vector<Payload> each;
    for (unsigned i = 0; i < kBurstCalls; ++i) each.push_back(value(Value(kBusySeconds)));
    const std::int64_t begin_ns = ipc::now_ns();
    std::int64_t last_ns = 0;
    for (const Result<Reply>& reply : pool.call_many("begin", each, {.timeout = kStartLimit})) {
      if (!reply) return tl::unexpected(reply.error().to_string());
      const Result<Value> said = reply->value();
      const auto* began = said ? said->as_list() : nullptr;
      if (!began || began->size() != 2) return tl::unexpected(std::string("the method begin returned something else"));
      if (!base.contains((*began)[1].as_int().value_or(0))) last_ns = std::max(last_ns, (*began)[0].as_int().value_or(0));
    }
    if (last_ns == 0) return tl::unexpected(std::string("no overflow worker had a call"));
    took.add(last_ns - begin_ns - pool.options().overflow_after.count());
    return {};
  }

  static bool wait_for_base(const Pool& pool) {
    const std::int64_t until_ns = ipc::in(std::chrono::nanoseconds(kStartLimit).count());
    while (pool.stats().workers_ready != kBurstBase) {
      if (ipc::now_ns() >= until_ns) return false;
      std::this_thread::sleep_for(kBurstLinger);
    }
    return true;
  }

  Outcome execs() {
    auto pool = start(WorkerStart::exec, 1);
    if (!pool) return tl::unexpected(pool.error());
    for (std::size_t i = 0; i < settings_.execs; ++i) {
      if (Outcome replaced = replace(*pool, figures_.exec_ready); !replaced) return replaced;
    }
    return {};
  }

  // What the processes of a pool take together when all of its workers have worked. `private_each`: see Start::Memory.
  Made<std::uint64_t> used_bytes(unsigned workers, std::uint64_t& private_each) {
    auto pool = start(WorkerStart::nursery, workers);
    if (!pool) return tl::unexpected(pool.error());
    if (Outcome worked = work(*pool, workers); !worked) return tl::unexpected(worked.error());
    std::uint64_t proportional = 0;
    private_each = 0;
    for (const ProcessStats& process : pool->processes()) {
      if (process.proportional_bytes == 0) return tl::unexpected(std::string("the memory of a worker cannot be read"));
      proportional += process.proportional_bytes;
      if (process.worker >= 0) private_each += process.private_bytes / workers;
    }
    return proportional;
  }

  Outcome work(Pool& pool, unsigned workers) {
    const Value times(static_cast<std::int64_t>(settings_.predictions));
    std::set<std::int64_t> who;
    for (int attempt = 0; attempt < kUseAttempts && who.size() < workers; ++attempt) {
      std::vector<Payload> each;
      for (unsigned i = 0; i < workers; ++i) each.push_back(value(times));
      for (const Result<Reply>& reply : pool.call_many("use", each, {.timeout = kUseLimit})) {
        if (!reply) return tl::unexpected(reply.error().to_string());
        who.insert(reply->value()->as_int().value_or(0));
      }
    }
    if (who.size() < workers) return tl::unexpected(std::string("not every worker gets a call"));
    return {};
  }

  Outcome memory() {
    Start::Memory memory;
    const auto of_1 = used_bytes(1, memory.private_each);
    if (!of_1) return tl::unexpected(of_1.error());
    const auto of_8 = used_bytes(kManyWorkers, memory.private_each);
    if (!of_8) return tl::unexpected(of_8.error());
    memory.of_1 = *of_1;
    memory.of_8 = *of_8;
    figures_.memory = memory;
    return {};
  }

  const StartSettings& settings_;
  Births births_;
  Start figures_;
};

}  // namespace

Made<Start> measure_start(const StartSettings& settings) {
  const auto model = Model::grow(choose_python(settings.python));
  if (!model) return tl::unexpected(model.error());
  return Measuring(settings).run();
}

}  // namespace samovar::bench
