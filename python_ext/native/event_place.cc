#include "python_ext/native/event_place.h"

#include <utility>

#include "python_ext/native/event_lane.h"

namespace samovar::python {
namespace {

// Ends `future` with `value`, or, where that is null, with the exception that is set; unless it has ended: its task was cancelled, or it
// has waited too long.
void settle(const Ref& future, const Ref& value) {
  const Ref error = value ? Ref() : take_raised();
  const Ref done = Ref::steal(PyObject_CallMethod(future.get(), "done", nullptr));
  if (done && done.get() != Py_True) {
    const Ref settled = Ref::steal(value ? PyObject_CallMethod(future.get(), "set_result", "O", value.get())
                                         : PyObject_CallMethod(future.get(), "set_exception", "O", error.get()));
  }
  if (PyErr_Occurred() != nullptr) PyErr_WriteUnraisable(future.get());
}

void cancel(const Ref& future) {
  const Ref cancelled = Ref::steal(PyObject_CallMethod(future.get(), "cancel", nullptr));
  if (!cancelled) PyErr_WriteUnraisable(future.get());
}

}  // namespace

void EventPlace::take() {
  call.passed = false;
  chunk_failure.reset();
  cancelled_.store(0, std::memory_order_relaxed);
  credit_ = window_;
  sent_ = 0;
  asked_ = 0;
  answered_ = false;
  taken_ = true;
}

void EventPlace::leave() {
  taken_ = false;
  drop_questions();
  awaiting_credit_.reset();
}

void EventPlace::tell(const ipc::Note& note) {
  switch (note.topic) {
    case ipc::Topic::credit:
      credit_ = std::max(credit_, note.number);
      if (awaiting_credit_ && has_credit()) settle(std::exchange(awaiting_credit_, Ref()), Ref::borrow(Py_None));
      break;
    case ipc::Topic::cancel:
      cancelled_.store(ipc::kCommitRevoked, std::memory_order_relaxed);
      drop_questions();  // the host answers none of them any more
      break;
    case ipc::Topic::reply:
    case ipc::Topic::failure: take_answer(note); break;
  }
}

void EventPlace::take_answer(const ipc::Note& note) {
  const bool is_failure = note.topic == ipc::Topic::failure;
  const auto found = note.number > asked_ ? questions_.end() : questions_.find(static_cast<std::uint32_t>(note.number));
  if (found != questions_.end()) {
    const Ref future = std::move(found->second);
    questions_.erase(found);
    settle(future, Ref::steal(read_answer(is_failure, note.payload)));
  } else if (note.number == asked_ && !call.method->described.asynchronous) {
    answered_ = true;
    failed_ = is_failure;
    answer_.assign(note.payload.begin(), note.payload.end());
  }
}

void EventPlace::drop_questions() {
  const auto questions = std::exchange(questions_, {});
  for (const auto& [its_number, future] : questions) cancel(future);
}

Ref EventPlace::await_credit(PyObject* create_future) {
  awaiting_credit_ = Ref::steal(PyObject_CallNoArgs(create_future));
  return awaiting_credit_ ? Ref::borrow(awaiting_credit_.get()) : Ref();
}

bool EventPlace::ending() const { return lane.is_broken() || lane.stopping(); }
bool EventPlace::wait(std::int64_t until_ns) { return lane.wait_for_notes(until_ns); }

PyObject* EventPlace::ask(std::uint64_t call_id, PyObject* question, std::int64_t until_ns) {
  QuestionSender& sender = lane.question_sender();
  if (!sender.may_ask()) return nullptr;
  lane.read_notes();
  if (cancelled()) return raise_unwanted(question);
  if (!call.method->described.asynchronous) {
    answered_ = false;
    return sender.send(call_id, ++asked_, question) ? wait_for_answer(*this, question, until_ns) : nullptr;
  }
  Ref future = lane.open_question(question, until_ns);
  if (!future) return nullptr;
  const std::uint32_t its_number = ++asked_;
  questions_.emplace(its_number, Ref::borrow(future.get()));
  if (sender.send(call_id, its_number, question)) return future.release();
  questions_.erase(its_number);
  const Ref error = take_raised();
  cancel(future);  // it has a timer
  if (error) PyErr_SetObject(PyExceptionInstance_Class(error.get()), error.get());
  return nullptr;
}

}  // namespace samovar::python
