// Circuit breakers with real workers: what an operator and a caller see of them.
#include <gtest/gtest.h>

#include <chrono>
#include <mutex>
#include <string>
#include <vector>

#include "tests/support/pools.h"

namespace samovar::test {
namespace {

using namespace std::chrono_literals;

class Breakers : public testing::Test {
 protected:
  Options with(std::uint32_t failures, Duration delay) {
    Options chosen = options();
    chosen.breaker_failures = failures;
    chosen.breaker_delay = delay;
    chosen.log_level = LogLevel::info;
    chosen.log = lines.sink();
    chosen.on_event = [this](const Event& event) {
      if (!to_string(event.kind).starts_with("breaker")) return;
      const std::lock_guard lock(mutex);
      events.push_back(std::string(to_string(event.kind)) + " " + event.method);
    };
    return chosen;
  }
  std::vector<std::string> told() {
    const std::lock_guard lock(mutex);
    return events;
  }

  Lines lines;
  std::mutex mutex;
  std::vector<std::string> events;  // guarded by mutex
};

TEST_F(Breakers, are_off_by_default) {
  Pool pool = start(options());
  for (int call = 0; call < 3; ++call) EXPECT_EQ(code_of(pool.call("die", value(1))), Code::worker_lost);
}

TEST_F(Breakers, refuse_a_method_that_kills_its_workers_until_it_succeeds_again) {
  Folder folder;
  Pool pool = start(with(1, 50ms));
  const auto call = [&] { return pool.call("die_unless_marked", text(folder.file("mark"))); };
  EXPECT_EQ(code_of(call()), Code::worker_lost);

  const auto refused = call();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::breaker_open);
  EXPECT_EQ(refused.error().context.method, "die_unless_marked");
  EXPECT_NE(refused.error().message.find("exited with status 9 while it ran \"die_unless_marked\""), std::string::npos) << refused.error().message;
  EXPECT_EQ(pool.stats().workers_lost, 1u);
  EXPECT_EQ(pool.stats().rejected, 1u);

  ASSERT_TRUE(wait_until([&] { return call().has_value(); }));
  EXPECT_TRUE(call());
  ASSERT_TRUE(wait_until([&] { return told().size() == 3; }));
  EXPECT_EQ(told(), (std::vector<std::string>{"breaker_opened die_unless_marked", "breaker_probing die_unless_marked",
                                              "breaker_closed die_unless_marked"}));
  EXPECT_TRUE(lines.contain("event=breaker_opened pool=samovar method=die_unless_marked")) << lines.all();
}

TEST_F(Breakers, let_calls_go_on_that_waited_already) {
  Options chosen = with(1, 1h);
  chosen.prefetch = 1;
  Pool pool = start(chosen);
  int lost = 0, refused = 0;
  for (int call = 0; call < 3; ++call) {
    ASSERT_TRUE(pool.submit("die", value(1), [&](Result<Reply> reply) { ++(code_of(reply) == Code::worker_lost ? lost : refused); }));
  }
  ASSERT_TRUE(wait_until([&] { return pool.poll(), lost + refused == 3; }));
  EXPECT_EQ(lost, 3);
  EXPECT_EQ(code_of(pool.call("die", value(1))), Code::breaker_open);
}

TEST_F(Breakers, refuse_each_call_of_a_batch_and_awaited_ones) {
  Pool pool = start(with(1, 1h));
  EXPECT_EQ(code_of(pool.call("die", value(1))), Code::worker_lost);
  const std::vector<Request> requests{{"echo", {}}, {"die", value(1)}, {"echo", {}}};
  const auto replies = pool.call_many(requests);
  ASSERT_EQ(replies.size(), 3u);
  EXPECT_TRUE(replies[0]);
  EXPECT_EQ(code_of(replies[1]), Code::breaker_open);
  EXPECT_TRUE(replies[2]);
  auto awaited = pool.async_call("die", value(1));
  ASSERT_TRUE(awaited.await_ready());
  EXPECT_EQ(code_of(awaited.await_resume()), Code::breaker_open);
  const Result<void> typed = pool.method<void(int)>("die")(1);
  ASSERT_FALSE(typed);
  EXPECT_EQ(typed.error().code, Code::breaker_open);
}

}  // namespace
}  // namespace samovar::test
