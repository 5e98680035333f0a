// Events: tells what happens to the user's hook and to the log.
//
// Threads: tell() the supervisor's; post() any, also under the dispatch token: what is posted is told by the supervisor's next
// round, which the bell brings about.
#pragma once

#include <mutex>
#include <vector>

#include <samovar/events.h>
#include <samovar/options.h>

#include "core/dispatch/bell.h"
#include "core/observe/log.h"

namespace samovar::core {

LogLevel level_of(EventKind kind);

class Events {
 public:
  Events(const Options& options, const Log& log, Bell& bell) : options_(options), log_(log), bell_(bell) {}

  void tell(Event event);
  void post(Event event);
  void tell_posted();

 private:
  const Options& options_;
  const Log& log_;
  Bell& bell_;
  std::mutex mutex_;
  std::vector<Event> posted_;  // guarded by mutex_
};

}  // namespace samovar::core
