#include "bench/whole/recovery.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include "bench/whole/call.h"
#include "ipc/clock.h"
#include "ipc/unique_fd.h"
#include "samovar/pool.h"

namespace samovar::bench {
namespace {

using std::chrono::nanoseconds;
using std::chrono::seconds;

constexpr int kBusyLimitMs = 20'000;
constexpr std::chrono::milliseconds kRest{2};  // the caller has gone to sleep by then

// A FIFO that a worker writes to when it is busy.
class Busy {
 public:
  static Made<Busy> make() {
    std::string folder = (std::filesystem::temp_directory_path() / "samovar-bench-XXXXXX").string();
    if (!mkdtemp(folder.data())) return tl::unexpected("mkdtemp: " + std::string(std::strerror(errno)));
    Busy busy(std::move(folder));
    if (mkfifo(busy.path().c_str(), 0600) != 0) return tl::unexpected("mkfifo: " + std::string(std::strerror(errno)));
    busy.fd_ = ipc::UniqueFd(open(busy.path().c_str(), O_RDWR | O_CLOEXEC));  // of our own, too: no end of file between two writers
    if (!busy.fd_) return tl::unexpected("open: " + std::string(std::strerror(errno)));
    return busy;
  }
  Busy(Busy&& other) noexcept : folder_(std::exchange(other.folder_, {})), fd_(std::move(other.fd_)) {}
  ~Busy() {
    std::error_code ignored;
    if (!folder_.empty()) std::filesystem::remove_all(folder_, ignored);
  }

  std::string path() const { return folder_ + "/busy"; }
  bool wait() const {
    pollfd written{.fd = fd_.get(), .events = POLLIN, .revents = 0};
    char byte;
    return poll(&written, 1, kBusyLimitMs) == 1 && read(fd_.get(), &byte, 1) == 1;
  }

 private:
  explicit Busy(std::string folder) : folder_(std::move(folder)) {}

  std::string folder_;
  ipc::UniqueFd fd_;
};

// When workers were first suspected of what.
class Suspicions {
 public:
  EventHook hook() {
    return [this](const Event& event) {
      if (event.kind != EventKind::worker_suspected) return;
      const std::lock_guard lock(mutex_);
      first_ns_.emplace(event.state, ipc::now_ns());
      told_.notify_all();
    };
  }
  void forget() {
    const std::lock_guard lock(mutex_);
    first_ns_.clear();
  }
  std::optional<std::int64_t> wait_for(const std::string& state, nanoseconds limit) {
    std::unique_lock lock(mutex_);
    if (!told_.wait_for(lock, limit, [&] { return first_ns_.contains(state); })) return std::nullopt;
    return first_ns_.at(state);
  }

 private:
  std::mutex mutex_;
  std::condition_variable told_;
  std::map<std::string, std::int64_t> first_ns_;  // by state; guarded by mutex_
};

class Measuring {
 public:
  Measuring(Pool& pool, const Busy& busy, Suspicions& suspicions, const RecoverySettings& settings)
      : pool_(pool), busy_(busy), suspicions_(suspicions), settings_(settings) {}

  Recovery run() {
    keep("kill to error", kills());
    if (settings_.kills_1gb > 0) keep("kill to error, 1 GiB", kills_1gb());
    if (settings_.suspicion_max > seconds(0)) {
      keep("a stopped worker", stop());
      keep("a wedged worker", wedge());
    }
    return std::move(figures_);
  }

 private:
  void keep(const char* figure, const Outcome& outcome) {
    if (!outcome) figures_.failures.push_back(std::string(figure) + ": " + outcome.error());
  }

  // Calls `method`, and kills its worker when that is busy. Returns when it was killed, and when call() returned.
  struct Killed {
    std::int64_t at_ns;
    std::int64_t dead_ns;
    std::int64_t told_ns;
  };
  Made<Killed> kill_busy(const char* method) {
    const auto pid = worker_pid(pool_);
    if (!pid) return tl::unexpected(pid.error());
    const ipc::UniqueFd process(static_cast<int>(syscall(SYS_pidfd_open, *pid, 0)));
    Killed killed{};
    bool busy = false;
    std::jthread killer([&] {
      busy = busy_.wait();
      std::this_thread::sleep_for(kRest);
      killed.at_ns = ipc::now_ns();
      kill(*pid, SIGKILL);
      pollfd ended{.fd = process.get(), .events = POLLIN, .revents = 0};
      poll(&ended, 1, kBusyLimitMs);
      killed.dead_ns = ipc::now_ns();
    });
    const Result<Reply> reply = pool_.call(method, text(busy_.path()), {.timeout = seconds(60)});
    killed.told_ns = ipc::now_ns();
    killer.join();
    if (!busy) return tl::unexpected(std::string("the worker does not become busy"));
    if (reply || reply.error().code != Code::worker_lost) {
      return tl::unexpected("a killed worker's call ended in " + (reply ? std::string("a reply") : reply.error().to_string()));
    }
    return killed;
  }

  Outcome kills() {
    for (std::size_t i = 0; i < settings_.kills; ++i) {
      const auto killed = kill_busy("spin");
      if (!killed) return tl::unexpected(killed.error());
      const Result<Reply> next = pool_.call("noop", text("next"));
      const std::int64_t replied_ns = ipc::now_ns();
      if (!next) return tl::unexpected("after a kill: " + next.error().to_string());
      figures_.kill_to_death.add(killed->dead_ns - killed->at_ns);
      figures_.kill_to_error.add(killed->told_ns - killed->at_ns);
      figures_.kill_to_next_reply.add(replied_ns - killed->at_ns);
    }
    return {};
  }

  Outcome kills_1gb() {
    for (std::size_t i = 0; i < settings_.kills_1gb; ++i) {
      if (const Result<Reply> hoarded = pool_.call("hoard", value(std::int64_t{1} << 30)); !hoarded) {
        return tl::unexpected(hoarded.error().to_string());
      }
      const auto killed = kill_busy("spin");
      if (!killed) return tl::unexpected(killed.error());
      figures_.kill_to_error_1gb.add(killed->told_ns - killed->at_ns);
    }
    return {};
  }

  // Makes a worker busy, does `harm` to it, and waits until it is suspected of `state`; then it is killed. Nothing: it was not.
  Made<std::optional<nanoseconds>> suspicion(const char* method, const char* state, const std::function<void(pid_t)>& harm) {
    const auto pid = worker_pid(pool_);
    if (!pid) return tl::unexpected(pid.error());
    suspicions_.forget();
    std::jthread caller([&] { (void)pool_.call(method, text(busy_.path()), {.timeout = 2 * settings_.suspicion_max}); });
    const bool busy = busy_.wait();
    const std::int64_t begin_ns = ipc::now_ns();
    if (busy) harm(*pid);
    const auto seen_ns = suspicions_.wait_for(state, settings_.suspicion_max);
    kill(*pid, SIGKILL);
    caller.join();
    if (!busy) return tl::unexpected(std::string("the worker does not become busy"));
    if (!seen_ns) return std::nullopt;
    return nanoseconds(*seen_ns - begin_ns);
  }

  Outcome stop() {
    const auto took = suspicion("spin", "stopped", [](pid_t pid) { kill(pid, SIGSTOP); });
    if (!took) return tl::unexpected(took.error());
    figures_.stop_detect = *took;
    return {};
  }

  Outcome wedge() {
    const auto took = suspicion("wedge", "wedged", [](pid_t) {});
    if (!took) return tl::unexpected(took.error());
    figures_.wedge_detect = *took;
    return {};
  }

  Pool& pool_;
  const Busy& busy_;
  Suspicions& suspicions_;
  const RecoverySettings& settings_;
  Recovery figures_;
};

}  // namespace

Made<Recovery> measure_recovery(const RecoverySettings& settings) {
  const auto busy = Busy::make();
  if (!busy) return tl::unexpected(busy.error());
  Suspicions suspicions;
  auto pool = start_pool({.python = settings.python, .on_event = suspicions.hook(), .log = [](LogLevel, std::string_view) {}});
  if (!pool) return tl::unexpected(pool.error());
  return Measuring(*pool, *busy, suspicions, settings).run();
}

}  // namespace samovar::bench
