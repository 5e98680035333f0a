#include "core/supervision/worker_output.h"

#include <unistd.h>

#include <array>
#include <cerrno>

namespace samovar::core {
namespace {

constexpr std::size_t kReadsMax = 64;  // of 16 KiB

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
  }
}

void WorkerOutput::emit(const OnLine& on_line) {
  on_line(partial_);
  last_.push_back(std::move(partial_));
  if (last_.size() > kLastLines) last_.pop_front();
  partial_.clear();
}

}  // namespace samovar::core
