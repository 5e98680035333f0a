// Runs the code of core/EMBEDDING.md in the folder that it was extracted to: samovar_guide FOLDER.
#include <poll.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "tests/guide/harness.h"

void expect(bool truth, std::source_location where) {
  if (truth) return;
  std::fprintf(stderr, "%s:%u: is not so\n", where.file_name(), static_cast<unsigned>(where.line()));
  std::exit(1);
}

void report(const samovar::Error& error) {
  std::fprintf(stderr, "%s\n", error.to_string().c_str());
  std::exit(1);
}

void fill(std::span<std::byte> frame) {
  for (std::size_t i = 0; i < frame.size(); ++i) frame[i] = static_cast<std::byte>(i);
}

void wait_readable(int fd) {
  pollfd readable{fd, POLLIN, 0};
  expect(poll(&readable, 1, 20'000) == 1);
}

void write_file(const std::string& name, std::string_view text) { std::ofstream(name) << text; }

int main(int argc, char** argv) {
  if (argc != 2 || chdir(argv[1]) != 0) return 2;
  auto pool = start_pool();
  if (!pool) report(pool.error());
  run_guide(*pool);
}
