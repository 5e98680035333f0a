// An interpreter inside the fuzz target, for the extension's code. Its objects are on the heap one by one, so that
// AddressSanitizer sees their bounds.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <initializer_list>

#include "tests/fuzz/target.h"

namespace samovar::fuzz {

// Starts it at the first call; the GIL stays with this thread.
inline void start_python() {
  static const bool started = [] {
    PyPreConfig before;
    PyPreConfig_InitIsolatedConfig(&before);
    before.allocator = PYMEM_ALLOCATOR_MALLOC;
    before.utf8_mode = 1;
    PyConfig config;
    PyConfig_InitIsolatedConfig(&config);
    config.install_signal_handlers = 0;
    config.site_import = 0;
    const bool failed =
        PyStatus_Exception(Py_PreInitialize(&before)) || PyStatus_Exception(Py_InitializeFromConfig(&config));
    PyConfig_Clear(&config);
    expect(!failed, "Python starts");
    return true;
  }();
  (void)started;
}

// Whether an exception of one of these types is set; clears it.
inline bool take_error(std::initializer_list<PyObject*> types) {
  bool one_of_them = false;
  for (PyObject* type : types) one_of_them = one_of_them || PyErr_ExceptionMatches(type) != 0;
  PyErr_Clear();
  return one_of_them;
}

}  // namespace samovar::fuzz
