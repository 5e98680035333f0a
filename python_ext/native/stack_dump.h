// Stack dump: the Python stacks of all threads of this worker, whatever its interpreter does.
//
// faulthandler writes them from a signal handler, without the GIL, into a memfd (a pipe could fill up). The signal is kStackSignal;
// the guard sends it to the main thread. Our handler stands around faulthandler's and says when the writing has ended; without a
// request from the guard it does nothing, whoever sends the signal.
// The state is the process's, as signal handlers are.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <signal.h>

#include <string>

namespace samovar::python {

// A real-time signal that neither CPython nor the runtimes that are often loaded into it (JVM, Go, .NET, glibc, Valgrind) use.
inline const int kStackSignal = SIGRTMAX - 3;

// Once, by the main thread. GIL: held. False with an exception.
bool install_stack_dump();

// The descriptor that forked children must not keep.
int stack_dump_fd();

// Blocks for at most 300 ms. Empty where nothing is to be had: the user's code has taken the signal or closed the descriptor.
// Where the main thread does not take the signal (blocked, or asleep in the kernel for good) the calling thread writes the stacks.
// GIL: not needed. Threads: one at a time. Fails: std::bad_alloc.
std::string dump_stacks();

}  // namespace samovar::python
