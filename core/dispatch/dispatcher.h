// Dispatcher: who runs the duty cycle, when, and how everybody else waits. call(), submit() and poll() live here.
//
// Modes: caller and manual have no thread (a thread in call() works while it waits); pinned has one, which holds the token
// for good. The supervisor calls backstop() so that submitted calls move on although nobody polls.
// Threads: any, but for start_pinned() and the destructor.
//
// SYNC POINT, enqueue <-> dispatcher. Enqueuer: enqueue, FENCE (or a failed attempt at the token, which is one), look for
// somebody in charge. Holder: give up the token, FENCE, look at the inbox again. Without them the holder could leave beside
// a call whose thread has left already (submit). The same pair serves `attention`: raise, FENCE, look for the token.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string_view>
#include <thread>
#include <vector>

#include <samovar/async.h>
#include <samovar/callback.h>
#include <samovar/options.h>
#include <samovar/request.h>
#include <samovar/stream.h>

#include "core/arenas/request_arena.h"
#include "core/dispatch/bell.h"
#include "core/dispatch/breakers.h"
#include "core/dispatch/call.h"
#include "core/dispatch/duty_cycle.h"
#include "core/dispatch/method_table.h"
#include "core/dispatch/pending_queue.h"
#include "core/dispatch/questions.h"
#include "core/dispatch/token.h"
#include "core/dispatch/wake_set.h"
#include "core/fallback/one_shots.h"
#include "core/observe/call_events.h"
#include "core/observe/counters.h"
#include "core/observe/events.h"
#include "ipc/adaptive_spin.h"

namespace samovar::core {

class Dispatcher final : private Call::Owner, private OneShots::Ends {
 public:
  // What the supervisor has to be told. Called by whoever has run a turn, under the token: must not wait.
  struct Supervision {
    std::function<void(const DutyCycle::Violation&)> kill_worker;
    std::function<void(DutyCycle::Drained)> worker_drained;
    std::function<void()> calls_wait{};  // where the number of workers follows the load
  };

  // `options` with defaults resolved; it and what is passed by reference outlive this. `cores`: how many this process may
  // use. `backstop_bell` wakes the thread that calls backstop().
  Dispatcher(const Options& options, MethodTable methods, Counters& counters, Events& events, RequestArena& arena, WakeSet& wake_set,
             Bell& backstop_bell, unsigned cores, Supervision supervision);
  ~Dispatcher();

  // The number of a method in methods().
  Result<std::uint32_t> find(std::string_view method) const;

  Result<Reply> call(std::string_view method, const Payload& payload, const CallOptions& options);
  Result<Reply> call(std::uint32_t method, const Payload& payload, const CallOptions& options);
  Result<void> submit(std::string_view method, const Payload& payload, Callback done, const CallOptions& options);
  AsyncCall async_call(std::string_view method, const Payload& payload, const CallOptions& options);
  AsyncCall async_call(std::uint32_t method, const Payload& payload, const CallOptions& options);
  std::vector<Result<Reply>> call_many(std::span<const Request> requests, const CallOptions& options);
  std::vector<Result<Reply>> call_many(std::string_view method, std::span<const Payload> payloads, const CallOptions& options);
  Result<Stream> stream(std::string_view method, const Payload& payload, const CallOptions& options);
  Result<void> submit_stream(std::string_view method, const Payload& payload, std::function<void(Reply)> on_chunk, Callback on_end,
                             const CallOptions& options);
  std::size_t poll();

  // By a stream's waiter; the dispatcher may be gone once the call is done.
  static Result<std::optional<Reply>> next_chunk(Dispatcher* dispatcher, Call& call);
  static Call* take_chunk(Dispatcher* dispatcher, Call& call);

  // A block of the request arena; while that is full, waits until `until_ns` or `stop`. Blocks. Fails as RequestArena::allocate().
  Result<detail::Block> loan(std::uint64_t bytes, std::int64_t until_ns, const std::stop_token& stop = {});

  // By the supervisor. attach(), retire() and detach() take effect in the next duty cycle, which they start where nobody is in charge.
  void attach(Attachment attachment);
  void retire(int slot, std::uint64_t incarnation);
  void detach(int slot, Death death);
  void extend_methods(std::vector<ipc::Method> methods);  // all of them, those known in their order first

  // What each slot's worker has to do, and what waits for one. Where somebody else moves calls just now, as it was the last time.
  DutyCycle::Demand report(std::vector<DutyCycle::Report>& reports);

  // Refuses calls with `why`, and ends those that wait in it, while there is no worker; until unbar().
  void bar(Error why);
  void unbar();

  void backstop();
  void look_for_blocks();  // workers may have released some

  void expose(std::string_view name, detail::HostFunction function) { questions_.expose(name, std::move(function)); }

  // Once, before the first call: where calls go that the pool cannot run, or all of them.
  void use_one_shots(const Launcher& launcher, Events& events, const Log& log);
  void expire_one_shots();

  // Starts the thread of Dispatcher::pinned. False: it could not be pinned to `cpu`, and runs wherever the kernel likes.
  bool start_pinned(int cpu);

  // Refuses new calls from now on; waits until every accepted one has its outcome, or `until_ns`; fails those left.
  void drain(std::int64_t until_ns);
  void stop_pinned();

  // After drain() and the workers' end: tells whoever has submitted or awaits a call, though nobody polls.
  void tell_the_rest();

  const MethodTable& methods() const { return methods_.now(); }
  const Breakers& breakers() const { return breakers_; }
  CallEvents& call_events() { return call_events_; }  // for the supervisor to tell
  std::uint32_t queued() const { return queue_.size(); }
  std::uint64_t accepted() const { return queue_.admitted(); }

 private:
  struct Mail {
    enum class What : std::uint8_t { attach, retire, detach };
    What what;
    Attachment attachment;  // of retire and detach: the slot alone
    Death death;            // of retire: the incarnation alone
  };

  struct Batch;  // batch.cc, as:
  struct BatchPrepared;

  enum Attention : std::uint32_t {
    kMail = 1,       // the supervisor brings or takes a worker
    kAbandoned = 2,  // calls have got their outcome outside the duty cycle
    kLookAgain = 4,  // a poller has armed completion_fd() and could not look itself
    kClosing = 8,    // fail what is left
    kLookForBlocks = 16,  // a worker may have released some
    kReport = 32,    // the supervisor asks what workers have to do
    kBarred = 64,    // barred_ has changed
    kCredit = 128,   // chunks have been taken
    kAnswers = 256,  // functions of the host have answered
  };

  // The ways into the pool.
  std::int64_t deadline_of(const CallOptions& options) const;
  Result<Call*> prepare(std::uint32_t method, const Payload& payload, const CallOptions& options, Batch* batch = nullptr);
  Error refuse(Call& call, Error error);  // not admitted: it goes back
  Result<void> place(Call& call, const Payload& payload, const CallOptions& options);
  Result<void> place_parts(Call& call, const Payload& payload, const CallOptions& options);
  Result<std::byte*> block_for(Call& call, std::size_t bytes, const CallOptions& options);
  Result<void> admit(Call& call, const CallOptions& options, Batch* batch = nullptr);  // `batch`: whose call it is
  bool enter_directly(Call& call);  // requires: claimed; true: entered, and this thread holds the token
  void enqueue(Call& call);
  enum class Told { by_callback, by_resuming, by_stream };
  Result<Call*> start(std::uint32_t method, const Payload& payload, const CallOptions& options, Told told, Callback done,
                      std::unique_ptr<CallStream> stream = {});
  Result<Call*> start_stream(std::string_view method, const Payload& payload, std::function<void(Reply)> on_chunk, Callback on_end,
                             const CallOptions& options);
  void tell_stream(Call& call);
  void tell_chunks(Call& call);
  void arm_stop(Call& call, const std::stop_token& stop);

  // The ways of call_many(). `At` tells of call i its method's number, or why it has none, and its payload.
  template <typename At>
  std::vector<Result<Reply>> run_batch(std::size_t count, std::uint32_t together, const CallOptions& options, At&& at);
  static Call* acquire(Batch& batch);
  void send_in_batch(Batch& batch, const CallOptions& options);
  bool enter_in_batch(Batch& batch, std::span<const BatchPrepared> calls, const std::stop_token& stop);
  void enqueue_in_batch(Call& call, const std::stop_token& stop);
  void await_room(Batch* batch, Call& call);

  // The waiting of call().
  enum class Holding : bool { no, yes };
  enum class Until { done, done_or_room, done_or_chunk };   // room in the queue, a chunk of a stream
  void wait(Call& call, Holding token, Until until = Until::done);
  bool reached(const Call& call, Until until) const;
  bool work_until_done(Call& call, Until until = Until::done);  // holds the token; whether it came to that
  bool sleep_as_sentinel(Call& call);        // holds the token, gives it up; false: another is, and this has not slept
  void sleep_as_waiter(Call& call);
  bool spin_on(Call& call, Until until);
  bool give_up_if_due(Call& call);           // the caller's own deadline
  void cancelled(Call& call) override;
  void finish_outside(Call& call, Error error) override;  // requires: claimed
  void run_alone(Call& call);                             // requires: admitted, queued; as OneShots::enqueue()
  void add_ready(Call* first, Call* last);
  void add_ready(Call& call);

  // The token.
  std::size_t turn();     // one duty cycle and what follows from it
  void attend();
  void send_mail(Mail letter);
  void read_mail();
  Error why_barred();
  PendingQueue::Admission admit_alone(Call& call);
  void deliver(DutyCycle::Outbox& outbox) override;  // what a duty cycle left there
  void release_token();   // and look whether somebody needs it
  void raise(Attention attention);
  void raise_and_help(Attention attention);
  void await_progress(std::int64_t until_ns);
  bool may_spin() const { return duty_.busy_workers() < cores_; }

  struct Telling;
  static thread_local Telling* telling;
  std::size_t run_ready() noexcept;
  void resume(Call& call);
  void run_pinned();

  const Options& options_;
  Methods methods_;
  Counters& counters_;
  RequestArena& arena_;
  WakeSet& wake_set_;
  Bell& backstop_bell_;
  const unsigned cores_;
  const bool several_nodes_;  // workers are on
  const Supervision supervision_;
  CallPool* const calls_;

  DispatchToken token_;
  Waiters waiters_;
  PendingQueue queue_;
  Breakers breakers_;
  CallEvents call_events_;
  std::atomic<std::uint32_t> attention_{0};
  std::atomic<bool> armed_{false};          // a poller sleeps, or is about to, on completion_fd()
  std::atomic<bool> pinned_asleep_{false};
  std::atomic<bool> pinned_stop_{false};
  std::atomic<int> spinning_waiters_{0};
  std::thread pinned_;

  DutyCycle duty_;             // owned by the holder of the token
  ipc::AdaptiveSpin spin_;     // likewise

  void receive(Answer answer);
  Questions questions_;

  std::unique_ptr<OneShots> one_shots_;  // null: Fallback::none

  std::mutex mail_mutex_;
  std::vector<Mail> mail_;                    // guarded by mail_mutex_
  std::vector<Answer> answers_;               // guarded by mail_mutex_
  std::vector<DutyCycle::Report> reports_;    // guarded by mail_mutex_
  DutyCycle::Demand demand_;                  // guarded by mail_mutex_
  std::shared_ptr<const Error> barred_;       // guarded by mail_mutex_; the latest reason, in force or not

  std::mutex progress_mutex_;
  std::condition_variable progress_;   // a turn moved something: for those who wait for room or for the end
  std::atomic<int> awaiting_progress_{0};

  std::mutex ready_mutex_;
  Call* ready_first_ = nullptr;  // guarded by ready_mutex_: asynchronous calls that wait for poll()
  Call* ready_last_ = nullptr;
};

}  // namespace samovar::core
