#include "python_ext/native/notes.h"

#include <algorithm>

namespace samovar::python {

void Notes::follow(std::uint64_t call_id) {
  if (call_id == call_id_) return;
  call_id_ = call_id;
  credit_ = window_;
  cancelled_ = answered_ = false;
  asked_ = 0;
}

void Notes::read() {
  ipc::Note note;
  while (!broken_) {
    switch (end_.peek_note(note)) {
      case ipc::Peek::empty: return;
      case ipc::Peek::broken: broken_ = true; return;
      case ipc::Peek::record: break;
    }
    if (note.call_id == call_id_) {
      switch (note.topic) {
        case ipc::Topic::credit: credit_ = std::max(credit_, note.number); break;
        case ipc::Topic::cancel: cancelled_ = true; break;
        case ipc::Topic::reply:
        case ipc::Topic::failure:
          if (note.number != asked_) break;  // of a question that was given up
          answered_ = true;
          failed_ = note.topic == ipc::Topic::failure;
          answer_.assign(note.payload.begin(), note.payload.end());
          break;
      }
    }
    end_.pop_note();
  }
}

bool Notes::wait(std::int64_t until_ns) {
  PyThreadState* thread = PyEval_SaveThread();
  end_.wait_for_note(until_ns);
  PyEval_RestoreThread(thread);
  read();
  return PyErr_CheckSignals() == 0;
}

}  // namespace samovar::python
