#include "ipc/channel.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <string>
#include <utility>

namespace samovar::ipc {
namespace {

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
  return nullptr;
}

SystemResult<std::unique_ptr<HostEnd>> HostEnd::create(const ChannelOptions& options) {
  const std::uint64_t bytes = segment_bytes(options.lane_bytes);
  auto host_fd = create_memfd((std::string(options.name) + "-host").c_str(), bytes);
  if (!host_fd) return tl::unexpected(host_fd.error());
  auto worker_fd = create_memfd((std::string(options.name) + "-worker").c_str(), bytes);
  if (!worker_fd) return tl::unexpected(worker_fd.error());

  auto host = Segment::map(*host_fd, bytes, Access::read_write);
  if (!host) return tl::unexpected(host.error());
  if (auto sealed = seal_future_write(*host_fd); !sealed) return tl::unexpected(sealed.error());
  if (auto sealed = seal_seals(*host_fd); !sealed) return tl::unexpected(sealed.error());
  if (auto sealed = seal_seals(*worker_fd); !sealed) return tl::unexpected(sealed.error());
  auto worker = Segment::map(*worker_fd, bytes, Access::read_only);
  if (!worker) return tl::unexpected(worker.error());

  UniqueFd event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event) return system_error("eventfd");
  return std::unique_ptr<HostEnd>(new HostEnd(options, std::move(*host), std::move(*worker), std::move(*host_fd),
                                              std::move(*worker_fd), std::move(event)));
}

HostEnd::HostEnd(const ChannelOptions& options, Segment host, Segment worker, UniqueFd host_fd, UniqueFd worker_fd, UniqueFd event)
    : requests(host.data() + kPageBytes, options.lane_bytes, worker_page(worker.data())->requests_consumed),
      responses(worker.data() + kPageBytes, options.lane_bytes, message_bytes(options.payload_bytes_max),
                host_page(host.data())->responses_consumed),
      options_(options),
      host_segment_(std::move(host)),
      worker_segment_(std::move(worker)),
      host_page_(host_page(host_segment_.data())),
      worker_page_(worker_page(worker_segment_.data())),
      host_segment_fd_(std::move(host_fd)),
      worker_segment_fd_(std::move(worker_fd)),
      eventfd_(std::move(event)) {}

std::vector<int> HostEnd::fds_for_worker(int host_process) const {
  std::vector<int> fds(kHelloFds);
  fds[kFdHostSegment] = host_segment_fd_.get();
  fds[kFdWorkerSegment] = worker_segment_fd_.get();
  fds[kFdEvent] = eventfd_.get();
  fds[kFdHostProcess] = host_process;
  return fds;
}

void HostEnd::close_segment_fds() {
  host_segment_fd_.reset();
  worker_segment_fd_.reset();
}

void HostEnd::stop() {
  host_page_->stop.store(1, std::memory_order_release);
  store_load_fence();  // FENCE: pairs with the one in park(); the worker sees `stop` or we see it asleep.
  ring(host_page_->doorbell);
}

SystemResult<std::unique_ptr<WorkerEnd>> WorkerEnd::attach(const Hello& hello, std::vector<UniqueFd>& fds) {
  const ChannelOptions options{.lane_bytes = hello.lane_bytes, .payload_bytes_max = hello.payload_bytes_max};
  if (fds.size() != kHelloFds || check(options) != nullptr) {
    errno = EPROTO;
    return system_error("Hello from the host");
  }
  const std::uint64_t bytes = segment_bytes(options.lane_bytes);
  auto host = Segment::map(fds[kFdHostSegment], bytes, Access::read_only);
  if (!host) return tl::unexpected(host.error());
  auto worker = Segment::map(fds[kFdWorkerSegment], bytes, Access::read_write);
  if (!worker) return tl::unexpected(worker.error());
  fds[kFdHostSegment].reset();
  fds[kFdWorkerSegment].reset();
  return std::unique_ptr<WorkerEnd>(
      new WorkerEnd(options, hello.spin_max_ns, std::move(*host), std::move(*worker), std::move(fds[kFdEvent])));
}

WorkerEnd::WorkerEnd(const ChannelOptions& options, std::int64_t spin_max_ns, const std::byte* host_memory,
                     std::byte* worker_memory, UniqueFd event)
    : options_(options),
      host_page_(host_page(const_cast<std::byte*>(host_memory))),
      worker_page_(worker_page(worker_memory)),
      requests_(host_memory + kPageBytes, options.lane_bytes, message_bytes(options.payload_bytes_max),
                worker_page_->requests_consumed),
      responses_(worker_memory + kPageBytes, options.lane_bytes, host_page_->responses_consumed),
      eventfd_(std::move(event)),
      spin_(spin_max_ns) {}

WorkerEnd::WorkerEnd(const ChannelOptions& options, std::int64_t spin_max_ns, Segment host, Segment worker, UniqueFd event)
    : WorkerEnd(options, spin_max_ns, host.data(), worker.data(), std::move(event)) {
  host_segment_ = std::move(host);
  worker_segment_ = std::move(worker);
}

Peek WorkerEnd::peek(Request& out) {
  const Peek peek = requests_.peek();
  if (peek != Peek::record) return peek;
  return read_request({requests_.message(), requests_.size()}, out) ? Peek::record : Peek::broken;
}

bool WorkerEnd::start(const Request& request) {
  // RELEASE: pairs with the acquire in HostEnd::started(). Stored before the payload is touched, so that a call which this
  // count does not include has not run.
  worker_page_->started.store(++started_, std::memory_order_release);
  // FENCE: pairs with the host's between `revoked` and its read of `started`: it sees us or we see it. A request that is not
  // revocable the host never sends elsewhere; that it is revoked only spares work, if it is seen.
  if ((request.flags & kRequestRevocable) != 0) store_load_fence();
  return !requests_.revoked();
}

void WorkerEnd::wait_for_room(std::uint32_t payload_bytes) {
  const auto look = [&] { return try_claim(payload_bytes) != nullptr || stopping(); };
  while (!look()) ipc::park(host_page_->doorbell, worker_page_->asleep, kNever, look);
}

void WorkerEnd::finish() {
  // Consumed first: a host that has taken the response finds the room of its request free.
  requests_.pop();
  requests_.publish_consumed();
  responses_.publish();
  store_load_fence();  // FENCE: pairs with the host's between its `asleep` and its last look at this lane.
  if (host_page_->asleep.load(std::memory_order_relaxed) != 0) {
    const std::uint64_t one = 1;
    // The counter is never read, only its edge is seen. EAGAIN (it is full) is the host's supervisor's to notice.
    (void)!write(eventfd_.get(), &one, sizeof one);
  }
  responses_.take_ahead();
}

}  // namespace samovar::ipc
