// Both ends of a channel: on one mapping, on two mappings, and in two processes. And the worked example of PROTOCOL.md.
#include "ipc/channel.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <string>
#include <thread>

namespace samovar::ipc {
namespace {

constexpr ChannelOptions kOptions{.lane_bytes = 16384, .payload_bytes_max = 1024};

std::vector<std::byte> payload_of(std::uint64_t number, std::size_t size) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(number * 31 + i);
  return bytes;
}

std::unique_ptr<HostEnd> host_end(const ChannelOptions& options = kOptions) { return std::move(HostEnd::create(options).value()); }

std::unique_ptr<WorkerEnd> on_its_own_mapping(const HostEnd& host) {
  std::vector<UniqueFd> fds;
  for (int fd : host.fds_for_worker(host.eventfd())) fds.emplace_back(dup(fd));
  Hello hello = host.hello();
  hello.spin_max_ns = 20'000;
  return std::move(WorkerEnd::attach(hello, fds).value());
}

std::unique_ptr<WorkerEnd> on_the_hosts_mapping(HostEnd& host) {
  auto* memory = const_cast<std::byte*>(host.worker_memory());
  auto* arena = const_cast<std::byte*>(host.response_arena().data());
  EXPECT_EQ(mprotect(memory, worker_segment_bytes(host.options().lane_bytes), PROT_READ | PROT_WRITE), 0);
  EXPECT_EQ(mprotect(arena, host.response_arena().size(), PROT_READ | PROT_WRITE), 0);
  return std::make_unique<WorkerEnd>(
      host.options(), 20'000,
      WorkerMemory{.host = host.host_memory(), .worker = memory, .response_arena = {arena, host.response_arena().size()}},
      UniqueFd(dup(host.response_arena_fd())), UniqueFd(dup(host.eventfd())));
}

void send(HostEnd& host, const Request& request) {
  std::byte* out = host.requests.try_claim(message_bytes(static_cast<std::uint32_t>(request.payload.size())));
  ASSERT_NE(out, nullptr);
  write_request(request, out);
  host.requests.publish();
  store_load_fence();
  host.ring_if_asleep();
}

// Answers what lies there with the same payload, in place. Returns how many.
int serve(WorkerEnd& worker) {
  int served = 0;
  Request request;
  while (worker.peek(request) == Peek::record) {
    const bool wanted = worker.start(request);
    std::byte* out = worker.try_claim(static_cast<std::uint32_t>(request.payload.size()));
    if (!out) {
      ADD_FAILURE() << "no room";
      return served;
    }
    write_response({.call_id = request.call_id, .service_ns = 1, .kind = request.kind,
                    .status = wanted ? Status::ok : Status::skipped, .payload = request.payload}, out);
    worker.finish();
    ++served;
  }
  return served;
}

bool take(HostEnd& host, Response& response, std::vector<std::byte>& copy) {
  if (host.responses.peek() != Peek::record) return false;
  copy.assign(host.responses.message(), host.responses.message() + host.responses.size());
  if (!read_response(copy, response)) return false;
  host.responses.pop();
  host.responses.publish_consumed();
  return true;
}

void pass_many(HostEnd& host, WorkerEnd& worker) {
  std::uint64_t next = 1;
  for (std::uint64_t number = 1; number <= 3000;) {
    for (std::uint64_t batch = 0; batch < number % 4 + 1; ++batch, ++number) {
      const auto payload = payload_of(number, number * 7 % 1025);
      ASSERT_NO_FATAL_FAILURE(send(host, {.call_id = number, .deadline_ns = 5, .method = 2, .kind = Kind::bytes, .payload = payload}));
    }
    serve(worker);
    Response response;
    std::vector<std::byte> copy;
    while (take(host, response, copy)) {
      ASSERT_EQ(response.call_id, next);
      const auto expected = payload_of(next, next * 7 % 1025);
      ASSERT_EQ(response.payload.size(), expected.size());
      ASSERT_TRUE(std::equal(expected.begin(), expected.end(), response.payload.begin()));
      ++next;
    }
    ASSERT_EQ(next, number);
    ASSERT_EQ(host.started(), number - 1);
  }
}

TEST(Channel, passes_every_call_on_one_mapping) {
  const auto host = host_end();
  const auto worker = on_the_hosts_mapping(*host);
  pass_many(*host, *worker);
}

TEST(Channel, passes_every_call_on_two_mappings) {
  const auto host = host_end();
  const auto worker = on_its_own_mapping(*host);
  pass_many(*host, *worker);
}

// A stream's worker: it sends what it may, then sleeps in the middle of the call until the host lets it send more.
TEST(Channel, a_note_reaches_a_call_that_runs_past_requests_that_wait) {
  const auto host = host_end();
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);
    const auto worker = on_its_own_mapping(*host);
    Request request;
    while (worker->peek(request) != Peek::record) worker->park();
    if (!worker->start(request)) _exit(1);
    std::uint64_t may_send = 0;
    for (std::uint64_t sent = 0; sent < 1000; ++sent) {
      while (sent == may_send) {
        Note note;
        if (worker->peek_note(note) == Peek::record && note.topic == Topic::credit && note.call_id == request.call_id) {
          may_send = note.number;
          worker->pop_note();
        } else {
          worker->wait_for_note(kNever);
        }
      }
      write_response({.call_id = request.call_id, .number = static_cast<std::uint32_t>(sent), .status = Status::chunk}, worker->try_claim(0));
      worker->publish();
    }
    write_response({.call_id = request.call_id}, worker->try_claim(0));
    worker->finish();
    _exit(worker->peek(request) == Peek::record && request.call_id == 8 ? 0 : 2);
  }
  send(*host, {.call_id = 7, .method = 1});
  send(*host, {.call_id = 8, .method = 1});
  std::uint64_t chunks = 0;
  bool over = false;
  for (std::uint64_t credit = 1; !over; ++credit) {
    write_note({.call_id = 7, .number = credit}, host->notes.try_claim(message_bytes(0)));
    host->notes.publish();
    store_load_fence();
    host->ring_if_asleep();
    while (!over && chunks < credit) {
      Response response;
      std::vector<std::byte> copy;
      if (!take(*host, response, copy)) continue;
      EXPECT_EQ(response.call_id, 7u);
      over = is_final(response.status);
      if (!over) {
        EXPECT_EQ(response.number, chunks++);
      }
    }
    over |= chunks == 1000;
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(WIFEXITED(status) ? WEXITSTATUS(status) : -1, 0);
}

TEST(Channel, passes_every_call_to_another_process_that_sleeps_between_them) {
  const auto host = host_end();
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);
    const auto worker = on_its_own_mapping(*host);
    while (!worker->stopping()) {
      if (serve(*worker) == 0) worker->park();
    }
    _exit(0);
  }
  host->close_segment_fds();
  for (std::uint64_t number = 1; number <= 500; ++number) {
    const auto payload = payload_of(number, number % 200);
    // The host sleeps on the eventfd, as the dispatcher does: announce, fence, look, wait.
    host->announce_asleep(true);
    ASSERT_NO_FATAL_FAILURE(send(*host, {.call_id = number, .kind = Kind::bytes, .payload = payload}));
    store_load_fence();
    Response response;
    std::vector<std::byte> copy;
    while (!take(*host, response, copy)) {
      pollfd readable{.fd = host->eventfd(), .events = POLLIN, .revents = 0};
      ASSERT_EQ(poll(&readable, 1, 20'000), 1) << "a wake-up was lost at " << number;
      std::uint64_t count;
      (void)!read(host->eventfd(), &count, sizeof count);
    }
    ASSERT_EQ(response.call_id, number);
    ASSERT_TRUE(std::equal(payload.begin(), payload.end(), response.payload.begin(), response.payload.end()));
  }
  host->stop();
  int status = 1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

TEST(Channel, gives_a_requests_room_back_before_its_response_is_seen) {
  const auto host = host_end();
  const auto worker = on_its_own_mapping(*host);
  ASSERT_NO_FATAL_FAILURE(send(*host, {.call_id = 1}));
  ASSERT_EQ(serve(*worker), 1);
  const auto* page = reinterpret_cast<const WorkerPage*>(host->worker_memory());
  EXPECT_TRUE(host->responses.has_record());
  EXPECT_EQ(page->requests_consumed.load(), 64u);
  EXPECT_EQ(page->started.load(), 1u);
}

TEST(Channel, a_request_that_is_no_request_is_broken_for_the_worker) {
  const auto host = host_end();
  const auto worker = on_its_own_mapping(*host);
  std::memset(host->requests.try_claim(48), 0xff, 48);
  host->requests.publish();
  Request request;
  EXPECT_EQ(worker->peek(request), Peek::broken);
}

TEST(Channel, a_revoked_request_is_not_started) {
  const auto host = host_end();
  const auto worker = on_its_own_mapping(*host);
  std::byte* out = host->requests.try_claim(message_bytes(0));
  write_request({.call_id = 1, .flags = kRequestRevocable}, out);
  host->requests.revoke(host->requests.publish());
  Request request;
  ASSERT_EQ(worker->peek(request), Peek::record);
  EXPECT_FALSE(worker->start(request));
  EXPECT_EQ(host->started(), 1u) << "skipped counts, too";
}

// Host: revoke, fence, read started. Worker: start, fence, read revoked. Never may neither see the other, or the call would
// run here and elsewhere.
TEST(Channel, revoking_and_starting_at_once_never_lets_a_call_run_and_be_taken_back) {
  for (std::uint64_t round = 0; round < 1000; ++round) {
    static std::unique_ptr<HostEnd> host;
    static std::unique_ptr<WorkerEnd> worker;
    static std::uint64_t sent;
    if (round % 100 == 0) {
      host = host_end();
      worker = on_the_hosts_mapping(*host);
      sent = 0;
    }
    write_request({.call_id = round, .flags = kRequestRevocable}, host->requests.try_claim(message_bytes(0)));
    const std::uint64_t position = host->requests.publish();
    ++sent;
    std::atomic<int> ready{0};
    bool runs = false;
    std::thread starter([&] {
      Request request;
      if (worker->peek(request) != Peek::record) return;
      ready.fetch_add(1);
      while (ready.load() < 2) std::this_thread::yield();
      runs = worker->start(request);
      write_response({.call_id = round}, worker->try_claim(0));
      worker->finish();
    });
    ready.fetch_add(1);
    while (ready.load() < 2) std::this_thread::yield();
    host->requests.revoke(position);
    store_load_fence();
    const bool taken_back = host->started() < sent;
    starter.join();
    ASSERT_FALSE(taken_back && runs) << round;
    ASSERT_EQ(host->responses.peek(), Peek::record);
    host->responses.pop();
    host->responses.publish_consumed();
  }
}

TEST(Channel, stop_wakes_a_parked_worker) {
  const auto host = host_end();
  const auto worker = on_the_hosts_mapping(*host);
  std::thread sleeper([&] {
    while (!worker->stopping()) worker->park();
  });
  const auto* page = reinterpret_cast<const WorkerPage*>(host->worker_memory());
  while (page->asleep.load() == 0) std::this_thread::yield();
  host->stop();
  sleeper.join();
  EXPECT_TRUE(worker->stopping());
}

TEST(Channel, a_worker_without_room_waits_until_the_host_has_consumed) {
  const auto host = host_end({.lane_bytes = 4096, .payload_bytes_max = 512});
  const auto worker = on_the_hosts_mapping(*host);
  std::uint64_t published = 0;
  std::atomic<bool> waiting{false};
  std::thread producer([&] {
    // Ten responses of 512 bytes do not fit into 4096.
    for (int i = 0; i < 10; ++i) {
      Request request;
      while (worker->peek(request) != Peek::record) std::this_thread::yield();
      worker->start(request);
      std::byte* out = worker->try_claim(512);
      if (!out) {
        waiting.store(true);
        while ((out = worker->try_claim(512)) == nullptr) worker->wait_for_room(512);
      }
      write_response({.call_id = request.call_id, .payload = payload_of(request.call_id, 512)}, out);
      worker->finish();
      ++published;
    }
  });
  for (std::uint64_t i = 0; i < 10; ++i) ASSERT_NO_FATAL_FAILURE(send(*host, {.call_id = i}));
  while (!waiting.load()) std::this_thread::yield();
  for (std::uint64_t i = 0; i < 10;) {
    Response response;
    std::vector<std::byte> copy;
    if (!take(*host, response, copy)) {
      std::this_thread::yield();
      continue;
    }
    ASSERT_EQ(response.call_id, i++);
    store_load_fence();
    host->ring_if_asleep();
  }
  producer.join();
  EXPECT_EQ(published, 10u);
}

TEST(Channel, options_that_cannot_hold_four_records_are_refused) {
  EXPECT_EQ(check({.lane_bytes = 65536, .payload_bytes_max = 4096}), nullptr);
  EXPECT_EQ(check({.lane_bytes = 4096, .payload_bytes_max = 968}), nullptr);  // 8 + 48 + 968 = 1024
  EXPECT_NE(check({.lane_bytes = 4096, .payload_bytes_max = 969}), nullptr);
  EXPECT_NE(check({.lane_bytes = 65537, .payload_bytes_max = 100}), nullptr);
  EXPECT_NE(check({.lane_bytes = 2048, .payload_bytes_max = 100}), nullptr);
  EXPECT_NE(check({.lane_bytes = 0, .payload_bytes_max = 0}), nullptr);
  EXPECT_NE(check({.lane_bytes = 1u << 31, .payload_bytes_max = 100}), nullptr);
  EXPECT_NE(check({.lane_bytes = 65536, .payload_bytes_max = UINT32_MAX}), nullptr);
  EXPECT_NE(check({.lane_bytes = 65536, .payload_bytes_max = UINT32_MAX - 40}), nullptr) << "wraps round in 32 bits";
}

TEST(Channel, a_hello_that_does_not_fit_is_refused) {
  const auto host = host_end();
  const auto attach = [&](Hello hello, std::size_t count) {
    std::vector<UniqueFd> fds;
    for (int fd : host->fds_for_worker(host->eventfd())) fds.emplace_back(dup(fd));
    fds.resize(count);
    return WorkerEnd::attach(hello, fds);
  };
  const Hello good = host->hello();
  EXPECT_TRUE(attach(good, kHelloFds - 1));
  EXPECT_FALSE(attach(good, kHelloFds - 2));
  EXPECT_FALSE(attach(good, kHelloFds)) << "a request arena that has no bytes";
  EXPECT_FALSE(attach(good, 0));
  Hello larger = good;
  larger.lane_bytes *= 2;
  EXPECT_FALSE(attach(larger, kHelloFds - 1)) << "the segments are smaller than it says";
  Hello odd = good;
  odd.lane_bytes = 5000;
  EXPECT_FALSE(attach(odd, kHelloFds - 1));
}

// --- the worked example of ipc/PROTOCOL.md ----------------------------------------------------------------------------------

std::string hex_dump(const std::byte* bytes, std::size_t size) {
  std::string text;
  char buffer[8];
  for (std::size_t i = 0; i < size; ++i) {
    std::snprintf(buffer, sizeof buffer, "%02x%c", static_cast<unsigned>(bytes[i]), i % 8 == 7 ? '\n' : ' ');
    text += buffer;
  }
  return text;
}

TEST(Channel, the_worked_example_of_protocol_md_is_what_the_lane_holds) {
  const auto host = host_end();
  const std::string hello = "hello";
  ASSERT_NO_FATAL_FAILURE(send(*host, {.call_id = 7, .deadline_ns = 1'000'000'000, .method = 1, .kind = Kind::bytes,
                                       .payload = std::as_bytes(std::span(hello))}));
  EXPECT_EQ(hex_dump(host->host_memory() + kPageBytes, 72),
            "38 00 00 00 00 00 00 80\n"   // commit word: valid, 56 bytes of message
            "0c 00 00 00 08 00 20 00\n"   // root: the table at +12; vtable: 8 bytes long, the table 32,
            "04 00 1c 00 08 00 00 00\n"   //   header at 4, payload at 28; the table: its vtable 8 back
            "07 00 00 00 00 00 00 00\n"   // call_id
            "00 ca 9a 3b 00 00 00 00\n"   // deadline_ns
            "00 00 00 00 01 00 01 00\n"   // session, method, kind, flags
            "04 00 00 00 05 00 00 00\n"   // payload: the vector at +4; its length
            "68 65 6c 6c 6f 00 00 00\n"   // "hello", padding
            "00 00 00 00 00 00 00 00\n");  // the next commit word

  const auto worker = on_its_own_mapping(*host);
  const auto* page = reinterpret_cast<const WorkerPage*>(host->worker_memory());
  Request request;
  ASSERT_EQ(worker->peek(request), Peek::record);
  EXPECT_EQ(page->started.load(), 0u);
  EXPECT_TRUE(worker->start(request));
  EXPECT_EQ(page->started.load(), 1u);
  EXPECT_EQ(page->requests_consumed.load(), 0u);
  write_response({.call_id = 7, .service_ns = 0, .kind = Kind::bytes, .status = Status::ok, .payload = request.payload},
                 worker->try_claim(5));
  worker->finish();
  EXPECT_EQ(page->requests_consumed.load(), 64u);
  EXPECT_EQ(hex_dump(host->worker_memory() + kPageBytes, 72),
            "38 00 00 00 00 00 00 80\n"
            "0c 00 00 00 08 00 20 00\n"
            "04 00 1c 00 08 00 00 00\n"
            "07 00 00 00 00 00 00 00\n"   // call_id
            "00 00 00 00 00 00 00 00\n"   // service_ns
            "00 00 00 00 00 00 01 00\n"   // reserved, kind, status
            "04 00 00 00 05 00 00 00\n"
            "68 65 6c 6c 6f 00 00 00\n"
            "00 00 00 00 00 00 00 00\n");
}

TEST(Channel, an_empty_request_is_one_cache_line_and_one_of_64_bytes_two) {
  const auto host = host_end();
  ASSERT_NO_FATAL_FAILURE(send(*host, {.call_id = 1}));
  EXPECT_EQ(host->requests.published(), 64u);
  ASSERT_NO_FATAL_FAILURE(send(*host, {.call_id = 2, .payload = payload_of(1, 64)}));
  EXPECT_EQ(host->requests.published(), 64u + 128);
}

}  // namespace
}  // namespace samovar::ipc
