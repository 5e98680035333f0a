// Streams: methods that yield, read by range, by callbacks and by coroutines, in every dispatcher mode.
#include <gtest/gtest.h>
#include <samovar/samovar.h>

#include <sys/types.h>

#include <atomic>
#include <csignal>
#include <fstream>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/pools.h"
#include "tests/support/wait_until.h"

namespace samovar::test {
namespace {

using namespace std::chrono_literals;

std::int64_t number(const Reply& reply) { return reply.value()->as_int().value_or(-1); }

std::int64_t entry(const Value& dict, std::string_view key) {
  const Value* found = dict.find(key);
  return found ? found->as_int().value_or(-1) : -1;
}

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

class EachModeOfStreams : public testing::TestWithParam<Dispatcher> {
 protected:
  Pool make(const std::function<void(Options&)>& change = {}) {
    Options chosen = options("streams.py");
    chosen.dispatcher = GetParam();
    chosen.workers = 2;
    if (change) change(chosen);
    return start(chosen);
  }

  bool poll_until(Pool& pool, const std::function<bool()>& condition) {
    return wait_until([&] {
      pool.poll();
      return condition();
    });
  }
};
INSTANTIATE_TEST_SUITE_P(Modes, EachModeOfStreams, testing::Values(Dispatcher::caller, Dispatcher::manual, Dispatcher::pinned),
                         [](const auto& info) { return std::string(to_string(info.param)); });

TEST_P(EachModeOfStreams, chunks_come_in_order_and_then_what_was_returned) {
  Pool pool = make();
  for (const std::int64_t n : {0, 1, 63, 64, 65, 5000}) {
    Result<Stream> stream = pool.stream("count", arguments({n}));
    ASSERT_TRUE(stream) << stream.error().to_string();
    const Read read = read_all(*stream);
    EXPECT_EQ(read.numbers, up_to(n));
    EXPECT_FALSE(read.error);
    EXPECT_EQ(number(*stream->result()), n * 10);
    EXPECT_EQ(number(*stream->result()), n * 10) << "once more";
    const Result<std::optional<Reply>> after = stream->next();
    EXPECT_TRUE(after && !*after);
  }
  EXPECT_EQ(pool.stats().violations, 0u);
}

TEST_P(EachModeOfStreams, callbacks_run_in_poll_and_then_the_end) {
  Pool pool = make();
  std::vector<std::int64_t> numbers;
  std::optional<std::int64_t> end;
  const std::thread::id here = std::this_thread::get_id();
  const auto on_chunk = [&](Reply chunk) {
    EXPECT_EQ(std::this_thread::get_id(), here);
    EXPECT_FALSE(end);
    numbers.push_back(number(chunk));
  };
  ASSERT_TRUE(pool.submit_stream("count", arguments({1000}), on_chunk, [&](Result<Reply> r) { end = number(*r); }));
  EXPECT_TRUE(poll_until(pool, [&] { return end.has_value(); }));
  EXPECT_EQ(numbers, up_to(1000));
  EXPECT_EQ(*end, 10000);
}

TEST_P(EachModeOfStreams, coroutine_awaits_each_chunk) {
  Pool pool = make();
  std::vector<std::int64_t> numbers;
  std::optional<Error> error;
  bool ended = false;
  const auto read = [&](Stream stream) -> Detached {
    for (;;) {
      Result<std::optional<Reply>> chunk = co_await stream.async_next();
      if (!chunk) error = chunk.error();
      if (!chunk || !*chunk) break;
      numbers.push_back(number(**chunk));
    }
    ended = true;
  };
  read(*pool.stream("breaks", arguments({500})));
  EXPECT_TRUE(poll_until(pool, [&] { return ended; }));
  EXPECT_EQ(numbers, up_to(500));
  ASSERT_TRUE(error);
  EXPECT_EQ(error->code, Code::method_failed);
}

TEST_P(EachModeOfStreams, slow_generator_tells_each_chunk_at_once) {
  Pool pool = make();
  Gate gate;
  Result<Stream> stream = pool.stream("gated", arguments({3, gate.path()}));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(number(**stream->next()), i) << "while the generator stands behind them";
  gate.open();
  EXPECT_EQ(number(**stream->next()), 3);
  EXPECT_EQ(*stream->next(), std::nullopt);
}

TEST_P(EachModeOfStreams, worker_is_no_more_than_the_window_ahead) {
  Pool pool = make([](Options& o) { o.stream_window = 8; });
  const Folder folder;
  const std::string path = folder.file("far");
  const auto far = [&] {
    const std::string text = folder.read("far");
    return text.empty() ? 0 : std::stoi(text);
  };
  Result<Stream> stream = pool.stream("written", text(path));
  EXPECT_TRUE(wait_until([&] { return far() == 8; }));
  for (int i = 1; i <= 4; ++i) EXPECT_EQ(number(**stream->next()), i);
  EXPECT_TRUE(wait_until([&] { return far() == 12; })) << "half of the window was taken: " << far();
  for (int i = 5; i <= 12; ++i) EXPECT_EQ(number(**stream->next()), i);
  EXPECT_TRUE(wait_until([&] { return far() >= 16; })) << "at least half of the window is its credit: " << far();
  EXPECT_LE(far(), 20);
  stream->cancel();
  EXPECT_TRUE(wait_until([&] { return !folder.read("far.closed").empty(); }));
  EXPECT_LE(far(), 20);
}

TEST_P(EachModeOfStreams, dropping_a_stream_closes_the_generator_and_frees_the_worker) {
  Pool pool = make([](Options& o) { o.workers = 1; });
  for (int i = 1; i <= 3; ++i) {
    {
      Result<Stream> stream = pool.stream("endless");
      EXPECT_EQ(number(**stream->next()), 1);
    }
    const Value seen = *pool.call("looked_at")->value();
    EXPECT_EQ(entry(seen, "closed"), i);
    EXPECT_EQ(entry(seen, "seen"), 1) << "ctx.cancelled() in its finally block";
    EXPECT_LE(entry(seen, "made"), 64);
  }
  EXPECT_EQ(pool.stats().cancelled, 3u);
}

TEST_P(EachModeOfStreams, exception_ends_the_stream_after_the_chunks_before_it) {
  Pool pool = make();
  Result<Stream> stream = pool.stream("breaks", arguments({100}));
  const Read read = read_all(*stream);
  EXPECT_EQ(read.numbers, up_to(100));
  ASSERT_TRUE(read.error);
  EXPECT_EQ(read.error->code, Code::method_failed);
  EXPECT_NE(read.error->message.find("broke after 100"), std::string::npos) << read.error->message;
  EXPECT_NE(read.error->context.traceback.find("in breaks"), std::string::npos);
  EXPECT_EQ(stream->next().error().code, Code::method_failed) << "again";
  EXPECT_EQ(stream->result().error().code, Code::method_failed);
}

TEST_P(EachModeOfStreams, generator_that_never_ends_is_ended_by_the_deadline_and_its_worker_goes_on) {
  Pool pool = make([](Options& o) { o.workers = 1; });
  const Value pid = *pool.call("pid")->value();
  Result<Stream> stream = pool.stream("endless", {}, {.timeout = 100ms});
  const Read read = read_all(*stream);
  EXPECT_GT(read.numbers.size(), 64u);
  ASSERT_TRUE(read.error);
  EXPECT_EQ(read.error->code, Code::deadline_exceeded);
  EXPECT_EQ(*pool.call("pid")->value(), pid);

  Result<Stream> unread = pool.stream("endless", {}, {.timeout = 50ms});
  EXPECT_TRUE(wait_until([&] { return pool.stats().timed_out == 2; })) << "though nobody waits for its chunks";
  EXPECT_EQ(*pool.call("pid")->value(), pid);
}

TEST_P(EachModeOfStreams, wait_for_a_chunk_has_its_own_limit) {
  Pool pool = make();
  {
    Gate gate;
    Result<Stream> stream = pool.stream("gated", arguments({2, gate.path()}), {.chunk_timeout = 50ms});
    const Read read = read_all(*stream);
    EXPECT_EQ(read.numbers, up_to(2));
    ASSERT_TRUE(read.error);
    EXPECT_EQ(read.error->code, Code::deadline_exceeded);
    EXPECT_NE(read.error->message.find("chunk_timeout of 50 ms"), std::string::npos) << read.error->message;
  }
  {
    Gate gate;
    std::optional<Error> error;
    std::vector<std::int64_t> numbers;
    ASSERT_TRUE(pool.submit_stream("gated", arguments({2, gate.path()}), [&](Reply chunk) { numbers.push_back(number(chunk)); },
                                   [&](Result<Reply> r) { error = r.error(); }, {.chunk_timeout = 50ms}));
    EXPECT_TRUE(poll_until(pool, [&] { return error.has_value(); }));
    EXPECT_EQ(numbers, up_to(2));
    EXPECT_NE(error->message.find("chunk_timeout of 50 ms"), std::string::npos) << error->message;
  }
  Result<Stream> stream = pool.stream("slow", arguments({20, 0.02}), {.chunk_timeout = 5s});
  EXPECT_EQ(read_all(*stream).numbers, up_to(20)) << "each wait begins anew";
}

TEST_P(EachModeOfStreams, death_of_the_worker_ends_the_stream_after_the_chunks_that_came) {
  Pool pool = make();
  Result<Stream> stream = pool.stream("dies", arguments({10}), {.idempotent = true});
  const Read read = read_all(*stream);
  EXPECT_EQ(read.numbers, up_to(10)) << "and not once more, though it is idempotent";
  ASSERT_TRUE(read.error);
  EXPECT_EQ(read.error->code, Code::worker_lost);
  EXPECT_TRUE(read.error->context.started);
}

TEST_P(EachModeOfStreams, many_streams_at_once_each_have_their_own_chunks) {
  Pool pool = make();
  std::vector<std::thread> threads;
  std::atomic<int> right{0};
  for (int t = 0; t < 6; ++t) {
    threads.emplace_back([&, t] {
      for (int round = 0; round < 20; ++round) {
        Result<Stream> stream = pool.stream("count", arguments({100 + t}));
        if (stream && read_all(*stream).numbers == up_to(100 + t)) ++right;
        if (Result<Reply> reply = pool.call("echo", value(t)); !reply || number(*reply) != t) --right;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, 120);
}

TEST_P(EachModeOfStreams, drain_waits_for_open_streams_and_ends_those_that_are_left) {
  Pool pool = make();
  Result<Stream> finished = pool.stream("count", arguments({10}));
  Result<Stream> unread = pool.stream("endless");
  pool.drain(100ms);
  EXPECT_EQ(read_all(*finished).numbers, up_to(10));
  const Read read = read_all(*unread);
  ASSERT_TRUE(read.error);
  EXPECT_EQ(read.error->code, Code::pool_stopped);
}

TEST_P(EachModeOfStreams, a_stream_and_its_chunks_may_outlive_the_pool) {
  std::optional<Pool> pool(make());
  Result<Stream> stream = pool->stream("blocks", arguments({3, 100'000}));
  Result<std::optional<Reply>> first = stream->next();
  pool.reset();
  EXPECT_EQ((*first)->data().size(), 100'000u);
  for (;;) {
    Result<std::optional<Reply>> next = stream->next();
    if (next && *next) continue;
    EXPECT_EQ(next ? Code::pool_stopped : next.error().code, Code::pool_stopped);
    break;
  }
}

TEST_P(EachModeOfStreams, reload_lets_an_open_stream_end) {
  Pool pool = make([](Options& o) { o.workers = 1; });
  Gate gate;
  Result<Stream> stream = pool.stream("gated", arguments({3, gate.path()}));
  ASSERT_TRUE(gate.reached());
  std::thread reloader([&] { EXPECT_TRUE(pool.reload()); });
  for (int i = 0; i < 3; ++i) EXPECT_EQ(number(**stream->next()), i);
  gate.open();
  EXPECT_EQ(number(**stream->next()), 3);
  EXPECT_EQ(*stream->next(), std::nullopt);
  reloader.join();
  EXPECT_EQ(pool.stats().calls_lost, 0u);
}

TEST_P(EachModeOfStreams, stop_token_cancels_a_stream) {
  Pool pool = make();
  std::stop_source stop;
  Result<Stream> stream = pool.stream("endless", {}, {.stop = stop.get_token()});
  EXPECT_EQ(number(**stream->next()), 1);
  stop.request_stop();
  const Read read = read_all(*stream);
  ASSERT_TRUE(read.error);
  EXPECT_EQ(read.error->code, Code::cancelled);
}

Pool one_worker(const std::function<void(Options&)>& change = {}) {
  Options chosen = options("streams.py");
  if (change) change(chosen);
  return start(chosen);
}

TEST(StreamTest, chunks_are_of_any_kind) {
  Pool pool = one_worker();
  std::vector<PayloadKind> kinds;
  std::string argument;
  const std::string sent(10'000, 'x');
  Result<Stream> stream = pool.stream("kinds", bytes(sent.data(), sent.size()));
  for (Result<Reply>& chunk : *stream) {
    kinds.push_back(chunk->kind());
    argument = chunk->text();
  }
  EXPECT_EQ(kinds, (std::vector{PayloadKind::none, PayloadKind::bytes, PayloadKind::text, PayloadKind::value, PayloadKind::bytes}));
  EXPECT_EQ(argument, sent) << "a view of its large argument";
  EXPECT_EQ(pool.stats().escaped_views, 0u);
  EXPECT_TRUE(wait_until([&] { return pool.stats().request_arena_in_use == 0; }));
}

TEST(StreamTest, large_chunks_wait_for_room_and_lie_in_the_arena) {
  Pool pool = one_worker([](Options& o) { o.response_arena_bytes = 1 << 20; });
  Result<Stream> stream = pool.stream("blocks", arguments({100, 200'000}));
  int came = 0;
  for (Result<Reply>& chunk : *stream) {
    ASSERT_TRUE(chunk) << chunk.error().to_string();
    EXPECT_TRUE(chunk->in_place());
    ASSERT_EQ(chunk->data().size(), 200'000u);
    EXPECT_EQ(chunk->data().front(), static_cast<std::byte>(came));
    EXPECT_EQ(chunk->data().back(), static_cast<std::byte>(came));
    ++came;
  }
  EXPECT_EQ(came, 100);
}

TEST(StreamTest, chunks_that_nobody_takes_give_their_blocks_back) {
  Pool pool = one_worker([](Options& o) { o.response_arena_bytes = 1 << 20; });
  for (int i = 0; i < 20; ++i) (void)pool.stream("blocks", arguments({100, 200'000}));
  Result<Stream> stream = pool.stream("blocks", arguments({10, 900'000}));
  int came = 0;
  for (Result<Reply>& chunk : *stream) came += chunk.has_value();
  EXPECT_EQ(came, 10);
}

TEST(StreamTest, chunk_that_cannot_be_sent_ends_the_stream) {
  Pool pool = one_worker([](Options& o) { o.response_arena_bytes = 1 << 20; });
  Result<Stream> set = pool.stream("sets", arguments({2}));
  const Read read = read_all(*set);
  EXPECT_EQ(read.numbers, up_to(2));
  EXPECT_EQ(read.error->code, Code::invalid_result);
  EXPECT_NE(read.error->message.find("set is not supported"), std::string::npos) << read.error->message;

  Result<Stream> large = pool.stream("too_large", arguments({2'000'000}));
  EXPECT_TRUE(large->next());
  const Result<std::optional<Reply>> next = large->next();
  ASSERT_FALSE(next);
  EXPECT_EQ(next.error().code, Code::result_too_large);
  EXPECT_NE(next.error().message.find("a chunk of too_large is 2000000 bytes"), std::string::npos) << next.error().message;
  EXPECT_TRUE(pool.call("pid"));
}

TEST(StreamTest, stream_true_says_so_of_a_function_that_returns_an_iterator) {
  Pool pool = one_worker();
  Result<Stream> listed = pool.stream("listed", arguments({200}));
  EXPECT_EQ(read_all(*listed).numbers, up_to(200));
  Result<Stream> none = pool.stream("no_iterator");
  const Result<std::optional<Reply>> next = none->next();
  ASSERT_FALSE(next);
  EXPECT_NE(next.error().message.find("returned a int, which is no iterator"), std::string::npos) << next.error().message;
}

TEST(StreamTest, streams_and_calls_are_not_mistaken_for_each_other) {
  Pool pool = one_worker();
  for (const Error& error : {pool.call("count", arguments({3})).error(), *pool.method<int(int)>("count").error()}) {
    EXPECT_EQ(error.code, Code::invalid_payload) << error.to_string();
    EXPECT_NE(error.message.find("\"count\" is a stream: use Pool::stream"), std::string::npos) << error.message;
  }
  const Result<Stream> plain = pool.stream("pid");
  ASSERT_FALSE(plain);
  EXPECT_EQ(plain.error().code, Code::invalid_payload);
  EXPECT_NE(plain.error().message.find("\"pid\" is not a stream"), std::string::npos) << plain.error().message;
  EXPECT_EQ(pool.stream("nope").error().code, Code::unknown_method);
  EXPECT_EQ(pool.stream("count", arguments({Value("x")}))->next().error().code, Code::method_failed);
  EXPECT_TRUE(pool.call("pid"));
}

TEST(StreamTest, generator_that_does_not_close_is_told_of_and_its_worker_goes_on) {
  Options chosen = options("streams.py");
  Lines lines;
  chosen.log = lines.sink();
  chosen.log_level = LogLevel::info;
  Pool pool = start(chosen);
  EXPECT_TRUE(pool.stream("stubborn")->next());
  EXPECT_TRUE(pool.call("pid"));
  EXPECT_TRUE(wait_until([&] { return lines.contain("generator ignored GeneratorExit"); }));
}

TEST(StreamTest, child_forked_by_a_generator_sends_nothing) {
  Pool pool = one_worker();
  Result<Stream> stream = pool.stream("forks");
  const Read read = read_all(*stream);
  EXPECT_EQ(read.numbers, (std::vector<std::int64_t>{1, 3}));
  EXPECT_EQ(pool.stats().violations, 0u);
}

TEST(StreamTest, coroutine_whose_frame_goes_is_not_resumed) {
  Pool pool = one_worker();
  Gate gate;
  {
    Result<Stream> stream = pool.stream("gated", arguments({1, gate.path()}));
    ASSERT_TRUE(stream->next());
    NextChunk next = stream->async_next();
    EXPECT_TRUE(next.suspend({{}, [](detail::Awaiting&) noexcept { ADD_FAILURE() << "resumed"; }, nullptr}));
    gate.open();
    EXPECT_TRUE(wait_until([&] { return pool.stats().in_flight == 0; }));
  }
  pool.poll();
  EXPECT_TRUE(pool.call("pid"));
}

TEST(StreamTest, callbacks_of_one_stream_leave_room_for_others) {
  Pool pool = one_worker([](Options& o) { o.workers = 2; });
  int chunks = 0;
  bool ended = false, answered = false;
  std::stop_source stop;
  ASSERT_TRUE(pool.submit_stream("endless", {}, [&](Reply) { ++chunks; }, [&](Result<Reply> r) { ended = !r; }, {.stop = stop.get_token()}));
  ASSERT_TRUE(pool.submit("pid", {}, [&](Result<Reply> r) { answered = r.has_value(); }));
  EXPECT_TRUE(wait_until([&] { return pool.poll(), answered && chunks > 1000; }));
  stop.request_stop();
  EXPECT_TRUE(wait_until([&] { return pool.poll(), ended; }));
}

TEST(StreamTest, runs_in_a_process_of_its_own_where_the_pool_does_not) {
  Pool pool = one_worker([](Options& o) { o.pool_enabled = false; });
  Result<Stream> stream = pool.stream("count", arguments({500}));
  ASSERT_TRUE(stream) << stream.error().to_string();
  EXPECT_EQ(read_all(*stream).numbers, up_to(500));
  EXPECT_EQ(number(*stream->result()), 5000);
  EXPECT_TRUE(pool.stream("endless")->next());
  EXPECT_EQ(pool.stats().one_shots, 2u);
}

}  // namespace
}  // namespace samovar::test
