#include "core/supervision/worker_output.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "ipc/unique_fd.h"

namespace samovar::core {
namespace {

class Output : public testing::Test {
 protected:
  Output() {
    int fds[2];
    EXPECT_EQ(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
    read_end = ipc::UniqueFd(fds[0]);
    write_end = ipc::UniqueFd(fds[1]);
  }
  void print(std::string_view text) {
    ASSERT_EQ(write(write_end.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  bool drain() {
    return output.drain(read_end.get(), [&](LogLevel level, std::string_view line) {
      lines.emplace_back(line);
      levels.push_back(level);
    });
  }
  void finish() {
    output.finish([&](LogLevel level, std::string_view line) {
      lines.emplace_back(line);
      levels.push_back(level);
    });
  }
  using Lines = std::vector<std::string>;

  ipc::UniqueFd read_end, write_end;
  WorkerOutput output;
  Lines lines;
  std::vector<LogLevel> levels;
};

TEST_F(Output, is_cut_into_lines) {
  print("one\ntwo\n\nfour\n");
  EXPECT_TRUE(drain());
  EXPECT_EQ(lines, (Lines{"one", "two", "", "four"}));
  EXPECT_EQ(output.last_lines(), "one\ntwo\n\nfour\n");
}

TEST_F(Output, keeps_an_unfinished_line_until_its_end_comes) {
  print("begin");
  EXPECT_TRUE(drain());
  EXPECT_TRUE(lines.empty());
  print("ning\nnext");
  EXPECT_TRUE(drain());
  EXPECT_EQ(lines, (Lines{"beginning"}));
  finish();
  EXPECT_EQ(lines, (Lines{"beginning", "next"}));
  finish();
  EXPECT_EQ(lines.size(), 2u) << "nothing is left";
}

TEST_F(Output, says_when_the_other_end_is_closed_and_reads_what_was_left) {
  print("last words");
  write_end.reset();
  EXPECT_FALSE(drain());
  finish();
  EXPECT_EQ(lines, (Lines{"last words"}));
  EXPECT_FALSE(drain());
}

TEST_F(Output, nothing_to_read_is_not_the_end) {
  EXPECT_TRUE(drain());
  EXPECT_TRUE(lines.empty());
}

TEST_F(Output, drops_NUL_bytes) {
  print(std::string_view("a\0b\0\0c\n\0\n", 9));
  drain();
  EXPECT_EQ(lines, (Lines{"abc", ""}));
}

TEST_F(Output, cuts_an_overlong_line_into_several) {
  print(std::string(8192, 'a') + "\n" + std::string(8193, 'b') + "\n" + std::string(20'000, 'c') + "\nend\n");
  drain();
  EXPECT_EQ(lines, (Lines{std::string(8192, 'a'), std::string(8192, 'b'), "b", std::string(8192, 'c'), std::string(8192, 'c'),
                          std::string(20'000 - 2 * 8192, 'c'), "end"}));
}

TEST_F(Output, a_NUL_behind_a_line_of_full_length_makes_no_empty_line) {
  print(std::string(8192, 'a') + std::string(1, '\0') + "\n");
  drain();
  EXPECT_EQ(lines, (Lines{std::string(8192, 'a')}));
}

TEST_F(Output, does_not_grow_without_end_on_a_line_without_end) {
  for (int i = 0; i < 100; ++i) {
    print(std::string(4096, 'x'));
    drain();
  }
  EXPECT_EQ(lines.size(), 100u * 4096 / 8192 - 1);  // the last one may still go on
}

TEST_F(Output, remembers_the_last_twenty_lines) {
  for (int i = 0; i < 50; ++i) print("line " + std::to_string(i) + "\n");
  drain();
  std::string expected;
  for (int i = 30; i < 50; ++i) expected += "line " + std::to_string(i) + "\n";
  EXPECT_EQ(output.last_lines(), expected);
  EXPECT_EQ(lines.size(), 50u);
}

// --- lines that the worker's `logging` wrote -------------------------------------------------------------------------------

using enum LogLevel;
using Levels = std::vector<LogLevel>;

TEST_F(Output, a_marked_line_has_the_level_of_its_mark_and_any_other_is_info) {
  print("\x1e" "0\x1e" "a: one\n\x1e" "1\x1e" "two\nthree\n\x1e" "2\x1e" "four\n\x1e" "3\x1e" "five\n");
  drain();
  EXPECT_EQ(lines, (Lines{"a: one", "two", "three", "four", "five"}));
  EXPECT_EQ(levels, (Levels{debug, info, info, warning, error}));
  EXPECT_EQ(output.last_lines(), "a: one\ntwo\nthree\nfour\nfive\n");
}

TEST_F(Output, a_marked_line_behind_an_unfinished_one_is_a_line_of_its_own) {
  print("50 %...\x1e" "2\x1e" "slow\nrest\n");
  drain();
  EXPECT_EQ(lines, (Lines{"50 %...", "slow", "rest"}));
  EXPECT_EQ(levels, (Levels{info, warning, info}));
}

TEST_F(Output, a_mark_may_come_in_pieces) {
  for (const char* piece : {"\x1e", "3", "\x1e", "bro", "ken\n"}) {
    print(piece);
    drain();
  }
  EXPECT_EQ(lines, (Lines{"broken"}));
  EXPECT_EQ(levels, (Levels{error}));
}

TEST_F(Output, what_only_looks_like_a_mark_is_text) {
  print("\x1e" "4\x1e" "x\n\x1e\x1e\n\x1e" "2\n" "a\x1e" "b\n");
  drain();
  EXPECT_EQ(lines, (Lines{"\x1e" "4\x1e" "x", "\x1e\x1e", "\x1e" "2", "a\x1e" "b"}));
  EXPECT_EQ(levels, (Levels{info, info, info, info}));
}

TEST_F(Output, an_empty_marked_line_is_a_line) {
  print("\x1e" "2\x1e\n");
  drain();
  EXPECT_EQ(lines, (Lines{""}));
  EXPECT_EQ(levels, (Levels{warning}));
}

// Who prints without end must not keep the supervisor from everything else.
TEST_F(Output, returns_from_a_worker_that_prints_without_end) {
  std::atomic<bool> stop{false};
  std::thread printer([&] {
    const std::string text(16384, '\n');
    while (!stop.load()) {
      if (write(write_end.get(), text.data(), text.size()) < 0) std::this_thread::yield();
    }
  });
  std::size_t seen = 0;
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(output.drain(read_end.get(), [&](LogLevel, std::string_view) { ++seen; }));
  EXPECT_LE(seen, 3u * 1024 * 1024);
  stop.store(true);
  printer.join();
}

}  // namespace
}  // namespace samovar::core
