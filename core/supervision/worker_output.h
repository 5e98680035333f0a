// WorkerOutput: what one worker prints, cut into lines. Always drained, so that no worker ever blocks on its output.
// A line that its `logging` wrote begins with a mark that tells the level (python_ext/samovar/log.py); all others are info.
// Threads: the supervisor's.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <string>
#include <string_view>

#include <samovar/options.h>

namespace samovar::core {

class WorkerOutput {
 public:
  using OnLine = std::function<void(LogLevel, std::string_view)>;

  // Reads what there is from the non-blocking `fd`, at most 1 MiB: who prints without end must not keep the supervisor.
  // False: end of file.
  bool drain(int fd, const OnLine& on_line);

  // The unfinished last line, when the worker has ended.
  void finish(const OnLine& on_line);

  std::string last_lines() const;

 private:
  static constexpr std::size_t kLineBytesMax = 8192;  // longer lines are cut into several
  static constexpr std::size_t kLastLines = 20;

  void feed(std::string_view text, const OnLine& on_line);
  void begin_marked_line(const OnLine& on_line);
  void emit(const OnLine& on_line);

  std::string partial_;
  std::deque<std::string> last_;
};

}  // namespace samovar::core
