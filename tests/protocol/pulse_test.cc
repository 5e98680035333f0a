// The words by which a worker shows that it lives: where they lie, what the guard sees of the loop, and when it probes.
#include "ipc/pulse.h"

#include <gtest/gtest.h>

#include <unistd.h>

#include <cstring>
#include <memory>
#include <vector>

#include "ipc/channel.h"

namespace samovar::ipc {
namespace {

class PulseWords : public testing::Test {
 protected:
  PulseWords() {
    std::vector<UniqueFd> fds;
    for (int fd : host->fds_for_worker(host->eventfd())) fds.emplace_back(dup(fd));
    worker = std::move(WorkerEnd::attach(host->hello(), fds).value());
  }

  void send(std::uint16_t method, std::size_t size = 0) {
    const std::vector<std::byte> payload(size);
    std::byte* out = host->requests.try_claim(message_bytes(static_cast<std::uint32_t>(size)));
    ASSERT_NE(out, nullptr);
    write_request({.call_id = 1, .deadline_ns = 0, .method = method, .kind = Kind::bytes, .payload = payload}, out);
    host->requests.publish();
  }
  void begin() {
    ASSERT_EQ(worker->peek(request), Peek::record);
    worker->start(request);
  }
  void finish() {
    std::byte* out = worker->try_claim(0);
    ASSERT_NE(out, nullptr);
    write_response({.call_id = 1}, out);
    worker->finish();
    Response response;
    ASSERT_EQ(host->responses.peek(), Peek::record);
    host->responses.pop();
    host->responses.publish_consumed();
  }
  std::uint64_t word(std::size_t at) const {
    std::uint64_t value;
    std::memcpy(&value, host->worker_memory() + at, sizeof value);
    return value;
  }

  std::unique_ptr<HostEnd> host = std::move(HostEnd::create({.lane_bytes = 4096, .payload_bytes_max = 512}).value());
  std::unique_ptr<WorkerEnd> worker;
  Request request;
};

TEST_F(PulseWords, are_zero_until_the_guard_runs) {
  const Pulse read = host->pulse();

  EXPECT_EQ(read.alive_ns, 0);
  EXPECT_EQ(read.probe_began_ns, 0);
  EXPECT_EQ(read.probe_ended_ns, 0);
  EXPECT_EQ(read.rss_anon_bytes, 0u);
}

TEST_F(PulseWords, lie_where_protocol_md_says) {
  PulseWriter pulse = worker->pulse();
  pulse.alive(0x1111);
  pulse.probe_began(0x2222);
  pulse.probe_ended(0x3333);
  pulse.rss_anon(0x4444);

  EXPECT_EQ(word(192), 0x1111u);
  EXPECT_EQ(word(200), 0x2222u);
  EXPECT_EQ(word(208), 0x3333u);
  EXPECT_EQ(word(216), 0x4444u);
  EXPECT_EQ(host->pulse().alive_ns, 0x1111);
  EXPECT_EQ(host->pulse().probe_began_ns, 0x2222);
  EXPECT_EQ(host->pulse().probe_ended_ns, 0x3333);
  EXPECT_EQ(host->pulse().rss_anon_bytes, 0x4444u);
}

TEST_F(PulseWords, an_event_loop_has_its_turn_in_hand_and_nothing_while_it_waits) {
  const PulseWriter pulse = worker->pulse();
  send(7);
  worker->tell_turn(0x5555);
  worker->tell_method(9);
  EXPECT_EQ(word(256), 0x5555u);
  EXPECT_EQ(word(264), 9u);
  EXPECT_EQ(pulse.in_hand(), 0x5555u) << "not the place of the request";
  EXPECT_TRUE(host->pulse().running);
  EXPECT_EQ(host->pulse().method, 9u);
  EXPECT_EQ(host->pulse().turn_began_ns, 0x5555);
  worker->tell_waiting();
  EXPECT_EQ(pulse.in_hand(), std::nullopt) << "its places may all be taken, by calls that wait";
  EXPECT_FALSE(host->pulse().running);
  EXPECT_EQ(host->pulse().turn_began_ns, -1);
}

TEST_F(PulseWords, a_request_is_in_hand_from_its_publication_until_its_answer) {
  const PulseWriter pulse = worker->pulse();
  EXPECT_EQ(pulse.in_hand(), std::nullopt);
  send(7);
  EXPECT_EQ(pulse.in_hand(), 0u) << "not begun: the loop may wait for the GIL";
  EXPECT_EQ(pulse.started(), 0u);
  begin();
  EXPECT_EQ(pulse.in_hand(), 0u);
  EXPECT_EQ(pulse.started(), 1u);
  EXPECT_TRUE(host->pulse().running);
  EXPECT_EQ(host->pulse().method, 7u);
  finish();
  EXPECT_EQ(pulse.in_hand(), std::nullopt);
  EXPECT_FALSE(host->pulse().running);
}

TEST_F(PulseWords, each_request_has_a_place_of_its_own_lap_after_lap) {
  const PulseWriter pulse = worker->pulse();
  std::optional<std::uint64_t> last;
  for (int call = 0; call < 100; ++call) {  // 448 bytes each: every ninth begins at the start of the ring
    send(1, 384);
    const auto waiting = pulse.in_hand();
    ASSERT_TRUE(waiting) << call;
    EXPECT_NE(waiting, last) << call;
    begin();
    EXPECT_EQ(pulse.in_hand(), waiting) << call;
    finish();
    EXPECT_EQ(pulse.in_hand(), std::nullopt) << call;
    last = waiting;
  }
}

// --- when to look, and when to probe ----------------------------------------------------------------------------------------

constexpr std::int64_t kBeat = 250;
constexpr std::int64_t kAfter = 50;
constexpr auto kNothing = std::nullopt;

TEST(ProbeSchedule, an_idle_worker_looks_at_each_heartbeat_and_never_probes) {
  ProbeSchedule schedule(kBeat, kAfter);
  for (std::int64_t now = 1000; now < 100 * kBeat; now += kBeat) {
    EXPECT_FALSE(schedule.look(now, kNothing));
    EXPECT_EQ(schedule.next_look_ns(), now + kBeat);
  }
}

TEST(ProbeSchedule, a_request_that_is_found_is_looked_at_again_before_the_next_heartbeat) {
  ProbeSchedule schedule(kBeat, kAfter);
  EXPECT_FALSE(schedule.look(1000, 64));
  EXPECT_EQ(schedule.next_look_ns(), 1000 + kAfter);
  EXPECT_FALSE(schedule.look(1049, 64)) << "too early, as when the host had something to say";
  EXPECT_TRUE(schedule.look(1050, 64));
}

TEST(ProbeSchedule, short_calls_are_never_probed) {
  ProbeSchedule schedule(kBeat, kAfter);
  std::int64_t now = 1000;
  for (std::uint64_t place = 0; place < 100 * 64; place += 64) {
    EXPECT_FALSE(schedule.look(now, place));
    now = schedule.next_look_ns();
  }
}

TEST(ProbeSchedule, a_long_call_is_probed_again_at_each_heartbeat) {
  ProbeSchedule schedule(kBeat, kAfter);
  schedule.look(1000, 64);
  EXPECT_TRUE(schedule.look(1050, 64));
  EXPECT_EQ(schedule.next_look_ns(), 1050 + kBeat);
  EXPECT_FALSE(schedule.look(1200, 64));
  EXPECT_EQ(schedule.next_look_ns(), 1050 + kBeat);
  EXPECT_TRUE(schedule.look(1050 + kBeat, 64));
  EXPECT_FALSE(schedule.look(1050 + 2 * kBeat, 128)) << "another call";
  EXPECT_EQ(schedule.next_look_ns(), 1050 + 2 * kBeat + kAfter);
  EXPECT_FALSE(schedule.look(1050 + 2 * kBeat + kAfter, kNothing));
}

TEST(ProbeSchedule, probes_later_than_a_heartbeat_where_it_is_told_to) {
  ProbeSchedule schedule(kBeat, 1000);
  EXPECT_FALSE(schedule.look(0, 64));
  EXPECT_FALSE(schedule.look(kBeat, 64));
  EXPECT_FALSE(schedule.look(2 * kBeat, 64));
  EXPECT_FALSE(schedule.look(3 * kBeat, 64));
  EXPECT_TRUE(schedule.look(4 * kBeat, 64));
}

TEST(ProbeSchedule, without_a_heartbeat_looks_once_and_never_probes) {
  ProbeSchedule schedule(0, kAfter);
  EXPECT_FALSE(schedule.look(1000, 64));
  EXPECT_EQ(schedule.next_look_ns(), kNever);
  EXPECT_FALSE(schedule.look(2000, 64));
}

TEST(ProbeSchedule, bears_durations_without_end) {
  ProbeSchedule schedule(kNever, kNever);
  EXPECT_FALSE(schedule.look(1000, 64));
  EXPECT_EQ(schedule.next_look_ns(), kNever);
  EXPECT_FALSE(schedule.look(kNever - 1, 64));
}

}  // namespace
}  // namespace samovar::ipc
