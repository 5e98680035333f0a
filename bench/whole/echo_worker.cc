// The worker's side of a channel in C++: what the lanes and messages cost when the handler costs nothing.
#include <fcntl.h>

#include <cerrno>
#include <cstring>

#include "bench/whole/lane_workers.h"
#include "bench/whole/twin.h"
#include "ipc/handshake.h"

namespace samovar::bench {
namespace {

void serve(ipc::WorkerEnd& end) {
  while (!end.stopping()) {
    ipc::Request request;
    switch (end.peek(request)) {
      case ipc::Peek::record: {
        end.start(request);
        std::byte* room = end.try_claim(static_cast<std::uint32_t>(request.payload.size()));
        if (room == nullptr) return;  // never: the host leaves room for all that it sends
        ipc::write_response({.call_id = request.call_id, .kind = request.kind, .payload = request.payload}, room);
        end.finish();
        break;
      }
      case ipc::Peek::empty:
        if (!end.spin([] { return true; })) end.park();
        break;
      case ipc::Peek::broken:
        return;
    }
  }
}

class EchoWorker final : public LaneWorker {
 public:
  EchoWorker(std::unique_ptr<ipc::HostEnd> host, std::unique_ptr<Twin> twin)
      : host_(std::move(host)), twin_(std::move(twin)) {}

  ipc::HostEnd& host() override { return *host_; }
  std::uint16_t method() const override { return 1; }
  pid_t pid() const override { return twin_->pid(); }
  bool alive() const override { return twin_->alive(); }

 private:
  std::unique_ptr<ipc::HostEnd> host_;
  std::unique_ptr<Twin> twin_;
};

}  // namespace

Made<std::unique_ptr<LaneWorker>> start_echo_worker(int cpu) {
  auto host = ipc::HostEnd::create({.name = "samovar-bench"});
  if (!host) return tl::unexpected(host.error().to_string());
  ipc::Hello hello = (*host)->hello();
  hello.spin_max_ns = kBareSpinMaxNs;
  auto twin = Twin::start(cpu, [&](TwinPage&) {
    std::vector<ipc::UniqueFd> fds;  // the twin's own, by the fork
    for (int fd : (*host)->fds_for_worker(-1)) fds.emplace_back(fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3));
    if (auto end = ipc::WorkerEnd::attach(hello, fds); end) serve(**end);
  });
  if (!twin) return tl::unexpected(twin.error());
  (*host)->close_segment_fds();
  return std::make_unique<EchoWorker>(std::move(*host), std::move(*twin));
}

}  // namespace samovar::bench
