// Lanes by their raw bytes: what a writer leaves in the ring, and what a reader makes of bytes that no writer would leave.
#include "ipc/lane.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <memory>
#include <random>
#include <thread>
#include <vector>

namespace samovar::ipc {
namespace {

struct Ring {
  explicit Ring(std::uint32_t capacity_bytes, std::uint32_t message_max_bytes = 1 << 20)
      : capacity(capacity_bytes), message_max(message_max_bytes), memory(new (std::align_val_t{4096}) std::byte[capacity_bytes]()) {}
  ~Ring() { ::operator delete[](memory, std::align_val_t{4096}); }
  Ring(const Ring&) = delete;

  std::uint64_t word(std::size_t offset) const {
    std::uint64_t word;
    std::memcpy(&word, memory + offset, sizeof word);
    return word;
  }
  void set_word(std::size_t offset, std::uint64_t word) { std::memcpy(memory + offset, &word, sizeof word); }

  // A record whose message is `size` bytes of `fill`.
  bool push(std::uint32_t size, unsigned fill) {
    std::byte* out = writer.try_claim(size);
    if (!out) return false;
    std::memset(out, static_cast<int>(fill), size);
    writer.publish();
    return true;
  }
  Peek pop() {
    const Peek peek = reader.peek();
    if (peek == Peek::record) {
      reader.pop();
      reader.publish_consumed();
    }
    return peek;
  }

  std::uint32_t capacity;
  std::uint32_t message_max;
  std::byte* memory;
  std::atomic<std::uint64_t> consumed{0};
  LaneWriter writer{memory, capacity, consumed};
  LaneReader reader{memory, capacity, message_max, consumed};
};

// --- what a writer leaves -------------------------------------------------------------------------------------------------

TEST(Lane, a_record_is_its_commit_word_and_at_once_its_message) {
  Ring ring(4096);
  ASSERT_TRUE(ring.push(48, 0xab));
  EXPECT_EQ(ring.word(0), 0x8000'0000'0000'0030u);
  for (std::size_t i = 8; i < 56; ++i) EXPECT_EQ(ring.memory[i], std::byte{0xab}) << i;
  for (std::size_t i = 56; i < 4096; ++i) EXPECT_EQ(ring.memory[i], std::byte{0}) << i;
  EXPECT_EQ(ring.writer.published(), 64u);
}

TEST(Lane, the_next_record_begins_at_the_next_granule) {
  Ring ring(4096);
  for (std::uint32_t size : {56u, 57u, 120u, 121u}) ASSERT_TRUE(ring.push(size, 1));
  EXPECT_EQ(ring.word(0), 0x8000'0000'0000'0038u);
  EXPECT_EQ(ring.word(64), 0x8000'0000'0000'0039u);
  EXPECT_EQ(ring.word(64 + 128), 0x8000'0000'0000'0078u);
  EXPECT_EQ(ring.word(64 + 128 + 128), 0x8000'0000'0000'0079u);
  EXPECT_EQ(ring.writer.published(), 64u + 128 + 128 + 192);
  EXPECT_EQ(ring.writer.records(), 4u);
}

TEST(Lane, a_claim_is_invisible_until_it_is_published) {
  Ring ring(4096);
  std::byte* out = ring.writer.try_claim(100);
  ASSERT_NE(out, nullptr);
  std::memset(out, 0xff, 100);
  EXPECT_FALSE(ring.reader.has_record());
  EXPECT_EQ(ring.reader.peek(), Peek::empty);
  EXPECT_EQ(ring.word(0), 0u);
  ring.writer.publish();
  EXPECT_TRUE(ring.reader.has_record());
}

TEST(Lane, the_commit_word_behind_a_record_is_zero_whatever_lay_there) {
  Ring ring(4096);
  std::memset(ring.memory + 8, 0xff, 4096 - 8);  // everything but the first commit word is used
  ASSERT_TRUE(ring.push(100, 1));
  EXPECT_EQ(ring.word(128), 0u);
  ASSERT_TRUE(ring.push(40, 2));
  EXPECT_EQ(ring.word(192), 0u);
  EXPECT_EQ(ring.pop(), Peek::record);
  EXPECT_EQ(ring.pop(), Peek::record);
  EXPECT_EQ(ring.pop(), Peek::empty);
}

TEST(Lane, a_record_that_does_not_fit_before_the_end_leaves_a_wrap_word_and_begins_at_the_start) {
  Ring ring(1024);
  for (int i = 0; i < 15; ++i) {
    ASSERT_TRUE(ring.push(48, 1));
    ASSERT_EQ(ring.pop(), Peek::record);
  }
  ASSERT_EQ(ring.writer.published(), 960u);
  ASSERT_TRUE(ring.push(100, 0x77));  // two granules, one is left
  EXPECT_EQ(ring.word(960), 0xc000'0000'0000'0000u);
  EXPECT_EQ(ring.word(0), 0x8000'0000'0000'0064u);
  EXPECT_EQ(ring.word(128), 0u);
  EXPECT_EQ(ring.writer.published(), 1024u + 128);
  ASSERT_EQ(ring.reader.peek(), Peek::record);
  EXPECT_EQ(ring.reader.message(), ring.memory + 8);
  EXPECT_EQ(ring.reader.size(), 100u);
  ring.reader.pop();
  EXPECT_EQ(ring.reader.consumed(), 1024u + 128);
}

TEST(Lane, a_record_that_ends_at_the_very_end_needs_no_wrap) {
  Ring ring(1024);
  for (int i = 0; i < 14; ++i) {
    ASSERT_TRUE(ring.push(48, 1));
    ASSERT_EQ(ring.pop(), Peek::record);
  }
  ASSERT_TRUE(ring.push(120, 0x55));  // two granules, two are left
  EXPECT_EQ(ring.word(896), 0x8000'0000'0000'0078u);
  EXPECT_EQ(ring.word(0), 0u);  // the next commit word is at the start
  EXPECT_EQ(ring.pop(), Peek::record);
  EXPECT_EQ(ring.pop(), Peek::empty);
  ASSERT_TRUE(ring.push(48, 2));
  EXPECT_EQ(ring.word(0), 0x8000'0000'0000'0030u);
  EXPECT_EQ(ring.pop(), Peek::record);
}

TEST(Lane, is_full_while_one_more_granule_than_the_record_is_not_free) {
  Ring ring(1024);
  for (int i = 0; i < 15; ++i) ASSERT_TRUE(ring.push(48, 1)) << i;
  // One granule is free, but zeroing the commit word behind the record would erase the oldest unread one.
  EXPECT_FALSE(ring.push(48, 1));
  EXPECT_EQ(ring.word(0), 0x8000'0000'0000'0030u);
  EXPECT_EQ(ring.word(960), 0u);
  ASSERT_EQ(ring.pop(), Peek::record);
  EXPECT_TRUE(ring.push(48, 1));
  EXPECT_FALSE(ring.push(48, 1));
  for (int i = 0; i < 15; ++i) EXPECT_EQ(ring.pop(), Peek::record);
  EXPECT_EQ(ring.pop(), Peek::empty);
}

TEST(Lane, room_comes_back_only_with_publish_consumed) {
  Ring ring(1024);
  for (int i = 0; i < 15; ++i) ASSERT_TRUE(ring.push(48, 1));
  for (int i = 0; i < 15; ++i) {
    ASSERT_EQ(ring.reader.peek(), Peek::record);
    ring.reader.pop();
  }
  EXPECT_FALSE(ring.push(48, 1));
  ring.reader.publish_consumed();
  EXPECT_TRUE(ring.push(48, 1));
}

TEST(Lane, every_size_comes_through_many_laps_whole) {
  for (std::uint32_t capacity : {4096u, 8192u}) {
    Ring ring(capacity);
    std::mt19937_64 random(capacity);
    std::deque<std::vector<std::byte>> sent;
    std::uint64_t pushed = 0;
    const std::uint32_t largest = capacity / kRecordsPerLaneMin - kCommitWordBytes;
    const auto receive = [&] {
      ASSERT_EQ(ring.reader.peek(), Peek::record);
      ASSERT_EQ(ring.reader.size(), sent.front().size());
      ASSERT_TRUE(std::equal(sent.front().begin(), sent.front().end(), ring.reader.message()));
      ring.reader.pop();
      if (random() % 2) ring.reader.publish_consumed();
      sent.pop_front();
    };
    for (int lap = 0; lap < 3; ++lap) {
      for (std::uint32_t size = 0; size <= largest; ++size) {
        std::vector<std::byte> message(size);
        for (std::byte& byte : message) byte = static_cast<std::byte>(random() | 0x80);  // looks like commit words
        std::byte* out;
        while ((out = ring.writer.try_claim(size)) == nullptr) {
          if (sent.empty()) {
            ring.reader.publish_consumed();
            continue;
          }
          ASSERT_NO_FATAL_FAILURE(receive());
          ring.reader.publish_consumed();
        }
        std::copy(message.begin(), message.end(), out);
        ring.writer.publish();
        ++pushed;
        if (random() % 3 == 0) ring.writer.take_ahead();
        sent.push_back(std::move(message));
        while (sent.size() > random() % 5) ASSERT_NO_FATAL_FAILURE(receive());
      }
    }
    while (!sent.empty()) ASSERT_NO_FATAL_FAILURE(receive());
    EXPECT_EQ(ring.reader.peek(), Peek::empty);
    EXPECT_EQ(ring.writer.records(), pushed);
    EXPECT_EQ(ring.reader.consumed(), ring.writer.published());
  }
}

TEST(Lane, two_threads_pass_every_record_whole_and_in_order) {
  Ring ring(4096);
  constexpr std::uint64_t kRecords = 200'000;
  std::thread writer([&] {
    std::mt19937_64 random(1);
    for (std::uint64_t i = 0; i < kRecords; ++i) {
      const std::uint32_t size = 8 + static_cast<std::uint32_t>(random() % 200);
      std::byte* out;
      while ((out = ring.writer.try_claim(size)) == nullptr) std::this_thread::yield();
      std::memset(out, static_cast<int>(i), size);
      std::memcpy(out, &i, sizeof i);
      ring.writer.publish();
      ring.writer.take_ahead();
    }
  });
  std::mt19937_64 random(1);
  std::uint64_t wrong = 0;
  for (std::uint64_t i = 0; i < kRecords; ++i) {
    const std::uint32_t size = 8 + static_cast<std::uint32_t>(random() % 200);
    while (!ring.reader.has_record()) std::this_thread::yield();
    if (ring.reader.peek() != Peek::record || ring.reader.size() != size) {
      ++wrong;
      break;
    }
    std::uint64_t number;
    std::memcpy(&number, ring.reader.message(), sizeof number);
    wrong += number != i;
    for (std::uint32_t at = sizeof number; at < size; ++at) wrong += ring.reader.message()[at] != static_cast<std::byte>(i);
    ring.reader.pop();
    ring.reader.publish_consumed();
    if (wrong) break;
  }
  if (wrong) ring.consumed.store(UINT64_MAX);  // (the writer would wait for ever)
  ASSERT_EQ(wrong, 0u);
  writer.join();
}

// --- revoking ---------------------------------------------------------------------------------------------------------------

TEST(Lane, revoke_sets_bit_61_and_nothing_else) {
  Ring ring(4096);
  ASSERT_TRUE(ring.push(48, 1));
  ASSERT_NE(ring.writer.try_claim(48), nullptr);
  const std::uint64_t second = ring.writer.publish();
  ring.writer.revoke(second);
  EXPECT_EQ(ring.word(0), 0x8000'0000'0000'0030u);
  EXPECT_EQ(ring.word(64), 0xa000'0000'0000'0030u);
  ASSERT_EQ(ring.reader.peek(), Peek::record);
  EXPECT_FALSE(ring.reader.revoked());
  ring.reader.pop();
  ASSERT_EQ(ring.reader.peek(), Peek::record);
  EXPECT_TRUE(ring.reader.revoked());
  EXPECT_EQ(ring.reader.size(), 48u);
}

TEST(Lane, revoke_after_peek_is_seen_by_the_running_handler) {
  Ring ring(4096);
  ASSERT_NE(ring.writer.try_claim(48), nullptr);
  const std::uint64_t position = ring.writer.publish();
  ASSERT_EQ(ring.reader.peek(), Peek::record);
  EXPECT_FALSE(ring.reader.revoked());
  ring.writer.revoke(position);
  EXPECT_TRUE(ring.reader.revoked());
}

// The worker gives a request's room back before the host takes its response: a deadline between the two revokes a record
// that is gone, and whose place another may have by now. Found by reading; it flipped a bit in the other's payload.
TEST(Lane, revoke_of_a_record_whose_place_another_has_leaves_the_other_alone) {
  Ring ring(1024);
  ASSERT_NE(ring.writer.try_claim(48), nullptr);
  const std::uint64_t first = ring.writer.publish();
  for (int i = 0; i < 14; ++i) ASSERT_TRUE(ring.push(48, 1));
  for (int i = 0; i < 4; ++i) ASSERT_EQ(ring.pop(), Peek::record);
  ASSERT_TRUE(ring.push(180, 0));  // three granules: begins with a wrap, lies where the first three were
  const std::vector<std::byte> before(ring.memory, ring.memory + ring.capacity);
  ring.writer.revoke(first);
  EXPECT_EQ(std::vector<std::byte>(ring.memory, ring.memory + ring.capacity), before);
}

// --- hostile writers ----------------------------------------------------------------------------------------------------------

TEST(Lane, commit_words_that_no_writer_leaves_are_broken) {
  constexpr std::uint32_t kMessageMax = 200;
  const auto look = [](std::uint64_t word, std::uint64_t second = 0, std::uint32_t at = 0) {
    Ring ring(1024, kMessageMax);
    for (std::uint32_t i = 0; i < at / 64; ++i) {
      EXPECT_TRUE(ring.push(48, 1));
      EXPECT_EQ(ring.pop(), Peek::record);
    }
    ring.set_word(at, word);
    if (at != 0) ring.set_word(0, second);
    return ring.reader.peek();
  };
  EXPECT_EQ(look(0), Peek::empty);
  EXPECT_EQ(look(0x7fff'ffff'ffff'ffff), Peek::empty) << "anything without the valid bit is nothing yet";
  EXPECT_EQ(look(kCommitValid), Peek::record) << "an empty message";
  EXPECT_EQ(look(kCommitValid | 200), Peek::record);
  EXPECT_EQ(look(kCommitValid | kCommitRevoked | 200), Peek::record);
  EXPECT_EQ(look(kCommitValid | 201), Peek::broken) << "larger than any message";
  EXPECT_EQ(look(kCommitValid | 0xffff'ffff), Peek::broken);
  EXPECT_EQ(look(kCommitValid | 0xffff'fff8), Peek::broken) << "rounds up to zero in 32 bits";
  EXPECT_EQ(look(kCommitValid | 0xffff'ffc0), Peek::broken);
  for (int bit = 32; bit <= 60; ++bit) EXPECT_EQ(look(kCommitValid | (std::uint64_t{1} << bit) | 48), Peek::broken) << bit;
  EXPECT_EQ(look(kCommitValid | kCommitWrap), Peek::broken) << "a wrap at the start of the ring";
  EXPECT_EQ(look(kCommitValid | 120, 0, 960), Peek::broken) << "a record across the end of the ring";
  EXPECT_EQ(look(kCommitValid | 56, 0, 960), Peek::record) << "exactly to the end";
  EXPECT_EQ(look(kCommitValid | 57, 0, 960), Peek::broken);
  EXPECT_EQ(look(kCommitValid | kCommitWrap, kCommitValid | 48, 960), Peek::record);
  EXPECT_EQ(look(kCommitValid | kCommitWrap, 0, 960), Peek::broken) << "a wrap to nothing";
  EXPECT_EQ(look(kCommitValid | kCommitWrap, kCommitValid | kCommitWrap, 960), Peek::broken) << "a wrap to a wrap";
  EXPECT_EQ(look(kCommitValid | kCommitWrap, kCommitValid | 201, 960), Peek::broken);
  EXPECT_EQ(look(kCommitValid | kCommitWrap, ~std::uint64_t{0}, 960), Peek::broken);
}

TEST(Lane, of_random_bytes_never_leads_a_reader_outside) {
  constexpr std::uint32_t kCapacity = 4096, kMessageMax = 300;
  std::mt19937_64 random(7);
  for (int round = 0; round < 3000; ++round) {
    Ring ring(kCapacity, kMessageMax);
    for (std::size_t at = 0; at < kCapacity; at += 64) {
      std::uint64_t word = kCommitValid | (random() % 400);
      if (random() % 8 == 0) word |= kCommitWrap;
      if (random() % 8 == 0) word |= kCommitRevoked;
      if (random() % 32 == 0) word = random();
      ring.set_word(at, word);
    }
    for (int step = 0; step < 200; ++step) {
      if (ring.reader.peek() != Peek::record) break;
      ASSERT_LE(ring.reader.size(), kMessageMax);
      ASSERT_GE(ring.reader.message(), ring.memory + 8);
      ASSERT_LE(ring.reader.message() + ring.reader.size(), ring.memory + kCapacity);
      volatile auto last = ring.reader.size() ? ring.reader.message()[ring.reader.size() - 1] : std::byte{0};
      (void)last;
      ring.reader.pop();
    }
  }
}

TEST(Lane, a_commit_word_that_changes_after_peek_changes_nothing) {
  Ring ring(4096, 100);
  ASSERT_TRUE(ring.push(48, 1));
  ASSERT_EQ(ring.reader.peek(), Peek::record);
  ring.set_word(0, ~std::uint64_t{0});
  EXPECT_EQ(ring.reader.size(), 48u);
  ring.reader.pop();
  EXPECT_EQ(ring.reader.consumed(), 64u);
}

// --- hostile readers ----------------------------------------------------------------------------------------------------------

TEST(Lane, a_consumed_position_that_cannot_be_gives_no_room) {
  for (std::uint64_t lie : {std::uint64_t{961}, std::uint64_t{1024}, std::uint64_t{1} << 40, UINT64_MAX, UINT64_MAX - 63}) {
    Ring ring(1024);
    for (int i = 0; i < 15; ++i) ASSERT_TRUE(ring.push(48, static_cast<unsigned>(i)));
    ring.consumed.store(lie);
    EXPECT_FALSE(ring.push(48, 0xff)) << lie;
    for (std::size_t i = 0; i < 15; ++i) {
      EXPECT_EQ(ring.word(i * 64), 0x8000'0000'0000'0030u) << lie;
      EXPECT_EQ(ring.memory[i * 64 + 8], static_cast<std::byte>(i));
    }
  }
}

TEST(Lane, a_consumed_position_that_goes_back_gives_no_room) {
  Ring ring(1024);
  for (int i = 0; i < 15; ++i) ASSERT_TRUE(ring.push(48, 1));
  ring.consumed.store(960);
  ASSERT_TRUE(ring.push(48, 2));
  for (int i = 0; i < 14; ++i) ASSERT_TRUE(ring.push(48, 3));
  ring.consumed.store(320);
  EXPECT_FALSE(ring.push(48, 4));
  // ... and is not remembered: what lies before 960 has been given back, and others are there.
  ring.writer.revoke(384);
  EXPECT_EQ(ring.word(384), 0x8000'0000'0000'0030u);
}

}  // namespace
}  // namespace samovar::ipc
