// Log: the pool's log lines, filtered by level, to the user's sink or to stderr. Threads: any.
#pragma once

#include <mutex>
#include <string_view>

#include <samovar/options.h>

namespace samovar::core {

class Log {
 public:
  explicit Log(const Options& options);

  bool writes(LogLevel level) const { return level >= level_; }
  void write(LogLevel level, std::string_view line) const {
    if (level < level_) return;
    const std::lock_guard lock(mutex_);
    sink_(level, line);
  }
  void info(std::string_view line) const { write(LogLevel::info, line); }
  void warning(std::string_view line) const { write(LogLevel::warning, line); }
  void error(std::string_view line) const { write(LogLevel::error, line); }

 private:
  LogLevel level_;
  LogSink sink_;
  mutable std::mutex mutex_;  // one line at a time
};

}  // namespace samovar::core
