// EventLane: the lane as an event loop serves it: several calls at once, answered in any order, and what the host tells of each.
// samovar._native.EventLane in Python; samovar/aio.py has the loop.
//
// Threads: the interpreter's main thread, but for nudge(). Every function requires the GIL; sleep() releases it. Runs user code: plain
// methods, and what WorkerLoop runs. A coroutine method is called here and run by the loop (HandlerCoroutine).
// Invariants: (1) Every request that is begun is answered once, unless the process ends. (2) No more than `concurrency` are begun and
// not answered; what lies behind in the lane is not begun, so the host can take it back. (3) A record is given back when its coroutine
// exists: arguments have been copied, or lie in the arena.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "ipc/channel.h"
#include "python_ext/native/asker.h"
#include "python_ext/native/doorbell_thread.h"
#include "python_ext/native/event_place.h"
#include "python_ext/native/host_link.h"
#include "python_ext/native/invoker.h"
#include "python_ext/native/method.h"
#include "python_ext/native/prober.h"
#include "python_ext/native/ref.h"
#include "python_ext/native/responder.h"
#include "python_ext/native/tensors.h"

namespace samovar::python {

class EventLane {
 public:
  struct Settings {
    std::uint32_t worker;
    std::uint32_t escaped_views_max;
    std::uint32_t concurrency;
    std::uint32_t stream_window;
  };

  // Requires: `end` and `prober` live as long as the process. `describe`: see take_exception().
  EventLane(ipc::WorkerEnd& end, Prober& prober, const Settings& settings, std::vector<Method> methods, PyObject* describe,
            const ModuleState& state);

  using Place = EventPlace;

  // The loop whose functions make futures and send streams. Before the first begin(). False with an exception.
  bool run_in(PyObject* loop);

  // Told once at each turn of the loop.
  void begin_turn();

  // Begins the next request where a place is free. The coroutine to run, or True: it has been answered, or None: there is none to be
  // begun, or the lane is broken.
  Ref begin();

  // Takes what the host tells of calls that run. Whether it told anything. Runs no user code.
  bool read_notes();

  // Waits until there are notes, the host wants the worker to end, or `until_ns`, and reads them; the loop stands still. GIL: released
  // while waiting. False with an exception, of a signal handler.
  bool wait_for_notes(std::int64_t until_ns);

  // The number of a place whose task nobody waits for any more, by the notes that were read; -1: no further one.
  int next_cancelled();

  // Of a stream. sent_last: await credit before the next one. no_room: in the response arena; send it again later. failed: an
  // exception is set, which is to end the stream.
  enum class Chunk { sent, sent_last, no_room, failed };
  Chunk send_chunk(Place& place, PyObject* chunk);
  Ref await_credit(Place& place);  // a future, or None: there is some. Null with an exception.
  void refuse_items(Place& place, PyObject* items);  // an exception is set

  // Null: no call runs there.
  Place* place(std::size_t number) { return number < places_.size() && places_[number]->taken() ? places_[number].get() : nullptr; }

  // Sleeps until there is work, a nudge or `deadline_ns`; spins first. May return early. False: a signal handler raised.
  bool sleep(std::int64_t deadline_ns);

  // The same in two halves around a sleep in an epoll that watches alarm_fd(), until the time that begin_sleep() tells; nothing: there
  // is work.
  int alarm_fd();  // -1 with OSError
  std::optional<std::int64_t> begin_sleep();
  void end_sleep();

  // No more calls are begun, and no more probes are made. Once, before the interpreter ends.
  void close();

  // Ends a sleep(), or keeps the next from beginning. Threads: any.
  void nudge();

  bool stopping() const { return end_.stopping(); }
  bool is_broken() const { return broken_; }
  std::uint32_t running() const { return running_; }

  // By HandlerCoroutine. Whose code runs until leave().
  void enter(const Place& place) { end_.tell_method(place.call.request.method); }
  void leave() { end_.tell_method(0); }
  void answer(Place& place, Ref result);
  void fail(Place& place);  // with the exception that is set

  // By EventPlace. open_question(): a future that ends by itself at `until_ns`; null with an exception.
  QuestionSender& question_sender() { return question_sender_; }
  Ref open_question(PyObject* question, std::int64_t until_ns);

 private:
  bool may_begin() const { return running_ < places_.size() && probed_ && !stopping(); }
  bool alone() const { return PyInterpreterState_ThreadHead(interpreter_) == thread_; }
  Place& free_place();
  Ref serve(Place& place, const ipc::Request& request);
  Ref drive(Place& place, const Ref& made);
  void end_call(Place& place);

  // Constant after construction.
  ipc::WorkerEnd& end_;
  const Ref coroutine_type_;
  PyThreadState* thread_;
  PyInterpreterState* interpreter_;

  std::optional<Prober::Serving> probed_;
  Tensors tensors_;
  ArgumentViews views_;
  Responder responder_;
  Invoker invoker_;
  QuestionSender question_sender_;
  Ref create_future_, open_question_, send_stream_;  // of the loop
  std::vector<std::unique_ptr<Place>> places_;
  std::uint32_t running_ = 0;  // places taken
  struct Cancelled {
    std::uint32_t place;
    std::uint64_t call_id;
  };
  std::vector<Cancelled> cancelled_;  // whose tasks are to be told
  bool broken_ = false;
  DoorbellThread doorbell_thread_;

  std::int64_t trim_due_ns_ = 0;  // while asleep
  std::atomic<bool> nudged_{false};
  std::atomic<bool> parked_{false};  // sleep() is on the doorbell, or about to
};

}  // namespace samovar::python
