// Call: who may write the outcome. CallPool: calls used again and again by many threads.
#include "core/dispatch/call.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <memory>
#include <random>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "core/errors.h"

namespace samovar::core {
namespace {

struct PoolCloser {
  void operator()(CallPool* pool) const { pool->close(); }
};
using Pool = std::unique_ptr<CallPool, PoolCloser>;

void give_back(Call& call) {
  call.drop_reference();
  call.drop_reference();
}

TEST(Call, comes_claimed_from_the_pool_and_clean) {
  Pool pool(CallPool::create());
  Call* call = pool->acquire();
  EXPECT_EQ(call->phase(), Call::claimed);
  call->error.emplace(pool_stopped());
  call->attempts = 3;
  call->requeues = 2;
  call->worker = 4;
  call->callback = [](Result<Reply>) {};
  call->finish();
  give_back(*call);
  Call* again = pool->acquire();
  EXPECT_EQ(again, call) << "the last one back is the first one out: its lines are warm";
  EXPECT_EQ(again->phase(), Call::claimed);
  EXPECT_FALSE(again->error);
  EXPECT_FALSE(again->callback);
  EXPECT_EQ(again->attempts, 0);
  EXPECT_EQ(again->requeues, 0u);
  EXPECT_EQ(again->worker, -1);
  give_back(*again);
}

TEST(Call, news_wakes_its_waiter_once_until_it_is_taken) {
  Pool pool(CallPool::create());
  Call& call = *pool->acquire();
  for (const Call::Sleeper how : {Call::Sleeper::futex, Call::Sleeper::epoll, Call::Sleeper::poll}) {
    EXPECT_FALSE(call.has_news());
    EXPECT_TRUE(call.announce_sleep(how));
    EXPECT_EQ(call.announce_news(), how);
    EXPECT_EQ(call.announce_news(), Call::Sleeper::none) << "it has been woken already";
    EXPECT_TRUE(call.has_news());
    EXPECT_FALSE(call.announce_sleep(how)) << "there is something to take first";
    call.take_news();
  }
  EXPECT_EQ(call.phase(), Call::claimed) << "which news leaves alone";
  EXPECT_EQ(call.announce_news(), Call::Sleeper::none) << "nobody sleeps";
  call.to_queued();
  EXPECT_TRUE(call.claim());
  EXPECT_TRUE(call.has_news()) << "which phases leave alone";
  call.take_news();
  EXPECT_TRUE(call.announce_sleep(Call::Sleeper::futex));
  EXPECT_EQ(call.announce_news(), Call::Sleeper::futex);
  EXPECT_EQ(call.finish(), Call::Sleeper::none) << "news has woken it";
  EXPECT_TRUE(call.has_news());
  give_back(call);
}

TEST(Call, chunks_are_taken_in_order_and_those_left_go_back) {
  Pool pool(CallPool::create());
  Call& call = *pool->acquire();
  call.stream = std::make_unique<CallStream>(4, ipc::kNever);
  const auto push = [&](std::uint64_t number) {
    Call* chunk = call.acquire_chunk();
    chunk->response.call_id = number;
    call.push_chunk(*chunk);
    call.announce_news();
  };
  const auto take = [&] {
    Call* chunk = call.stream->take(call);
    if (!chunk) return std::uint64_t{0};
    const std::uint64_t number = chunk->response.call_id;
    chunk->drop_reference();
    return number;
  };
  EXPECT_EQ(take(), 0u);
  for (std::uint64_t number : {1, 2, 3}) push(number);
  EXPECT_EQ(take(), 1u);
  EXPECT_EQ(call.stream->credit_due(), 0u);
  push(4);
  EXPECT_EQ(take(), 2u);
  EXPECT_EQ(call.stream->credit_due(), 6u) << "half of the window has been taken";
  EXPECT_EQ(take(), 3u);
  EXPECT_EQ(take(), 4u);
  EXPECT_EQ(take(), 0u);
  EXPECT_FALSE(call.has_news());
  push(5);
  push(6);
  call.finish();
  give_back(call);
  Call* again = pool->acquire();
  EXPECT_FALSE(again->stream);
  give_back(*again);
}

TEST(Call, moves_through_its_phases) {
  Pool pool(CallPool::create());
  Call& call = *pool->acquire();
  call.to_queued();
  EXPECT_EQ(call.phase(), Call::queued);
  EXPECT_TRUE(call.claim());
  EXPECT_EQ(call.phase(), Call::claimed);
  call.to_sent();
  EXPECT_EQ(call.phase(), Call::sent);
  EXPECT_TRUE(call.claim());
  call.to_queued();  // taken back
  EXPECT_EQ(call.phase(), Call::queued);
  EXPECT_TRUE(call.claim());
  EXPECT_EQ(call.finish(), Call::Sleeper::none);
  EXPECT_TRUE(call.is_done());
  EXPECT_FALSE(call.claim());
  EXPECT_FALSE(call.announce_sleep(Call::Sleeper::futex));
  give_back(call);
}

TEST(Call, is_moved_by_its_waiter_as_by_anyone) {
  Pool pool(CallPool::create());
  Call* call = pool->acquire();
  call->to_queued(Call::By::waiter);
  EXPECT_EQ(call->phase(), Call::queued);
  EXPECT_TRUE(call->claim(Call::By::waiter));
  EXPECT_EQ(call->phase(), Call::claimed);
  call->to_sent(Call::By::waiter);
  EXPECT_EQ(call->phase(), Call::sent);
  EXPECT_TRUE(call->claim());  // whoever works next
  call->to_queued();
  EXPECT_TRUE(call->claim(Call::By::waiter));
  EXPECT_EQ(call->finish(Call::By::waiter), Call::Sleeper::none) << "it is awake";
  EXPECT_TRUE(call->is_done());
  EXPECT_FALSE(call->claim(Call::By::waiter));
  EXPECT_FALSE(call->claim());
  int waiter;
  call->waiter.store(&waiter);
  call->drop_dispatchers_reference(Call::By::waiter);
  Call* other = pool->acquire();
  EXPECT_NE(other, call) << "its waiter still has it";
  give_back(*other);
  { const Result<Reply> reply = call->take_outcome(); }
  EXPECT_EQ(call->waiter.load(), nullptr) << "nobody waits for it any more";
  Call* again = pool->acquire();
  EXPECT_EQ(again, call);
  give_back(*again);
}

TEST(Call, finish_tells_how_its_waiter_sleeps) {
  Pool pool(CallPool::create());
  for (auto how : {Call::Sleeper::futex, Call::Sleeper::epoll}) {
    Call& call = *pool->acquire();
    call.to_queued();
    EXPECT_TRUE(call.announce_sleep(how));
    EXPECT_EQ(call.phase(), Call::queued) << "sleeping changes no phase";
    EXPECT_TRUE(call.claim());
    call.to_sent();
    EXPECT_TRUE(call.claim());
    EXPECT_EQ(call.finish(), how);
    give_back(call);

    Call& awake = *pool->acquire();
    awake.to_queued();
    EXPECT_TRUE(awake.announce_sleep(how));
    awake.retract_sleep();
    EXPECT_TRUE(awake.claim());
    EXPECT_EQ(awake.finish(), Call::Sleeper::none);
    awake.retract_sleep();
    EXPECT_TRUE(awake.is_done());
    give_back(awake);
  }
}

TEST(Call, sleep_ends_by_finish_by_nudge_and_by_its_time) {
  Pool pool(CallPool::create());
  Call& call = *pool->acquire();
  call.to_queued();
  ASSERT_TRUE(call.announce_sleep(Call::Sleeper::futex));
  const std::int64_t begin_ns = ipc::now_ns();
  call.sleep(begin_ns + 5'000'000);
  EXPECT_GE(ipc::now_ns() - begin_ns, 5'000'000);

  for (int round = 0; round < 200; ++round) {
    std::thread nudger([&] { call.nudge(); });
    ASSERT_TRUE(call.announce_sleep(Call::Sleeper::futex));
    call.sleep(ipc::now_ns() + 100'000'000);  // returns however the nudge falls, late only if it came before the announcement
    nudger.join();
    call.retract_sleep();
    EXPECT_EQ(call.phase(), Call::queued);
  }

  std::thread finisher([&] {
    ASSERT_TRUE(call.claim());
    if (call.finish() == Call::Sleeper::futex) call.wake();
  });
  const std::int64_t until_ns = ipc::now_ns() + 20'000'000'000;
  while (call.announce_sleep(Call::Sleeper::futex)) call.sleep(until_ns);
  EXPECT_LT(ipc::now_ns(), until_ns);
  finisher.join();
  give_back(call);
}

TEST(Call, of_many_claimers_exactly_one_writes_the_outcome) {
  Pool pool(CallPool::create());
  constexpr int kThreads = 4;
  for (int round = 0; round < 500; ++round) {
    Call& call = *pool->acquire();
    std::atomic<int> winners{0};
    std::atomic<int> ready{0};
    int unguarded = 0;  // ThreadSanitizer's to watch
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        ready.fetch_add(1);
        while (ready.load() < kThreads + 1) std::this_thread::yield();
        for (int moves = 0; call.claim(); ++moves) {
          ++unguarded;
          if (moves == t) {
            winners.fetch_add(1);
            call.finish();
            return;
          }
          t % 2 ? call.to_sent() : call.to_queued();
        }
      });
    }
    ready.fetch_add(1);
    call.to_queued();
    for (auto& thread : threads) thread.join();
    ASSERT_EQ(winners.load(), 1);
    ASSERT_GE(unguarded, 1);
    give_back(call);
  }
}

TEST(Call, outcome_is_the_error_or_a_reply_that_owns_its_bytes) {
  Pool pool(CallPool::create());
  Call* call = pool->acquire();
  call->error.emplace(pool_stopped());
  call->finish();
  auto failed = call->take_outcome();
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, Code::pool_stopped);
  call->drop_reference();

  call = pool->acquire();
  std::byte* bytes = call->reply_buffer.reserve(5);
  std::memcpy(bytes, "hello", 5);
  call->response = {.call_id = 1, .service_ns = 77, .kind = ipc::Kind::text, .status = ipc::Status::ok, .payload = {bytes, 5}};
  call->worker = 3;
  call->finish();
  auto reply = call->take_outcome();
  call->drop_reference();  // the dispatcher's
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->text(), "hello");
  EXPECT_EQ(reply->kind(), PayloadKind::text);
  EXPECT_EQ(reply->service_time(), std::chrono::nanoseconds(77));
  EXPECT_EQ(reply->worker(), 3);
  Call* other = pool->acquire();
  EXPECT_NE(other, call) << "the reply still holds it";
  give_back(*other);
}

TEST(Buffer, keeps_its_block_and_is_aligned) {
  Buffer buffer;
  std::byte* small = buffer.reserve(192);
  EXPECT_EQ(buffer.reserve(1), small);
  std::byte* large = buffer.reserve(193);
  EXPECT_NE(large, small);
  EXPECT_EQ(buffer.reserve(193), large);
  EXPECT_EQ(buffer.reserve(10), small);
  std::byte* larger = buffer.reserve(5000);
  EXPECT_EQ(buffer.reserve(4000), larger);
  for (std::byte* at : {small, larger}) EXPECT_EQ(reinterpret_cast<std::uintptr_t>(at) % 8, 0u);
  std::memset(larger, 1, 5000);
}

// --- the pool -----------------------------------------------------------------------------------------------------------------

TEST(CallPool, gives_out_different_calls_each_on_lines_of_its_own) {
  Pool pool(CallPool::create());
  std::vector<Call*> calls;
  for (int i = 0; i < 1000; ++i) calls.push_back(pool->acquire());
  for (Call* call : calls) EXPECT_EQ(reinterpret_cast<std::uintptr_t>(call) % 64, 0u);
  std::sort(calls.begin(), calls.end());
  EXPECT_EQ(std::unique(calls.begin(), calls.end()), calls.end());
  for (Call* call : calls) give_back(*call);
}

TEST(CallPool, gives_out_several_at_once) {
  Pool pool(CallPool::create());
  std::set<Call*> all;
  std::array<Call*, 10> calls;
  while (all.size() < 130) {  // more than one chunk
    const std::size_t count = pool->acquire(calls);
    ASSERT_GE(count, 1u);
    ASSERT_LE(count, calls.size());
    for (Call* call : std::span(calls).first(count)) {
      EXPECT_TRUE(all.insert(call).second) << "given out twice";
      EXPECT_EQ(call->phase(), Call::claimed);
    }
  }
  for (Call* call : all) give_back(*call);
}

TEST(CallPool, outlives_its_owner_while_a_reply_lives) {
  const auto make = [] {
    Pool pool(CallPool::create());
    Call* call = pool->acquire();
    std::byte* bytes = call->reply_buffer.reserve(3000);
    std::memset(bytes, 'x', 3000);
    call->response = {.kind = ipc::Kind::text, .payload = {bytes, 3000}};
    call->finish();
    Reply reply = std::move(*call->take_outcome());
    call->drop_reference();
    return reply;
  };
  const Reply reply = make();
  EXPECT_EQ(reply.text(), std::string(3000, 'x'));
}  // LeakSanitizer looks whether the pool has gone with it

TEST(CallPool, ends_with_whoever_is_last_owner_or_replies) {
  for (int round = 0; round < 300; ++round) {
    CallPool* pool = CallPool::create();
    std::vector<Call*> calls;
    for (int i = 0; i < 70; ++i) calls.push_back(pool->acquire());
    std::atomic<int> ready{0};
    const auto meet = [&] {
      ready.fetch_add(1);
      while (ready.load() < 3) std::this_thread::yield();
    };
    std::thread first([&] {
      meet();
      for (std::size_t i = 0; i < 35; ++i) give_back(*calls[i]);
    });
    std::thread second([&] {
      meet();
      for (std::size_t i = 35; i < 70; ++i) give_back(*calls[i]);
    });
    meet();
    pool->close();
    first.join();
    second.join();
  }
}

TEST(CallPool, closed_without_ever_having_been_used) { CallPool::create()->close(); }

// Pops and pushes that interleave on few calls: an index that leaves and comes back between another's read and exchange
// must not corrupt the list (ABA).
TEST(CallPool, gives_no_call_to_two_threads_at_once) {
  Pool pool(CallPool::create());
  constexpr int kThreads = 4;
  std::atomic<bool> twice{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(static_cast<unsigned>(t));
      std::vector<Call*> held;
      for (int round = 0; round < 40'000; ++round) {
        if (held.size() < 3 && random() % 2) {
          std::array<Call*, 3> calls;
          for (Call* call : std::span(calls).first(pool->acquire(std::span(calls).first(1 + random() % 3)))) {
            // `ticket` is plain memory of whoever has the call: ThreadSanitizer sees a second owner, and so does this.
            if (call->ticket != 0) twice.store(true);
            call->ticket = static_cast<std::uint64_t>(t) + 1;
            held.push_back(call);
          }
        } else if (!held.empty()) {
          const std::size_t which = random() % held.size();
          Call* call = held[which];
          if (call->ticket != static_cast<std::uint64_t>(t) + 1) twice.store(true);
          call->ticket = 0;
          held.erase(held.begin() + static_cast<std::ptrdiff_t>(which));
          give_back(*call);
        }
      }
      for (Call* call : held) {
        call->ticket = 0;
        give_back(*call);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_FALSE(twice.load());
}

}  // namespace
}  // namespace samovar::core
