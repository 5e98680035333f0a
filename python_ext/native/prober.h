// Prober: the thread that finds out, on suspicion, whether the interpreter still hands out its GIL.
//
// The guard asks; the prober stamps that it began, takes the GIL, drops it, and stamps that it had it. Each time with a thread
// state of its own, made and deleted: while one exists the loop is not alone() and leaves its fast path.
// Invariant: no thread state is made unless calls are served, so none is once the interpreter may be finalizing. A probe that
// waits for the GIL then is ended by the interpreter like any daemon thread.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>

#include "ipc/pulse.h"

namespace samovar::python {

// Requires: lives until the process ends, once started.
class Prober {
 public:
  // GIL: held. Fails: errno, else 0.
  int start(ipc::PulseWriter pulse);

  // Has a probe made, unless one is under way. Never blocks. GIL: not needed. Threads: the guard's.
  void ask();

  // While one of these lives, what is asked is done. GIL: held.
  class Serving {
   public:
    explicit Serving(Prober& prober) : prober_(prober) { prober_.set_serving(true); }
    ~Serving() { prober_.set_serving(false); }
    Serving(const Serving&) = delete;
    Serving& operator=(const Serving&) = delete;

   private:
    Prober& prober_;
  };

  // The interpreter's number of the thread, as faulthandler writes it; 0: it has not probed yet. Threads: any.
  unsigned long thread_id() const { return thread_id_.load(std::memory_order_relaxed); }

 private:
  static void* run(void* prober);
  void probe();
  void set_serving(bool serving);

  PyInterpreterState* interpreter_ = nullptr;
  std::optional<ipc::PulseWriter> pulse_;
  std::atomic<std::uint32_t> asked_{0};  // futex word
  std::atomic<unsigned long> thread_id_{0};
  std::mutex mutex_;      // held for moments only, and never while waiting for the GIL
  bool serving_ = false;  // guarded by mutex_
};

}  // namespace samovar::python
