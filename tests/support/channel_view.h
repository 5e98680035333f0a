// ChannelView: what a host sees of the channel of one of its workers, read from this process's own mappings of it. For tests
// that foretell by it what becomes of each call.
//
// It must not be used when the incarnation's death may have been handled: then the mappings are gone.
#pragma once

#include <sys/types.h>

#include <compare>
#include <cstdint>
#include <string>
#include <vector>

#include "ipc/layout.h"

namespace samovar::test {

// Counts since the view was made.
struct ChannelState {
  std::uint64_t started = 0;    // requests begun or skipped, in lane order
  std::uint64_t consumed = 0;   // bytes of the request lane
  std::uint64_t published = 0;  // responses
  std::uint64_t released = 0;   // arguments that were viewed beyond their calls, and are no more
  std::uint32_t asleep = 0;
  std::uint32_t awaits_block = 0;

  friend auto operator<=>(const ChannelState&, const ChannelState&) = default;
  std::string to_string() const;
};

class ChannelView {
 public:
  // Of the worker `pid` of a pool of this process that is called `pool_name` (Options::name). Requires: the worker has nothing
  // to do and the host has taken all its responses. Throws std::runtime_error.
  ChannelView(pid_t pid, const std::string& pool_name, std::uint32_t lane_bytes);

  ChannelState now();

  // The first eight bytes of each request's payload, of those that the worker has not consumed, in lane order. Requires: the
  // worker stands still, and no payload lies in an arena.
  std::vector<std::uint64_t> requests() const;
  bool is_asleep() const { return worker_page_->asleep.load() != 0; }

 private:
  const std::byte* request_lane_;
  const ipc::WorkerPage* worker_page_;
  std::uint32_t lane_bytes_;
  std::uint64_t responses_end_ = 0;
  std::uint64_t published_ = 0;
  ChannelState begin_;
};

// How many mappings of memfds whose names begin with `name` this process has.
std::size_t count_mappings(const std::string& name);

}  // namespace samovar::test
