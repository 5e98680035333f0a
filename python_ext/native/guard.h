// Guard: the thread that shows that this worker lives, and ends it when its host is gone.
//
// A native thread that never takes the GIL and touches no Python, so that neither a handler that computes for an hour nor an
// interpreter that is shutting down keeps it from acting. It is detached and runs until the process ends, atexit handlers
// included. All signals are blocked in it: they belong to Python's main thread.
#pragma once

#include <cstdint>

#include "ipc/pulse.h"
#include "python_ext/native/prober.h"

namespace samovar::python {

// What the guard does, at each heartbeat and whenever the host has something to say:
//   - stamps the pulse; has the GIL probed where a request is in hand for too long (ipc::ProbeSchedule);
//   - watches the control socket (its end) and the host's pidfd (readable). When the host is gone, kills the whole process group
//     with SIGKILL if this process leads it (children of handlers go too), else ends it with kExitHostGone;
//   - answers DumpStacks with Stacks.
struct GuardDuties {
  int control_fd;
  int host_pidfd;
  ipc::PulseWriter pulse;
  ipc::ProbeSchedule schedule;
  Prober& prober;
  bool is_forked;  // its private memory is what it has beyond what it was forked with
};

// GIL: not needed. Requires: install_stack_dump(); both descriptors, the pulse and the prober stay, nobody else receives from the
// socket. Fails: errno, else 0.
int start_guard(const GuardDuties& duties);

}  // namespace samovar::python
