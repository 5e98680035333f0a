// Streams with workers that are threads: chunks, credit and cancellation under ThreadSanitizer, and workers that break the protocol.
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/fleet_checks.h"

namespace samovar::test {
namespace {

using namespace std::chrono_literals;

std::vector<std::byte> chunks_wanted(std::uint32_t count) {
  std::vector<std::byte> payload(16);
  std::memcpy(payload.data(), &count, sizeof count);
  return payload;
}

std::uint64_t number(const Reply& chunk) {
  std::uint64_t number = UINT64_MAX;
  if (chunk.data().size() == sizeof number) std::memcpy(&number, chunk.data().data(), sizeof number);
  return number;
}

// How many chunks came, in order; nothing where they did not, or the stream failed.
std::optional<std::uint64_t> read(Stream& stream) {
  std::uint64_t came = 0;
  for (Result<Reply>& chunk : stream) {
    if (!chunk || number(*chunk) != came++) return std::nullopt;
  }
  return came;
}

class EachModeOfStreams : public testing::TestWithParam<Dispatcher> {};
INSTANTIATE_TEST_SUITE_P(Modes, EachModeOfStreams, testing::Values(Dispatcher::caller, Dispatcher::manual, Dispatcher::pinned),
                         [](const auto& info) { return std::string(to_string(info.param)); });

TEST_P(EachModeOfStreams, many_threads_read_their_streams_and_drop_some) {
  Options options = fleet_options(2, GetParam());
  options.stream_window = 8;
  Fleet fleet(options);
  std::atomic<int> right{0};
  std::vector<std::thread> threads;
  for (std::uint32_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (std::uint32_t round = 0; round < 30; ++round) {
        const auto payload = chunks_wanted(50 + 10 * t + round);
        Result<Stream> whole = fleet->stream("stream", bytes(payload), {});
        if (whole && read(*whole) == 50 + 10 * t + round) ++right;
        Result<Stream> dropped = fleet->stream("stream", bytes(payload), {});
        for (std::uint32_t i = 0; i < round && dropped; ++i) (void)dropped->next();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, 120);
  EXPECT_TRUE(fleet.violations().empty());
  expect_settled(fleet);
}

TEST_P(EachModeOfStreams, callbacks_and_a_stop_from_another_thread) {
  Options options = fleet_options(2, GetParam());
  options.stream_window = 4;
  Fleet fleet(options);
  for (int round = 0; round < 20; ++round) {
    std::stop_source stop;
    std::uint64_t came = 0;
    std::optional<Code> end;
    const auto payload = chunks_wanted(1'000'000);
    ASSERT_TRUE(fleet->submit_stream("stream", bytes(payload), [&](Reply chunk) { EXPECT_EQ(number(chunk), came++); },
                                     [&](Result<Reply> r) { end = r ? Code::system_error : r.error().code; }, {.stop = stop.get_token()}));
    std::thread stopper([&] { stop.request_stop(); });
    EXPECT_TRUE(wait_until([&] { return fleet->poll(), end.has_value(); }));
    EXPECT_EQ(end, Code::cancelled);
    stopper.join();
  }
  expect_settled(fleet);
}

TEST_P(EachModeOfStreams, streams_of_workers_that_are_killed_end_in_worker_lost) {
  Options options = fleet_options(1, GetParam());
  Fleet fleet(options);
  for (int round = 0; round < 10; ++round) {
    const auto payload = chunks_wanted(1'000'000);
    Result<Stream> stream = fleet->stream("stream", bytes(payload), {});
    ASSERT_TRUE(stream && stream->next());
    std::thread killer([&] { fleet.kill(0); });
    std::uint64_t came = 1;
    std::optional<Code> end;
    for (Result<Reply>& chunk : *stream) {
      if (chunk) {
        EXPECT_EQ(number(*chunk), came++);
      } else {
        end = chunk.error().code;
      }
    }
    EXPECT_EQ(end, Code::worker_lost);
    killer.join();
  }
  expect_settled(fleet);
}

struct WrongChunk {
  Lie lie;
  const char* says;
};

class EachLieOfStreams : public testing::TestWithParam<WrongChunk> {};
INSTANTIATE_TEST_SUITE_P(Lies, EachLieOfStreams,
                         testing::Values(WrongChunk{Lie::chunk_unasked, "a chunk in a call that is no stream"},
                                         WrongChunk{Lie::chunk_beyond_credit, "more chunks than it has credit for"},
                                         WrongChunk{Lie::chunk_outside, "its chunk lies outside its arena"}),
                         [](const auto& info) { return "lie_" + std::to_string(info.index); });

TEST_P(EachLieOfStreams, ends_the_worker_and_its_call) {
  Fleet::Plan plan;
  plan.lie = [&](int, std::uint64_t incarnation) { return incarnation == 1 ? GetParam().lie : Lie::none; };
  Fleet fleet(fleet_options(1, Dispatcher::caller), std::move(plan));
  const auto payload = chunks_wanted(3);
  if (GetParam().lie == Lie::chunk_unasked) {
    EXPECT_EQ(fleet->call("echo", bytes(payload), {}).error().code, Code::worker_lost);
  } else {
    Result<Stream> stream = fleet->stream("stream", bytes(payload), {});
    EXPECT_TRUE(wait_until([&] { return fleet->poll(), !fleet.violations().empty(); })) << "before anything is taken, which gives credit";
    EXPECT_EQ(stream->result().error().code, Code::worker_lost);
  }
  ASSERT_EQ(fleet.violations().size(), 1u);
  EXPECT_NE(fleet.violations().front().find(GetParam().says), std::string::npos) << fleet.violations().front();
  Result<Stream> next = fleet->stream("stream", bytes(payload), {});
  EXPECT_EQ(read(*next), 3u) << "of its successor";
  expect_settled(fleet);
}

}  // namespace
}  // namespace samovar::test
