// Nursery: the host's end of one nursery, the process that has loaded the user's module and forks workers from itself.
//
// It asks and it hears; when to do so, and what follows, is the supervisor's. What a nursery says of its dead children is kept
// here until somebody asks (Parent). When the last owner is gone, the nursery's socket closes, and it ends.
// Threads: the supervisor's.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include <samovar/error.h>

#include "core/supervision/process.h"
#include "core/supervision/worker_output.h"
#include "ipc/control_socket.h"
#include "ipc/handshake.h"

namespace samovar::core {

class Nursery final : public Parent {
 public:
  // Process, socket and output pipe of a nursery that has got its NurseryHello; all non-blocking.
  struct Life {
    Process process;
    std::optional<ipc::ControlSocket> socket;
    ipc::UniqueFd output_fd;
    std::int64_t spawned_ns = 0;
  };

  // `number`: of this nursery in its pool. `generation`: of the code it has loaded.
  Nursery(std::uint64_t number, std::uint32_t generation, Life life);

  struct Forked {
    std::uint64_t incarnation;
    pid_t pid;
    ipc::UniqueFd pidfd;
  };
  struct Ended {};                     // its socket has
  struct Nonsense { std::string what; };  // it is to be killed
  using Word = std::variant<ipc::NurseryReady, ipc::StartFailed, Forked, ipc::ForkFailed, Ended, Nonsense>;

  // The next thing that it says to the supervisor. Nothing: no more for now. Does not block.
  std::optional<Word> next_word();
  bool has_words() const { return !words_.empty(); }  // heard while an exit status was waited for

  // Asks for a worker, to whom the ends of its socket and its output pipe go. False: it has ended, or does not listen.
  bool fork(std::uint64_t incarnation, int socket, int output);

  // Ends it, when it has read this. Requires: its workers have ended, or nobody asks how.
  void close();

  // Nobody needs the worker that it was asked for: if it was or is forked, it ends and is buried unheard of.
  void forget(std::uint64_t incarnation) { forgotten_.insert(incarnation); }

  ExitStatus exit_status(std::uint64_t incarnation, pid_t pid) override;
  bool is_alive() const override;
  void bury(std::uint64_t incarnation) override;

  std::uint64_t number() const { return number_; }
  std::uint32_t generation() const { return generation_; }
  Life& life() { return life_; }
  const Life& life() const { return life_; }
  std::string label() const { return "the nursery (PID " + std::to_string(life_.process.pid()) + ")"; }

  // The supervisor's notes.
  WorkerOutput output;
  bool is_ready = false;              // it forks
  bool was_ready = false;             // it has loaded the module: what follows is a life, not a start
  bool is_ending = false;             // asked to
  std::int64_t stopped_since_ns = 0;  // seen stopped by a signal; 0: it is not
  std::int64_t due_ns;                // start_timeout, while it loads; stop_timeout
  std::optional<Error> failure;       // why it does not start, or was killed

 private:
  bool hear();  // one datagram; false: there is none
  void child_ended(const ipc::ChildEnded& child);

  const std::uint64_t number_;
  const std::uint32_t generation_;
  Life life_;
  std::deque<Word> words_;
  std::map<std::uint64_t, ExitStatus> ends_;  // of children, until they are buried
  std::set<std::uint64_t> forgotten_;
  std::vector<std::uint64_t> to_bury_;        // of which it could not be told yet
  bool has_ended_ = false;                    // its socket has
};

}  // namespace samovar::core
