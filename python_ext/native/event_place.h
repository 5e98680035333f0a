// EventPlace: where an event lane runs a call, one after the other: the call, and what the host tells of it while it runs.
//
// Threads: the interpreter's main thread. Every function requires the GIL; ask() and wait() release it while waiting. What settles or
// cancels a future has its callbacks run by the loop, later.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "ipc/layout.h"
#include "ipc/message.h"
#include "python_ext/native/asker.h"
#include "python_ext/native/context.h"
#include "python_ext/native/errors.h"
#include "python_ext/native/ref.h"
#include "python_ext/native/running_call.h"

namespace samovar::python {

class EventLane;

class EventPlace final : public Asker {
 public:
  // Requires: `its_lane` lives as long as this. `window`: a stream's credit before it has been told of any.
  EventPlace(EventLane& its_lane, ArgumentViews& views, PyTypeObject* context_type, std::uint32_t its_number, std::uint32_t window)
      : lane(its_lane), call(views), contexts(context_type), number(its_number), window_(window) {}

  EventLane& lane;
  RunningCall call;
  ContextSource contexts;
  const std::uint32_t number;
  std::int64_t began_ns = 0;             // where the request asks for its time
  std::optional<Failure> chunk_failure;  // why its stream ends, if a chunk could not be sent

  // A call is to run here, and has been answered: then nothing of it is awaited any more.
  void take();
  void leave();
  bool taken() const { return taken_; }

  // A note of this call's. Requires: its payload is private.
  void tell(const ipc::Note& note);

  // In an `async def` method a future, else the answer itself: then the loop stands still.
  PyObject* ask(std::uint64_t call_id, PyObject* question, std::int64_t until_ns) override;

  // What its Context looks at, as a commit word.
  const std::atomic<std::uint64_t>* word() const { return &cancelled_; }

  // Of a stream.
  bool has_credit() const { return sent_ < credit_; }
  void count_chunk() { ++sent_; }
  Ref await_credit(PyObject* create_future);  // a future that ends with credit. Null with an exception.

  // As Notes has them, of the question that a plain method waits for.
  bool answered() const { return answered_; }
  bool failed() const { return failed_; }
  const std::vector<std::byte>& answer() const { return answer_; }
  bool cancelled() const { return (cancelled_.load(std::memory_order_relaxed) & ipc::kCommitRevoked) != 0; }
  bool ending() const;
  bool wait(std::int64_t until_ns);

 private:
  void take_answer(const ipc::Note& note);
  void drop_questions();

  const std::uint32_t window_;
  bool taken_ = false;
  std::atomic<std::uint64_t> cancelled_{0};
  std::uint64_t credit_ = 0;
  std::uint64_t sent_ = 0;
  Ref awaiting_credit_;  // a future

  std::uint32_t asked_ = 0;
  std::unordered_map<std::uint32_t, Ref> questions_;  // open ones and their futures, by number
  bool answered_ = false;
  bool failed_ = false;
  std::vector<std::byte> answer_;
};

}  // namespace samovar::python
