#include "bench/whole/run.h"

#include <signal.h>

#include <array>
#include <memory>

#include "bench/whole/bare_lane.h"
#include "bench/whole/call.h"
#include "bench/whole/churn.h"
#include "bench/whole/floor.h"
#include "bench/whole/interfaces.h"
#include "bench/whole/lane_workers.h"
#include "bench/whole/large.h"
#include "bench/whole/payload.h"
#include "bench/whole/peers.h"
#include "bench/whole/processes.h"
#include "bench/whole/start.h"
#include "bench/whole/wake.h"
#include "ipc/clock.h"
#include "samovar/pool.h"

namespace samovar::bench {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::size_t kPayloadBytes = 64;
constexpr std::size_t kTripsPerRound = 10'000;  // some milliseconds, and a p99.9 of its own
constexpr std::size_t kLargeTripsPerRound = 5'000;
constexpr std::size_t kTouchingTripsPerRound = 10;
constexpr std::size_t kFlowCallsPerRound = 20'000;
constexpr std::uint32_t kFlowPrefetch = 64;
constexpr std::size_t kFlowWindow = 256;
constexpr std::size_t kWakeTripsPerRound = 20;
constexpr std::size_t kPeerTripsPerRound = 100;
constexpr std::size_t kQuickKills = 20, kQuickKills1gb = 2;
constexpr std::size_t kQuickForks = 20, kQuickBursts = 3, kQuickExecs = 3;

struct Budgets {
  milliseconds trips, interfaces, large, flow, wake, peers, peers_unpinned, load, payload, payload_peers;
  seconds churn, recovery, start, idle;  // of recovery and start: what they take where nothing hangs
};
constexpr Budgets kFull{seconds(40), seconds(15), seconds(10),        seconds(15), seconds(25),
                        seconds(30), seconds(10), milliseconds(2000), seconds(10), seconds(30), seconds(60), seconds(60), seconds(60), seconds(30)};
constexpr Budgets kQuick{seconds(4), seconds(2), seconds(2),        seconds(2), seconds(3),
                         seconds(3), seconds(1), milliseconds(500), seconds(1), seconds(4), seconds(4), seconds(5), seconds(8), seconds(10)};

class IgnoredSigpipe {
 public:
  IgnoredSigpipe() : before_(signal(SIGPIPE, SIG_IGN)) {}
  ~IgnoredSigpipe() { signal(SIGPIPE, before_); }

 private:
  void (*before_)(int);
};

// What the pinned sections share. Twins are older than any pool, since a fork copies descriptors.
class Bench {
 public:
  Bench(const RunSettings& settings, Figures& figures)
      : settings_(settings), budgets_(settings.length == Length::quick ? kQuick : kFull), figures_(figures) {}

  Outcome run() {
    if (Outcome started = start(); !started) return started;
    {
      const PinnedHere pinned(figures_.placement.host_cpu);
      measure_trips();
      measure_interfaces();
      measure_large();
      measure_throughput();
      measure_wake();
      measure_peers();
    }
    measure_unpinned_peers();
    measure_churning();
    end();  // the pools that are left are measured alone
    measure_payloads();
    measure_recovering();
    measure_starting();
    measure_idle_pool();
    return {};
  }

 private:
  bool wanted(const char* section) const { return settings_.only.empty() || settings_.only.contains(section); }
  void say(const std::string& line) const { settings_.progress(line); }
  void fail(const std::string& section, const std::string& why) { figures_.failures.push_back(section + ": " + why); }

  Outcome start() {
    const auto placement = choose_placement();
    if (!placement) return tl::unexpected(placement.error());
    figures_.placement = *placement;
    python_ = choose_python(settings_.python);

    say("starting the workers");
    if (wanted("floor")) {
      auto floor = make_floor(*placement, figures_.timestamp_ns);
      if (!floor) return tl::unexpected("the floor: " + floor.error());
      floor_ = std::move(*floor);
    }
    if (wanted("wake")) {
      auto futex_pair = make_futex_pair(*placement);
      if (!futex_pair) return tl::unexpected("the futex pair: " + futex_pair.error());
      futex_pair_ = std::move(*futex_pair);
    }
    if (wanted("bare")) {
      auto echo = start_echo_worker(placement->worker_cpu);
      if (!echo) return tl::unexpected("the echo worker: " + echo.error());
      echo_ = std::move(*echo);
    }
    // Not while this thread is pinned: their own threads would be, too.
    if (wanted("call") || wanted("interfaces") || wanted("large") || wanted("wake") || wanted("peers") || wanted("churn")) {
      if (Outcome pool = start_measured_pool(call_pool_, 0); !pool) return pool;
      figures_.options = call_pool_.pool->options();
      const Result<Reply> version = call_pool_.pool->call("python_version");
      if (version) figures_.python_version = version->text();
    }
    if (wanted("throughput")) {
      if (Outcome pool = start_measured_pool(flow_pool_, kFlowPrefetch); !pool) return pool;
    }
    if (wanted("bare") || wanted("throughput")) {
      auto bare = start_python_worker({.python = python_,
                                       .module = bench_directory() + "/whole/noop.py",
                                       .method = "noop",
                                       .cpu = placement->worker_cpu});
      if (!bare) return tl::unexpected("the bare worker: " + bare.error());
      bare_ = std::move(*bare);
    }
    return {};
  }

  // A pool of one worker, and that worker's process.
  struct MeasuredPool {
    std::unique_ptr<Pool> pool;
    pid_t worker = 0;
  };

  Outcome start_measured_pool(MeasuredPool& out, std::uint32_t prefetch) {
    auto pool =
        start_pool({.python = settings_.python, .prefetch = prefetch, .worker_cpus = {figures_.placement.worker_cpu}});
    if (!pool) return tl::unexpected("the pool: " + pool.error());
    out.pool = std::make_unique<Pool>(std::move(*pool));
    const auto pid = worker_pid(*out.pool);
    if (!pid) return tl::unexpected("the pool: " + pid.error());
    out.worker = *pid;
    return {};
  }

  void measure_trips() {
    struct Part {
      const char* section;
      Entry* figure;
      std::unique_ptr<Contestant> contestant;
      std::size_t trips = kTripsPerRound;
    };
    std::vector<Part> parts;
    const std::int64_t clock_ns = figures_.timestamp_ns;
    if (wanted("floor")) parts.push_back({"floor", &figures_.floor, std::move(floor_)});
    if (wanted("bare")) {
      parts.push_back({"echo lane", &figures_.echo_lane, make_bare_lane(*echo_, kPayloadBytes, clock_ns)});
      parts.push_back({"bare lane", &figures_.bare_lane, make_bare_lane(*bare_, kPayloadBytes, clock_ns)});
    }
    if (wanted("call")) {
      parts.push_back(
          {"call, 64 B", &figures_.call_64, make_call(*call_pool_.pool, call_pool_.worker, kPayloadBytes, clock_ns)});
      parts.push_back({"call, 1024 B", &figures_.call_1024, make_call(*call_pool_.pool, call_pool_.worker, 1024, clock_ns),
                       kLargeTripsPerRound});
      parts.push_back({"call, 4096 B", &figures_.call_4096, make_call(*call_pool_.pool, call_pool_.worker, 4096, clock_ns),
                       kLargeTripsPerRound});
    }
    if (parts.empty()) return;
    announce("round trips: floor, bare lane, call", budgets_.trips);
    std::vector<Entry> entries;
    for (const Part& part : parts) entries.push_back({part.section, part.contestant.get(), part.trips, figures_.tick_ns});
    interleave(entries, {.budget = budgets_.trips});
    for (std::size_t i = 0; i < parts.size(); ++i) keep(*parts[i].figure, entries[i]);
  }

  void measure_interfaces() {
    if (!wanted("interfaces")) return;
    announce("ways to call: bytes, typed, co_await", budgets_.interfaces);
    Pool& pool = *call_pool_.pool;
    const std::int64_t clock_ns = figures_.timestamp_ns;
    const auto call = make_call(pool, call_pool_.worker, kPayloadBytes, clock_ns);
    const auto typed = make_typed_call(pool, call_pool_.worker, clock_ns);
    const auto awaited = make_awaited_call(pool, call_pool_.worker, kPayloadBytes, clock_ns);
    std::array<Entry, 3> entries{Entry{"call", call.get(), kTripsPerRound, figures_.tick_ns},
                                 Entry{"typed call", typed.get(), kTripsPerRound, figures_.tick_ns},
                                 Entry{"co_await", awaited.get(), kTripsPerRound, figures_.tick_ns}};
    interleave(entries, {.budget = budgets_.interfaces});
    keep(figures_.call_beside_interfaces, entries[0]);
    keep(figures_.typed_call, entries[1]);
    keep(figures_.awaited_call, entries[2]);
  }

  void measure_large() {
    if (!wanted("large")) return;
    announce("large payloads: 64 MiB by reference, 8 MiB written and read", 2 * budgets_.large);
    Pool& pool = *call_pool_.pool;
    const auto reference = make_reference_call(pool, call_pool_.worker, figures_.timestamp_ns);
    const auto call = make_call(pool, call_pool_.worker, kPayloadBytes, figures_.timestamp_ns);
    std::array<Entry, 2> flat{Entry{"call, 64 B", call.get(), kLargeTripsPerRound, figures_.tick_ns},
                              Entry{"64 MiB, a reference back", reference.get(), kLargeTripsPerRound, figures_.tick_ns}};
    interleave(flat, {.budget = budgets_.large});
    keep(figures_.call_beside_reference, flat[0]);
    keep(figures_.reference_call, flat[1]);

    const auto there = make_touching_call(pool, call_pool_.worker);
    const auto here = make_touching_here();
    std::array<Entry, 2> touched{Entry{"8 MiB, here", here.get(), kTouchingTripsPerRound},
                                 Entry{"8 MiB, there", there.get(), kTouchingTripsPerRound}};
    interleave(touched, {.budget = budgets_.large});
    keep(figures_.touching_here, touched[0]);
    keep(figures_.touching_call, touched[1]);
  }

  void measure_churning() {
    if (!wanted("churn")) return;
    announce("arena churn, 4 threads", budgets_.churn);
    const auto churn = measure_churn(*call_pool_.pool, budgets_.churn);
    if (!churn) return fail("churn", churn.error());
    figures_.churn = *churn;
  }

  void measure_throughput() {
    if (!wanted("throughput")) return;
    announce("throughput: submit + poll, bare ring", budgets_.flow);
    const auto bare = make_bare_flow(*bare_, kPayloadBytes, kFlowPrefetch);
    const auto pooled = make_pool_flow(*flow_pool_.pool, flow_pool_.worker, kPayloadBytes, kFlowWindow);
    std::array<FlowEntry, 2> entries{FlowEntry{bare.get()}, FlowEntry{pooled.get()}};
    interleave_flows(entries, kFlowCallsPerRound, {.budget = budgets_.flow});
    figures_.floor_throughput = entries[0];
    figures_.throughput = entries[1];
    figures_.prefetch = kFlowPrefetch;
    figures_.window = kFlowWindow;
    for (const FlowEntry& entry : entries) {
      if (!entry.error.empty()) fail("throughput", entry.error);
    }
  }

  void measure_wake() {
    if (!wanted("wake")) return;
    announce("wake-ups: call to a parked worker, futex pair", budgets_.wake);
    const auto call = make_parked_call(*call_pool_.pool, call_pool_.worker, kPayloadBytes);
    std::array<Entry, 2> entries{Entry{"futex pair", futex_pair_.get(), kWakeTripsPerRound},
                                 Entry{"call to a parked worker", call.get(), kWakeTripsPerRound}};
    interleave(entries, {.budget = budgets_.wake});
    keep(figures_.futex_floor, entries[0]);
    keep(figures_.parked_call, entries[1]);
  }

  struct Peer {
    std::string name;
    std::unique_ptr<Contestant> contestant;
    std::size_t trips;
  };

  std::vector<Peer> start_peers(Pin pin) {
    const PeerSettings settings{.python = python_, .placement = figures_.placement, .pin = pin};
    std::vector<Peer> peers;
    const auto add = [&](const char* name, std::size_t trips, Made<std::unique_ptr<Contestant>> made) {
      if (!made) fail(name, made.error());
      peers.push_back({name, made ? std::move(*made) : nullptr, trips});
    };
    add("jsonrpc_stdio", kPeerTripsPerRound, make_jsonrpc_stdio(settings));
    add("multiprocessing_pipe", kPeerTripsPerRound, make_python_peer(settings, "multiprocessing_pipe.py"));
    add("process_pool_executor", kPeerTripsPerRound / 2, make_python_peer(settings, "process_pool_executor.py"));
    add("zeromq", kPeerTripsPerRound, make_python_peer(settings, "zeromq.py"));
    if (pin == Pin::as_samovar) add("process_per_call", 1, make_process_per_call(settings));
    return peers;
  }

  void measure_peers() {
    if (!wanted("peers")) return;
    announce("peers", budgets_.peers);
    const std::vector<Peer> peers = start_peers(Pin::as_samovar);
    const auto call = make_call(*call_pool_.pool, call_pool_.worker, kPayloadBytes, figures_.timestamp_ns);
    std::vector<Entry> entries{{"call", call.get(), kTripsPerRound, figures_.tick_ns}};
    for (const Peer& peer : peers) {
      if (peer.contestant) entries.push_back({peer.name, peer.contestant.get(), peer.trips});
    }
    interleave(entries, {.budget = budgets_.peers});
    keep(figures_.call_beside_peers, entries[0]);
    auto entry = entries.begin() + 1;
    for (const Peer& peer : peers) {
      figures_.peers.push_back({peer.name, {}, {}});
      if (peer.contestant) keep(figures_.peers.back().pinned, *entry++);
    }
  }

  void measure_unpinned_peers() {
    if (!wanted("peers")) return;
    announce("peers, not pinned", budgets_.peers_unpinned);
    const std::vector<Peer> peers = start_peers(Pin::nowhere);
    std::vector<Entry> entries;
    for (const Peer& peer : peers) {
      if (peer.contestant) entries.push_back({peer.name, peer.contestant.get(), peer.trips});
    }
    interleave(entries, {.budget = budgets_.peers_unpinned});
    for (const Entry& entry : entries) {
      for (PeerFigure& figure : figures_.peers) {
        if (figure.name == entry.name) keep(figure.unpinned.emplace(), entry);
      }
    }
  }

  void measure_payloads() {
    if (!wanted("payload")) return;
    // Eight more interpreters to start: a quick run of everything has no time for them.
    const bool with_peers = settings_.length == Length::full || !settings_.only.empty();
    const milliseconds peers = with_peers ? budgets_.payload_peers : milliseconds(0);
    announce("payloads: tensors, beside the usual means; batches, streams", 4 * budgets_.payload + peers);
    figures_.payload = measure_payload({.python = settings_.python,
                                        .placement = figures_.placement,
                                        .timestamp_ns = figures_.timestamp_ns,
                                        .tick_ns = figures_.tick_ns,
                                        .pairs = budgets_.payload,
                                        .peers = peers});
    for (const std::string& failure : figures_.payload->failures) fail("payload", failure);
  }

  void measure_recovering() {
    if (!wanted("recovery")) return;
    announce("recovery: killed, stopped and wedged workers", budgets_.recovery);
    RecoverySettings recovering{.python = settings_.python};
    if (settings_.length == Length::quick) {
      const seconds suspicion_max(settings_.only.empty() ? 0 : 10);  // a quick run of everything has no time to wait for suspicion
      recovering = {.python = settings_.python, .kills = kQuickKills, .kills_1gb = kQuickKills1gb, .suspicion_max = suspicion_max};
    }
    auto recovery = measure_recovery(recovering);
    if (!recovery) return fail("recovery", recovery.error());
    for (const std::string& failure : recovery->failures) fail("recovery", failure);
    figures_.recovery = std::move(*recovery);
  }

  void measure_starting() {
    if (!wanted("start")) return;
    announce("start: workers forked and loaded, their memory", budgets_.start);
    StartSettings starting{.python = settings_.python};
    if (settings_.length == Length::quick) {
      starting.forks = kQuickForks;
      starting.bursts = kQuickBursts;
      starting.execs = settings_.only.empty() ? 0 : kQuickExecs;  // a quick run of everything has no time for more
      if (settings_.only.empty()) starting.predictions = 0;
    }
    auto start = measure_start(starting);
    if (!start) return fail("start", start.error());
    for (const std::string& failure : start->failures) fail("start", failure);
    figures_.start = std::move(*start);
  }

  void measure_idle_pool() {
    if (!wanted("idle")) return;
    announce("CPU of an idle pool", budgets_.load + budgets_.idle);
    figures_.idle_window = budgets_.idle;
    const auto cost = measure_idle({.python = settings_.python, .load = budgets_.load, .window = budgets_.idle});
    if (!cost) return fail("idle", cost.error());
    figures_.idle = *cost;
  }

  void end() {
    call_pool_.pool.reset();
    flow_pool_.pool.reset();
    bare_.reset();
    echo_.reset();
    floor_.reset();
    futex_pair_.reset();
  }

  void keep(Entry& figure, const Entry& measured) {
    figure = measured;
    figure.contestant = nullptr;
    if (!measured.error.empty()) fail(measured.name, measured.error);
  }

  void announce(const std::string& what, milliseconds budget) const {
    say(what + " (" + std::to_string((budget.count() + 500) / 1000) + " s)");
  }

  const RunSettings& settings_;
  const Budgets budgets_;
  Figures& figures_;
  std::string python_;
  std::unique_ptr<Contestant> floor_;
  std::unique_ptr<Contestant> futex_pair_;
  MeasuredPool call_pool_;
  MeasuredPool flow_pool_;
  std::unique_ptr<LaneWorker> echo_;
  std::unique_ptr<LaneWorker> bare_;
};

}  // namespace

Made<Figures> run(const RunSettings& settings) {
  const IgnoredSigpipe ignored;
  Figures figures;
  figures.host = read_host_facts();
  figures.timestamp_ns = timestamp_cost_ns();
  figures.tick_ns = timestamp_tick_ns();
  const std::int64_t begin_ns = ipc::now_ns();
  const double stolen = stolen_seconds();
  if (Outcome outcome = Bench(settings, figures).run(); !outcome) return tl::unexpected(outcome.error());
  figures.seconds = static_cast<double>(ipc::now_ns() - begin_ns) / 1e9;
  figures.stolen_fraction = (stolen_seconds() - stolen) / figures.seconds / figures.host.cpus;
  return figures;
}

}  // namespace samovar::bench
