// ChildHost: a host process of its own, for tests that kill it or change what the process as a whole has: signals,
// descriptors, limits, affinity. A fork of the test. Requires: no pool and no other thread in the test when it is made.
#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>

#include "ipc/unique_fd.h"

namespace samovar::test {

class ChildHost {
 public:
  // Tells the test one line. In the child.
  using Say = std::function<void(const std::string& line)>;

  // Runs `body` in the child, which ends after it. What it throws becomes a line.
  explicit ChildHost(const std::function<void(const Say&)>& body);
  ~ChildHost();  // kills it, where it still runs

  pid_t pid() const { return pid_; }

  // The next line; nothing at its end or when the test's patience is over. Blocks.
  std::optional<std::string> hear();

  void kill();        // SIGKILL, and waits for its end
  int exit_status();  // waits for its end; as from waitpid()

 private:
  pid_t pid_ = -1;
  ipc::UniqueFd pipe_;
  std::string heard_;
  std::optional<int> status_;
};

// Runs `body` in a child and returns what it returns; "(nothing)" where it died before.
std::string in_child_host(const std::function<std::string()>& body);

}  // namespace samovar::test
