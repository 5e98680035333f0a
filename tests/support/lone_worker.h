// LoneWorker: one real Python worker without a pool. The test is its host and sees what a pool keeps to itself: the words of its
// pages and the messages of its socket.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <samovar/value.h>

#include "core/supervision/process.h"
#include "ipc/channel.h"
#include "ipc/control_socket.h"
#include "ipc/handshake.h"

namespace samovar::test {

class LoneWorker {
 public:
  // Starts it and waits until it is ready; throws otherwise.
  explicit LoneWorker(std::string_view module_file, std::chrono::nanoseconds heartbeat = std::chrono::milliseconds(5),
                      std::chrono::nanoseconds probe_after = std::chrono::milliseconds(10));
  ~LoneWorker();  // kills it, where it still runs

  pid_t pid() const { return process_.pid(); }
  ipc::Pulse pulse() const { return channel_->pulse(); }

  // Puts a request into its lane: a method by its name, with a text or nothing.
  void send(std::string_view method, std::optional<std::string> text = std::nullopt);
  // The next response, which must be a value; throws otherwise. Blocks.
  Value receive();
  Value call(std::string_view method, std::optional<std::string> text = std::nullopt);

  // Its answer to DumpStacks. Nothing when the test's patience is over. Blocks.
  std::optional<std::string> stacks();

  // Asks it to end, and waits. Blocks.
  core::ExitStatus stop();

 private:
  void say(const ipc::ControlMessage& message, std::span<const int> fds = {}) const;

  std::unique_ptr<ipc::HostEnd> channel_;
  std::optional<ipc::ControlSocket> socket_;
  ipc::UniqueFd output_;  // what it prints; read by nobody
  core::Process process_;
  std::vector<ipc::Method> methods_;
  std::uint64_t calls_ = 0;
};

}  // namespace samovar::test
