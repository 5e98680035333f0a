// Figures: all that a run of `samovar bench` found out. A series without rounds was not measured.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "bench/whole/churn.h"
#include "bench/whole/contestant.h"
#include "bench/whole/environment.h"
#include "bench/whole/idle.h"
#include "bench/whole/payload.h"
#include "bench/whole/recovery.h"
#include "bench/whole/start.h"
#include "bench/whole/throughput.h"
#include "samovar/options.h"

namespace samovar::bench {

struct PeerFigure {
  std::string name;
  Entry pinned;
  std::optional<Entry> unpinned;
};

struct Figures {
  HostFacts host;
  Placement placement;
  std::string python_version;
  std::int64_t timestamp_ns = 0;   // subtracted from each sample of the sub-microsecond series
  std::int64_t tick_ns = 0;        // in which the clock moves
  std::optional<Options> options;  // of the pool that `call` measures, as they are in force

  Entry floor, echo_lane, bare_lane, call_64, call_1024, call_4096;
  Entry reference_call, call_beside_reference;  // 64 MiB there and a reference back, and call_64 in rounds between
  Entry touching_call, touching_here;           // 8 MiB written and read, by a call and in one process
  std::optional<Churn> churn;
  FlowEntry throughput, floor_throughput;
  std::uint32_t prefetch = 0;
  std::size_t window = 0;
  Entry parked_call, futex_floor;
  Entry call_beside_interfaces, typed_call, awaited_call;
  std::vector<PeerFigure> peers;
  Entry call_beside_peers;  // the same as call_64, in rounds between the peers'
  std::optional<PayloadFigures> payload;
  std::optional<Recovery> recovery;
  std::optional<Start> start;
  std::optional<IdleCost> idle;
  std::chrono::seconds idle_window{0};

  double seconds = 0;
  double stolen_fraction = 0;         // of the CPUs' time, by the hypervisor, during the run
  std::vector<std::string> failures;  // sections that could not be measured, and why
};

}  // namespace samovar::bench
