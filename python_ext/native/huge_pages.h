// Huge pages: what a process has loaded, put together into them where the system has such. A fork copies the entries of all page tables,
// and the end of a process drops them again: one entry for 2 MiB instead of 512. Whoever writes to such a page after the fork copies
// 4 KiB of it, as ever.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

namespace samovar::python {

// collapse_pages(seconds) of the module, METH_O -> bytes collapsed. The longest mappings first, down to 4 MiB, until the time is over; what is
// mostly in memory, so that at most a seventh more is taken. 0 where the system has no huge pages or its administrator wants none
// (/sys/kernel/mm/transparent_hugepage/enabled says never), or Linux is older than 6.1. GIL: held.
PyObject* collapse_pages(PyObject* module, PyObject* seconds);

}  // namespace samovar::python
