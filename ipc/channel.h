// Channel: all that one incarnation of a worker shares with the host. Two segments, an eventfd, a response arena, both ends.
// The request arena is the pool's; a worker maps it read-only.
//
// HostEnd and WorkerEnd are the two ends; neither knows Python, so tests, fuzzers and ThreadSanitizer can be a worker.
// Either may be built on mappings of its own (two processes) or on one mapping (threads).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "ipc/adaptive_spin.h"
#include "ipc/arena.h"
#include "ipc/doorbell.h"
#include "ipc/handshake.h"
#include "ipc/lane.h"
#include "ipc/message.h"
#include "ipc/pulse.h"
#include "ipc/release_ring.h"
#include "ipc/result.h"
#include "ipc/segment.h"
#include "ipc/viewed_blocks.h"

namespace samovar::ipc {

struct ChannelOptions {
  std::uint32_t lane_bytes = 64 * 1024;     // power of two
  std::uint32_t payload_bytes_max = 4096;
  std::uint64_t response_arena_bytes = std::uint64_t{64} << 20;  // arena_bytes() of something
  const char* name = "samovar";             // shows in /proc/PID/maps
  int memory_node = kAnyNode;               // where all pages of the channel come from, as far as the kernel lets them
};

// Whether a lane of these numbers can hold its records: null, or what is wrong.
const char* check(const ChannelOptions& options);

// A reading of a worker's pulse and progress. As the worker says it: for suspicion, never for proof.
struct Pulse {
  std::int64_t alive_ns = 0;        // when its guard last ran; 0: not yet
  std::int64_t probe_began_ns = 0;  // when its prober last asked for the GIL, and last had it
  std::int64_t probe_ended_ns = 0;
  std::uint64_t rss_anon_bytes = 0;
  std::uint64_t started = 0;        // requests begun or skipped, the ping among them
  bool running = false;             // the last of them is not done
  std::uint16_t method = 0;         // its method, as in the request
  std::int64_t turn_began_ns = 0;   // of an event loop, its turn under way; -1: it waits; 0: the worker has none
};

// The host's end. Owns the segments' mappings and, until handed over, their descriptors.
// Threads: the holder of the dispatch token; release_block() any. eventfd() and fds_for_worker() are constant.
// Whoever reads a reply in the response arena shares the ownership of this, and so keeps the mapping.
class HostEnd {
 public:
  static SystemResult<std::unique_ptr<HostEnd>> create(const ChannelOptions& options);

  // A Hello with what it says of this channel, and the descriptors that go with it. No `request_arena`: payloads in records only.
  Hello hello() const;
  std::vector<int> fds_for_worker(int host_process, int request_arena = -1) const;
  void close_segment_fds();  // once handed over

  int eventfd() const { return eventfd_.get(); }
  const ChannelOptions& options() const { return options_; }

  LaneWriter requests;
  LaneReader responses;
  LaneWriter notes;                 // to calls that run
  ReleaseReader request_releases;  // ids of calls whose argument's block the worker kept and no longer views

  // The response arena, as the worker writes it: what it says may change, its bounds cannot.
  std::span<const std::byte> response_arena() const { return {response_arena_.data(), options_.response_arena_bytes}; }

  // Gives a block of the response arena back. After the worker's death that tells nobody, and need not. Threads: any.
  void release_block(std::uint64_t offset);

  // One will be given back soon. Threads: any.
  void expect_release() const { response_releases_.take_ahead(); }

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

  Pulse pulse() const;

  // Asks the worker to end after the running call.
  void stop();

  std::byte* host_memory() const { return host_segment_.data(); }          // for threads on one mapping
  const std::byte* worker_memory() const { return worker_segment_.data(); }
  int response_arena_fd() const { return response_arena_fd_.get(); }

 private:
  struct Parts {
    Segment host_segment, worker_segment, response_arena;
    UniqueFd host_segment_fd, worker_segment_fd, response_arena_fd, eventfd;
  };

  HostEnd(const ChannelOptions& options, Parts parts);

  ChannelOptions options_;
  Segment host_segment_;
  Segment worker_segment_;
  Segment response_arena_;
  HostPage* host_page_;
  const WorkerPage* worker_page_;
  UniqueFd host_segment_fd_;
  UniqueFd worker_segment_fd_;
  UniqueFd response_arena_fd_;
  UniqueFd eventfd_;

  std::mutex releases_mutex_;
  ReleaseWriter response_releases_;  // guarded by releases_mutex_
};

// What a worker's end is built on.
struct WorkerMemory {
  const std::byte* host = nullptr;         // the host segment
  std::byte* worker = nullptr;             // the worker segment
  std::span<const std::byte> request_arena;
  std::span<std::byte> response_arena;
};

// The worker's end. Threads: the worker's main thread, but where said.
class WorkerEnd {
 public:
  // Maps what Hello announced. `fds` in the order of HelloFd; the segments' descriptors are closed.
  static SystemResult<std::unique_ptr<WorkerEnd>> attach(const Hello& hello, std::vector<UniqueFd>& fds);

  // On memory that is mapped already and outlives this.
  WorkerEnd(const ChannelOptions& options, std::int64_t spin_max_ns, const WorkerMemory& memory, UniqueFd response_arena,
            UniqueFd event);

  // The next request, without waiting. `out.payload` points into the lane until finish().
  // broken: the host has published what is no request; there is no way on.
  Peek peek(Request& out);

  // Announces `request`, which peek() found, as started. False: it was revoked before, answer it with Status::skipped.
  // Requires: nothing of the payload has been touched.
  bool start(const Request& request);

  // The same for the `count` requests of a packed record: each may have been revoked, says its word.
  void start_packed(const Request& record, std::uint32_t count);

  // Where the payload of `request` lies: in the record or in the request arena. Nothing where it lies in neither.
  std::optional<std::span<const std::byte>> payload(const Request& request) const;

  // A block of the response arena, to be written and then named in a response. Nothing where no room is; no pages: an error.
  SystemResult<std::optional<std::uint64_t>> allocate_block(std::uint64_t bytes);
  Arena& response_arena() { return response_arena_; }

  // The same for a block of which a view may outlive its response: it is not free before viewed_blocks() knows of the view's death.
  SystemResult<std::optional<std::uint64_t>> allocate_viewed_block(std::uint64_t bytes);
  ViewedBlocks& viewed_blocks() { return viewed_blocks_; }

  // Sleeps until the host releases a block, stop, or `deadline_ns`. False: nothing was released. Blocks.
  bool wait_for_release(std::int64_t deadline_ns);

  // The argument of call `call_id`, whose response said kResponseArgumentEscaped, is viewed no more. Threads: one at a time, any.
  void release_argument(std::uint64_t call_id) { argument_releases_.push(call_id); }

  // Whether the running request has been revoked: its caller no longer waits.
  const std::atomic<std::uint64_t>* current_word() const { return requests_.current_word(); }

  // The next note, without waiting; `out.payload` points into the lane until pop_note(). broken: as peek().
  bool has_note() const { return notes_.has_record(); }
  Peek peek_note(Note& out);
  void pop_note();

  // Waits until there is a note, stop is asked for, or `deadline_ns`. May return early. Blocks.
  void wait_for_note(std::int64_t deadline_ns);

  // Room for a response, or null while the lane is full and the host lives: wait_for_room() then. Published by finish().
  std::byte* try_claim(std::uint32_t payload_bytes) { return responses_.try_claim(message_bytes(payload_bytes)); }
  void wait_for_room(std::uint32_t payload_bytes);

  // Gives the request's record back and publishes the claimed response.
  void finish();

  // finish() in steps. pass(): the next peek() finds the request behind; the payload of the one passed stays where it is until
  // give_back(), which gives all the records back that were passed. publish() alone: the call goes on, its request stays.
  // Requires: give_back() before the publish() that answers the last request that was passed.
  void pass() { requests_.pop(); }
  void give_back() { requests_.publish_consumed(); }
  void publish();

  // Spins until a request, stop, the end of the budget, or `keep_on()` says no. Whether there is something to do. `payload_bytes`: of the
  // last request, since the next one is probably like it.
  template <typename KeepOn>
  bool spin(KeepOn&& keep_on, std::uint64_t payload_bytes = 0) {
    return spin_.spin([this] { return requests_.has_record(); }, keep_on, payload_bytes) || stopping();
  }

  // For an event loop, which waits for other things, too. `may_begin`: requests count, not notes and stop alone.
  //
  // spin_for_events(): until there is work, the end of the budget, or `keep_on()` says no. Whether there is work. park_for_events():
  // sleeps until then, `nudged` or `deadline_ns`; may return early. Blocks. Whether a period has passed without work: to trim() then.
  template <typename KeepOn>
  bool spin_for_events(bool may_begin, const std::atomic<bool>& nudged, KeepOn&& keep_on) {
    return spin_.spin([&] { return has_events(may_begin) || nudged.load(std::memory_order_relaxed); }, keep_on);
  }
  bool park_for_events(bool may_begin, const std::atomic<bool>& nudged, std::int64_t deadline_ns);

  // Where somebody else sleeps on the doorbell in this thread's place: announces a sleep, fences and looks. Nothing: there is work. Else
  // what the doorbell showed before, for futex_wait(); end_sleep() follows, not later than trim_due_ns().
  std::optional<std::uint32_t> begin_sleep(bool may_begin);
  void end_sleep();
  bool has_events(bool may_begin) const { return (may_begin && requests_.has_record()) || notes_.has_record() || stopping(); }

  // Gives freed memory of the response arena back to the kernel, while there are no requests. When that is due: a period from now, or
  // never.
  void trim();
  std::int64_t trim_due_ns() const;

  const std::atomic<std::uint32_t>& doorbell() const { return host_page_->doorbell; }

  // What an event loop tells of itself: a turn begins at `now_ns`, or it waits; and whose code runs.
  void tell_turn(std::int64_t now_ns) { worker_page_->turn_began_ns.store(now_ns, std::memory_order_relaxed); }
  void tell_waiting() { tell_turn(-1); }
  void tell_method(std::uint16_t method) { worker_page_->turn_method.store(method, std::memory_order_relaxed); }

  // Sleeps until a request or stop. May return early. Blocks. Before a long sleep, freed memory of the response arena goes
  // back to the kernel, a period after the last call.
  void park();

  bool has_request() const { return requests_.has_record(); }
  bool stopping() const { return host_page_->stop.load(std::memory_order_acquire) != 0; }

  std::uint32_t payload_bytes_max() const { return options_.payload_bytes_max; }

  // For the threads that write the pulse. Valid as long as this.
  PulseWriter pulse() { return {*worker_page_, request_lane_, options_.lane_bytes}; }

 private:
  void wake_host();
  bool collect_releases();  // whether there were any
  void settle_views();
  bool has_work() const { return requests_.has_record() || stopping(); }

  ChannelOptions options_;
  std::int64_t trim_ns_ = 1'000'000'000;
  std::array<Segment, 4> segments_;  // empty on memory of others
  std::span<const std::byte> request_arena_;
  const HostPage* host_page_;
  WorkerPage* worker_page_;
  const std::byte* request_lane_;
  LaneReader requests_;
  LaneReader notes_;
  LaneWriter responses_;
  ReleaseReader response_releases_;
  ReleaseWriter argument_releases_;
  Arena response_arena_;
  std::uint32_t blocks_out_ = 0;    // allocated and not yet released
  ViewedBlocks viewed_blocks_;      // those among them that Python may view
  std::uint32_t idle_periods_ = 0;  // in a row, in which nothing could be given back
  UniqueFd eventfd_;
  AdaptiveSpin spin_;
  std::uint64_t started_ = 0;
};

}  // namespace samovar::ipc
