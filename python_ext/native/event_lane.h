// EventLane: the lane as an event loop serves it: several calls at once, answered in any order. samovar._native.EventLane in Python;
// samovar/aio.py has the loop.
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
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "ipc/channel.h"
#include "python_ext/native/arguments.h"
#include "python_ext/native/context.h"
#include "python_ext/native/doorbell_thread.h"
#include "python_ext/native/host_link.h"
#include "python_ext/native/method.h"
#include "python_ext/native/prober.h"
#include "python_ext/native/ref.h"
#include "python_ext/native/responder.h"
#include "python_ext/native/running_call.h"
#include "python_ext/native/tensors.h"

namespace samovar::python {

class EventLane;

// The type, for the module. A new reference, or null with an exception.
PyObject* make_event_lane_type(PyObject* module);

// An object of that type for `lane`, which is never freed. A new reference, or null with MemoryError.
PyObject* make_event_lane(PyTypeObject* type, EventLane* lane);

class EventLane {
 public:
  struct Settings {
    std::uint32_t worker;
    std::uint32_t escaped_views_max;
    std::uint32_t concurrency;
  };

  // Requires: `end` and `prober` live as long as the process. `describe`: see take_exception().
  EventLane(ipc::WorkerEnd& end, Prober& prober, const Settings& settings, std::vector<Method> methods, PyObject* describe,
            const ModuleState& state);

  // A place where a call runs, used by one after the other.
  struct Place {
    Place(EventLane& its_lane, ArgumentViews& views, PyTypeObject* context_type, std::uint32_t its_number)
        : lane(its_lane), call(views), contexts(context_type), number(its_number) {}

    EventLane& lane;
    RunningCall call;
    ContextSource contexts;
    const std::uint32_t number;
    std::int64_t began_ns = 0;                // where the request asks for its time
    std::atomic<std::uint64_t> cancelled{0};  // as a commit word: what its Context looks at
    bool taken = false;
  };

  // Told once at each turn of the loop.
  void begin_turn();

  // Begins the next request where a place is free. The coroutine to run, or True: it has been answered, or None: there is none to be
  // begun, or the lane is broken.
  Ref begin();

  // The number of a place whose call nobody waits for any more, by the notes that have come; -1: no further one.
  int next_cancelled();

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

 private:
  bool may_begin() const { return running_ < places_.size() && probed_ && !stopping(); }
  bool alone() const { return PyInterpreterState_ThreadHead(interpreter_) == thread_; }
  Place& free_place();
  Ref serve(Place& place);
  Ref call(Place& place);
  void end_call(Place& place);

  // Constant after construction.
  ipc::WorkerEnd& end_;
  const std::uint32_t worker_;
  std::vector<Method> methods_;
  const Ref coroutine_type_;
  const Ref ctx_names_;  // ("ctx",)
  PyThreadState* thread_;
  PyInterpreterState* interpreter_;

  std::optional<Prober::Serving> probed_;
  Tensors tensors_;
  ArgumentViews views_;
  ArgumentReader reader_;
  Responder responder_;
  std::vector<std::unique_ptr<Place>> places_;
  std::uint32_t running_ = 0;  // places taken
  std::vector<PyObject*> with_context_;  // reused from call to call
  bool broken_ = false;
  DoorbellThread doorbell_thread_;

  std::int64_t trim_due_ns_ = 0;  // while asleep
  std::atomic<bool> nudged_{false};
  std::atomic<bool> parked_{false};  // sleep() is on the doorbell, or about to
};

}  // namespace samovar::python
