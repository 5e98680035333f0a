#include "python_ext/native/prober.h"

#include "ipc/clock.h"
#include "ipc/doorbell.h"
#include "python_ext/native/thread.h"

namespace samovar::python {

int Prober::start(ipc::PulseWriter pulse) {
  interpreter_ = PyInterpreterState_Get();
  pulse_ = pulse;
  return start_thread("samovar-prober", run, this);
}

void Prober::ask() {
  if (asked_.exchange(1, std::memory_order_relaxed) == 0) ipc::futex_wake_one(asked_);
}

void Prober::set_serving(bool serving) {
  const std::lock_guard lock(mutex_);
  serving_ = serving;
}

void* Prober::run(void* prober) {
  auto& self = *static_cast<Prober*>(prober);
  for (;;) {
    while (self.asked_.load(std::memory_order_relaxed) == 0) ipc::futex_wait(self.asked_, 0, ipc::kNever);
    self.probe();
    self.asked_.store(0, std::memory_order_relaxed);
  }
}

// Not noexcept, and nothing in it to destroy: a finalizing interpreter ends the thread inside PyEval_RestoreThread().
void Prober::probe() {
  PyThreadState* state = nullptr;
  {
    const std::lock_guard lock(mutex_);
    if (serving_) state = PyThreadState_New(interpreter_);
  }
  if (state == nullptr) return;
  thread_id_.store(PyThread_get_thread_ident(), std::memory_order_relaxed);
  pulse_->probe_began(ipc::now_ns());
  PyEval_RestoreThread(state);
  pulse_->probe_ended(ipc::now_ns());
  PyThreadState_Clear(state);
  PyThreadState_DeleteCurrent();
}

}  // namespace samovar::python
