#include "ipc/control_socket.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace samovar::ipc {

SystemResult<std::pair<ControlSocket, ControlSocket>> ControlSocket::pair() {
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0) return system_error("socketpair");
  return std::pair(ControlSocket(UniqueFd(fds[0])), ControlSocket(UniqueFd(fds[1])));
}

SystemResult<void> ControlSocket::send(std::span<const std::uint8_t> bytes, std::span<const int> fds) const {
  iovec part{const_cast<std::uint8_t*>(bytes.data()), bytes.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(kControlFdsMax * sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(header), fds.data(), fds.size_bytes());
  }
  while (sendmsg(fd_.get(), &message, MSG_NOSIGNAL) < 0) {
    if (errno != EINTR) return system_error("sendmsg to the other side of a worker's socket");
  }
  return {};
}

SystemResult<ControlDatagram> ControlSocket::receive() const {
  ControlDatagram datagram;
  datagram.bytes.resize(kControlBytesMax);
  iovec part{datagram.bytes.data(), datagram.bytes.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(kControlFdsMax * sizeof(int))];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t received;
  while ((received = recvmsg(fd_.get(), &message, MSG_CMSG_CLOEXEC)) < 0) {
    if (errno == ECONNRESET) {
      received = 0;  // closed with something unread: an end like any other
      break;
    }
    if (errno != EINTR) return system_error("recvmsg from the other side of a worker's socket");
  }
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); received > 0 && header; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    for (std::size_t at = 0; CMSG_LEN(at + sizeof(int)) <= header->cmsg_len; at += sizeof(int)) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(header) + at, sizeof fd);
      datagram.fds.emplace_back(fd);
    }
  }
  if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
    errno = EMSGSIZE;
    return system_error("datagram on a worker's socket");
  }
  datagram.bytes.resize(static_cast<std::size_t>(received));
  return datagram;
}

}  // namespace samovar::ipc
