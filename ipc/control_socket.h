// ControlSocket: the inherited socket between host and one worker: datagrams with descriptors (SOCK_SEQPACKET, SCM_RIGHTS).
// Its end-of-file is how each side learns that the other's process is gone. Never on the way of a call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "ipc/result.h"
#include "ipc/unique_fd.h"

namespace samovar::ipc {

inline constexpr std::size_t kControlBytesMax = 128 * 1024;
inline constexpr std::size_t kControlFdsMax = 8;

struct ControlDatagram {
  std::vector<std::uint8_t> bytes;  // empty: the peer has closed its end
  std::vector<UniqueFd> fds;
};

class ControlSocket {
 public:
  explicit ControlSocket(UniqueFd fd) : fd_(std::move(fd)) {}

  // Both ends, CLOEXEC.
  static SystemResult<std::pair<ControlSocket, ControlSocket>> pair();

  int fd() const { return fd_.get(); }

  // Blocks while the peer's buffer is full. Fails with EPIPE when the peer is gone.
  SystemResult<void> send(std::span<const std::uint8_t> bytes, std::span<const int> fds = {}) const;

  // Blocks until a datagram or the end.
  SystemResult<ControlDatagram> receive() const;

 private:
  UniqueFd fd_;
};

}  // namespace samovar::ipc
