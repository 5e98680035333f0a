// The control socket and what is said over it.
#include "ipc/handshake.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <samovar_wire/control_generated.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>

#include "ipc/control_socket.h"
#include "ipc/layout.h"

namespace samovar::ipc {
namespace {

using Bytes = std::vector<std::uint8_t>;

const Hello kHello{.layout_hash = layout_hash(),
                   .incarnation = 0x1234'5678'9abc,
                   .worker = 3,
                   .lane_bytes = 65536,
                   .payload_bytes_max = 4096,
                   .spin_max_ns = 50'000,
                   .module = "package.models",
                   .concurrency = 16,
                   .memory_node = 5};
const Ready kReady{.layout_hash = 7, .python = "3.11.2", .methods = {{.name = "echo"},
                                   {.name = "", .positional_min = 1, .positional_max = 3, .keyword = "", .signature = "(a, b=1, c=2)"},
                                   {.name = "ünï.code", .positional_min = 0, .positional_max = Method::kAny, .keyword = "schlüssel"},
                                   {.name = std::string(300, 'x'), .positional_min = 4'000'000'000}}};
const StartFailed kFailed{.reason = "cannot import models", .type = "ImportError", .message = "no \"x\"", .traceback = "Traceback…"};

template <typename T>
T round_trip(const T& message) {
  const auto decoded = decode_control(encode_control(message));
  EXPECT_TRUE(decoded) << decoded.error();
  EXPECT_TRUE(std::holds_alternative<T>(*decoded));
  return std::get<T>(*decoded);
}

TEST(Handshake, hello_comes_back_field_by_field) {
  const Hello got = round_trip(kHello);
  EXPECT_EQ(got.layout_hash, kHello.layout_hash);
  EXPECT_EQ(got.incarnation, kHello.incarnation);
  EXPECT_EQ(got.worker, kHello.worker);
  EXPECT_EQ(got.lane_bytes, kHello.lane_bytes);
  EXPECT_EQ(got.payload_bytes_max, kHello.payload_bytes_max);
  EXPECT_EQ(got.spin_max_ns, kHello.spin_max_ns);
  EXPECT_EQ(got.module, kHello.module);
  EXPECT_EQ(got.concurrency, kHello.concurrency);
  EXPECT_EQ(got.memory_node, kHello.memory_node);
}

TEST(Handshake, ready_comes_back_with_its_methods_in_order) {
  const Ready got = round_trip(kReady);
  EXPECT_EQ(got.layout_hash, kReady.layout_hash);
  EXPECT_EQ(got.python, kReady.python);
  EXPECT_EQ(got.methods, kReady.methods);
  EXPECT_TRUE(round_trip(Ready{}).methods.empty());
}

TEST(Handshake, start_failed_and_stop_come_back) {
  const StartFailed got = round_trip(kFailed);
  EXPECT_EQ(got.reason, kFailed.reason);
  EXPECT_EQ(got.type, kFailed.type);
  EXPECT_EQ(got.message, kFailed.message);
  EXPECT_EQ(got.traceback, kFailed.traceback);
  round_trip(Stop{});
}

TEST(Handshake, what_a_nursery_hears_and_says_comes_back) {
  const NurseryHello hello = round_trip(NurseryHello{.layout_hash = 7, .module = "models.py", .log_level = 2, .memory_nodes = {0, 3}});
  EXPECT_EQ(hello.layout_hash, 7u);
  EXPECT_EQ(hello.module, "models.py");
  EXPECT_EQ(hello.log_level, 2);
  EXPECT_EQ(hello.memory_nodes, (std::vector<int>{0, 3}));
  const NurseryReady ready = round_trip(NurseryReady{.layout_hash = 7, .threads = {"worker-1", ""}});
  EXPECT_EQ(ready.layout_hash, 7u);
  EXPECT_EQ(ready.threads, (std::vector<std::string>{"worker-1", ""}));
  EXPECT_EQ(round_trip(Fork{.incarnation = 1ull << 40}).incarnation, 1ull << 40);
  const Forked forked = round_trip(Forked{.incarnation = 9, .pid = 4711});
  EXPECT_EQ(forked.incarnation, 9u);
  EXPECT_EQ(forked.pid, 4711u);
  const ForkFailed failed = round_trip(ForkFailed{.incarnation = 9, .why = kFailed});
  EXPECT_EQ(failed.incarnation, 9u);
  EXPECT_EQ(failed.why.reason, kFailed.reason);
  EXPECT_EQ(failed.why.traceback, kFailed.traceback);
  const ChildEnded ended = round_trip(ChildEnded{.incarnation = 9, .code = -1, .signal = 9});
  EXPECT_EQ(ended.incarnation, 9u);
  EXPECT_EQ(ended.code, -1);
  EXPECT_EQ(ended.signal, 9);
  EXPECT_EQ(round_trip(Bury{.incarnation = 9}).incarnation, 9u);
}

TEST(Handshake, a_thousand_methods_fit_into_a_datagram) {
  Ready ready;
  for (int i = 0; i < 1000; ++i) ready.methods.push_back({.name = "method_with_a_rather_long_name_" + std::to_string(i), .positional_min = 1, .positional_max = 2});
  const Bytes bytes = encode_control(ready);
  EXPECT_LT(bytes.size(), kControlBytesMax);
  EXPECT_EQ(round_trip(ready).methods, ready.methods);
}

// In a heap block of exactly their size, where AddressSanitizer sees a read outside.
bool decodes(const Bytes& bytes) {
  const auto block = std::make_unique<std::uint8_t[]>(bytes.size());
  std::copy(bytes.begin(), bytes.end(), block.get());
  const auto decoded = decode_control({block.get(), bytes.size()});
  EXPECT_TRUE(decoded || !decoded.error().empty());
  return decoded.has_value();
}

TEST(Handshake, bytes_that_are_no_message_are_refused_with_a_sentence) {
  EXPECT_FALSE(decodes({}));
  EXPECT_FALSE(decodes({0}));
  EXPECT_FALSE(decodes(Bytes(64, 0)));
  EXPECT_FALSE(decodes(Bytes(64, 0xff)));
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(wire::CreateControl(builder));  // valid, but without a body
  EXPECT_FALSE(decodes({builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize()}));
  flatbuffers::FlatBufferBuilder unknown;
  unknown.ForceDefaults(true);
  const auto stop = wire::CreateStop(unknown).Union();
  unknown.Finish(wire::CreateControl(unknown, static_cast<wire::ControlBody>(99), stop));
  EXPECT_FALSE(decodes({unknown.GetBufferPointer(), unknown.GetBufferPointer() + unknown.GetSize()}));
}

TEST(Handshake, cut_or_with_one_byte_changed_is_never_read_outside) {
  for (const ControlMessage& message : {ControlMessage(kHello), ControlMessage(Ready{.layout_hash = 7, .python = "3", .methods = {{.name = "a"}, {.name = "bc", .positional_min = 1}}}),
                                        ControlMessage(kFailed), ControlMessage(Stop{}), ControlMessage(NurseryHello{.layout_hash = 7, .module = "m.py"}),
                                        ControlMessage(NurseryReady{.layout_hash = 7, .threads = {"a", "b"}}), ControlMessage(Forked{9, 4711}),
                                        ControlMessage(ForkFailed{9, kFailed}), ControlMessage(ChildEnded{9, 3, 0})}) {
    const Bytes whole = encode_control(message);
    for (std::size_t length = 0; length < whole.size(); ++length) decodes({whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length)});
    for (std::size_t at = 0; at < whole.size(); ++at) {
      for (unsigned value = 0; value < 256; ++value) {
        Bytes changed = whole;
        changed[at] = static_cast<std::uint8_t>(value);
        decodes(changed);
      }
    }
  }
}

TEST(Handshake, random_bytes_are_never_read_outside) {
  std::mt19937_64 random(11);
  for (int round = 0; round < 20'000; ++round) {
    Bytes bytes(random() % 200);
    for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random() % 3 ? random() % 32 : random());
    decodes(bytes);
  }
}

// --- the socket ---------------------------------------------------------------------------------------------------------------

class Sockets : public testing::Test {
 protected:
  Sockets() {
    auto pair = ControlSocket::pair();
    host.emplace(std::move(pair->first));
    worker.emplace(std::move(pair->second));
  }
  std::optional<ControlSocket> host, worker;
};

TEST_F(Sockets, datagrams_keep_their_borders_and_order) {
  ASSERT_TRUE(host->send(Bytes{1}));
  ASSERT_TRUE(host->send(Bytes{2, 3}));
  ASSERT_TRUE(host->send(Bytes(60'000, 4)));
  EXPECT_EQ(worker->receive()->bytes, (Bytes{1}));
  EXPECT_EQ(worker->receive()->bytes, (Bytes{2, 3}));
  EXPECT_EQ(worker->receive()->bytes, Bytes(60'000, 4));
}

TEST_F(Sockets, descriptors_arrive_in_order_close_on_exec_and_are_the_same_files) {
  UniqueFd files[kHelloFds];
  std::vector<int> numbers;
  for (auto& file : files) {
    file = UniqueFd(memfd_create("test", 0));
    numbers.push_back(file.get());
  }
  ASSERT_TRUE(host->send(encode_control(kHello), numbers));
  const auto got = worker->receive();
  ASSERT_TRUE(got);
  ASSERT_EQ(got->fds.size(), std::size_t{kHelloFds});
  for (std::size_t i = 0; i < kHelloFds; ++i) {
    struct stat sent, received;
    ASSERT_EQ(fstat(numbers[i], &sent), 0);
    ASSERT_EQ(fstat(got->fds[i].get(), &received), 0);
    EXPECT_EQ(sent.st_ino, received.st_ino);
    EXPECT_NE(fcntl(got->fds[i].get(), F_GETFD) & FD_CLOEXEC, 0);
  }
}

TEST_F(Sockets, the_most_descriptors_that_are_allowed_arrive) {
  UniqueFd file(memfd_create("test", 0));
  ASSERT_TRUE(host->send(Bytes{1}, std::vector<int>(kControlFdsMax, file.get())));
  EXPECT_EQ(worker->receive()->fds.size(), kControlFdsMax);
}

int open_descriptors() {
  int count = 0;
  for (int fd = 0; fd < 1024; ++fd) count += fcntl(fd, F_GETFD) >= 0;
  return count;
}

TEST_F(Sockets, too_many_descriptors_are_an_error_and_none_is_left_open) {
  const int before = open_descriptors();
  {
    UniqueFd file(memfd_create("test", 0));
    constexpr std::size_t kMany = kControlFdsMax + 4;
    alignas(cmsghdr) char control[CMSG_SPACE(kMany * sizeof(int))] = {};
    char byte = 1;
    iovec part{&byte, 1};
    msghdr message{};
    message.msg_iov = &part, message.msg_iovlen = 1;
    message.msg_control = control, message.msg_controllen = sizeof control;
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET, header->cmsg_type = SCM_RIGHTS, header->cmsg_len = CMSG_LEN(kMany * sizeof(int));
    for (std::size_t i = 0; i < kMany; ++i) {
      const int fd = file.get();
      std::memcpy(CMSG_DATA(header) + i * sizeof fd, &fd, sizeof fd);
    }
    ASSERT_EQ(sendmsg(host->fd(), &message, 0), 1);
    const auto got = worker->receive();
    ASSERT_FALSE(got);
    EXPECT_EQ(got.error().error, EMSGSIZE);
  }
  EXPECT_EQ(open_descriptors(), before);
}

TEST_F(Sockets, a_datagram_over_the_limit_is_an_error) {
  const int large = 1 << 20;
  setsockopt(host->fd(), SOL_SOCKET, SO_SNDBUF, &large, sizeof large);
  ASSERT_TRUE(host->send(Bytes(kControlBytesMax + 1, 1)));
  const auto got = worker->receive();
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().error, EMSGSIZE);
}

TEST_F(Sockets, the_end_of_the_peer_is_an_empty_datagram) {
  host.reset();
  const auto got = worker->receive();
  ASSERT_TRUE(got);
  EXPECT_TRUE(got->bytes.empty());
}

TEST_F(Sockets, the_end_of_a_peer_that_left_something_unread_is_an_end_too) {
  ASSERT_TRUE(worker->send(Bytes{1}));
  host.reset();
  const auto got = worker->receive();
  ASSERT_TRUE(got) << got.error().to_string();
  EXPECT_TRUE(got->bytes.empty());
}

TEST_F(Sockets, sending_to_a_peer_that_is_gone_is_an_error_and_no_signal) {
  worker.reset();
  const auto sent = host->send(Bytes{1});
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().error, EPIPE);
}

TEST_F(Sockets, both_ends_are_close_on_exec) {
  EXPECT_NE(fcntl(host->fd(), F_GETFD) & FD_CLOEXEC, 0);
  EXPECT_NE(fcntl(worker->fd(), F_GETFD) & FD_CLOEXEC, 0);
}

}  // namespace
}  // namespace samovar::ipc
