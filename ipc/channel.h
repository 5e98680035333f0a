// Channel: all that one incarnation of a worker shares with the host. Two segments, an eventfd, both ends.
//
// HostEnd and WorkerEnd are the two ends; neither knows Python, so tests, fuzzers and ThreadSanitizer can be a worker.
// Either may be built on mappings of its own (two processes) or on one mapping (threads).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "ipc/adaptive_spin.h"
#include "ipc/doorbell.h"
#include "ipc/handshake.h"
#include "ipc/lane.h"
#include "ipc/message.h"
#include "ipc/result.h"
#include "ipc/segment.h"

namespace samovar::ipc {

struct ChannelOptions {
  std::uint32_t lane_bytes = 64 * 1024;     // power of two
  std::uint32_t payload_bytes_max = 4096;
  const char* name = "samovar";             // shows in /proc/PID/maps
};

// Whether a lane of these numbers can hold its records: null, or what is wrong.
const char* check(const ChannelOptions& options);

// The host's end. Owns the segments' mappings and, until handed over, their descriptors.
// Threads: the holder of the dispatch token; ring_eventfd and fds_for_worker() are constant.
class HostEnd {
 public:
  static SystemResult<std::unique_ptr<HostEnd>> create(const ChannelOptions& options);

  // What Hello carries beside its numbers: host segment (read-only for the worker), worker segment, eventfd, `host_process`.
  std::vector<int> fds_for_worker(int host_process) const;
  void close_segment_fds();  // once handed over

  int eventfd() const { return eventfd_.get(); }
  const ChannelOptions& options() const { return options_; }

  LaneWriter requests;
  LaneReader responses;

  // Wakes the worker where it sleeps. Requires: store_load_fence() since the last publish or consume; it pairs with the one
  // in park(), between the worker's `asleep` and its last look. One fence serves all channels of a duty cycle.
  void ring_if_asleep() {
    if (worker_page_->asleep.load(std::memory_order_relaxed) != 0) ring(host_page_->doorbell);
    requests.take_ahead();
  }

  // Announces that the host is about to sleep, or no longer does. The caller fences and looks before it sleeps.
  void announce_asleep(bool asleep) { host_page_->asleep.store(asleep ? 1 : 0, std::memory_order_relaxed); }

  // Requests that the worker has begun or skipped, in lane order. As the worker says it: check it before use.
  std::uint64_t started() const { return worker_page_->started.load(std::memory_order_acquire); }

  // Asks the worker to end after the running call.
  void stop();

  std::byte* host_memory() const { return host_segment_.data(); }          // for threads on one mapping
  const std::byte* worker_memory() const { return worker_segment_.data(); }

 private:
  HostEnd(const ChannelOptions& options, Segment host, Segment worker, UniqueFd host_fd, UniqueFd worker_fd, UniqueFd event);

  ChannelOptions options_;
  Segment host_segment_;
  Segment worker_segment_;
  HostPage* host_page_;
  const WorkerPage* worker_page_;
  UniqueFd host_segment_fd_;
  UniqueFd worker_segment_fd_;
  UniqueFd eventfd_;
};

// The worker's end. Threads: the worker's main thread; wake() any.
class WorkerEnd {
 public:
  // Maps what Hello announced. `fds` in the order of HelloFd; the segments' descriptors are closed.
  static SystemResult<std::unique_ptr<WorkerEnd>> attach(const Hello& hello, std::vector<UniqueFd>& fds);

  // On memory that is mapped already and outlives this.
  WorkerEnd(const ChannelOptions& options, std::int64_t spin_max_ns, const std::byte* host_memory, std::byte* worker_memory,
            UniqueFd event);

  // The next request, without waiting. `out.payload` points into the lane until finish().
  // broken: the host has published what is no request; there is no way on.
  Peek peek(Request& out);

  // Announces `request`, which peek() found, as started. False: it was revoked before, answer it with Status::skipped.
  // Requires: nothing of the payload has been touched.
  bool start(const Request& request);

  // Whether the running request has been revoked: its caller no longer waits.
  const std::atomic<std::uint64_t>* current_word() const { return requests_.current_word(); }

  // Room for a response, or null while the lane is full and the host lives: wait_for_room() then. Published by finish().
  std::byte* try_claim(std::uint32_t payload_bytes) { return responses_.try_claim(message_bytes(payload_bytes)); }
  void wait_for_room(std::uint32_t payload_bytes);

  // Gives the request's record back and publishes the claimed response.
  void finish();

  // Spins until a request, stop, the end of the budget, or `keep_on()` says no. Whether there is something to do.
  template <typename KeepOn>
  bool spin(KeepOn&& keep_on) {
    return spin_.spin([this] { return requests_.has_record(); }, keep_on) || stopping();
  }

  // Sleeps until a request, stop or wake(). May return early. Blocks.
  void park() {
    ipc::park(host_page_->doorbell, worker_page_->asleep, kNever, [this] { return requests_.has_record() || stopping(); });
    spin_.slept();
  }

  bool has_request() const { return requests_.has_record(); }
  bool stopping() const { return host_page_->stop.load(std::memory_order_acquire) != 0; }

  std::uint32_t payload_bytes_max() const { return options_.payload_bytes_max; }

 private:
  WorkerEnd(const ChannelOptions& options, std::int64_t spin_max_ns, Segment host, Segment worker, UniqueFd event);

  ChannelOptions options_;
  Segment host_segment_;    // empty on memory of others
  Segment worker_segment_;
  const HostPage* host_page_;
  WorkerPage* worker_page_;
  LaneReader requests_;
  LaneWriter responses_;
  UniqueFd eventfd_;
  AdaptiveSpin spin_;
  std::uint64_t started_ = 0;
};

}  // namespace samovar::ipc
