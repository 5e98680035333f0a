// SystemError: what the operating system refused. ipc's failures; the rooms above say what follows from them.
#pragma once

#include <string>

#include <tl/expected.hpp>

namespace samovar::ipc {

struct SystemError {
  std::string what;  // "memfd_create(samovar-host-7)"
  int error = 0;     // errno

  std::string to_string() const;  // "memfd_create(samovar-host-7): Too many open files"
};

template <typename T>
using SystemResult = tl::expected<T, SystemError>;

// Of errno, as it is now.
tl::unexpected<SystemError> system_error(std::string what);

}  // namespace samovar::ipc
