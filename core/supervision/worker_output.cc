#include "core/supervision/worker_output.h"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

namespace samovar::core {
namespace {

constexpr std::size_t kReadsMax = 64;  // of 16 KiB

// Record separator, level, record separator.
constexpr char kMarkSide = '\x1e';
constexpr std::size_t kMarkBytes = 3;

bool is_mark(std::string_view text) {
  return text.size() == kMarkBytes && text[0] == kMarkSide && text[1] >= '0' && text[1] <= '3' && text[2] == kMarkSide;
}

}  // namespace

bool WorkerOutput::drain(int fd, const OnLine& on_line) {
  std::array<char, 16384> buffer;
  for (std::size_t reads = 0; reads < kReadsMax; ++reads) {
    const ssize_t got = read(fd, buffer.data(), buffer.size());
    if (got > 0) {
      feed({buffer.data(), static_cast<std::size_t>(got)}, on_line);
    } else if (got == 0) {
      return false;
    } else if (errno != EINTR) {
      return true;
    }
  }
  return true;
}

void WorkerOutput::finish(const OnLine& on_line) {
  if (!partial_.empty()) emit(on_line);
}

std::string WorkerOutput::last_lines() const {
  std::string text;
  for (const std::string& line : last_) text += line + "\n";
  return text;
}

void WorkerOutput::feed(std::string_view text, const OnLine& on_line) {
  for (char character : text) {
    if (character == '\0') continue;
    if (character == '\n' || partial_.size() >= kLineBytesMax) emit(on_line);
    if (character != '\n') partial_ += character;
    if (character == kMarkSide) begin_marked_line(on_line);
  }
}

// A marked line that follows on something unfinished, a prompt or a progress bar, is a line of its own.
void WorkerOutput::begin_marked_line(const OnLine& on_line) {
  if (partial_.size() <= kMarkBytes || !is_mark(std::string_view(partial_).substr(partial_.size() - kMarkBytes))) return;
  std::string mark = partial_.substr(partial_.size() - kMarkBytes);
  partial_.resize(partial_.size() - kMarkBytes);
  emit(on_line);
  partial_ = std::move(mark);
}

void WorkerOutput::emit(const OnLine& on_line) {
  LogLevel level = LogLevel::info;
  if (is_mark(std::string_view(partial_).substr(0, kMarkBytes))) {
    level = static_cast<LogLevel>(partial_[1] - '0');
    partial_.erase(0, kMarkBytes);
  }
  on_line(level, partial_);
  last_.push_back(std::move(partial_));
  if (last_.size() > kLastLines) last_.pop_front();
  partial_.clear();
}

}  // namespace samovar::core
