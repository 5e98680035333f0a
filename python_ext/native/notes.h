// Notes: what the host tells the running call: credit for its stream, answers to its questions, that nobody waits any more.
//
// Threads: the interpreter's main thread. GIL: as said.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "ipc/channel.h"

namespace samovar::python {

class Notes {
 public:
  // Requires: `end` lives as long as this. `window`: a stream's credit before it has been told of any.
  Notes(ipc::WorkerEnd& end, std::uint32_t window) : end_(end), window_(window) {}

  // Notes of this call are kept from now on; those of other calls are late. Forgets nothing of the call that it follows already.
  void follow(std::uint64_t call_id);

  // Reads all that lie there. GIL: not needed.
  void read();

  // Waits until there are some, the host wants the worker to end, or `until_ns`, and reads them. False: a Python exception is set, by a
  // signal handler. GIL: held; released while waiting.
  bool wait(std::int64_t until_ns);

  std::uint64_t credit() const { return credit_; }
  bool cancelled() const { return cancelled_; }
  bool broken() const { return broken_; }  // the host has published what is no note: there is no way on
  bool ending() const { return broken_ || end_.stopping(); }

  // Questions of the call. ask() gives the next one's number; only its answer is kept.
  std::uint32_t ask() {
    answered_ = false;
    return ++asked_;
  }
  bool answered() const { return answered_; }
  bool failed() const { return failed_; }
  const std::vector<std::byte>& answer() const { return answer_; }

 private:
  ipc::WorkerEnd& end_;
  const std::uint32_t window_;
  std::uint64_t call_id_ = 0;
  std::uint64_t credit_ = 0;
  bool cancelled_ = false;
  bool broken_ = false;
  std::uint32_t asked_ = 0;
  bool answered_ = false;
  bool failed_ = false;
  std::vector<std::byte> answer_;
};

}  // namespace samovar::python
