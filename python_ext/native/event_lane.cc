#include "python_ext/native/event_lane.h"

#include <sched.h>

#include <algorithm>
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
      coroutine_type_(Ref::borrow(state.handler_coroutine_type)),
      thread_(PyThreadState_Get()),
      interpreter_(PyThreadState_GetInterpreter(thread_)),
      probed_(std::in_place, prober),
      tensors_(end, state),
      views_(end, reinterpret_cast<PyTypeObject*>(state.argument_block_type), tensors_.types.private_memory, settings.escaped_views_max),
      responder_(end, describe, tensors_),
      invoker_(end, settings.worker, std::move(methods), tensors_, responder_),
      question_sender_(end, responder_),
      doorbell_thread_(end) {
  for (std::uint32_t number = 0; number < settings.concurrency; ++number) {
    places_.push_back(
        std::make_unique<Place>(*this, views_, reinterpret_cast<PyTypeObject*>(state.context_type), number, settings.stream_window));
  }
  end_.tell_turn(ipc::now_ns());
}

bool EventLane::run_in(PyObject* loop) {
  create_future_ = Ref::steal(PyObject_GetAttrString(loop, "create_future"));
  open_question_ = Ref::steal(PyObject_GetAttrString(loop, "open_question"));
  send_stream_ = Ref::steal(PyObject_GetAttrString(loop, "send_stream"));
  return create_future_ && open_question_ && send_stream_;
}

void EventLane::begin_turn() {
  nudged_.store(false, std::memory_order_relaxed);
  end_.tell_turn(ipc::now_ns());
}

// --- calls ----------------------------------------------------------------------------------------------------------------

EventLane::Place& EventLane::free_place() {
  return **std::find_if(places_.begin(), places_.end(), [](const auto& place) { return !place->taken(); });
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
  place.take();
  ++running_;
  Ref coroutine = serve(place, request);
  if (coroutine) return coroutine;
  end_call(place);
  return Ref::borrow(Py_True);
}

// The coroutine that runs the call at `place`; nothing where it has been answered.
Ref EventLane::serve(Place& place, const ipc::Request& request) {
  RunningCall& running = place.call;
  running.request = request;
  if (!invoker_.begin(running)) return {};
  const bool in_task = running.method->runs_in_task();
  place.began_ns = (request.flags & ipc::kRequestTimed) != 0 ? ipc::now_ns() : 0;
  enter(place);
  // A record that is given back early may become another request's, so the context of a task looks at the notes' word.
  Ref result = invoker_.call(running, place.contexts, in_task ? place.word() : end_.current_word(), place);
  leave();
  if (is_forked_child()) [[unlikely]] end_forked_child();
  if (result && !in_task) {
    answer(place, std::move(result));
    return {};
  }
  if (result && running.method->described.stream) result = drive(place, result);
  Ref coroutine = result ? make_handler_coroutine(reinterpret_cast<PyTypeObject*>(coroutine_type_.get()), place, std::move(result)) : Ref();
  if (!coroutine) {
    fail(place);
    return {};
  }
  // From here on nothing lies in the record but where a large argument lies, which `request` has a copy of.
  running.keep_reference();
  end_.pass();
  end_.give_back();
  running.passed = true;
  if (place.cancelled()) cancelled_.push_back({place.number, request.call_id});  // while the function ran
  return coroutine;
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
  if (place.chunk_failure) {
    PyErr_Clear();
    responder_.fail(place.call, *std::exchange(place.chunk_failure, std::nullopt));
  } else {
    responder_.fail_with_exception(place.call, place.call.failure_code);
  }
  if (passed) end_call(place);
}

void EventLane::end_call(Place& place) {
  place.leave();
  --running_;
}

// --- streams --------------------------------------------------------------------------------------------------------------

// The coroutine that sends what `made`, a stream's, yields. Null with an exception.
Ref EventLane::drive(Place& place, const Ref& made) {
  const Ref number = Ref::steal(PyLong_FromUnsignedLong(place.number));
  if (!number) return {};
  PyObject* arguments[] = {number.get(), made.get()};
  return Ref::steal(PyObject_Vectorcall(send_stream_.get(), arguments, 2, nullptr));
}

EventLane::Chunk EventLane::send_chunk(Place& place, PyObject* chunk) {
  if (is_forked_child()) [[unlikely]] end_forked_child();
  switch (responder_.send_chunk(place.call, chunk, Responder::WhenFull::tell)) {
    case Responder::Sent::yes: place.count_chunk(); return place.has_credit() ? Chunk::sent : Chunk::sent_last;
    case Responder::Sent::full: return Chunk::no_room;
    case Responder::Sent::ending: return Chunk::sent_last;
    case Responder::Sent::failed: break;
  }
  place.chunk_failure = responder_.take_chunk_failure();
  PyErr_SetString(PyExc_RuntimeError, "a chunk cannot be sent");
  return Chunk::failed;
}

// Where the worker is to end, nobody gives credit any more: the task is cancelled.
Ref EventLane::await_credit(Place& place) {
  return place.has_credit() && !stopping() ? Ref::borrow(Py_None) : place.await_credit(create_future_.get());
}

void EventLane::refuse_items(Place& place, PyObject* items) {
  place.call.failure_code = ipc::FailureCode::result_type;
  PyErr_Format(PyExc_TypeError, "%s is a stream and returned a %s, which is no iterator: yield the chunks",
               place.call.method->described.name.c_str(), Py_TYPE(items)->tp_name);
}

// --- notes ----------------------------------------------------------------------------------------------------------------

bool EventLane::read_notes() {
  bool any = false;
  ipc::Note note;
  while (!broken_ && end_.has_note()) {
    if (end_.peek_note(note) != ipc::Peek::record) {
      broken_ = true;
      break;
    }
    // Popped first: what it brings about may read further ones.
    const std::vector<std::byte> payload(note.payload.begin(), note.payload.end());
    note.payload = payload;
    end_.pop_note();
    any = true;
    const auto place = std::ranges::find_if(places_, [&](const auto& p) { return p->taken() && p->call.request.call_id == note.call_id; });
    if (place == places_.end()) continue;
    (*place)->tell(note);
    if (note.topic == ipc::Topic::cancel && (*place)->call.passed) cancelled_.push_back({(*place)->number, note.call_id});
  }
  return any;
}

int EventLane::next_cancelled() {
  while (!cancelled_.empty()) {
    const Cancelled last = cancelled_.back();
    cancelled_.pop_back();
    const Place& place = *places_[last.place];
    if (place.taken() && place.call.request.call_id == last.call_id) return static_cast<int>(last.place);
  }
  return -1;
}

// As Notes::wait(). The loop stands still.
bool EventLane::wait_for_notes(std::int64_t until_ns) {
  PyThreadState* thread = PyEval_SaveThread();
  end_.wait_for_note(until_ns);
  PyEval_RestoreThread(thread);
  read_notes();
  return PyErr_CheckSignals() == 0;
}

Ref EventLane::open_question(PyObject* question, std::int64_t until_ns) {
  const Ref seconds = until_ns == ipc::kNever ? Ref::borrow(Py_None)
                                              : Ref::steal(PyFloat_FromDouble(static_cast<double>(until_ns - ipc::now_ns()) * 1e-9));
  if (!seconds) return {};
  PyObject* arguments[] = {PyList_GET_ITEM(question, 0), seconds.get()};
  return Ref::steal(PyObject_Vectorcall(open_question_.get(), arguments, 2, nullptr));
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

}  // namespace samovar::python
