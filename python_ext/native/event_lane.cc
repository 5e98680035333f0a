#include "python_ext/native/event_lane.h"

#include <sched.h>

#include <algorithm>
#include <new>
#include <string>
#include <utility>

#include "ipc/clock.h"
#include "ipc/doorbell.h"
#include "python_ext/native/forked_child.h"
#include "python_ext/native/handler_coroutine.h"
#include "python_ext/native/link.h"

namespace samovar::python {

EventLane::EventLane(ipc::WorkerEnd& end, Prober& prober, const Settings& settings, std::vector<Method> methods, PyObject* describe,
                     const ModuleState& state)
    : end_(end),
      worker_(settings.worker),
      methods_(std::move(methods)),
      coroutine_type_(Ref::borrow(state.handler_coroutine_type)),
      ctx_names_(Ref::steal(Py_BuildValue("(N)", PyUnicode_InternFromString("ctx")))),
      thread_(PyThreadState_Get()),
      interpreter_(PyThreadState_GetInterpreter(thread_)),
      probed_(std::in_place, prober),
      tensors_(end, state),
      views_(end, reinterpret_cast<PyTypeObject*>(state.argument_block_type), tensors_.types.private_memory, settings.escaped_views_max),
      reader_(end, tensors_),
      responder_(end, describe, tensors_),
      doorbell_thread_(end) {
  for (std::uint32_t number = 0; number < settings.concurrency; ++number) {
    places_.push_back(std::make_unique<Place>(*this, views_, reinterpret_cast<PyTypeObject*>(state.context_type), number));
  }
  end_.tell_turn(ipc::now_ns());
}

void EventLane::begin_turn() {
  nudged_.store(false, std::memory_order_relaxed);
  end_.tell_turn(ipc::now_ns());
}

// --- calls ----------------------------------------------------------------------------------------------------------------

EventLane::Place& EventLane::free_place() {
  return **std::find_if(places_.begin(), places_.end(), [](const auto& place) { return !place->taken; });
}

Ref EventLane::begin() {
  if (!may_begin()) return Ref::borrow(Py_None);
  ipc::Request request;
  switch (end_.peek(request)) {
    case ipc::Peek::empty: return Ref::borrow(Py_None);
    case ipc::Peek::broken:
      broken_ = true;
      return Ref::borrow(Py_None);
    case ipc::Peek::record: break;
  }
  Place& place = free_place();
  place.call.begin(request);
  place.call.passed = false;
  place.cancelled.store(0, std::memory_order_relaxed);
  place.taken = true;
  ++running_;
  Ref coroutine = serve(place);
  if (coroutine) return coroutine;
  end_call(place);
  return Ref::borrow(Py_True);
}

// The coroutine that runs the call at `place`; nothing where it has been answered.
Ref EventLane::serve(Place& place) {
  RunningCall& running = place.call;
  const ipc::Request& request = running.request;
  const bool expired = request.deadline_ns != 0 && ipc::has_passed(request.deadline_ns);
  const bool wanted = end_.start(request);
  const auto respond = [&](ipc::Status status) {
    responder_.respond(running, {.call_id = request.call_id, .status = status});
    return Ref();
  };
  if (expired) return respond(ipc::Status::expired);
  if (!wanted) return respond(ipc::Status::skipped);
  if (request.method == ipc::kPingMethod) return respond(ipc::Status::ok);
  const std::size_t index = request.method - 1u;
  if (index >= methods_.size()) {
    responder_.fail(running, {ipc::FailureCode::unknown_method,
                              {},
                              "this worker has no method number " + std::to_string(request.method) + ", its last is " +
                                  std::to_string(methods_.size()),
                              {}});
    return {};
  }
  running.method = &methods_[index];
  place.began_ns = (request.flags & ipc::kRequestTimed) != 0 ? ipc::now_ns() : 0;
  enter(place);
  Ref result = call(place);
  leave();
  if (is_forked_child()) [[unlikely]] end_forked_child();
  if (!result) {
    fail(place);
    return {};
  }
  if (!running.method->described.asynchronous) {
    answer(place, std::move(result));
    return {};
  }
  Ref coroutine = make_handler_coroutine(reinterpret_cast<PyTypeObject*>(coroutine_type_.get()), place, std::move(result));
  if (!coroutine) {
    fail(place);
    return {};
  }
  // From here on nothing lies in the record but where a large argument lies, which `request` has a copy of.
  running.keep_reference();
  end_.pass();
  end_.give_back();
  running.passed = true;
  return coroutine;
}

// Null with an exception; `failure_code` then says whose fault it is.
Ref EventLane::call(Place& place) {
  RunningCall& running = place.call;
  Arguments arguments;
  if (!reader_.read(running, arguments)) return {};
  const ipc::Request& request = running.request;
  PyObject* const* items = arguments.data();
  PyObject* names = nullptr;
  if (running.method->wants_ctx) {
    // A record that is given back early may become another request's, so the context of a coroutine looks at the notes' word.
    const auto* word = running.method->described.asynchronous ? &place.cancelled : end_.current_word();
    PyObject* context = place.contexts.open({request.call_id, request.deadline_ns, worker_, word, &tensors_.blocks});
    if (context == nullptr) return {};
    with_context_.assign(items, items + arguments.count());
    with_context_.push_back(context);
    items = with_context_.data();
    names = ctx_names_.get();
  }
  return Ref::steal(PyObject_Vectorcall(running.method->function.get(), items, arguments.count(), names));
}

void EventLane::answer(Place& place, Ref result) {
  if (place.began_ns != 0) place.call.service_ns = static_cast<std::uint64_t>(ipc::now_ns() - place.began_ns);
  if (place.call.method->wants_ctx) place.contexts.close();
  const bool passed = place.call.passed;
  responder_.answer(place.call, std::move(result));
  if (passed) end_call(place);
}

void EventLane::fail(Place& place) {
  if (place.began_ns != 0) place.call.service_ns = static_cast<std::uint64_t>(ipc::now_ns() - place.began_ns);
  if (place.call.method->wants_ctx) place.contexts.close();
  const bool passed = place.call.passed;
  responder_.fail_with_exception(place.call, place.call.failure_code);
  if (passed) end_call(place);
}

void EventLane::end_call(Place& place) {
  place.taken = false;
  --running_;
}

int EventLane::next_cancelled() {
  ipc::Note note;
  while (!broken_ && end_.has_note()) {
    if (end_.peek_note(note) != ipc::Peek::record) {
      broken_ = true;
      break;
    }
    end_.pop_note();
    if (note.topic != ipc::Topic::cancel) continue;
    for (const auto& place : places_) {
      if (!place->taken || place->call.request.call_id != note.call_id) continue;
      place->cancelled.store(ipc::kCommitRevoked, std::memory_order_relaxed);
      return static_cast<int>(place->number);
    }
  }
  return -1;
}

// --- sleeping -------------------------------------------------------------------------------------------------------------

// As WorkerLoop::wait().
bool EventLane::sleep(std::int64_t deadline_ns) {
  end_.tell_waiting();
  const bool was_alone = alone();
  const bool may = may_begin();
  if (was_alone && end_.spin_for_events(may, nudged_, [&] { return alone() && !ipc::has_passed(deadline_ns); })) {
    begin_turn();
    return true;
  }
  const bool sleep_at_once = was_alone && alone();
  PyThreadState* thread = PyEval_SaveThread();
  if (sleep_at_once || !end_.spin_for_events(may, nudged_, [&] { return !ipc::has_passed(deadline_ns); })) {
    parked_.store(true, std::memory_order_relaxed);
    const bool to_trim = end_.park_for_events(may, nudged_, deadline_ns);  // fences between `parked_` and its look at `nudged_`
    parked_.store(false, std::memory_order_release);
    if (to_trim) end_.trim();
  }
  end_.tell_turn(ipc::now_ns());  // before the GIL: a call for which it is not to be had is in hand
  PyEval_RestoreThread(thread);
  begin_turn();
  return PyErr_CheckSignals() == 0;
}

// SYNC POINT, nudge <-> park. Nudger: store `nudged_`, FENCE, read `parked_`. Sleeper: store `parked_`, FENCE (in park()), read `nudged_`,
// wait. The doorbell is the host's and counts no nudges, so one that comes between the look and the wait is repeated until it has woken
// somebody or the sleeper is up: it needs no GIL for that.
void EventLane::nudge() {
  nudged_.store(true, std::memory_order_relaxed);
  ipc::store_load_fence();
  while (parked_.load(std::memory_order_acquire) && !ipc::futex_wake_one(end_.doorbell())) sched_yield();
}

int EventLane::alarm_fd() {
  if (doorbell_thread_.fd() >= 0) return doorbell_thread_.fd();
  if (const int error = doorbell_thread_.start(); error != 0) {
    raise_system_error({"starting the thread that sleeps on the doorbell", error});
    return -1;
  }
  return doorbell_thread_.fd();
}

std::optional<std::int64_t> EventLane::begin_sleep() {
  const bool may = may_begin();
  end_.tell_waiting();
  if (!alone() || !end_.spin_for_events(may, nudged_, [this] { return alone(); })) {
    if (const std::optional<std::uint32_t> seen = end_.begin_sleep(may)) {
      doorbell_thread_.arm(*seen);
      trim_due_ns_ = end_.trim_due_ns();
      return trim_due_ns_;
    }
  }
  begin_turn();
  return std::nullopt;
}

void EventLane::end_sleep() {
  doorbell_thread_.disarm();
  end_.end_sleep();
  if (trim_due_ns_ != ipc::kNever && !end_.has_events(true) && ipc::has_passed(trim_due_ns_)) end_.trim();
  begin_turn();
}

void EventLane::close() {
  probed_.reset();
  end_.tell_waiting();
}

// --- in Python --------------------------------------------------------------------------------------------------------------

namespace {

struct EventLaneObject {
  PyObject_HEAD
  EventLane* lane;  // never freed: contexts, coroutines and the doorbell's thread may outlive the loop
};

EventLane& lane_of(PyObject* self) { return *reinterpret_cast<EventLaneObject*>(self)->lane; }

PyObject* begin_turn(PyObject* self, PyObject*) {
  lane_of(self).begin_turn();
  Py_RETURN_NONE;
}

// Called while the loop is in C++ that may run out of memory: a few bytes, with no way on but to be replaced.
PyObject* begin(PyObject* self, PyObject*) {
  try {
    return lane_of(self).begin().release();
  } catch (const std::bad_alloc&) {
    return PyErr_NoMemory();
  }
}

PyObject* next_cancelled(PyObject* self, PyObject*) { return PyLong_FromLong(lane_of(self).next_cancelled()); }

// Seconds, as asyncio counts them; None: for ever.
bool deadline_from(PyObject* seconds, std::int64_t& deadline_ns) {
  deadline_ns = ipc::kNever;
  if (seconds == Py_None) return true;
  const double left = PyFloat_AsDouble(seconds);
  if (left == -1.0 && PyErr_Occurred() != nullptr) return false;
  if (left < 1e9) deadline_ns = ipc::now_ns() + static_cast<std::int64_t>(std::max(left, 0.0) * 1e9);
  return true;
}

PyObject* sleep(PyObject* self, PyObject* seconds) {
  std::int64_t deadline_ns;
  if (!deadline_from(seconds, deadline_ns) || !lane_of(self).sleep(deadline_ns)) return nullptr;
  Py_RETURN_NONE;
}

PyObject* alarm_fd(PyObject* self, PyObject*) {
  const int fd = lane_of(self).alarm_fd();
  return fd < 0 ? nullptr : PyLong_FromLong(fd);
}

PyObject* begin_sleep(PyObject* self, PyObject*) {
  const std::optional<std::int64_t> until_ns = lane_of(self).begin_sleep();
  if (!until_ns) Py_RETURN_NONE;
  if (*until_ns == ipc::kNever) return PyFloat_FromDouble(Py_HUGE_VAL);
  return PyFloat_FromDouble(static_cast<double>(std::max<std::int64_t>(*until_ns - ipc::now_ns(), 0)) * 1e-9);
}

PyObject* end_sleep(PyObject* self, PyObject*) {
  lane_of(self).end_sleep();
  Py_RETURN_NONE;
}

PyObject* close(PyObject* self, PyObject*) {
  lane_of(self).close();
  Py_RETURN_NONE;
}

PyObject* nudge(PyObject* self, PyObject*) {
  lane_of(self).nudge();
  Py_RETURN_NONE;
}

PyObject* stopping(PyObject* self, void*) { return PyBool_FromLong(lane_of(self).stopping()); }
PyObject* broken(PyObject* self, void*) { return PyBool_FromLong(lane_of(self).is_broken()); }
PyObject* running(PyObject* self, void*) { return PyLong_FromUnsignedLong(lane_of(self).running()); }

void dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  type->tp_free(self);
  Py_DECREF(type);
}

PyMethodDef kMethods[] = {
    {"begin_turn", begin_turn, METH_NOARGS, "begin_turn(): the loop has come round."},
    {"begin", begin, METH_NOARGS,
     "begin(): begin the next request. Its coroutine; True: it has been answered; None: there is none, or no place."},
    {"next_cancelled", next_cancelled, METH_NOARGS, "next_cancelled() -> int: the place of a call that nobody waits for; -1: no further one."},
    {"sleep", sleep, METH_O, "sleep(seconds): until there is work, a nudge or so long; None: for ever. May return early."},
    {"alarm_fd", alarm_fd, METH_NOARGS, "alarm_fd() -> int: readable when there is work, from begin_sleep() to end_sleep()."},
    {"begin_sleep", begin_sleep, METH_NOARGS, "begin_sleep() -> float | None: for how many seconds at most; None: there is work."},
    {"end_sleep", end_sleep, METH_NOARGS, "end_sleep()"},
    {"close", close, METH_NOARGS, "close(): begin no more calls. Once, before the interpreter ends."},
    {"nudge", nudge, METH_NOARGS, "nudge(): end a sleep(), or the next one. From any thread."},
    {nullptr, nullptr, 0, nullptr}};

PyGetSetDef kProperties[] = {
    {"stopping", stopping, nullptr, "Whether the host wants the worker to end.", nullptr},
    {"broken", broken, nullptr, "Whether the host has published what is no request, or no note.", nullptr},
    {"running", running, nullptr, "Calls begun and not answered.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyType_Slot kSlots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
                        {Py_tp_methods, kMethods},
                        {Py_tp_getset, kProperties},
                        {Py_tp_doc, const_cast<char*>("The lane, as an event loop serves it.")},
                        {0, nullptr}};

PyType_Spec kSpec = {"samovar._native.EventLane", sizeof(EventLaneObject), 0,
                     Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE, kSlots};

}  // namespace

PyObject* make_event_lane_type(PyObject* module) { return PyType_FromModuleAndSpec(module, &kSpec, nullptr); }

PyObject* make_event_lane(PyTypeObject* type, EventLane* lane) {
  PyObject* made = type->tp_alloc(type, 0);
  if (made != nullptr) reinterpret_cast<EventLaneObject*>(made)->lane = lane;
  return made;
}

}  // namespace samovar::python
