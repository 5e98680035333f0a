// Threads of the worker's own, beside the interpreter's.
#pragma once

namespace samovar::python {

// Starts a detached thread that runs until the process ends. All signals are blocked in it: they belong to Python's main
// thread. Its stack is small, since it counts as data where a worker's memory is limited. Fails: errno, else 0.
int start_thread(const char* name, void* (*body)(void*), void* argument);

}  // namespace samovar::python
