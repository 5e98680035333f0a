// BatchRun: the calls of one batch, from their start to their answers.
//
// A batch is run like a call, but for the list: the handler is called once, with an argument for each call that is still wanted, and
// returns a sequence with a result for each. Every call has its own outcome.
// Threads: the loop's. The GIL is held throughout, but for what the handler and the responder do. Runs user code.
// Invariant: the requests' records stay the worker's until the last answer is given, so that nothing of theirs changes meanwhile.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "ipc/channel.h"
#include "ipc/clock.h"
#include "ipc/packed.h"
#include "python_ext/native/arguments.h"
#include "python_ext/native/context.h"
#include "python_ext/native/method.h"
#include "python_ext/native/payload_view.h"
#include "python_ext/native/ref.h"
#include "python_ext/native/responder.h"
#include "python_ext/native/running_call.h"

namespace samovar::python {

class BatchRun {
 public:
  // Requires: all of these outlive this. `ctx_names`: ("ctx",).
  BatchRun(ipc::WorkerEnd& end, std::uint32_t worker, ArgumentViews& views, ContextSource& contexts, ArgumentReader& reader,
           Responder& responder, ResultBlocks& blocks, const Ref& ctx_names)
      : end_(end),
        worker_(worker),
        views_(views),
        contexts_(contexts),
        reader_(reader),
        responder_(responder),
        blocks_(blocks),
        ctx_names_(ctx_names) {}

  // A batch of `method`.
  void begin(const Method& method);

  // Somebody has waited for the next request: time has passed.
  void look_at_clock() { coarse_now_ns_ = ipc::coarse_now_ns(); }

  // The request that peek() has found joins it, or those that are packed in it, and peek() finds the next. False: the host has published
  // what is no request.
  bool add(const ipc::Request& record);

  // Calls the handler and answers every call. Requires: add().
  void run();

 private:
  struct Item {
    explicit Item(ArgumentViews& views) : call(views) {}

    RunningCall call;
    PayloadView view;  // of the argument, used again where nobody has kept it
    ipc::Status status = ipc::Status::ok;  // skipped, expired: the handler does not see it
    Ref error;   // why it has no argument
    Ref result;  // once the handler has returned
  };

  std::span<Item* const> items() const { return {items_.data(), size_}; }
  Item& next_item();
  void add(Item& item, const std::atomic<std::uint64_t>* word, bool is_wanted);
  Ref argument_of(Item& item);
  Ref call_handler();
  bool give_results(Ref results);
  void answer(Item& item);

  ipc::WorkerEnd& end_;
  const std::uint32_t worker_;
  ArgumentViews& views_;
  ContextSource& contexts_;
  ArgumentReader& reader_;
  Responder& responder_;
  ResultBlocks& blocks_;
  const Ref& ctx_names_;

  const Method* method_ = nullptr;
  Ref arguments_;                 // a list: of those that are wanted and have one
  std::vector<Item*> wanted_;     // in its order
  std::vector<const std::atomic<std::uint64_t>*> words_;  // of their records
  std::int64_t deadline_ns_ = 0;  // the earliest of theirs; 0: none
  std::int64_t coarse_now_ns_ = 0;
  bool timed_ = false;            // the host wants to know how long the handler takes

  // Reused from batch to batch.
  std::vector<Item*> items_;
  std::size_t size_ = 0;
  std::deque<Item> made_;
};

}  // namespace samovar::python
