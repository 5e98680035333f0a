// NurseryLink: a nursery's tie to its host: requests to fork come in, the pidfds and the ends of what was forked go out.
// samovar._native.NurseryLink in Python.
//
// Python decides the order (samovar/nursery.py): receive_nursery_hello(fd), load the user's module, link.ready(threads) or link.fail(...), then
// for each request of link.next_fork(): os.fork(), and link.forked(...) in the parent, link.leave() in the child.
//
// A nursery has one thread, or it could not fork. So that it ends with its host while user code runs, too, a timer looks for the host
// then (watch_host()): its signal's handler kills the process group. In next_fork() both ends of the host are polled.
// Every function requires the GIL; next_fork() releases it while waiting, receive_nursery_hello() while it blocks.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

namespace samovar::python {

// The type, for the module. A new reference, or null with an exception.
PyObject* make_nursery_link_type(PyObject* module);

// receive_nursery_hello(fd) of the module, METH_O. OSError: the socket; ValueError: what came is no NurseryHello.
PyObject* receive_nursery_hello(PyObject* module, PyObject* fd);

}  // namespace samovar::python
