// Streams and calls back to the host in a worker's event loop: several at once, none of which keeps the loop from the others.
#include <gtest/gtest.h>
#include <samovar/samovar.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <csignal>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/pools.h"
#include "tests/support/wait_until.h"

namespace samovar::test {
namespace {

using namespace std::chrono_literals;

Options of_module(std::uint32_t concurrency = 8) {
  Options chosen = options("aio_streams.py");
  chosen.concurrency = concurrency;
  return chosen;
}

Pool make(std::uint32_t concurrency = 8) {
  Pool pool = start(of_module(concurrency));
  pool.expose("double", [](std::int64_t n) { return 2 * n; });
  return pool;
}

std::int64_t number(const Reply& reply) { return reply.value()->as_int().value_or(-1); }

// All chunks of a stream of numbers, and how it ended.
struct Read {
  std::vector<std::int64_t> numbers;
  std::optional<Error> error;
};

Read read_all(Stream& stream) {
  Read read;
  for (Result<Reply>& chunk : stream) {
    if (chunk) {
      read.numbers.push_back(number(*chunk));
    } else {
      read.error = chunk.error();
    }
  }
  return read;
}

std::vector<std::int64_t> up_to(std::int64_t n) {
  std::vector<std::int64_t> numbers;
  for (std::int64_t i = 0; i < n; ++i) numbers.push_back(i);
  return numbers;
}

bool has_closed(Pool& pool, std::string_view what) {
  return wait_until([&] {
    const Value closed = value_of(pool.call("closings"));
    return std::ranges::any_of(*closed.as_list(), [&](const Value& line) { return line.as_str()->find(what) != std::string::npos; });
  });
}

// --- streams ----------------------------------------------------------------------------------------------------------------

class EachModeOfAsyncStreams : public testing::TestWithParam<Dispatcher> {
 protected:
  Pool make() {
    Options chosen = of_module();
    chosen.dispatcher = GetParam();
    return start(chosen);
  }
};
INSTANTIATE_TEST_SUITE_P(Modes, EachModeOfAsyncStreams, testing::Values(Dispatcher::caller, Dispatcher::manual, Dispatcher::pinned),
                         [](const auto& info) { return std::string(to_string(info.param)); });

TEST_P(EachModeOfAsyncStreams, chunks_come_in_order) {
  Pool pool = make();
  for (const char* method : {"count", "count_slowly", "count_plainly"}) {
    Result<Stream> stream = pool.stream(method, arguments({3000}));
    ASSERT_TRUE(stream) << stream.error().to_string();
    const Read read = read_all(*stream);
    EXPECT_FALSE(read.error) << read.error->to_string();
    EXPECT_EQ(read.numbers, up_to(3000)) << method;
  }
  Result<Stream> empty = pool.stream("count", arguments({0}));
  EXPECT_TRUE(read_all(*empty).numbers.empty());
  EXPECT_TRUE(empty->result()->value()->is_none()) << "an async generator returns nothing";
  Result<Stream> plain = pool.stream("count_plainly", arguments({3}));
  EXPECT_EQ(read_all(*plain).numbers, up_to(3));
  EXPECT_EQ(number(*plain->result()), 30);
}

TEST_P(EachModeOfAsyncStreams, a_consumer_that_stands_still_holds_up_its_own_stream_only) {
  Pool pool = make();
  for (const char* method : {"endless", "endless_plainly"}) {
    Result<Stream> stalled = pool.stream(method, text(method));
    ASSERT_TRUE(stalled->next());
    for (int i = 0; i < 3; ++i) {
      Result<Stream> other = pool.stream("count", arguments({2000}));
      EXPECT_EQ(read_all(*other).numbers, up_to(2000));
      EXPECT_TRUE(pool.call("pid"));
    }
    const std::int64_t ahead = integer(pool.call("made_by", text(method)));
    EXPECT_LE(ahead, 1 + static_cast<std::int64_t>(Options{}.stream_window)) << "and it makes no more than was asked for";
    for (std::int64_t i = 2; i < 500; ++i) ASSERT_EQ(number(**stalled->next()), i);
  }
}

TEST_P(EachModeOfAsyncStreams, one_that_is_dropped_is_closed) {
  Pool pool = make();
  for (const char* method : {"endless", "endless_plainly"}) {
    EXPECT_EQ(number(**pool.stream(method, text(method))->next()), 1);
    EXPECT_TRUE(has_closed(pool, std::string(method) + " True")) << "its finally block runs, and sees that nobody waits";
  }
  {
    Result<Stream> waits = pool.stream("waits", text("something"));
    EXPECT_EQ(number(**waits->next()), 1);
    ASSERT_TRUE(wait_until([&] { return integer(pool.call("made_by", text("something"))) == 1; }));
  }
  EXPECT_TRUE(has_closed(pool, "something cancelled"));
  EXPECT_TRUE(wait_until([&] { return pool.poll(), pool.stats().in_flight == 0; }));
}

TEST_P(EachModeOfAsyncStreams, many_at_once_share_the_loop) {
  Pool pool = make();
  std::vector<Stream> streams;
  for (int i = 0; i < 8; ++i) streams.push_back(std::move(*pool.stream(i % 2 == 0 ? "count_slowly" : "count_plainly", arguments({1000}))));
  for (std::int64_t i = 0; i < 1000; ++i) {
    for (Stream& stream : streams) ASSERT_EQ(number(**stream.next()), i);
  }
  for (Stream& stream : streams) EXPECT_EQ(*stream.next(), std::nullopt);
}

TEST(AsyncStream, exception_in_the_middle_ends_it) {
  Pool pool = make();
  for (const char* method : {"breaks", "breaks_plainly"}) {
    Result<Stream> stream = pool.stream(method, arguments({200}));
    const Read read = read_all(*stream);
    EXPECT_EQ(read.numbers, up_to(200));
    ASSERT_TRUE(read.error);
    EXPECT_EQ(read.error->code, Code::method_failed);
    EXPECT_NE(read.error->message.find("broke after 200"), std::string::npos) << read.error->message;
    EXPECT_NE(read.error->context.traceback.find(std::string("in ") + method), std::string::npos);
    EXPECT_EQ(read.error->context.traceback.find("aio.py"), std::string::npos) << read.error->context.traceback;
  }
}

TEST(AsyncStream, chunk_that_cannot_be_sent_ends_it) {
  Options chosen = of_module();
  chosen.response_arena_bytes = 1 << 20;
  Pool pool = start(chosen);
  Result<Stream> set = pool.stream("sets", arguments({2}));
  const Read read = read_all(*set);
  EXPECT_EQ(read.numbers, up_to(2));
  EXPECT_EQ(read.error->code, Code::invalid_result);
  EXPECT_NE(read.error->message.find("set is not supported"), std::string::npos) << read.error->message;
  EXPECT_TRUE(has_closed(pool, "sets"));

  Result<Stream> large = pool.stream("too_large", arguments({2'000'000}));
  EXPECT_TRUE(large->next());
  const Result<std::optional<Reply>> next = large->next();
  ASSERT_FALSE(next);
  EXPECT_EQ(next.error().code, Code::result_too_large);
  EXPECT_NE(next.error().message.find("a chunk of too_large is 2000000 bytes"), std::string::npos) << next.error().message;
}

TEST(AsyncStream, large_chunks_wait_for_room_while_others_run) {
  Options chosen = of_module();
  chosen.response_arena_bytes = 1 << 20;
  Pool pool = start(chosen);
  Result<Stream> stream = pool.stream("blocks", arguments({60, 200'000}));
  ASSERT_TRUE(stream->next());
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(pool.call("pid")) << "the arena is full of its chunks";
  int came = 1;
  for (Result<Reply>& chunk : *stream) {
    ASSERT_TRUE(chunk) << chunk.error().to_string();
    ASSERT_EQ(chunk->data().size(), 200'000u);
    EXPECT_EQ(chunk->data().back(), static_cast<std::byte>(came));
    ++came;
  }
  EXPECT_EQ(came, 60);
}

TEST(AsyncStream, async_function_may_return_what_it_yields) {
  Pool pool = make();
  for (const char* how : {"async", "plain"}) {
    Result<Stream> stream = pool.stream("count_later", arguments({100, how}));
    EXPECT_EQ(read_all(*stream).numbers, up_to(100)) << how;
  }
  Result<Stream> none = pool.stream("count_later", arguments({7, "number"}));
  const Result<std::optional<Reply>> next = none->next();
  ASSERT_FALSE(next);
  EXPECT_EQ(next.error().code, Code::invalid_result);
  EXPECT_NE(next.error().message.find("returned a int, which is no iterator"), std::string::npos) << next.error().message;
}

TEST(AsyncStream, large_argument_is_viewed_until_it_ends) {
  Pool pool = make();
  const std::string sent(100'000, 'x');
  Result<Stream> stream = pool.stream("argument_twice", bytes(sent.data(), sent.size()));
  int came = 0;
  for (Result<Reply>& chunk : *stream) {
    ASSERT_TRUE(chunk) << chunk.error().to_string();
    came += chunk->data().size() == sent.size();
  }
  EXPECT_EQ(came, 2);
  EXPECT_EQ(pool.stats().escaped_views, 0u);
  EXPECT_TRUE(wait_until([&] { return pool.stats().request_arena_in_use == 0; }));
}

TEST(AsyncStream, streams_and_calls_are_not_mistaken_for_each_other) {
  Pool pool = make();
  const auto called = pool.call("count", arguments({3}));
  ASSERT_FALSE(called);
  EXPECT_NE(called.error().message.find("\"count\" is a stream: use Pool::stream"), std::string::npos) << called.error().message;
  const auto streamed = pool.stream("pid");
  ASSERT_FALSE(streamed);
  EXPECT_NE(streamed.error().message.find("\"pid\" is not a stream"), std::string::npos) << streamed.error().message;
  EXPECT_TRUE(pool.call("pid"));
}

TEST(AsyncStream, generator_that_does_not_close_is_told_of_and_its_worker_goes_on) {
  Lines lines;
  Options chosen = of_module();
  chosen.log = lines.sink();
  Pool pool = start(chosen);
  EXPECT_TRUE(pool.stream("stubborn")->next());
  EXPECT_TRUE(pool.call("pid"));
  EXPECT_TRUE(wait_until([&] { return lines.contain("async generator ignored GeneratorExit"); })) << lines.all();
}

TEST(AsyncStream, child_forked_by_a_generator_sends_nothing) {
  Pool pool = make();
  Result<Stream> stream = pool.stream("forks");
  EXPECT_EQ(read_all(*stream).numbers, (std::vector<std::int64_t>{1, 3}));
  EXPECT_EQ(pool.stats().violations, 0u);
}

TEST(AsyncStream, killed_worker_ends_all_that_it_runs) {
  Pool pool = make();
  const auto pid = static_cast<pid_t>(integer(pool.call("pid")));
  Result<Stream> one = pool.stream("endless", text("one"));
  Result<Stream> other = pool.stream("waits", text("other"));
  ASSERT_TRUE(one->next());
  ASSERT_TRUE(other->next());
  kill(pid, SIGKILL);
  for (Stream* stream : {&*one, &*other}) {
    const Read read = read_all(*stream);
    ASSERT_TRUE(read.error);
    EXPECT_EQ(read.error->code, Code::worker_lost);
  }
  Result<Stream> next = pool.stream("count", arguments({100}));
  EXPECT_EQ(read_all(*next).numbers, up_to(100));
}

TEST(AsyncStream, pool_that_stops_does_not_wait_for_one_that_nobody_reads) {
  Pool pool = make();
  Result<Stream> endless = pool.stream("endless", text("endless"));
  Result<Stream> plain = pool.stream("endless_plainly", text("plain"));
  ASSERT_TRUE(endless->next());
  ASSERT_TRUE(plain->next());
  pool.drain(100ms);
  EXPECT_EQ(read_all(*endless).error->code, Code::pool_stopped);
  EXPECT_EQ(read_all(*plain).error->code, Code::pool_stopped);
}

TEST(AsyncStream, runs_one_at_a_time_without_concurrency) {
  Pool pool = make(1);
  for (const char* method : {"count", "count_plainly"}) {
    Result<Stream> stream = pool.stream(method, arguments({1000}));
    EXPECT_EQ(read_all(*stream).numbers, up_to(1000));
  }
}

// --- calls back -------------------------------------------------------------------------------------------------------------

TEST(AsyncAsking, several_questions_of_several_calls_are_open_at_once) {
  constexpr int kCalls = 100;  // more than the threads there are for a worker without concurrency
  Pool pool = make(kCalls);
  std::barrier all_ask(kCalls);  // each function waits for all the others
  pool.expose("meet", [&]() -> std::int64_t {
    all_ask.arrive_and_wait();
    return 7;
  });
  int met = 0;
  for (int i = 0; i < kCalls; ++i) {
    ASSERT_TRUE(pool.submit("ask", arguments({"meet"}), [&](Result<Reply> reply) { met += if_integer(reply) == 7; }));
  }
  EXPECT_TRUE(wait_until([&] { return pool.poll(), met == kCalls; })) << met;

  std::vector<Value> doubled;
  for (std::int64_t i = 0; i < 300; ++i) doubled.emplace_back(2 * i);
  EXPECT_EQ(value_of(pool.call("ask_all", value(300))), Value(doubled)) << "each answer goes to its question";
}

TEST(AsyncAsking, the_loop_goes_on_while_a_question_is_open) {
  Pool pool = make();
  std::atomic<bool> asked{false}, go_on{false};
  pool.expose("slow", [&] {
    asked = true;
    (void)wait_until([&] { return go_on.load(); });
    return 1;
  });
  bool answered = false;
  ASSERT_TRUE(pool.submit("ask", arguments({"slow"}), [&](Result<Reply> reply) { answered = if_integer(reply) == 1; }));
  ASSERT_TRUE(wait_until([&] { return pool.poll(), asked.load(); }));
  for (int i = 0; i < 100; ++i) ASSERT_EQ(integer(pool.call("ask", arguments({"double", i}))), 2 * i);
  Result<Stream> stream = pool.stream("stream_of_answers", arguments({100}));
  std::int64_t i = 0;
  for (Result<Reply>& chunk : *stream) {
    ASSERT_TRUE(chunk) << chunk.error().to_string();
    EXPECT_EQ(number(*chunk), 2 * i++);
  }
  EXPECT_EQ(i, 100);
  EXPECT_FALSE(answered);
  go_on = true;
  EXPECT_TRUE(wait_until([&] { return pool.poll(), answered; }));
}

TEST(AsyncAsking, plain_methods_ask_too) {
  Pool pool = make();
  Result<Stream> beside = pool.stream("endless", text("beside"));
  for (int i = 0; i < 50; ++i) EXPECT_EQ(integer(pool.call("ask_plainly", arguments({"double", i}))), 2 * i);
  Result<Stream> stream = pool.stream("stream_of_answers_plainly", arguments({100}));
  std::int64_t i = 0;
  for (Result<Reply>& chunk : *stream) {
    ASSERT_TRUE(chunk) << chunk.error().to_string();
    EXPECT_EQ(number(*chunk), 2 * i++);
  }
  EXPECT_EQ(i, 100);
  for (std::int64_t k = 1; k < 300; ++k) ASSERT_EQ(number(**beside->next()), k) << "whose credit came meanwhile";
}

TEST(AsyncAsking, an_answer_that_is_late_is_a_timeout_and_dropped) {
  Pool pool = make();
  std::atomic<bool> go_on{false};
  pool.expose("slow", [&] {
    (void)wait_until([&] { return go_on.load(); });
    return 1;
  });
  EXPECT_EQ(text_of(pool.call("ask_within", arguments({0.02, "slow"}))),
            "True the host's \"slow\" has not answered in time; a late answer will be dropped");
  go_on = true;
  EXPECT_EQ(text_of(pool.call("ask_within", arguments({10.0, "slow"}))), "answered 1");
  EXPECT_EQ(integer(pool.call("ask", arguments({"double", 4}))), 8);
}

TEST(AsyncAsking, what_goes_wrong_is_a_host_error) {
  Pool pool = make();
  EXPECT_NE(text_of(pool.call("fails", arguments({"doubel", 1}))).find("did you mean \"double\"?"), std::string::npos);
  EXPECT_NE(text_of(pool.call("fails", arguments({"double", std::string(5000, 'x')}))).find("bytes; at most 4096"), std::string::npos);
  EXPECT_EQ(pool.call("ask", arguments({"nothing"})).error().context.python_type, "samovar.host.HostError");
}

TEST(AsyncAsking, cancelling_gives_the_question_up) {
  Pool pool = make();
  std::atomic<bool> asked{false}, go_on{false};
  pool.expose("slow", [&] {
    asked = true;
    (void)wait_until([&] { return go_on.load(); });
  });
  std::stop_source stop;
  bool cancelled = false;
  ASSERT_TRUE(pool.submit("asks_for_long", arguments({"slow"}), [&](Result<Reply> reply) { cancelled = code_of(reply) == Code::cancelled; },
                          {.stop = stop.get_token()}));
  ASSERT_TRUE(wait_until([&] { return pool.poll(), asked.load(); }));
  stop.request_stop();
  EXPECT_TRUE(wait_until([&] { return pool.poll(), cancelled; }));
  EXPECT_TRUE(has_closed(pool, "cancelled; nobody waits for this call any more")) << "and it cannot ask anything more";
  EXPECT_TRUE(pool.call("asks_in_a_task_of_its_own", arguments({"slow"})));
  EXPECT_TRUE(has_closed(pool, "left over")) << "the question of a call that has ended";
  go_on = true;
  EXPECT_EQ(integer(pool.call("ask", arguments({"double", 4}))), 8);
}

}  // namespace
}  // namespace samovar::test
