// Numbers as people read them, and a line that says what is going on.
#pragma once

#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

namespace samovar::cli {

// "1,797"
inline std::string grouped(std::uint64_t number) {
  std::string digits = std::to_string(number);
  for (std::size_t at = digits.size(); at > 3;) digits.insert(at -= 3, ",");
  return digits;
}

// Three digits and a unit: "870 ns", "1.04 us", "31.2 ms", "1.12 s".
inline std::string human_time(double ns) {
  const char* unit = "ns";
  for (const char* larger : {"us", "ms", "s"}) {
    if (ns < 999.5) break;
    ns /= 1e3;
    unit = larger;
  }
  char text[32];
  std::snprintf(text, sizeof(text), "%.*f %s", ns < 9.995 ? 2 : ns < 99.95 ? 1 : 0, ns, unit);
  return text;
}

// Three digits and a unit: "512 B", "64 KiB", "23.5 GiB".
inline std::string human_bytes(double bytes) {
  const char* unit = "B";
  for (const char* larger : {"KiB", "MiB", "GiB", "TiB"}) {
    if (bytes < 1024) break;
    bytes /= 1024;
    unit = larger;
  }
  char text[32];
  std::snprintf(text, sizeof(text), "%.*f %s", bytes < 99.95 && bytes != static_cast<std::uint64_t>(bytes) ? 1 : 0, bytes, unit);
  return text;
}

// Two digits that count: "1.4", "99", "1,300,000".
inline std::string human_ratio(double ratio) {
  double step = 1;
  while (ratio / step >= 99.5) step *= 10;
  if (ratio >= 9.95) return grouped(static_cast<std::uint64_t>(ratio / step + 0.5) * static_cast<std::uint64_t>(step));
  char text[32];
  std::snprintf(text, sizeof(text), "%.1f", ratio);
  return text;
}

// A progress line on stderr: one that is overwritten on a terminal, else a line for each step.
// Threads: one. Clear it before printing to stdout, which may be the same terminal.
class Progress {
 public:
  void step(std::string_view what) {
    what_ = what;
    std::fflush(stdout);  // so that both are in order where they go to one file
    if (!terminal_) std::fprintf(stderr, "... %s\n", what_.c_str());
    draw("");
  }
  void update(std::size_t done, std::size_t all) { draw(" " + std::to_string(all > 0 ? 100 * done / all : 100) + " %"); }
  void clear() {
    if (terminal_) std::fprintf(stderr, "\r\033[K");
  }

 private:
  void draw(const std::string& rest) {
    if (terminal_) std::fprintf(stderr, "\r\033[K... %s%s", what_.c_str(), rest.c_str());
  }

  const bool terminal_ = isatty(STDERR_FILENO) == 1;
  std::string what_;
};

}  // namespace samovar::cli
