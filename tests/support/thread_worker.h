// ThreadWorker: a worker that is a thread. It runs ipc::WorkerEnd on the very mapping of the HostEnd, so that ThreadSanitizer
// sees both sides of every lane; what it does for a call is written here in C++, and it can die at a chosen point.
//
// Fleet: a core::Dispatcher with such workers, and a thread that does for them what the supervisor does for processes: it
// pings, attaches, proves deaths (joins the thread), detaches, replaces, and is the dispatcher of last resort.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "core/dispatch/dispatcher.h"
#include "core/dispatch/wake_set.h"
#include "core/observe/counters.h"
#include "core/observe/events.h"
#include "core/observe/log.h"
#include "ipc/channel.h"
#include "ipc/packed.h"
#include "tests/support/wait_until.h"

namespace samovar::test {

// What every worker offers, by number: a method's place here plus one.
enum class Method : std::uint16_t {
  echo = 1,   // every byte of the payload, inverted
  sleep = 2,  // microseconds in the first four bytes; then as echo
  fail = 3,   // an exception: ValueError("no luck")
  hold = 4,   // runs until release(), revoked or dead; then as echo
  same = 5,   // the payload itself: where it lies in the request arena, a reference to it
  keep = 6,   // nothing; where the payload lies in the request arena it is viewed on, until the next `keep`
  stream = 7, // as many chunks as the first four bytes say, each its number; then as echo
  ask = 8,    // as many questions as the first four bytes say, "double" of each one's number, one after the other; then as echo
  ask_at_once = 9,  // the same, all of them before it reads an answer, which it does after release()
  batched = 10,     // takes up to eight calls at once; as echo
};
std::vector<ipc::Method> methods();  // in this order

// Where a worker dies, as if by SIGKILL at that instruction.
enum class Point {
  never,
  before_start,     // it has seen the request
  after_start,      // `started` is stored, nothing else
  in_handler,       // the handler has run, its response is claimed and written, not published
  after_consume,    // the request's record is given back, the response is not published
  after_response,   // the response is published
  after_question,   // a question is published; of `ask` alone
};
inline constexpr Point kDeaths[] = {Point::before_start, Point::after_start, Point::in_handler, Point::after_consume,
                                    Point::after_response};

// What goes wrong with a worker, and at which of its requests (the ping is not counted; 0 is the first).
struct Fate {
  Point death = Point::never;
  std::uint64_t at = 0;
};

// What a worker does that a right one does not do.
enum class Lie {
  none,
  never_consumes,      // answers, but never gives a request's record back
  wrong_call_id,       // answers a call that it was not asked
  skips_unasked,       // says "skipped" of a call that was not revoked
  garbage_response,    // publishes what is no FlatBuffer
  garbage_commit,      // publishes a commit word that cannot be
  started_runs_ahead,  // says that it has begun 1000 requests
  block_outside,       // names a block that ends behind its arena
  block_off_page,      // names one that begins nowhere
  no_block,            // says that its reply lies in its arena, and not where
  not_its_argument,    // says that its reply lies in an argument in the arena
  keeps_no_argument,   // says that it views an argument in the arena
  unknown_flags,
  answers_twice,       // answers a call a second time; as those below where it runs several at once
  answers_unbegun,     // answers a call that it has not begun
  chunk_unasked,       // sends a chunk of a call that is no stream
  chunk_beyond_credit, // sends one more chunk than it may
  chunk_outside,       // sends a chunk that ends behind its arena
  asks_for_another,    // asks a question for a call that it has not been given
  asks_after_answer,   // asks one for a call that it has answered
  asks_no_arguments,   // asks one whose payload says that it is something else
  asks_with_flags,     // asks one that says it lies in the arena
  asks_garbage,        // asks one whose payload says that it is arguments, and is not: no breach of the protocol
  packed_for_another,  // answers another call in a packed record
  packed_too_many,     // answers one more there than it was asked
  packed_cut,          // an item there ends behind the record
  packed_empty,        // no item there
  packed_with_flags,   // says that such a record lies in its arena
  releases_unasked,    // releases an argument that it does not have, besides one that it views
};

// Ends the test program: a side has done what neither may.
[[noreturn]] void broken(const char* what);

class ThreadWorker {
 public:
  // Told of each call as its handler begins, in the worker's thread.
  using OnRun = std::function<void(std::uint64_t call_id, std::span<const std::byte> payload)>;

  // Requires: `channel` outlives this and is given to nobody else's WorkerEnd.
  // `concurrency` > 1: begins so many at once, as an event loop does, gives their records back, and answers them in any order.
  ThreadWorker(ipc::HostEnd& channel, std::span<const std::byte> request_arena, Fate fate, Lie lie, std::int64_t spin_max_ns, OnRun on_run,
               std::uint32_t concurrency = 1, std::uint32_t stream_window = 64);
  ~ThreadWorker();  // kills it

  void release() { released_.store(true); }    // lets `hold` return, now and later
  void kill();                                 // it ends at its next look, publishing nothing more
  void join() { thread_.join(); }
  bool ended() const { return ended_.load(); }  // its thread touches the channel no more

  std::uint64_t served() const { return served_.load(); }          // responses published, the ping's not counted
  std::uint64_t holding() const { return holding_.load(); }        // calls that are, or were, in `hold`

 private:
  // A call of a batch.
  struct BatchItem {
    std::uint64_t call_id;
    std::uint64_t number;
    ipc::Kind kind;
    ipc::Status status;
    std::vector<std::byte> payload;
  };

  // A call of several at once.
  struct Begun {
    ipc::Request request;  // without its payload
    std::uint64_t number = 0;
    std::vector<std::byte> payload;
    bool cancelled = false;
  };

  void run();
  void run_at_once();
  bool begin_one(const ipc::Request& request, std::vector<Begun>& begun);  // false: it has died
  bool answer_one(std::vector<Begun>& begun);                              // likewise
  void hear_notes(std::vector<Begun>& begun);
  bool serve(const ipc::Request& request);  // false: it has died
  bool begin_record(const ipc::Request& record, std::vector<BatchItem>& items);  // likewise; this and the next in thread_batch.cc
  bool serve_batch(ipc::Request record);                                         // likewise
  void count_consumed(const ipc::Request& request);
  std::byte* claim(std::size_t payload_bytes);  // room for a response; null: it has been killed
  bool respond(const ipc::Response& response, bool publish, bool consume_first);
  bool place(ipc::Response& response);  // in the arena, where it is large; false: it has been killed
  // Does nothing until `condition` or killed. Looks now and then, since nobody is told of a word in a lane.
  template <typename Condition>
  void idle_until(Condition&& condition) const {
    while (!killed_.load() && !condition()) std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
  bool dies(Point point) const { return fate_.death == point && number_ == fate_.at; }
  void lie(const ipc::Request& request);
  void lie_in_packed(const ipc::Request& request);
  bool stream(const ipc::Request& request);  // false: nobody waits any more, or it has been killed
  bool send_chunk(const ipc::Request& request, std::uint64_t number);

  // Questions: thread_questions.cc.
  enum class Asked { answered, refused, cancelled, dead };
  Asked ask(const ipc::Request& request);  // refused: failure_ says why
  bool send_question(const ipc::Response& question);
  void lie_in_question(const ipc::Request& request);

  ipc::HostEnd& channel_;
  const Fate fate_;
  const Lie lie_;
  const OnRun on_run_;
  const std::uint32_t concurrency_;
  const std::uint32_t stream_window_;
  std::uint64_t dice_ = 0x9e37'79b9'7f4a'7c15;
  std::unique_ptr<ipc::WorkerEnd> end_;
  std::uint64_t number_ = 0;     // of the running request
  std::uint64_t consumed_ = 0;   // what WorkerEnd would publish; for Point::after_consume
  std::vector<std::byte> result_;
  std::vector<std::byte> reference_;      // to the block where the result lies
  std::vector<std::byte> failure_;        // that an answer of the host said
  std::optional<std::uint64_t> viewed_;  // the call whose payload is viewed on

  std::atomic<bool> released_{false};
  std::atomic<bool> killed_{false};
  std::atomic<bool> ended_{false};
  std::atomic<std::uint64_t> served_{0};
  std::atomic<std::uint64_t> holding_{0};
  std::thread thread_;
};

// Options of a pool of thread workers, resolved: as core::resolve would, and quick.
Options fleet_options(unsigned workers, Dispatcher dispatcher);

class Fleet {
 public:
  struct Plan {
    std::function<Fate(int slot, std::uint64_t incarnation)> fate;  // empty: nobody dies
    std::function<Lie(int slot, std::uint64_t incarnation)> lie;    // empty: nobody lies
    bool replace = true;                                            // dead workers
    bool backstop = true;                                           // as the supervisor does
    unsigned cores = 2;
    core::MethodNumbers numbers{1, 2, 3, 4, 5, 6, 7, 8, 9, 10};  // 0 for a method that the workers lack
    ThreadWorker::OnRun on_run;
    std::uint32_t concurrency = 1;  // of each worker; as Options::concurrency
  };

  explicit Fleet(Options options) : Fleet(std::move(options), Plan{}) {}
  Fleet(Options options, Plan plan);
  ~Fleet();  // drain, the end of all workers, then of the dispatcher

  core::Dispatcher& dispatcher() { return *dispatcher_; }
  core::Dispatcher* operator->() { return dispatcher_.get(); }
  const core::Counters& counters() const { return counters_; }
  core::RequestArena& arena() { return *arena_; }
  Loan loan(std::size_t bytes);  // must have room
  int completion_fd() const { return wake_set_->completion_fd(); }

  // Of the incarnation that serves the slot now.
  void kill(int slot);     // ... and waits until its death has been told to the dispatcher
  void release(int slot);  // lets `hold` return
  void retire(int slot);   // ... and waits until its lane is empty
  std::uint64_t served(int slot);
  std::uint64_t holding(int slot);
  std::uint64_t deaths() const { return deaths_.load(); }
  std::vector<std::string> violations();

  // Ends everything but the dispatcher and the counters, as Pool::drain does. Idempotent.
  void finish(std::chrono::milliseconds drain = {});

 private:
  struct Slot {
    std::shared_ptr<ipc::HostEnd> channel;
    std::unique_ptr<ThreadWorker> worker;
    std::uint64_t incarnation = 0;
    bool kill = false;
    bool drained = false;
  };

  void supervise();
  void start(int slot);
  void bury(int slot, std::string how);
  static void await_pong(ipc::HostEnd& channel);

  const Options options_;
  const Plan plan_;
  core::Counters counters_;
  core::Bell bell_;
  core::Log log_{options_};
  core::Events events_{options_, log_, bell_};
  core::RequestArena::Owner arena_;
  std::unique_ptr<core::WakeSet> wake_set_;
  std::unique_ptr<core::Dispatcher> dispatcher_;

  std::mutex mutex_;
  std::vector<Slot> slots_;              // guarded by mutex_
  std::vector<std::string> violations_;  // guarded by mutex_
  std::uint64_t incarnations_ = 0;       // guarded by mutex_
  bool finishing_ = false;               // guarded by mutex_
  std::atomic<std::uint64_t> deaths_{0};
  std::thread supervisor_;
};

// Bytes that say of which call they are and prove that they came back whole.
class Sample {
 public:
  // `size` >= 12: microseconds for `sleep`, the number, then bytes that follow from it.
  static std::vector<std::byte> make(std::uint64_t number, std::size_t size, std::uint32_t sleep_us = 0);
  static std::uint64_t number(std::span<const std::byte> payload);
  static bool is_reply_to(std::span<const std::byte> reply, std::span<const std::byte> payload);
};

}  // namespace samovar::test
