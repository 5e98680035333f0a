// Question: what do the records, the lanes and the handler cost without pool, queue and journal?
// A worker driven through ipc::HostEnd by a loop of a few lines: the real one (same extension, same handler), and one in C++
// that does nothing but answer, so that the difference between them is Python's.
#pragma once

#include <sys/types.h>

#include <memory>

#include "bench/whole/contestant.h"
#include "bench/whole/throughput.h"
#include "ipc/channel.h"

namespace samovar::bench {

// A worker and the host's end of its channel. The destructor ends it.
class LaneWorker {
 public:
  virtual ~LaneWorker() = default;
  virtual ipc::HostEnd& host() = 0;
  virtual std::uint16_t method() const = 0;
  virtual pid_t pid() const = 0;
  virtual bool alive() const = 0;
};

inline constexpr std::int64_t kBareSpinMaxNs = 50'000;  // the pool's default

std::unique_ptr<Contestant> make_bare_lane(LaneWorker& worker, std::size_t payload_bytes, std::int64_t timestamp_ns);

// The ring kept full: up to `outstanding` requests published and not yet answered.
std::unique_ptr<Flow> make_bare_flow(LaneWorker& worker, std::size_t payload_bytes, std::size_t outstanding);

}  // namespace samovar::bench
