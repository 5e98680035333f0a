// Pulse: what a worker tells of itself besides its calls, so that the host can tell dead from hung. Written by the worker's
// guard and prober (WorkerPage, line 3), read by HostEnd::pulse(). The loop that serves calls has no part in it and pays nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "ipc/clock.h"
#include "ipc/layout.h"

namespace samovar::ipc {

// Threads: any; each word has one thread that writes it. Requires: the channel's memory outlives this.
class PulseWriter {
 public:
  PulseWriter(WorkerPage& page, const std::byte* request_lane, std::uint32_t lane_bytes)
      : page_(&page), request_lane_(request_lane), lane_bytes_(lane_bytes) {}

  // RELAXED, all of them: the host compares these words with its clock and with each other, and reads nothing through them.
  void alive(std::int64_t now_ns) { page_->alive_ns.store(now_ns, std::memory_order_relaxed); }
  void probe_began(std::int64_t now_ns) { page_->probe_began_ns.store(now_ns, std::memory_order_relaxed); }
  void probe_ended(std::int64_t now_ns) { page_->probe_ended_ns.store(now_ns, std::memory_order_relaxed); }
  void rss_anon(std::uint64_t bytes) { page_->rss_anon_bytes.store(bytes, std::memory_order_relaxed); }

  std::uint64_t started() const { return page_->started.load(std::memory_order_relaxed); }

  // What is under way: the place in the lane of the request that is to be answered next, be it running or not yet begun; of an event
  // loop when its turn began. Nothing: there is no request, the event loop waits.
  // The loop moves on meanwhile, so what is read may be of a later lap: only what is seen twice means anything.
  std::optional<std::uint64_t> in_hand() const;

 private:
  WorkerPage* page_;
  const std::byte* request_lane_;
  std::uint32_t lane_bytes_;
};

// When a worker looks at itself, and when it asks for its GIL: a request that is still in hand `probe_after_ns` after a look
// that found it is probed, and again at each heartbeat until it is done. Pure.
class ProbeSchedule {
 public:
  // `heartbeat_ns` 0: one look and no probes.
  ProbeSchedule(std::int64_t heartbeat_ns, std::int64_t probe_after_ns) : heartbeat_ns_(heartbeat_ns), probe_after_ns_(probe_after_ns) {}

  // At next_look_ns(), or earlier. Returns whether to probe now.
  bool look(std::int64_t now_ns, std::optional<std::uint64_t> in_hand);

  std::int64_t next_look_ns() const { return next_look_ns_; }

 private:
  const std::int64_t heartbeat_ns_;
  const std::int64_t probe_after_ns_;
  std::optional<std::uint64_t> in_hand_;
  std::int64_t probe_due_ns_ = kNever;
  std::int64_t next_look_ns_ = 0;
};

}  // namespace samovar::ipc
