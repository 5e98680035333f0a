// Forked child: a process that user code forked from a worker (multiprocessing, os.fork) is no worker.
//
// It has no guard, its writable mappings are gone (MADV_DONTFORK), and the host knows nothing of it. It may run on as it likes
// but must never serve: when it comes back into the loop it ends. Descriptors that would keep the host from seeing the
// worker's end are closed in it at once. GIL: not needed by any function here.
#pragma once

#include <initializer_list>

namespace samovar::python {

// Once in a process. From here on a fork's child is marked and `fds` are closed in it. Children made by vfork or posix_spawn
// (subprocess) run no such handlers and need none: they exec, and the descriptors are CLOEXEC.
void mark_forked_children(std::initializer_list<int> fds);

// One relaxed load.
bool is_forked_child();

// Says on stderr what happened and ends the process with kExitForkedChild, running no exit handlers.
[[noreturn]] void end_forked_child();

}  // namespace samovar::python
