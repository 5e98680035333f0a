#include "ipc/result.h"

#include <cerrno>
#include <system_error>
#include <utility>

namespace samovar::ipc {

std::string SystemError::to_string() const { return what + ": " + std::generic_category().message(error); }

tl::unexpected<SystemError> system_error(std::string what) {
  const int error = errno;
  return tl::unexpected(SystemError{std::move(what), error});
}

}  // namespace samovar::ipc
