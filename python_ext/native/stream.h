// Streamer: sends what a method yields, one chunk after the other, as far as the host gives credit.
//
// Threads: the interpreter's main thread. The GIL is held, but for the waits for credit and for room. Runs user code: the generator.
// Invariants: (1) No more chunks than credit: the generator stands still meanwhile. (2) Where nobody waits any more the generator is
// closed, so that its finally blocks run. (3) The call is answered once, unless the process ends.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <cstdint>

#include "ipc/channel.h"
#include "python_ext/native/context.h"
#include "python_ext/native/notes.h"
#include "python_ext/native/ref.h"
#include "python_ext/native/responder.h"
#include "python_ext/native/running_call.h"

namespace samovar::python {

class Streamer {
 public:
  // Requires: all live as long as this.
  Streamer(ipc::WorkerEnd& end, Responder& responder, ContextSource& contexts, Notes& notes)
      : end_(end), responder_(responder), contexts_(contexts), notes_(notes) {}

  // Sends all that `items`, an iterator, yields, and answers the call with what it returns or raises. GIL: held; released while waiting.
  void run(RunningCall& call, Ref items);

 private:
  enum class Next { go_on, cancelled, raised, ending };  // raised: an exception is set; ending: the host wants the worker to end

  Next await_credit();
  void cancel(RunningCall& call, Ref items);
  void let_go(Ref& items);

  ipc::WorkerEnd& end_;
  Responder& responder_;
  ContextSource& contexts_;
  Notes& notes_;
  std::uint64_t sent_ = 0;  // of the running call
};

}  // namespace samovar::python
