#include "ipc/channel.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>

namespace samovar::ipc {
namespace {

constexpr std::uint32_t kPunchPages = 2048;   // 8 MiB: a request that comes meanwhile waits no longer than that takes
constexpr std::uint32_t kIdlePeriodsMax = 6;
constexpr int kRunningMethodBits = 16;
constexpr std::int64_t kLookForDeadViewsNs = 1'000'000;  // while waiting for room

HostPage* host_page(std::byte* memory) { return reinterpret_cast<HostPage*>(memory); }
WorkerPage* worker_page(std::byte* memory) { return reinterpret_cast<WorkerPage*>(memory); }

}  // namespace

const char* check(const ChannelOptions& options) {
  if (!std::has_single_bit(options.lane_bytes)) return "lane_bytes must be a power of two";
  if (options.lane_bytes < kLaneBytesMin || options.lane_bytes > kLaneBytesMax) return "lane_bytes must be from 4 KiB to 1 GiB";
  if (options.payload_bytes_max > options.lane_bytes / kRecordsPerLaneMin ||
      record_advance(message_bytes(options.payload_bytes_max)) > options.lane_bytes / kRecordsPerLaneMin) {
    return "lane_bytes must hold four payloads of inline_bytes_max";
  }
  if (options.payload_bytes_max < kBlockReferenceBytes) return "inline_bytes_max must be at least 16";
  if (options.response_arena_bytes < kArenaBytesMin || options.response_arena_bytes > kArenaBytesMax ||
      options.response_arena_bytes % kChunkBytes != 0) {
    return "response_arena_bytes must be a multiple of 64 KiB, up to 1 TiB";
  }
  return nullptr;
}

SystemResult<std::unique_ptr<HostEnd>> HostEnd::create(const ChannelOptions& options) {
  const std::string name = options.name;
  const std::uint64_t host_bytes = host_segment_bytes(options.lane_bytes);
  const std::uint64_t worker_bytes = worker_segment_bytes(options.lane_bytes);
  auto host_fd = create_memfd((name + "-host").c_str(), host_bytes);
  if (!host_fd) return tl::unexpected(host_fd.error());
  auto worker_fd = create_memfd((name + "-worker").c_str(), worker_bytes);
  if (!worker_fd) return tl::unexpected(worker_fd.error());
  auto arena_fd = create_memfd((name + "-responses").c_str(), options.response_arena_bytes);
  if (!arena_fd) return tl::unexpected(arena_fd.error());

  // Whoever touches a page of these first, host or worker, gets it from the worker's node: both poll the lanes, but the worker also
  // reads its arguments there, and a response arena is its own.
  const OnNode on{options.memory_node};
  auto host = Segment::map(*host_fd, host_bytes, Access::read_write, Populate::yes, on);
  if (!host) return tl::unexpected(host.error());
  if (auto sealed = seal_future_write(*host_fd); !sealed) return tl::unexpected(sealed.error());
  for (const UniqueFd* fd : {&*host_fd, &*worker_fd, &*arena_fd}) {
    if (auto sealed = seal_seals(*fd); !sealed) return tl::unexpected(sealed.error());
  }
  auto worker = Segment::map(*worker_fd, worker_bytes, Access::read_only, Populate::yes, on);
  if (!worker) return tl::unexpected(worker.error());
  auto arena = Segment::map(*arena_fd, options.response_arena_bytes, Access::read_only, Populate::no, on);
  if (!arena) return tl::unexpected(arena.error());

  UniqueFd event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event) return system_error("eventfd");
  return std::unique_ptr<HostEnd>(
      new HostEnd(options, {std::move(*host), std::move(*worker), std::move(*arena), std::move(*host_fd), std::move(*worker_fd),
                            std::move(*arena_fd), std::move(event)}));
}

HostEnd::HostEnd(const ChannelOptions& options, Parts parts)
    : requests(parts.host_segment.data() + kPageBytes, options.lane_bytes, worker_page(parts.worker_segment.data())->requests_consumed),
      responses(parts.worker_segment.data() + kPageBytes, options.lane_bytes, message_bytes(options.payload_bytes_max),
                host_page(parts.host_segment.data())->responses_consumed),
      notes(parts.host_segment.data() + note_lane_at(options.lane_bytes), options.lane_bytes,
            worker_page(parts.worker_segment.data())->notes_consumed),
      request_releases(parts.worker_segment.data() + release_ring_at(options.lane_bytes),
                       worker_page(parts.worker_segment.data())->blocks_released),
      options_(options),
      host_segment_(std::move(parts.host_segment)),
      worker_segment_(std::move(parts.worker_segment)),
      response_arena_(std::move(parts.response_arena)),
      host_page_(host_page(host_segment_.data())),
      worker_page_(worker_page(worker_segment_.data())),
      host_segment_fd_(std::move(parts.host_segment_fd)),
      worker_segment_fd_(std::move(parts.worker_segment_fd)),
      response_arena_fd_(std::move(parts.response_arena_fd)),
      eventfd_(std::move(parts.eventfd)),
      response_releases_(host_segment_.data() + release_ring_at(options.lane_bytes), host_page_->blocks_released) {}

Hello HostEnd::hello() const {
  return {.layout_hash = layout_hash(),
          .lane_bytes = options_.lane_bytes,
          .payload_bytes_max = options_.payload_bytes_max,
          .response_arena_bytes = options_.response_arena_bytes,
          .memory_node = options_.memory_node};
}

std::vector<int> HostEnd::fds_for_worker(int host_process, int request_arena) const {
  std::vector<int> fds(kHelloFds);
  fds[kFdHostSegment] = host_segment_fd_.get();
  fds[kFdWorkerSegment] = worker_segment_fd_.get();
  fds[kFdEvent] = eventfd_.get();
  fds[kFdHostProcess] = host_process;
  fds[kFdResponseArena] = response_arena_fd_.get();
  fds[kFdRequestArena] = request_arena;
  if (request_arena < 0) fds.pop_back();
  return fds;
}

void HostEnd::close_segment_fds() {
  host_segment_fd_.reset();
  worker_segment_fd_.reset();
  response_arena_fd_.reset();
}

void HostEnd::release_block(std::uint64_t offset) {
  {
    const std::lock_guard lock(releases_mutex_);
    response_releases_.push(offset);
  }
  // FENCE: pairs with the one in park(), from wait_for_release(); it sees the release or we see it wait. Model: blocks.pml.
  store_load_fence();
  if (worker_page_->awaits_block.load(std::memory_order_relaxed) != 0) ring(host_page_->doorbell);
}

Pulse HostEnd::pulse() const {
  const WorkerPage& page = *worker_page_;
  const auto running = page.running.load(std::memory_order_relaxed);
  const auto started = page.started.load(std::memory_order_relaxed);
  const auto turn_began_ns = page.turn_began_ns.load(std::memory_order_relaxed);
  return {.alive_ns = page.alive_ns.load(std::memory_order_relaxed),
          .probe_began_ns = page.probe_began_ns.load(std::memory_order_relaxed),
          .probe_ended_ns = page.probe_ended_ns.load(std::memory_order_relaxed),
          .rss_anon_bytes = page.rss_anon_bytes.load(std::memory_order_relaxed),
          .started = started,
          .running = turn_began_ns != 0 ? turn_began_ns > 0 : started != 0 && running >> kRunningMethodBits >= page.requests_consumed.load(std::memory_order_relaxed),
          .method = static_cast<std::uint16_t>(turn_began_ns == 0 ? running : page.turn_method.load(std::memory_order_relaxed)),
          .turn_began_ns = turn_began_ns};
}

void HostEnd::stop() {
  host_page_->stop.store(1, std::memory_order_release);
  store_load_fence();  // FENCE: pairs with the one in park(); the worker sees `stop` or we see it asleep.
  ring(host_page_->doorbell);
}

SystemResult<std::unique_ptr<WorkerEnd>> WorkerEnd::attach(const Hello& hello, std::vector<UniqueFd>& fds) {
  const ChannelOptions options{.lane_bytes = hello.lane_bytes,
                               .payload_bytes_max = hello.payload_bytes_max,
                               .response_arena_bytes = hello.response_arena_bytes};
  const bool has_request_arena = hello.request_arena_bytes != 0;
  if (fds.size() != kHelloFds - (has_request_arena ? 0u : 1u) || check(options) != nullptr) {
    errno = EPROTO;
    return system_error("Hello from the host");
  }
  auto host = Segment::map(fds[kFdHostSegment], host_segment_bytes(options.lane_bytes), Access::read_only);
  if (!host) return tl::unexpected(host.error());
  auto worker = Segment::map(fds[kFdWorkerSegment], worker_segment_bytes(options.lane_bytes), Access::read_write);
  if (!worker) return tl::unexpected(worker.error());
  SystemResult<Segment> requests;
  if (has_request_arena) requests = Segment::map(fds[kFdRequestArena], hello.request_arena_bytes, Access::read_only, Populate::no);
  if (!requests) return tl::unexpected(requests.error());
  auto responses = Segment::map(fds[kFdResponseArena], hello.response_arena_bytes, Access::read_write, Populate::no);
  if (!responses) return tl::unexpected(responses.error());
  fds[kFdHostSegment].reset();
  fds[kFdWorkerSegment].reset();
  if (has_request_arena) fds[kFdRequestArena].reset();

  const WorkerMemory memory{.host = host->data(),
                            .worker = worker->data(),
                            .request_arena = {requests->data(), hello.request_arena_bytes},
                            .response_arena = {responses->data(), hello.response_arena_bytes}};
  auto end = std::make_unique<WorkerEnd>(options, hello.spin_max_ns, memory, std::move(fds[kFdResponseArena]), std::move(fds[kFdEvent]));
  end->trim_ns_ = hello.arena_trim_ns;
  end->segments_ = {std::move(*host), std::move(*worker), std::move(*requests), std::move(*responses)};
  return end;
}

WorkerEnd::WorkerEnd(const ChannelOptions& options, std::int64_t spin_max_ns, const WorkerMemory& memory, UniqueFd response_arena,
                     UniqueFd event)
    : options_(options),
      request_arena_(memory.request_arena),
      host_page_(host_page(const_cast<std::byte*>(memory.host))),
      worker_page_(worker_page(memory.worker)),
      request_lane_(memory.host + kPageBytes),
      requests_(request_lane_, options.lane_bytes, message_bytes(options.payload_bytes_max), worker_page_->requests_consumed),
      notes_(memory.host + note_lane_at(options.lane_bytes), options.lane_bytes, message_bytes(options.payload_bytes_max),
             worker_page_->notes_consumed),
      responses_(memory.worker + kPageBytes, options.lane_bytes, host_page_->responses_consumed),
      response_releases_(memory.host + release_ring_at(options.lane_bytes), host_page_->blocks_released),
      argument_releases_(memory.worker + release_ring_at(options.lane_bytes), worker_page_->blocks_released),
      response_arena_(std::move(response_arena), memory.response_arena),
      eventfd_(std::move(event)),
      spin_(spin_max_ns) {}

Peek WorkerEnd::peek(Request& out) {
  const Peek peek = requests_.peek();
  if (peek != Peek::record) return peek;
  return read_request({requests_.message(), requests_.size()}, out) ? Peek::record : Peek::broken;
}

Peek WorkerEnd::peek_note(Note& out) {
  const Peek peek = notes_.peek();
  if (peek != Peek::record) return peek;
  return read_note({notes_.message(), notes_.size()}, out) ? Peek::record : Peek::broken;
}

void WorkerEnd::pop_note() {
  notes_.pop();
  notes_.publish_consumed();
}

void WorkerEnd::wait_for_note(std::int64_t deadline_ns) {
  const auto look = [this] { return has_note() || stopping(); };
  if (spin_.spin(look, [] { return true; })) return;
  ipc::park(host_page_->doorbell, worker_page_->asleep, deadline_ns, look);
  spin_.slept();
}

bool WorkerEnd::start(const Request& request) {
  start_packed(request, 1);
  return !requests_.revoked();
}

void WorkerEnd::start_packed(const Request& request, std::uint32_t count) {
  worker_page_->running.store(requests_.consumed() << kRunningMethodBits | request.method, std::memory_order_relaxed);
  started_ += count;
  // RELEASE: pairs with the acquire in HostEnd::started(). Stored before any payload is touched, so that a call which this
  // count does not include has not run.
  worker_page_->started.store(started_, std::memory_order_release);
  // FENCE: pairs with the host's between `revoked` and its read of `started`: it sees us or we see it. A request that is not
  // revocable the host never sends elsewhere; that it is revoked only spares work, if it is seen.
  if ((request.flags & kRequestRevocable) != 0) store_load_fence();
  if (blocks_out_ != 0) response_releases_.read_ahead();
}

std::optional<std::span<const std::byte>> WorkerEnd::payload(const Request& request) const {
  if ((request.flags & kRequestInArena) == 0) return loaded_in_halves(request.payload);
  const std::optional<Located> located = read_located(request.kind, request.payload);
  return located ? block_at(request_arena_, located->block) : std::nullopt;
}

SystemResult<std::optional<std::uint64_t>> WorkerEnd::allocate_block(std::uint64_t bytes) {
  collect_releases();
  idle_periods_ = 0;
  if (blocks_out_ == kReleaseEntries) return std::optional<std::uint64_t>();
  auto block = response_arena_.allocate(bytes);
  if (block && *block) ++blocks_out_;
  return block;
}

SystemResult<std::optional<std::uint64_t>> WorkerEnd::allocate_viewed_block(std::uint64_t bytes) {
  auto block = allocate_block(bytes);
  if (block && *block) viewed_blocks_.add(**block, bytes);
  return block;
}

bool WorkerEnd::wait_for_release(std::int64_t deadline_ns) {
  // The death of a view in another thread rings nobody.
  if (!viewed_blocks_.empty()) deadline_ns = std::min(deadline_ns, now_ns() + kLookForDeadViewsNs);
  ipc::park(host_page_->doorbell, worker_page_->awaits_block, deadline_ns,
            [this] { return response_releases_.has_news() || stopping(); });
  return collect_releases();
}

void WorkerEnd::settle_views() {
  viewed_blocks_.settle([this](std::uint64_t offset) {
    response_arena_.free(offset);
    --blocks_out_;
  });
}

bool WorkerEnd::collect_releases() {
  if (!viewed_blocks_.empty()) settle_views();
  if (!response_releases_.has_news()) return false;
  for (std::uint64_t left = response_releases_.look(); left > 0; --left) {
    const std::uint64_t offset = response_releases_.front();
    const auto given_back = viewed_blocks_.give_back(offset);
    if (given_back != ViewedBlocks::GivenBack::viewed) {
      if (given_back == ViewedBlocks::GivenBack::never_sent || blocks_out_ == 0 || !response_arena_.free(offset)) {
        std::fprintf(stderr, "samovar: the host has released a block that it does not have; it has a bug\n");
        std::abort();
      }
      --blocks_out_;
    }
    response_releases_.pop();
  }
  return true;
}

void WorkerEnd::park() {
  const auto look = [this] { return has_work(); };
  const std::int64_t due_ns = trim_due_ns();
  ipc::park(host_page_->doorbell, worker_page_->asleep, due_ns, look);
  if (due_ns != kNever && !has_work() && now_ns() >= due_ns) trim();
  spin_.slept();
}

// While the host holds all of it there is nothing to give back, and looking for that to change grows rarer.
std::int64_t WorkerEnd::trim_due_ns() const {
  return !response_arena_.holds_memory() ? kNever : now_ns() + (trim_ns_ << std::min(idle_periods_, kIdlePeriodsMax));
}

bool WorkerEnd::park_for_events(bool may_begin, const std::atomic<bool>& nudged, std::int64_t deadline_ns) {
  const auto look = [&] { return has_events(may_begin) || nudged.load(std::memory_order_relaxed); };
  const std::int64_t due_ns = trim_due_ns();
  ipc::park(host_page_->doorbell, worker_page_->asleep, std::min(deadline_ns, due_ns), look);
  spin_.slept();
  return due_ns != kNever && !look() && now_ns() >= due_ns;
}

std::optional<std::uint32_t> WorkerEnd::begin_sleep(bool may_begin) {
  const std::uint32_t seen = host_page_->doorbell.load(std::memory_order_acquire);
  worker_page_->asleep.store(1, std::memory_order_relaxed);
  store_load_fence();  // FENCE: pairs with the ringer's, as in park().
  if (!has_events(may_begin)) return seen;
  worker_page_->asleep.store(0, std::memory_order_relaxed);
  return std::nullopt;
}

void WorkerEnd::end_sleep() {
  worker_page_->asleep.store(0, std::memory_order_relaxed);
  spin_.slept();
}

void WorkerEnd::trim() {
  collect_releases();
  idle_periods_ = response_arena_.end_period() ? 0 : idle_periods_ + 1;
  while (!has_work()) {
    const std::optional<Span> span = response_arena_.take_stale(kPunchPages);
    if (!span) break;
    response_arena_.punch(*span);
    response_arena_.return_punched(*span);
  }
}

void WorkerEnd::wait_for_room(std::uint32_t payload_bytes) {
  const auto look = [&] { return try_claim(payload_bytes) != nullptr || stopping(); };
  while (!look()) ipc::park(host_page_->doorbell, worker_page_->asleep, kNever, look);
}

void WorkerEnd::finish() {
  // Consumed first: a host that has taken the response finds the room of its request free.
  pass();
  give_back();
  publish();
}

void WorkerEnd::publish() {
  responses_.publish();
  wake_host();
  responses_.take_ahead();
}

void WorkerEnd::wake_host() {
  store_load_fence();  // FENCE: pairs with the host's between its `asleep` and its last look at this lane.
  if (host_page_->asleep.load(std::memory_order_relaxed) == 0) return;
  const std::uint64_t one = 1;
  // The counter is never read, only its edge is seen. EAGAIN (it is full) is the host's supervisor's to notice.
  (void)!write(eventfd_.get(), &one, sizeof one);
}

}  // namespace samovar::ipc
