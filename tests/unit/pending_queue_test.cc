#include "core/dispatch/pending_queue.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <random>
#include <thread>
#include <vector>

namespace samovar::core {
namespace {

using Admission = PendingQueue::Admission;

class Queue : public testing::Test {
 protected:
  Call& call() { return *calls_.emplace_back(std::make_unique<Call>()); }
  Call& admitted(PendingQueue& queue) {
    Call& made = call();
    EXPECT_EQ(queue.admit(made.ticket), Admission::admitted);
    return made;
  }
  static std::vector<std::uint64_t> tickets(const PendingQueue& queue) {
    std::vector<std::uint64_t> tickets;
    const Call* previous = nullptr;
    for (const Call* call = queue.front(); call; previous = call, call = call->next) {
      EXPECT_EQ(call->previous, previous);
      tickets.push_back(call->ticket);
    }
    return tickets;
  }
  static void take(PendingQueue& queue) {
    queue.take_inbox([&](Call& call) { queue.insert(call); });
  }
  using Tickets = std::vector<std::uint64_t>;

 private:
  std::vector<std::unique_ptr<Call>> calls_;
};

TEST_F(Queue, gives_out_tickets_in_order_from_one) {
  PendingQueue queue(10);
  EXPECT_EQ(admitted(queue).ticket, 1u);
  EXPECT_EQ(admitted(queue).ticket, 2u);
  EXPECT_EQ(queue.admitted(), 2u);
  EXPECT_EQ(queue.size(), 2u);
}

TEST_F(Queue, lists_calls_by_ticket_in_whatever_order_they_arrive) {
  std::mt19937 random(3);
  for (int round = 0; round < 200; ++round) {
    PendingQueue queue(100);
    std::vector<Call*> calls;
    for (int i = 0; i < 20; ++i) calls.push_back(&admitted(queue));
    std::shuffle(calls.begin(), calls.end(), random);
    Tickets expected;
    int told = 0;
    for (Call* call : calls) {
      ASSERT_TRUE(queue.enqueue(*call));
      expected.push_back(call->ticket);
      if (random() % 3 == 0) {
        queue.take_inbox([&](Call& call) {
          queue.insert(call);
          ++told;
        });
        std::sort(expected.begin(), expected.end());
        ASSERT_EQ(tickets(queue), expected);
      }
    }
    queue.take_inbox([&](Call& call) {
          queue.insert(call);
          ++told;
        });
    EXPECT_EQ(told, 20);
    std::sort(expected.begin(), expected.end());
    EXPECT_EQ(tickets(queue), expected);
  }
}

TEST_F(Queue, removes_from_any_place) {
  PendingQueue queue(10);
  std::vector<Call*> calls;
  for (int i = 0; i < 5; ++i) queue.insert(*calls.emplace_back(&admitted(queue)));
  queue.remove(*calls[2]);
  EXPECT_EQ(tickets(queue), (Tickets{1, 2, 4, 5}));
  queue.remove(*calls[0]);
  EXPECT_EQ(tickets(queue), (Tickets{2, 4, 5}));
  queue.remove(*calls[4]);
  EXPECT_EQ(tickets(queue), (Tickets{2, 4}));
  queue.remove(*calls[1]);
  queue.remove(*calls[3]);
  EXPECT_EQ(queue.front(), nullptr);
  EXPECT_EQ(queue.size(), 0u);
  queue.insert(admitted(queue));
  EXPECT_EQ(tickets(queue), (Tickets{6}));
}

TEST_F(Queue, puts_a_requeued_call_in_front_of_younger_ones) {
  PendingQueue queue(10);
  std::vector<Call*> calls;
  for (int i = 0; i < 6; ++i) queue.insert(*calls.emplace_back(&admitted(queue)));
  for (int i : {0, 1, 2}) queue.remove(*calls[static_cast<std::size_t>(i)]);  // sent
  queue.requeue(*calls[1]);
  queue.requeue(*calls[2]);
  EXPECT_EQ(tickets(queue), (Tickets{2, 3, 4, 5, 6}));
  queue.requeue(*calls[0]);
  EXPECT_EQ(tickets(queue), (Tickets{1, 2, 3, 4, 5, 6}));
}

TEST_F(Queue, limit_counts_inbox_and_list_together) {
  PendingQueue queue(3);
  Call& first = admitted(queue);
  ASSERT_TRUE(queue.enqueue(first));
  take(queue);  // in the list
  ASSERT_TRUE(queue.enqueue(admitted(queue)));  // in the inbox
  Call& third = admitted(queue);  // on its way
  std::uint64_t ticket = 0;
  EXPECT_EQ(queue.admit(ticket), Admission::full);
  EXPECT_EQ(queue.size(), 3u);
  ASSERT_TRUE(queue.enqueue(third));
  take(queue);
  EXPECT_EQ(queue.admit(ticket), Admission::full);
  queue.remove(first);
  EXPECT_EQ(queue.admit(ticket), Admission::admitted);
  EXPECT_EQ(queue.admit(ticket), Admission::full);
}

TEST_F(Queue, admits_several_at_once_as_far_as_there_is_room) {
  PendingQueue queue(5);
  std::uint64_t ticket = 0;
  EXPECT_EQ(queue.admit_several(ticket, 3), 3u);
  EXPECT_EQ(ticket, 1u);
  EXPECT_EQ(queue.size(), 3u);
  EXPECT_EQ(queue.admit_several(ticket, 3), 2u) << "two places are left";
  EXPECT_EQ(ticket, 4u);
  EXPECT_EQ(queue.admit_several(ticket, 3), 0u);
  EXPECT_EQ(queue.admit(ticket), Admission::full);
  for (std::uint64_t i = 1; i <= 5; ++i) {
    Call& one = call();
    one.ticket = i;
    queue.insert(one);
  }
  queue.remove(*queue.front());
  EXPECT_EQ(queue.admit_several(ticket, 3), 1u);
  EXPECT_EQ(ticket, 6u);
  queue.bar();
  EXPECT_EQ(queue.admit_several(ticket, 1), 0u);
  queue.unbar();
  queue.close();
  EXPECT_EQ(queue.admit_several(ticket, 1), 0u);
}

TEST_F(Queue, calls_that_pass_by_take_no_place_and_are_no_arrivals) {
  PendingQueue queue(5);
  std::uint64_t ticket = 0;
  EXPECT_EQ(queue.admit_several(ticket, 4), 4u);
  EXPECT_FALSE(queue.has_arrivals_but(4));
  EXPECT_TRUE(queue.has_arrivals_but(3));
  queue.pass_by(4);
  EXPECT_FALSE(queue.has_arrivals());
  EXPECT_EQ(queue.size(), 0u);
}

TEST_F(Queue, a_requeued_call_takes_a_place_but_is_never_refused_one) {
  PendingQueue queue(2);
  Call& first = admitted(queue);
  queue.insert(first);
  queue.remove(first);
  queue.insert(admitted(queue));
  queue.insert(admitted(queue));
  queue.requeue(first);
  EXPECT_EQ(queue.size(), 3u);
  EXPECT_EQ(tickets(queue), (Tickets{1, 2, 3}));
  std::uint64_t ticket = 0;
  EXPECT_EQ(queue.admit(ticket), Admission::full);
  queue.remove(first);
  EXPECT_EQ(queue.admit(ticket), Admission::full);
}

TEST_F(Queue, closed_admits_nothing_and_keeps_what_it_has) {
  PendingQueue queue(10);
  queue.insert(admitted(queue));
  EXPECT_FALSE(queue.is_refusing());
  queue.close();
  EXPECT_TRUE(queue.is_refusing());
  std::uint64_t ticket = 77;
  EXPECT_EQ(queue.admit(ticket), Admission::closed);
  EXPECT_EQ(ticket, 77u);
  EXPECT_EQ(queue.admitted(), 1u);
  EXPECT_EQ(queue.size(), 1u);
  EXPECT_EQ(tickets(queue), (Tickets{1}));
}

TEST_F(Queue, a_forgone_place_is_given_back_when_settled) {
  PendingQueue queue(1);
  admitted(queue);
  queue.forgo();
  std::uint64_t ticket = 0;
  EXPECT_EQ(queue.admit(ticket), Admission::full);
  queue.settle();
  EXPECT_FALSE(queue.has_arrivals());
  EXPECT_EQ(queue.admit(ticket), Admission::admitted);
}

TEST_F(Queue, tells_whether_calls_are_on_their_way) {
  PendingQueue queue(10);
  EXPECT_FALSE(queue.has_arrivals());
  Call& call = admitted(queue);
  EXPECT_TRUE(queue.has_arrivals());
  EXPECT_TRUE(queue.inbox_is_empty());
  ASSERT_TRUE(queue.enqueue(call));
  EXPECT_FALSE(queue.inbox_is_empty());
  take(queue);
  EXPECT_FALSE(queue.has_arrivals());
  EXPECT_TRUE(queue.inbox_is_empty());
}

// `admitted` and `left` are two words: read apart, an older `admitted` is less than a newer `left`. The difference, unsigned,
// was then larger than any limit, and a nearly empty queue was "full".
TEST_F(Queue, is_never_full_for_threads_that_together_keep_below_its_limit) {
  PendingQueue queue(1000);
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> full{0}, others{0};
  const auto admit = [&](std::uint64_t& ticket) {
    const bool is_full = queue.admit(ticket) != Admission::admitted;
    if (is_full) full.fetch_add(1);
    return !is_full;
  };
  std::vector<std::thread> admitters;
  for (int i = 0; i < 6; ++i) {
    admitters.emplace_back([&] {
      std::uint64_t ticket = 0;
      while (!stop.load(std::memory_order_relaxed)) {
        if (queue.size() >= 900 || !admit(ticket)) continue;
        queue.forgo();
        others.fetch_add(1, std::memory_order_relaxed);
      }
    });
  }
  Call call;
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(2);
  while (others.load() < 2'000'000 && std::chrono::steady_clock::now() < until) {  // the holder
    if (admit(call.ticket)) {
      queue.insert(call);
      queue.remove(call);
    }
    queue.settle();
  }
  stop.store(true);
  for (auto& admitter : admitters) admitter.join();
  EXPECT_EQ(full.load(), 0u);
}

}  // namespace
}  // namespace samovar::core
