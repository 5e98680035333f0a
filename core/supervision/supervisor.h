// Supervisor: keeps `workers` seats filled: starts workers, shakes hands with them, drains their output, watches their health, proves
// their deaths, replaces, recycles and ends them.
//
// One thread per pool (first the one in Pool::start, then its own) runs an epoll over pidfds, control sockets and output
// pipes. It never touches a lane but for the ping before a worker serves; the dispatcher is told by attach(), retire() and detach().
// It is also the dispatcher of last resort: see Dispatcher::backstop().
//
// A seat is a worker's number as users see it; a slot is where the dispatcher keeps its channel. There is one slot more than seats,
// so that reload() can start a worker before it retires the one it replaces. Seats below seats_ are the base, which is filled at all
// times; those behind are of overflow workers, and not refilled.
//
// Its parts: supervisor.cc the loop; birth.cc from spawn to serving; nursing.cc nurseries; looking.cc health and recycling; death.cc ends;
// reloading.cc; following.cc how many workers there are.
// Threads: start_workers(), serve(), stop() by the pool's owner; kill_worker(), worker_drained(), calls_wait(), reload(), processes() any.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <samovar/error.h>
#include <samovar/options.h>
#include <samovar/stats.h>

#include "core/arenas/request_arena.h"
#include "core/dispatch/bell.h"
#include "core/dispatch/dispatcher.h"
#include "core/observe/counters.h"
#include "core/observe/events.h"
#include "core/observe/log.h"
#include "core/supervision/elasticity.h"
#include "core/supervision/health.h"
#include "core/supervision/launcher.h"
#include "core/supervision/nursery.h"
#include "core/supervision/oom_kills.h"
#include "core/supervision/recycle_policy.h"
#include "core/supervision/restart_policy.h"
#include "core/supervision/worker_output.h"
#include "core/supervision/worker_state.h"
#include "ipc/handshake.h"

namespace samovar::core {

// Why an overflow worker is retired that calls no longer need.
inline constexpr std::string_view kNotNeeded = "not needed";

class Supervisor {
 public:
  // All outlive this. `bell` wakes the supervisor's thread.
  Supervisor(const Options& options, LaunchPlan plan, const Plan& placement, Counters& counters, RequestArena& arena, const Log& log, Bell& bell, Events& events);
  ~Supervisor();

  // Starts all workers and waits until each has answered its ping. Blocks up to start_timeout. Fails with the first worker's
  // failure; then none is left. Returns the methods.
  Result<std::vector<ipc::Method>> start_workers();

  // Hands the workers to the dispatcher and goes on in a thread of its own.
  void serve(Dispatcher& dispatcher);

  // Ends all workers: asked first, then SIGTERM, then SIGKILL. When it returns, none is left. Blocks.
  void stop();

  // Replaces each worker by one with fresh code, one after the other. Blocks until that is done. Fails as a start would: then the
  // workers that were not replaced yet go on. Not from the supervisor's own thread.
  Result<void> reload();

  // Workers by their numbers, then nurseries. Blocks while /proc is read.
  std::vector<ProcessStats> processes() const;

  const Launcher& launcher() const { return launcher_; }

  void kill_worker(const DutyCycle::Violation& violation);
  void worker_drained(DutyCycle::Drained drained);
  void calls_wait();  // and no worker is free

 private:
  static constexpr int kExitLayout = 4;  // of a process: see python_ext/samovar/worker.py

  enum class Source : std::uint8_t { bell, process, socket, output, channel, nursery, nursery_socket, nursery_output };

  struct Worker {
    WorkerState state = WorkerState::absent;
    Incarnation life;
    std::shared_ptr<Nursery> nursery;  // that forks it; null: it was started by exec
    unsigned seat = 0;
    std::uint32_t generation = 0;  // of the code: counts reloads
    std::int64_t waited_ns = 0;    // how long calls had, when it was asked for: of an overflow worker
    std::int64_t replaces_ns = 0;  // when its seat was vacated; 0: nobody had it before
    WorkerOutput output;
    std::vector<ipc::Method> methods;
    std::int64_t due_ns = ipc::kNever;  // start_timeout, or the next step of ending
    bool attached = false;              // the dispatcher has been told of it
    bool served = false;                // answered its ping: what follows is a life, not a start
    std::int64_t ready_ns = 0;
    std::uint64_t oom_kills = 0;        // not accounted for when it started

    HealthMemory health;
    bool suspected = false;
    Health suspicion = Health::idle;
    std::string_view condemned_for;     // what it was when its limit passed; empty: it was not condemned
    std::uint64_t calls_seen = 0;       // pulse.started when it was last looked at
    bool was_busy = false;              // when it was last looked at
    std::int64_t last_call_ns = 0;      // when it was last seen to have, or to have had, one

    std::string_view retired_for;       // why it is recycled; empty: it is not
    std::optional<Error> failure;       // why it failed to start, broke off or was condemned
    std::string stacks;                 // of its threads, before it was killed
  };

  struct Reload {
    std::int64_t began_ns = 0;
    std::optional<std::size_t> fresh;  // the slot that starts
    std::optional<std::size_t> old;    // the slot of the worker that it replaces
    std::uint64_t old_incarnation = 0;
  };

  // The loop.
  void run();
  void run_once(std::int64_t until_ns);
  void handle(Source source, std::uint64_t index);
  void handle_bell();
  void run_timers();
  std::int64_t next_due_ns() const;
  bool watch(int fd, Source source, std::uint64_t index);
  void unwatch(int fd);

  // From spawn to serving.
  void fill_seats();
  bool is_overflow(unsigned seat) const { return seat >= seats_; }
  bool is_taken(unsigned seat) const;
  bool enough_start() const;
  std::optional<unsigned> vacant_seat() const;
  std::optional<std::size_t> free_slot(unsigned seat) const;
  bool can_spawn();  // else it is tried again when a nursery is ready
  void spawn(std::size_t index, unsigned seat, std::shared_ptr<Nursery> forks);  // null: by exec
  void begin_life(std::size_t index, Result<void> launched);
  void read_socket(std::size_t index);
  void greet_ready(std::size_t index, ipc::Ready ready);
  void ping(std::size_t index);
  void read_pong(std::size_t index);
  void hand_over(std::size_t index);
  void start_failed(std::size_t index, Error error);
  void note_failed_start(Error error);
  void quarantine(const Error& error);
  void release();

  // Nurseries.
  bool wants_nursery() const;
  bool waits_for_nursery() const;  // which loads
  std::shared_ptr<Nursery> forker() const;
  std::shared_ptr<Nursery> fresh_forker() const;  // of the latest generation
  std::shared_ptr<Nursery> start_nursery();
  Nursery* find_nursery(std::uint64_t number) const;
  void read_nursery(std::uint64_t number);
  void read_nursery_output(Nursery& nursery);
  void greet_nursery(Nursery& nursery, const ipc::NurseryReady& ready);
  void fork_worker(std::size_t index, std::shared_ptr<Nursery> nursery);
  std::optional<std::size_t> forking_slot(std::uint64_t incarnation) const;
  void adopt(Nursery::Forked forked);
  void withdraw(std::size_t index);
  void look_at_nurseries(std::int64_t now_ns);
  void nursery_overstays(Nursery& nursery);
  void kill_nursery(Nursery& nursery, Error error);
  void end_nurseries();
  void bury_nursery(std::uint64_t number);
  void nursery_start_failed(const Nursery* nursery, Error error);
  Event event(EventKind kind, const Nursery& nursery, std::string message) const;

  // Life.
  void read_output(std::size_t index);
  void look();
  Diagnosis look_at(std::size_t index, std::int64_t now_ns);
  void suspect(std::size_t index, const Diagnosis& found, std::int64_t now_ns);
  void condemn(std::size_t index, const Diagnosis& found, std::int64_t now_ns);
  void recycle_one(std::int64_t now_ns);
  void retire(std::size_t index, std::string_view why);
  void note_calls(std::size_t index, std::uint64_t started, std::int64_t now_ns);
  bool has_calls(std::size_t index) const;  // by the last report
  void tell_of_turn(std::size_t index, Event& event) const;
  bool all_are_in() const;
  void step_reload();
  bool has_fresh_code();
  void use_next_nursery();
  void finish_reload(Result<void> result);

  // How many there are.
  void follow_load();
  bool ask_for_demand(std::int64_t now_ns);
  void read_workers();
  void resize(unsigned base);
  void read_room(std::int64_t now_ns);
  std::uint64_t worker_bytes() const;
  void refuse_overflow(const ElasticStep& step);
  std::optional<unsigned> vacant_overflow_seat() const;
  bool is_full() const;
  void overflow_started(std::size_t index);
  void overflow_ended(std::size_t index, std::int64_t now_ns);
  void count_overflow();

  // Death.
  void fail(std::size_t index, Error error);
  void ask_to_end(std::size_t index);
  void begin_stop(std::size_t index);
  void overstay(std::size_t index);
  void kill_now(std::size_t index);
  void bury(std::size_t index);
  void bury_groups();
  void bury_served(std::size_t index, std::string how, WorkerState died_in);
  Error start_failure(const std::string& how, const ExitStatus& status) const;  // of who said nothing before it ended

  static std::uint8_t random_byte();
  bool advance(std::size_t index, WorkerEvent event);
  bool none_left() const;
  std::size_t count(WorkerState state) const;
  std::string label(std::size_t index) const;  // "worker 2 (PID 4711)"
  Event event(EventKind kind, std::size_t index, std::string message) const;

  const Options& options_;
  const Launcher launcher_;
  Counters& counters_;
  RequestArena& arena_;
  const Log& log_;
  Bell& bell_;
  Events& events_;
  ipc::UniqueFd epoll_;
  const HealthLimits health_limits_;
  const RecycleLimits recycle_limits_;

  // Owned by the thread that runs the loop.
  unsigned seats_;                           // of the base; 1 until the methods are known and 0 then, where the pool is switched off
  std::vector<Worker> workers_;              // by slot
  std::vector<std::shared_ptr<Nursery>> nurseries_;  // all that live
  std::shared_ptr<Nursery> nursery_;                 // that forks, or will when it is ready
  std::shared_ptr<Nursery> next_nursery_;            // likewise, with the code that reload() brings in
  std::uint64_t nurseries_started_ = 0;
  std::optional<std::uint32_t> cannot_fork_;         // the generation of code that starts threads when it is loaded
  bool processes_changed_ = true;
  std::vector<Process> unburied_;            // ended, and not reaped
  std::vector<std::int64_t> vacated_ns_;     // by seat: since when; 0: never had a worker
  std::vector<ipc::Method> methods_;         // of the pool: the first worker's, and what reloads have added
  RestartPolicy restarts_;
  OomKills oom_kills_;
  std::uint32_t generation_ = 0;
  std::optional<Error> first_failure_;       // of a start; until the pool serves
  std::int64_t quarantined_ns_ = 0;          // since when; 0: it is not
  std::vector<DutyCycle::Report> reports_;
  std::int64_t look_due_ns_ = ipc::kNever;
  std::int64_t traffic_seen_ns_ = 0;
  std::int64_t trim_due_ns_ = ipc::kNever;  // of the request arena
  std::optional<Reload> reload_;

  // How many there are.
  const bool follows_load_;
  Elasticity elasticity_;
  std::vector<WorkerReading> readings_;
  DutyCycle::Demand demand_;
  std::int64_t demand_asked_ns_ = 0;         // since when a newer one is awaited; 0: it is not
  std::int64_t load_due_ns_ = ipc::kNever;
  unsigned overflow_wanted_ = 0;             // to be started, as far as starts_at_once lets them
  std::int64_t waited_ns_ = 0;               // how long calls had waited when they were wanted
  std::uint32_t room_ = 0;                   // further workers that find memory
  std::int64_t room_read_ns_ = 0;
  bool lacks_memory_ = false;                // and has said so
  bool serving_ = false;
  Dispatcher* dispatcher_ = nullptr;

  std::thread thread_;
  std::atomic<bool> stopping_{false};
  std::atomic<bool> trim_expected_{false};  // of the request arena
  std::atomic<bool> calls_wait_{false};

  void note_processes();

  mutable std::mutex processes_mutex_;
  std::vector<ProcessStats> processes_;           // guarded by processes_mutex_; without their memory

  std::mutex notices_mutex_;
  std::vector<DutyCycle::Violation> violations_;  // guarded by notices_mutex_
  std::vector<DutyCycle::Drained> drained_;       // guarded by notices_mutex_
  bool reload_wanted_ = false;                    // guarded by notices_mutex_
  std::optional<Result<void>> reload_result_;     // guarded by notices_mutex_
  bool ended_ = false;                            // guarded by notices_mutex_: the loop has
  std::condition_variable reload_done_;
  std::mutex reload_mutex_;                       // one reload() at a time
};

}  // namespace samovar::core
