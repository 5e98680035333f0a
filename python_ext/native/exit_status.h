// How a worker ends: its exit statuses. The host tells its user what they mean; samovar/worker.py has the same numbers.
#pragma once

namespace samovar::python {

enum ExitStatus {
  kExitStopped = 0,        // asked to
  kExitUsage = 2,          // not started by a host
  kExitNoExtension = 3,    // samovar._native does not load into this interpreter; only stderr says so
  kExitLayout = 4,         // host and extension speak different layouts; StartFailed has been sent
  kExitStartFailed = 5,    // the user's module; StartFailed has been sent
  kExitBrokenLane = 6,     // the host has published what is no request
  kExitHostGone = 7,       // by the guard, where the worker does not lead its process group
  kExitForkedChild = 8,    // a child forked by a handler came back into the loop
};

}  // namespace samovar::python
