#include "core/observe/call_events.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace samovar::core {
namespace {

class Telling : public testing::Test {
 protected:
  // What is told next, as "kind method count".
  std::vector<std::string> tell() {
    lines.clear();
    calls.tell(events);
    return lines;
  }

  std::vector<std::string> lines;
  Options options = [this] {
    Options chosen;
    chosen.log_level = LogLevel::error;
    chosen.on_event = [this](const Event& e) {
      lines.push_back(std::string(to_string(e.kind)) + " " + e.method + " " + std::to_string(e.count) + ": " + e.message);
    };
    return chosen;
  }();
  Log log{options};
  Bell bell;
  Events events{options, log, bell};
  Methods methods{MethodTable{{{.name = "price"}, {.name = "book"}}}};
  CallEvents calls{methods};
};

TEST_F(Telling, of_nothing_is_nothing) { EXPECT_TRUE(tell().empty()); }

TEST_F(Telling, is_one_event_for_each_method_with_what_came_since_the_last) {
  for (int i = 0; i < 3; ++i) calls.timed_out(1);
  calls.timed_out(0);
  EXPECT_EQ(tell(), (std::vector<std::string>{"calls_timed_out price 1: 1 call of \"price\" ended at the deadline",
                                              "calls_timed_out book 3: 3 calls of \"book\" ended at the deadline"}));
  EXPECT_TRUE(tell().empty());
  calls.timed_out(1);
  EXPECT_EQ(tell(), (std::vector<std::string>{"calls_timed_out book 1: 1 call of \"book\" ended at the deadline"}));
}

TEST_F(Telling, counts_the_refused_of_all_methods_together) {
  for (int i = 0; i < 2; ++i) calls.queue_full();
  EXPECT_EQ(tell(), (std::vector<std::string>{"queue_full  2: 2 calls refused, because queue_limit waited already"}));
  EXPECT_TRUE(tell().empty());
}

}  // namespace
}  // namespace samovar::core
