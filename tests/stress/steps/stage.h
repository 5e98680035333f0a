// Stage: a pool with a worker whose main thread is stopped at an instruction while calls lie in its lane. What the channel says
// then foretells the outcome of each call, and is afterwards compared with what its callback was told.
//
// Threads: one, the tracer.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <ostream>
#include <set>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include <samovar/samovar.h>

#include "tests/stress/stress.h"
#include "tests/support/channel_view.h"
#include "tests/support/pools.h"
#include "tests/support/processes.h"
#include "tests/support/tracee.h"

namespace samovar::test {

enum class Until {
  second_call_begins,    // all of one call: taken, run, answered
  second_call_answered,  // what one leaves to be done in the next, too
  sleep,                 // until the worker has nothing left to do
};

// What is stepped through.
struct Script {
  const char* name;
  const char* method;          // of steps.py
  std::size_t argument_bytes;  // more than kInlineBytes: in the request arena
  int calls;                   // in the lane when the worker goes on
  Until until;
  Dispatcher dispatcher = Dispatcher::caller;
  unsigned workers = 1;        // 2: the other one stands still, too, until let_other_run()
};
inline void PrintTo(const Script& script, std::ostream* out) { *out << script.name; }
inline constexpr std::uint32_t kInlineBytes = 128;

// The timeout of calls that are not to pass it: longer than a test is patient, and where a soak runs beside much else, than any step.
inline Duration no_deadline() { return for_soak<Duration>(std::chrono::seconds(25), std::chrono::minutes(10)); }

// An instruction at which to stop, counted from where the worker wakes.
struct Point {
  std::uint64_t number = 0;
  bool in_extension = true;  // counts the extension's instructions; else all
  std::uint64_t steps = 0;   // instructions up to there, in the course that it was chosen from

  std::string to_string() const {
    return in_extension ? "instruction " + std::to_string(number) + " of the extension" : "step " + std::to_string(number);
  }
};

// A run through a script.
struct Course {
  std::uint64_t steps = 0;
  std::uint64_t in_extension = 0;
  // The extension's instructions that count: each (instruction, channel state) pair where it comes first and last. What
  // comes between, the rounds of a loop, nobody else can tell apart.
  std::vector<Point> telling;
  std::size_t pairs = 0;
  Duration time{};

  Duration time_to(Point point) const {
    return time * static_cast<std::int64_t>(point.steps) / static_cast<std::int64_t>(steps);
  }
};

// A call, and what its callback was told.
struct Told {
  std::uint64_t number = 0;
  std::vector<std::byte> argument;
  bool idempotent = false;
  std::stop_source stop;

  std::mutex mutex;
  int times = 0;                         // guarded by mutex
  std::optional<Result<Reply>> outcome;  // guarded by mutex: the first

  int times_told();
  std::uint32_t checksum() const;      // of the argument, as steps.py has it
  std::string describe();              // "call 17: a reply from process 4711"
  std::optional<Code> error();         // of its outcome; nothing where it is a reply, or is to come
  std::optional<pid_t> replied_by();   // the process that says it did; nothing where the outcome is no reply
  bool is_right();                     // an outcome, and if a reply, then one that fits the argument
};

class Stage {
 public:
  explicit Stage(const Script& script, const std::string& python = {});  // `python`: the interpreter, or what stands for it

  // The worker stops, where it sleeps, and the calls of the script are put into its lane, with this `timeout` and `idempotent`.
  void set(Duration timeout, bool idempotent);

  // What set() does, apart: forgets the calls and notes of what was before; sends the calls of the script.
  void begin();
  void send_all(Duration timeout, bool idempotent);
  void kill_worker();

  // Steps to `point`. False: the script was over before; the worker stands at its end.
  bool step_to(Point point);
  Course survey();  // steps through all of it, and lets the worker go on

  // Waits until each call has been told its outcome. False, after saying so, where one was not in time.
  bool all_told();

  // After all is over: the pool serves, and has nothing of what was but its counters. Replies are let go.
  void expect_at_rest();

  // What the workers wrote down: which calls began, in order, where, and the checksum of what they have read, when they had.
  struct Note {
    std::uint64_t number;
    std::uint32_t pid;
    std::uint32_t crc;  // 0: it begins
  };
  std::vector<Note> notes() const;  // since begin()
  int times_begun(const Told& call) const;

  void let_other_run();

  ChannelState state();  // requires: the worker is stopped, or idle
  const std::vector<std::uint64_t>& in_lane() const { return in_lane_; }  // of two workers: calls that the stopped one got
  Pool& pool() { return *pool_; }
  Tracee& worker() { return *tracee_; }
  std::vector<std::shared_ptr<Told>>& calls() { return calls_; }
  const Stats& before() const { return before_; }

  std::shared_ptr<Told> send(Duration timeout, bool idempotent = false);
  void expect_served();  // one call more, and its reply

  // What was reached: among others, how many distinct (instruction of the extension, channel state) pairs step_to() stopped at.
  std::string report(const Course& course, std::size_t points) const;

 private:
  using Pair = std::pair<std::uint64_t, ChannelState>;

  bool at_end(const ChannelState& state) const;
  std::vector<pid_t> find_workers();
  void await_both(const std::vector<pid_t>& workers);

  const Script script_;
  Folder folder_;
  std::optional<Pool> pool_;
  std::optional<Tracee> tracee_;
  std::optional<Tracee> other_;
  std::optional<ChannelView> view_;
  CodeRange extension_;
  std::set<Pair> pairs_;
  std::vector<std::uint64_t> in_lane_;
  std::vector<std::shared_ptr<Told>> calls_;
  std::uint64_t next_number_ = 1;
  std::size_t noted_before_ = 0;
  Stats before_;
  std::size_t descriptors_ = 0;
  std::size_t threads_ = 0;
  std::size_t mappings_ = 0;
};

}  // namespace samovar::test
