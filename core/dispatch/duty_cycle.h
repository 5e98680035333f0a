// DutyCycle: the dispatcher's work, one turn at a time: responses in, calls out, deadlines. It never waits and never calls
// user code; what has to follow a turn (threads to wake, callbacks to run, workers to kill) it leaves in its Outbox.
//
// Threads: the holder of the dispatch token, but for the parts marked "any".
// Invariants: (1) A call is in exactly one of: inbox, pending list, a batch that waits, one journal, done. (2) Each call leaves with exactly one
// outcome, by Call::claim(). (3) What comes from a worker's pages is copied, checked and only then used.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include <samovar/options.h>

#include "core/arenas/request_arena.h"
#include "core/dispatch/batching.h"
#include "core/dispatch/breakers.h"
#include "core/dispatch/journal.h"
#include "core/dispatch/method_table.h"
#include "core/dispatch/pending_queue.h"
#include "core/dispatch/placement.h"
#include "core/dispatch/questions.h"
#include "core/observe/call_events.h"
#include "core/observe/counters.h"
#include "ipc/channel.h"
#include "ipc/packed.h"

namespace samovar::core {

// Numbers of the pool's methods in one worker's list; 0 where it lacks one (0 is the worker's own ping).
using MethodNumbers = std::vector<std::uint16_t>;

struct Death {
  std::uint64_t incarnation = 0;
  std::string how;     // "worker 2 (PID 4711) was killed by signal 9 (SIGKILL)"
  std::string output;  // the last lines it printed
  std::string stacks;  // of its Python threads, where they were asked for before it was killed
};

// A worker that serves: where it is to be kept, and who it is.
struct Attachment {
  int slot = -1;
  int worker = -1;  // as users see it
  std::uint64_t incarnation = 0;
  std::shared_ptr<ipc::HostEnd> channel;
  MethodNumbers numbers;
  int node = ipc::kAnyNode;  // that it runs on
  std::uint32_t concurrency = 1;  // calls that it runs at once
  bool has_event_loop = false;    // then it is told of calls that nobody waits for any more
};

// Besides one for each worker: for one that is to replace another which still serves.
inline constexpr unsigned kSpareSlots = 1;

class DutyCycle {
 public:
  struct Violation {
    int slot;
    std::uint64_t incarnation;
    std::string what;
  };

  // A retiring worker's lane is empty.
  struct Drained {
    int slot;
    std::uint64_t incarnation;
  };

  // What a slot's worker has to do, for the supervisor.
  struct Report {
    std::uint64_t incarnation = 0;  // 0: no worker
    std::uint32_t in_flight = 0;
    std::uint32_t method = 0;                 // of the oldest call in its lane
    std::int64_t deadline_ns = ipc::kNever;  // likewise
  };

  // The calls for which no worker is free, in the queue or behind others in a lane; for the supervisor.
  struct Demand {
    std::uint32_t waiting = 0;
    std::uint64_t oldest = 0;  // ticket of the first of them; 0: none waits
    std::uint64_t newest = 0;  // ticket that was given out last
    std::int64_t at_ns = 0;    // when this was so
  };

  enum Signal : std::uint8_t {
    kRing = 1,       // the sentinel's call is done: ring the epoll
    kCallsWait = 2,  // with no worker free, for the first time since demand() told of none
    kDueSooner = 4,  // next_due_ns() may be earlier than who sleeps has been told
  };

  struct Outbox {
    std::vector<Call*> wake;      // waiters that sleep on their call; the pointers may be stale, a wake is harmless
    Call* ready_first = nullptr;  // asynchronous calls with their outcome, in order
    Call* ready_last = nullptr;
    std::uint8_t signals = 0;
    std::vector<Violation> violations;
    std::vector<Drained> drained;
    std::vector<Question> questions;
    std::vector<Call*> stranded;  // waiting calls that no worker will run, with the dispatcher's reference: for OneShots

    void add_ready(Call& call);
    bool empty() const { return wake.empty() && !ready_first && signals == 0 && violations.empty() && drained.empty() && stranded.empty() && questions.empty(); }
  };

  DutyCycle(const Options& options, const Methods& methods, PendingQueue& queue, Breakers& breakers, CallEvents& call_events,
            Counters& counters, RequestArena& arena);

  // One turn. Returns how many calls and responses moved.
  std::size_t run();

  // Whether a turn would find something, but for deadlines: a few loads, for spinning.
  bool has_work() const {
    for (const Slot& slot : slots()) {
      if (!slot.journal.empty() && slot.channel->responses.has_record()) return true;
    }
    return queue_.has_arrivals();
  }

  // How many calls `method` takes at once. Threads: any.
  std::uint32_t calls_at_once(std::uint32_t method) const { return methods_.now().has_batches() ? std::max(rule_of(method).max, 1u) : 1; }

  // Only sends what lies in the queue; for submit(), which leaves the responses' cache lines alone.
  std::size_t send_pending();

  // Enters an admitted call, claimed by its admitter, past the inbox: the admitter holds the token. It goes straight into a
  // lane where none waits before it and a worker has room.
  void enter(Call& call);

  // Enters several, as enter(), if they are a whole batch of their method and nothing keeps them from being sent at once. False: nothing of
  // theirs has changed.
  bool enter_batch(std::span<Call* const> calls);

  // The holder waits for calls with this `waiter`; null: for none. To be taken back before the token is released.
  void set_waiter(const void* waiter) { waiter_ = waiter; }

  // The holder is about to enter several calls of `method`, and holds the token until stop_gathering(): a batch waits for them. How many
  // calls the method takes at once.
  std::uint32_t gather(std::uint32_t method) {
    const std::uint32_t max = calls_at_once(method);
    batching_.gather(max > 1 ? method : Batching::kNoMethod);
    return max;
  }
  void stop_gathering() { batching_.gather(Batching::kNoMethod); }

  // Deadlines, and calls that lie ready behind a stuck one while a worker is idle. run() looks at the clock now and then;
  // who has slept calls this.
  void run_timers();

  // What a worker's end brings in and takes away.
  void attach(Attachment attachment);
  std::shared_ptr<ipc::HostEnd> detach(int slot, const Death& death);  // the channel, or null where it was not attached

  // Gives the worker no more calls and takes back what it has not begun; when its lane is empty the outbox says so.
  void retire(int slot, std::uint64_t incarnation);

  // One for each slot.
  void report(std::vector<Report>& reports);

  // Right after a turn. While calls wait who asks has to ask again; when none does, the outbox tells of the next that has to.
  Demand demand();

  // Ends every call that has no outcome yet in `error`.
  void fail_all(const Error& error);

  // While `why` is set and there is no worker, waiting calls end in it. Null: they wait again.
  void bar(std::shared_ptr<const Error> why);

  // Drops the calls in the queue that have their outcome, and revokes those in lanes.
  void sweep();

  // Tells workers of credit for their streams, and of streams that nobody waits for any more. Looks at all calls in lanes.
  void send_notes();

  // Writes answers of the host's functions to who has asked, as soon as there is room; where nobody waits any more they are dropped.
  void send_answers(std::vector<Answer> answers);

  // Tells all workers whether the host is about to sleep, so that they ring. A fence and a last turn must follow.
  void announce_asleep(bool asleep);
  bool announced_asleep() const { return asleep_; }

  // When the next turn is due although nothing comes in.
  std::int64_t next_due_ns() const;

  std::uint32_t busy_workers() const { return busy_; }
  Outbox& outbox() { return outbox_; }

 private:
  struct Slot {
    std::shared_ptr<ipc::HostEnd> channel;  // null: no worker
    std::uint64_t incarnation = 0;
    int worker = -1;
    MethodNumbers numbers;
    Journal journal;
    std::unordered_map<std::uint64_t, detail::Block> escaped;  // arguments still viewed after their calls, by call id
    bool broken = false;       // it broke the protocol; it is about to be killed
    bool retiring = false;     // gets no more calls
    bool drained = false;      // and has been told of in the outbox
    bool crowded = false;      // it sent chunks, of which any number may fill its lane
    bool touched = false;      // published or consumed since the last look at its `asleep`
    std::int64_t mean_service_ns = 0;
    std::uint32_t sampled = 0;
    std::uint32_t concurrency = 1;
    bool has_event_loop = false;
    bool stuck = false;                  // its event loop does not begin what it has: it gets no more until it does
    std::uint64_t watched = 0;           // progress() when that was last seen
    std::int64_t watched_since_ns = 0;

    explicit Slot(std::uint32_t journal_capacity) : journal(journal_capacity) {}
    bool has_method(std::uint32_t method) const { return method < numbers.size() && numbers[method] != 0; }
  };

  std::span<Slot> slots() { return {slots_.data(), slots_used_}; }
  std::span<const Slot> slots() const { return {slots_.data(), slots_used_}; }
  std::span<const WorkerLoad> loads() const { return {loads_.data(), slots_used_}; }

  std::size_t take_responses(int index);
  bool take_response(int index, Slot& slot);  // false: the worker broke the protocol
  bool take_packed(int index, Slot& slot);    // likewise
  void resolve(int index, Slot& slot, Journal::Entry& entry, ipc::Response& response, bool claimed);
  static Journal::Entry* find_begun(Slot& slot, std::uint64_t call_id);
  bool take_question(int index, Slot& slot, Journal::Entry* entry);  // likewise
  bool take_chunk(int index, Slot& slot, Journal::Entry* entry);  // likewise
  const char* accept_chunk(Slot& slot, const Journal::Entry& entry, ipc::Response& response);
  bool send_note(Slot& slot, const ipc::Note& note);  // false: the lane is full
  // Whether a worker may wait for notes of that call, so that it has to be told that nobody waits for it.
  static bool hears_notes(const Slot& slot, const Call& call) { return call.stream || call.asks || slot.has_event_loop; }
  const char* accept(Slot& slot, const Journal::Entry& entry, ipc::Response& response);  // what is wrong with it, or null
  void settle_blocks(Slot& slot, Call& call, const ipc::Response& response, bool claimed);
  void take_releases(int index, Slot& slot);
  void settle(const Slot& slot, Call& call);  // requires: claimed, its response written
  // A call's place in its batch: how many follow, and whether others lay before the first.
  struct Place {
    std::uint32_t rest;
    bool revocable;
  };
  bool send(int index, Call& call, const Place* in_batch = nullptr);  // requires: claimed; false: the lane is full
  bool knows(const Slot& slot, Call& call);  // requires: claimed; false: the worker lacks its method, and it has been given up
  static std::span<const std::byte> payload_in_record(Call& call, ipc::BlockReference& block);
  std::uint8_t flags_of(Slot& slot, const Call& call);
  void note_sent(Slot& slot, Call& call, std::uint64_t lane_position, const Place& place);
  void settle_sent(int index, std::size_t calls);  // after their note_sent()

  // Batches, in batches.cc.
  BatchRule rule_of(std::uint32_t method) const;
  bool keep_for_batch(Call& call);  // false: its method takes one at a time
  Call* ready_batch();
  std::optional<std::size_t> send_batch(int index, std::uint32_t method);
  struct LaneRoom {
    std::uint64_t taken = 0;    // by the records before, at most
    std::uint64_t largest = 0;  // of them
  };
  bool has_room_for(const Slot& slot, const Call& call, LaneRoom& room) const;
  void collect_batch(Slot& slot, std::uint32_t method);
  std::size_t send_collected(int index);
  std::size_t send_packed(int index, std::span<Call* const> calls, Place& place);
  void tell_batch_waiting();

  // Calls that wait, in the pending list or in a batch. leave() takes one out; wait_again() puts one back that had left.
  void leave(Call& call);
  void wait_again(Call& call);
  template <typename Visit>
  void for_each_waiting(Visit&& visit) {  // which may take the call out
    for (Call* call = queue_.front(); call;) {
      Call* next = call->next;
      visit(*call);
      call = next;
    }
    batching_.for_each(visit);
  }

  void take_inbox();
  void tell_waiting();
  void expire(std::int64_t now_ns);
  void take_back_for_idle(std::int64_t now_ns);
  bool take_back(int index, std::uint64_t number);
  static std::uint64_t first_waiting(const Slot& slot);
  static std::uint64_t progress(Slot& slot);
  static bool is_stuck(const Slot& slot, std::int64_t now_ns);
  void set_stuck(std::size_t index, bool stuck);
  void renew_credit(int index);
  void ring_workers();
  void lose(int index, Journal::Entry& entry, const Death& death, bool started);
  void end_waiting();
  void fail_waiting(const Error& error);
  void give_up(Call& call, Error error);    // requires: claimed
  void give_up_at_deadline(Call& call, bool sent);  // likewise
  void complete(Call& call);              // requires: claimed, outcome written
  void wake(Call& call, Call::Sleeper sleeper);
  void release(Call& call);               // drops the dispatcher's reference
  Call::By mover_of(const Call& call) const {
    return waiter_ != nullptr && call.waiter.load(std::memory_order_relaxed) == waiter_ ? Call::By::waiter : Call::By::anyone;
  }
  void drop_done(Call& call);                       // from the queue
  void tell_if_unanswered(Journal::Entry& entry);   // requires: its call has begun, and has its outcome
  void watch_deadline(Call& call);
  void forget_deadline(Call& call);
  void violate(int index, std::string what);
  void update_load(int index);
  int choose_worker_for(const Call& call) const {
    return several_nodes_ ? choose_worker_near(loads(), call.node) : choose_worker(loads());
  }

  const Options& options_;
  const Methods& methods_;
  PendingQueue& queue_;
  Batching batching_;
  std::vector<Call*> batch_;  // that is being sent
  ipc::PackedRequests packed_;  // of it
  Breakers& breakers_;
  CallEvents& call_events_;
  Counters& counters_;
  RequestArena& arena_;
  const bool several_nodes_;  // workers are on
  Outbox outbox_;

  std::vector<Slot> slots_;
  std::vector<WorkerLoad> loads_;
  std::size_t slots_used_ = 0;      // one behind the last that has a worker: no turn looks further
  std::uint32_t busy_ = 0;          // slots with something in their lane
  std::uint64_t used_ = 0;          // counts sends, for "most recently used"
  const void* waiter_ = nullptr;
  bool asleep_ = false;
  const bool follows_load_;         // the supervisor wants to know when calls wait
  bool tells_waiting_;
  std::vector<Answer> answers_;     // not yet written
  bool notes_due_ = false;          // some worker has to be told something
  bool note_lane_full_ = false;     // and there was no room for it
  std::uint32_t turns_ = 0;

  std::shared_ptr<const Error> barred_;
  Call* due_first_ = nullptr;       // asynchronous calls without outcome, linked by due_next
  std::int64_t earliest_due_ns_ = ipc::kNever;  // a lower bound
  std::vector<std::byte> scratch_;  // late responses
};

}  // namespace samovar::core
