// Handshake: the messages over the control sockets of workers and nurseries, as plain structs; on the wire they are schemas/control.fbs.
//
//   host   -> worker   Hello, with the descriptors of HelloFd, in its order
//   worker -> host     Ready, or StartFailed and exit
//   host   -> worker   Stop (or the socket ends): finish the running call and end
//   host   -> worker   DumpStacks, answered by Stacks while the worker's guard runs
//
//   host    -> nursery  NurseryHello, with the host's pidfd
//   nursery -> host     NurseryReady, or StartFailed and exit
//   host    -> nursery  Fork, with the descriptors of ForkFd, answered by Forked with the worker's pidfd, or by ForkFailed
//   nursery -> host     ChildEnded, answered by Bury; till then the worker's number, and its group's, belongs to nobody else
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include <tl/expected.hpp>

namespace samovar::ipc {

// The request arena is missing where Hello says that it has no bytes.
enum HelloFd { kFdHostSegment, kFdWorkerSegment, kFdEvent, kFdHostProcess, kFdResponseArena, kFdRequestArena, kHelloFds };

enum ForkFd { kFdWorkerSocket, kFdWorkerOutput, kForkFds };

struct Hello {
  std::uint64_t layout_hash = 0;
  std::uint64_t incarnation = 0;
  std::uint32_t worker = 0;
  std::uint32_t lane_bytes = 0;
  std::uint32_t payload_bytes_max = 0;
  std::int64_t spin_max_ns = 0;
  std::string module;
  std::uint64_t request_arena_bytes = 0;
  std::uint64_t response_arena_bytes = 0;
  std::int64_t arena_trim_ns = 0;
  std::uint32_t escaped_views_max = 0;
  std::int64_t heartbeat_ns = 0;
  std::int64_t probe_after_ns = 0;
  std::uint8_t log_level = 0;  // samovar::LogLevel
  std::uint32_t concurrency = 1;  // calls that it runs at once, where it has an event loop
  std::int32_t memory_node = -1;  // kAnyNode, or the NUMA node that the worker's memory shall come from
  std::uint32_t stream_window = 64;  // chunks of a stream before the first credit
};

struct Method {
  static constexpr std::uint32_t kAny = UINT32_MAX;

  std::string name;
  std::uint32_t positional_min = 0;
  std::uint32_t positional_max = kAny;
  std::string keyword{};    // keyword-only and without a default: no call can succeed
  std::string signature{};  // for people; empty: not known
  bool stream = false;        // a generator: it answers in chunks
  bool asynchronous = false;  // runs in the worker's event loop, beside others
  std::uint32_t batch_max = 1;      // calls that it takes at once
  std::int64_t batch_wait_ns = 0;   // how long a call may wait for others to be taken with

  bool operator==(const Method&) const = default;
};

struct Ready {
  std::uint64_t layout_hash = 0;
  std::string python;
  std::vector<Method> methods;  // a method's number in a request is its place here, plus one
};

// Whether a worker with these methods runs an event loop.
inline bool has_event_loop(std::span<const Method> methods) {
  return std::any_of(methods.begin(), methods.end(), [](const Method& method) { return method.asynchronous; });
}

struct StartFailed {
  std::string reason;
  std::string type;
  std::string message;
  std::string traceback;
};

struct Stop {};

struct DumpStacks {};

struct Stacks {
  std::string text;
};

struct NurseryHello {
  std::uint64_t layout_hash = 0;
  std::string module;
  std::uint8_t log_level = 0;
  std::vector<int> memory_nodes{};  // over which what it loads is spread; empty: wherever the kernel likes
};

struct NurseryReady {
  std::uint64_t layout_hash = 0;
  std::vector<std::string> threads;  // names of those beside the main one; where there are any it cannot fork
};

struct Fork {
  std::uint64_t incarnation = 0;
};

struct Forked {
  std::uint64_t incarnation = 0;
  std::uint32_t pid = 0;
};

struct ForkFailed {
  std::uint64_t incarnation = 0;
  StartFailed why;
};

struct ChildEnded {
  std::uint64_t incarnation = 0;
  std::int32_t code = -1;   // exit code, or -1
  std::int32_t signal = 0;  // that killed it, or 0
};

struct Bury {
  std::uint64_t incarnation = 0;
};

using ControlMessage = std::variant<Hello, Ready, StartFailed, Stop, DumpStacks, Stacks, NurseryHello, NurseryReady, Fork, Forked, ForkFailed,
                                    ChildEnded, Bury>;

std::vector<std::uint8_t> encode_control(const ControlMessage& message);

// Verifies first. Fails: a sentence that says what is wrong with the bytes.
tl::expected<ControlMessage, std::string> decode_control(std::span<const std::uint8_t> bytes);

}  // namespace samovar::ipc
