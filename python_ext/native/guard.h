// Guard: the thread that ends a worker whose host is gone.
//
// A native thread that never takes the GIL and touches no Python, so that neither a handler that computes for an hour nor an
// interpreter that is shutting down keeps it from acting. It is detached and runs until the process ends, atexit handlers
// included. All signals are blocked in it: they belong to Python's main thread.
#pragma once

namespace samovar::python {

// Watches the control socket (its end) and the host's pidfd (readable). When the host is gone, kills the whole process group
// with SIGKILL if this process leads it (children of handlers go too), else ends it with kExitHostGone.
// GIL: not needed. Requires: both descriptors stay open, nobody else receives from the socket. Fails: errno, else 0.
int start_guard(int control_fd, int host_pidfd);

}  // namespace samovar::python
