// Payloads in arenas, through real workers: nothing is copied that need not be, and every block comes back.
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/child_host.h"
#include "tests/support/pools.h"
#include "tests/support/processes.h"

namespace samovar::test {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kMiB = std::size_t{1} << 20;

std::vector<std::byte> noise(std::size_t size, std::uint32_t seed = 1) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>((i + seed) * 2654435761u >> 13);
  return bytes;
}

bool equal(std::span<const std::byte> a, std::span<const std::byte> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size()) == 0;
}

Loan filled(Pool& pool, std::span<const std::byte> content) {
  auto loan = pool.loan(content.size());
  if (!loan) throw std::runtime_error(loan.error().to_string());
  std::memcpy(loan->data(), content.data(), content.size());
  return std::move(*loan);
}

class LargePayloads : public testing::Test {
 protected:
  LargePayloads() : pool(start(with_arenas(64 * kMiB))) {}

  static Options with_arenas(std::uint64_t bytes) {
    Options o = options("large.py");
    o.request_arena_bytes = o.response_arena_bytes = bytes;
    o.arena_trim_delay = 20ms;
    return o;
  }

  std::uint64_t in_use() const { return pool.stats().request_arena_in_use; }

  Pool pool;
};

TEST_F(LargePayloads, a_loan_is_written_in_place_and_read_in_place) {
  const auto content = noise(3 * kMiB + 17);
  auto loan = pool.loan(content.size());
  ASSERT_TRUE(loan) << loan.error().to_string();
  EXPECT_EQ(loan->size(), content.size());
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(loan->data()) % 64, 0u);
  std::memcpy(loan->data(), content.data(), 1000);
  loan->write(std::span(content).subspan(1000), 1000);

  const auto sum = pool.call("sum_of", std::move(*loan));

  EXPECT_EQ(integer(sum), std::accumulate(content.begin(), content.end(), std::int64_t{0},
                                          [](std::int64_t s, std::byte b) { return s + std::to_integer<int>(b); }));
  EXPECT_EQ(loan->size(), 0u) << "it has been moved";  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(in_use(), 0u);
}

TEST_F(LargePayloads, a_method_that_returns_its_argument_sends_a_reference) {
  const auto content = noise(8 * kMiB);
  Loan loan = filled(pool, content);
  const std::byte* const where = loan.data();

  const auto reply = pool.call("echo", std::move(loan));

  ASSERT_TRUE(reply) << reply.error().to_string();
  EXPECT_EQ(reply->data().data(), where) << "the very bytes that were sent";
  EXPECT_TRUE(equal(reply->data(), content));
  EXPECT_EQ(in_use(), 8 * kMiB) << "the reply lies there";
}

TEST_F(LargePayloads, so_does_one_that_returns_a_part_of_it) {
  const auto content = noise(kMiB);
  Loan loan = filled(pool, content);
  const std::byte* const where = loan.data();

  const auto reply = pool.call("tail_of", std::move(loan));  // data[4096:]

  ASSERT_TRUE(reply) << reply.error().to_string();
  EXPECT_EQ(reply->data().data(), where + 4096);
  EXPECT_EQ(reply->data().size(), kMiB - 4096);
}

TEST_F(LargePayloads, a_truncated_loan_sends_its_beginning) {
  Loan loan = filled(pool, noise(kMiB));
  loan.truncate(5000);
  EXPECT_EQ(integer(pool.call("size", std::move(loan))), 5000);
  Loan small = filled(pool, noise(kMiB));
  small.truncate(10);
  EXPECT_EQ(integer(pool.call("size", std::move(small))), 10);
  EXPECT_EQ(in_use(), 0u);
}

TEST_F(LargePayloads, a_loan_may_be_text) {
  const std::string content(kMiB, 'a');
  const auto reply = pool.call("echo", text(filled(pool, std::as_bytes(std::span(content)))));
  ASSERT_TRUE(reply) << reply.error().to_string();
  EXPECT_EQ(reply->kind(), PayloadKind::text);
  EXPECT_EQ(reply->text(), content);
}

TEST_F(LargePayloads, one_payload_may_be_sent_many_times) {
  const auto content = noise(kMiB);
  const Payload payload = filled(pool, content);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(integer(pool.call("size", payload)), static_cast<std::int64_t>(kMiB));
  EXPECT_EQ(in_use(), kMiB) << "the payload owns the loan";
}

TEST_F(LargePayloads, what_is_no_loan_is_copied_and_may_be_of_any_kind) {
  const auto content = noise(2 * kMiB);
  EXPECT_TRUE(equal(pool.call("echo", bytes(content))->data(), content));

  Value::List list;
  for (int i = 0; i < 20'000; ++i) list.emplace_back(i);
  EXPECT_EQ(value_of(pool.call("echo", value(list))), Value(list));
  EXPECT_EQ(value_of(pool.call("spread", arguments(list))), Value(list));
  EXPECT_EQ(in_use(), 0u);
}

TEST_F(LargePayloads, typed_methods_take_and_give_large_ones) {
  std::vector<double> numbers(100'000);
  std::iota(numbers.begin(), numbers.end(), 0.5);
  EXPECT_EQ(pool.method<std::vector<double>(std::vector<double>)>("echo")(numbers), numbers);
  const std::string letters(kMiB, 'x');
  EXPECT_EQ(pool.method<std::string(std::string)>("echo")(letters), letters);
  EXPECT_EQ(in_use(), 0u);
}

TEST_F(LargePayloads, a_loan_of_another_pool_is_copied) {
  Pool other = start(with_arenas(16 * kMiB));
  const auto content = noise(kMiB);
  EXPECT_TRUE(equal(pool.call("echo", filled(other, content))->data(), content));
}

TEST_F(LargePayloads, a_large_result_lies_in_the_workers_arena_and_goes_back_with_its_reply) {
  for (int round = 0; round < 200; ++round) {  // far more than the arena holds at once
    const auto reply = pool.call("zeros", value(8 * kMiB));
    ASSERT_TRUE(reply) << round << ": " << reply.error().to_string();
    ASSERT_EQ(reply->data().size(), 8 * kMiB);
  }
}

TEST_F(LargePayloads, replies_come_back_in_any_order) {
  std::vector<std::optional<Reply>> held(6);
  for (int round = 0; round < 60; ++round) {
    auto& slot = held[static_cast<std::size_t>(round * 7 % 6)];
    slot.reset();
    auto reply = pool.call("filled", arguments({round % 251, 10 * kMiB}));
    ASSERT_TRUE(reply) << reply.error().to_string();
    slot.emplace(std::move(*reply));
    for (const auto& other : held) {
      if (!other) continue;
      ASSERT_EQ(other->data().front(), other->data().back());
    }
  }
}

TEST_F(LargePayloads, a_reply_outlives_its_worker_and_the_pool) {
  std::optional<Reply> in_worker_arena;
  std::optional<Reply> in_pool_arena;
  const auto content = noise(kMiB);
  {
    Pool brief = start(with_arenas(16 * kMiB));
    in_worker_arena.emplace(std::move(*brief.call("filled", arguments({7, kMiB}))));
    in_pool_arena.emplace(std::move(*brief.call("echo", filled(brief, content))));
    EXPECT_EQ(code_of(brief.call("die", value(9))), Code::worker_lost);
  }
  EXPECT_EQ(in_worker_arena->data().size(), kMiB);
  for (std::byte byte : in_worker_arena->data()) ASSERT_EQ(byte, std::byte{7});
  EXPECT_TRUE(equal(in_pool_arena->data(), content));
}

TEST_F(LargePayloads, a_loan_outlives_its_pool) {
  std::optional<Loan> loan;
  {
    Pool brief = start(with_arenas(16 * kMiB));
    loan.emplace(std::move(*brief.loan(kMiB)));
  }
  std::memset(loan->data(), 1, loan->size());
}

// --- no room --------------------------------------------------------------------------------------------------------------

TEST_F(LargePayloads, a_full_request_arena_is_an_error_with_the_sizes) {
  const auto most = pool.loan(40 * kMiB);
  ASSERT_TRUE(most);

  const auto more = pool.loan(40 * kMiB);
  ASSERT_FALSE(more);
  EXPECT_EQ(more.error().code, Code::resource_exhausted);
  EXPECT_EQ(more.error().category, Category::resource);
  EXPECT_TRUE(more.error().context.retryable);
  for (const char* size : {"41943040 bytes", "67108864 bytes (request_arena_bytes)", "25165824"}) {
    EXPECT_NE(more.error().message.find(size), std::string::npos) << more.error().message;
  }
  EXPECT_EQ(code_of(pool.call("size", bytes(noise(40 * kMiB)))), Code::resource_exhausted) << "a copy needs room, too";
  EXPECT_EQ(pool.loan(65 * kMiB).error().code, Code::payload_too_large);
  EXPECT_EQ(integer(pool.call("size", bytes("abc", 3))), 3) << "small calls need none";
}

TEST_F(LargePayloads, a_loan_that_may_wait_gets_the_room_that_comes_free) {
  for (int round = 0; round < 50; ++round) {
    auto most = pool.loan(40 * kMiB);
    ASSERT_TRUE(most) << round;
    std::jthread dropping([&] { const Loan dropped(std::move(*most)); });  // before the other one waits, or after
    ASSERT_TRUE(pool.loan(40 * kMiB, 30s)) << round;
  }
}

TEST_F(LargePayloads, waiting_for_a_loan_is_bounded) {
  const auto most = pool.loan(40 * kMiB);
  const auto begin = std::chrono::steady_clock::now();
  const auto more = pool.loan(40 * kMiB, 50ms);
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 50ms);
  ASSERT_FALSE(more);
  EXPECT_EQ(more.error().code, Code::resource_exhausted);
}

TEST_F(LargePayloads, a_full_response_arena_is_an_error_with_the_sizes) {
  const auto held = pool.call("zeros", value(40 * kMiB));
  ASSERT_TRUE(held) << held.error().to_string();

  const auto more = pool.call("zeros", value(40 * kMiB));
  ASSERT_FALSE(more);
  EXPECT_EQ(more.error().code, Code::resource_exhausted);
  for (const char* part : {"zeros", "41943040 bytes", "67108864 bytes (response_arena_bytes)"}) {
    EXPECT_NE(more.error().message.find(part), std::string::npos) << more.error().message;
  }
  const auto never = pool.call("zeros", value(65 * kMiB));
  ASSERT_FALSE(never);
  EXPECT_EQ(never.error().code, Code::result_too_large);
  EXPECT_TRUE(pool.call("zeros", value(10 * kMiB)));
}

TEST_F(LargePayloads, a_result_that_may_wait_gets_the_room_that_comes_free) {
  for (int round = 0; round < 10; ++round) {
    auto held = pool.call("zeros", value(40 * kMiB));
    ASSERT_TRUE(held) << round << ": " << held.error().to_string();
    std::jthread dropping([&] { const Reply dropped(std::move(*held)); });
    const auto more = pool.call("zeros", value(40 * kMiB), {.when_full = WhenFull::wait});
    ASSERT_TRUE(more) << round << ": " << more.error().to_string();
  }
}

TEST_F(LargePayloads, a_result_that_waits_does_so_until_its_deadline) {
  const auto held = pool.call("zeros", value(40 * kMiB));
  ASSERT_TRUE(held);
  EXPECT_EQ(code_of(pool.call("zeros", value(40 * kMiB), {.timeout = 50ms, .when_full = WhenFull::wait})), Code::deadline_exceeded);
  EXPECT_TRUE(pool.call("echo")) << "the worker is free again";
}

// --- what becomes of blocks -------------------------------------------------------------------------------------------------

TEST_F(LargePayloads, a_block_stays_with_its_handler_beyond_the_deadline) {
  const Gate gate;
  ASSERT_TRUE(pool.call("set_gate", text(gate.path())));
  EXPECT_EQ(code_of(pool.call("size_behind_gate", filled(pool, noise(kMiB)), {.timeout = 50ms})), Code::deadline_exceeded);
  EXPECT_EQ(in_use(), kMiB) << "the handler may still read";
  gate.open();
  EXPECT_TRUE(pool.call("forget"));
  EXPECT_EQ(in_use(), 0u);
}

TEST_F(LargePayloads, a_block_comes_back_with_the_proof_of_its_workers_death) {
  EXPECT_EQ(code_of(pool.call("die_with", filled(pool, noise(kMiB)))), Code::worker_lost);
  EXPECT_EQ(in_use(), 0u);
}

TEST_F(LargePayloads, late_replies_give_their_blocks_back) {
  for (int round = 0; round < 30; ++round) {  // more than the arena holds
    const Gate gate;
    ASSERT_TRUE(pool.call("set_gate", text(gate.path())));
    EXPECT_EQ(code_of(pool.call("zeros_behind_gate", value(8 * kMiB), {.timeout = 5ms})), Code::deadline_exceeded);
    gate.open();
  }
  EXPECT_TRUE(pool.call("filled", arguments({1, 40 * kMiB})));
}

TEST_F(LargePayloads, an_idempotent_call_takes_its_block_to_the_next_worker) {
  const Folder folder;
  setenv("SAMOVAR_TEST_MARK", folder.file("mark").c_str(), 1);
  Pool marked = start(with_arenas(16 * kMiB));
  EXPECT_EQ(integer(marked.call("size_unless_marked", filled(marked, noise(kMiB)), {.idempotent = true})),
            static_cast<std::int64_t>(kMiB));
  EXPECT_EQ(marked.stats().request_arena_in_use, 0u);
  unsetenv("SAMOVAR_TEST_MARK");
}

// --- views that escape ------------------------------------------------------------------------------------------------------

TEST_F(LargePayloads, a_view_may_outlive_its_call_and_its_block_stays_until_then) {
  const auto content = noise(kMiB);
  ASSERT_TRUE(pool.call("hold", filled(pool, content)));
  EXPECT_EQ(pool.stats().escaped_views, 1u);
  EXPECT_EQ(in_use(), kMiB);
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(pool.call("size", filled(pool, noise(2 * kMiB, 9))));

  EXPECT_TRUE(equal(pool.call("held_bytes")->data(), content)) << "nobody has written over it";

  ASSERT_TRUE(pool.call("forget"));
  ASSERT_TRUE(pool.call("echo"));
  EXPECT_EQ(pool.stats().escaped_views, 0u);
  EXPECT_EQ(in_use(), 0u);
}

TEST_F(LargePayloads, so_may_what_is_made_of_a_view) {
  for (const char* method : {"hold_slice", "hold_cast", "hold_in_a_cycle"}) {
    ASSERT_TRUE(pool.call(method, filled(pool, noise(kMiB)))) << method;
    EXPECT_EQ(pool.stats().escaped_views, 1u) << method;
    ASSERT_TRUE(pool.call("forget")) << method;
    ASSERT_TRUE(pool.call("echo"));
    EXPECT_EQ(pool.stats().escaped_views, 0u) << method;
  }
  EXPECT_EQ(in_use(), 0u);
}

TEST_F(LargePayloads, an_exception_that_holds_the_view_lets_it_go) {
  EXPECT_EQ(code_of(pool.call("raise_with", filled(pool, noise(kMiB)))), Code::method_failed);
  EXPECT_EQ(pool.stats().escaped_views, 0u);
  EXPECT_EQ(in_use(), 0u);
}

TEST_F(LargePayloads, a_view_that_the_handler_releases_is_no_trouble) {
  EXPECT_TRUE(pool.call("release", filled(pool, noise(kMiB))));
  EXPECT_EQ(in_use(), 0u);
}

TEST_F(LargePayloads, the_view_is_read_only) {
  const auto reply = pool.call("write_into", filled(pool, noise(kMiB)));
  EXPECT_EQ(code_of(reply), Code::method_failed);
  EXPECT_EQ(reply.error().context.python_type, "TypeError");
}

TEST_F(LargePayloads, a_view_that_dies_while_no_call_runs_gives_its_block_back) {
  const Gate gate;
  ASSERT_TRUE(pool.call("set_gate", text(gate.path())));
  ASSERT_TRUE(pool.call("hold", filled(pool, noise(kMiB))));
  ASSERT_TRUE(pool.call("forget_in_a_thread_behind_gate"));
  EXPECT_EQ(in_use(), kMiB);
  gate.open();
  EXPECT_TRUE(wait_until([&] { return in_use() == 0; })) << "without any call";
}

TEST_F(LargePayloads, escaped_views_are_capped_and_reported) {
  Lines lines;
  Options capped = with_arenas(64 * kMiB);
  capped.escaped_views_max = 3;
  capped.log = lines.sink();
  capped.log_level = LogLevel::info;
  Pool few = start(capped);
  const auto content = noise(kMiB);
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(few.call("hold", filled(few, content)));

  EXPECT_EQ(few.stats().escaped_views, 3u);
  EXPECT_EQ(few.stats().request_arena_in_use, 3 * kMiB);
  EXPECT_TRUE(wait_until([&] { return lines.contain("3 payloads are still viewed"); })) << lines.all();
  EXPECT_TRUE(lines.contain("for hold")) << lines.all();
  EXPECT_EQ(integer(few.call("held_size")), static_cast<std::int64_t>(10 * kMiB)) << "all of them are right";
}

// --- memory -----------------------------------------------------------------------------------------------------------------

TEST_F(LargePayloads, freed_memory_of_the_request_arena_goes_back_to_the_kernel) {
  ASSERT_TRUE(pool.call("size", filled(pool, noise(32 * kMiB))));
  EXPECT_TRUE(wait_until([&] { return pool.stats().request_arena_resident == 0; }));
}

TEST_F(LargePayloads, freed_memory_of_a_response_arena_goes_back_to_the_kernel) {
  const pid_t worker = worker_pid(pool);
  const auto shared = [&] { return resident_shared_bytes(worker); };
  const std::uint64_t before = shared();
  {
    const auto reply = pool.call("filled", arguments({1, 32 * kMiB}));
    ASSERT_TRUE(reply);
    EXPECT_GT(shared(), before + 30 * kMiB);
  }
  EXPECT_TRUE(wait_until([&] { return shared() < before + 2 * kMiB; }));
}

// The kernel refuses, as it does where a system or a container has no memory left.
void refuse_fallocate() {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fallocate, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOMEM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter{std::size(program), program};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) {
    throw std::runtime_error("seccomp");
  }
}

TEST(Arenas, without_memory_for_pages_say_so_and_nobody_dies_of_sigbus) {
  const std::string said = in_child_host([] {
    Options o = options("large.py");
    Pool pool = start(o);
    const Loan before = filled(pool, noise(kMiB));
    refuse_fallocate();  // of this thread
    const auto loan = pool.loan(8 * kMiB);
    const std::string error = loan ? "a loan" : loan.error().to_string();
    return error + (integer(pool.call("size", bytes("abc", 3))) == 3 ? " and serves" : "");
  });
  EXPECT_TRUE(said.starts_with("resource_exhausted: no memory for a payload of 8388608 bytes")) << said;
  EXPECT_NE(said.find("Cannot allocate memory"), std::string::npos) << said;
  EXPECT_NE(said.find("and serves"), std::string::npos) << said;
}

TEST(Arenas, of_a_worker_without_memory_for_pages_fail_the_call) {
  const std::string said = in_child_host([] {
    refuse_fallocate();  // of all threads and processes that this one starts
    Pool pool = start(options("large.py"));
    const auto reply = pool.call("zeros", value(8 * kMiB));
    return (reply ? "a reply" : reply.error().to_string()) + (pool.call("zeros", value(100)) ? " and serves" : "");
  });
  EXPECT_TRUE(said.starts_with("resource_exhausted: the result of zeros is 8388608 bytes")) << said;
  EXPECT_NE(said.find("Cannot allocate memory"), std::string::npos) << said;
  EXPECT_NE(said.find("and serves"), std::string::npos) << said;
}

TEST(Arenas, too_large_for_the_address_space_are_an_error_of_start) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "a sanitizer's own memory is above any limit";
#endif
  constexpr std::uint64_t kArena = std::uint64_t{256} << 30;
  // Room for nothing of it; or for the arena, and not for the books of its 67 million pages.
  for (const std::uint64_t room : {std::uint64_t{0}, kArena}) {
    const std::string said = in_child_host([&] {
      std::uint64_t pages = 0;
      std::ifstream("/proc/self/statm") >> pages;
      const rlimit limit{pages * 4096 + room + 512 * kMiB, RLIM_INFINITY};
      setrlimit(RLIMIT_AS, &limit);
      Options o = options("large.py");
      o.request_arena_bytes = kArena;
      const Result<Pool> pool = Pool::start(o);
      return pool ? "it started" : pool.error().to_string();
    });
    EXPECT_TRUE(said.starts_with("system_error: starting a pool: ")) << said;
    EXPECT_NE(said.find("Cannot allocate memory"), std::string::npos) << said;
    EXPECT_NE(said.find(room == 0 ? "mmap" : "request_arena_bytes = 274877906944"), std::string::npos) << said;
  }
}

// --- containers -------------------------------------------------------------------------------------------------------------

// In a mount namespace of its own, the process and its workers see another /dev/shm. False: that is not allowed here.
bool with_dev_shm(unsigned long flags, const char* data) {
  return unshare(CLONE_NEWNS) == 0 && mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
         mount("tmpfs", "/dev/shm", "tmpfs", flags, data) == 0;
}

TEST(Arenas, do_without_dev_shm) {
  const struct {
    const char* name;
    unsigned long flags;
    const char* data;
  } cases[] = {{"as Docker gives it", 0, "size=64m"}, {"of one page", 0, "size=4k"}, {"that nobody may write", MS_RDONLY, "size=4k"}};
  for (const auto& [name, flags, data] : cases) {
    const std::string said = in_child_host([&] {
      if (!with_dev_shm(flags, data)) return std::string("not allowed");
      Pool pool = start(options("large.py"));
      const auto content = noise(100 * kMiB);
      const auto echoed = pool.call("echo", filled(pool, content));
      if (!echoed || !equal(echoed->data(), content)) return std::string("a wrong echo");
      const auto made = pool.call("filled", arguments({7, 100 * kMiB}));
      if (!made || made->data().size() != 100 * kMiB || made->data().back() != std::byte{7}) return std::string("a wrong result");
      return std::string("works");
    });
    if (said == "not allowed") GTEST_SKIP() << "mount namespaces need CAP_SYS_ADMIN";
    EXPECT_EQ(said, "works") << "a /dev/shm " << name;
  }
}

}  // namespace
}  // namespace samovar::test
