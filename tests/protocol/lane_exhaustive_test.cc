// A small lane, every order of every step: claim, publish, take ahead, pop and give back, against a model of a few lines.
#include <gtest/gtest.h>

#include <cstring>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "ipc/lane.h"

namespace samovar::ipc {
namespace {

constexpr std::uint32_t kCapacity = 1024;  // 16 granules: the smallest ring for records of 1 to 3 and a wrap
constexpr std::uint32_t kSizes[] = {40, 104, 168};  // messages of 1, 2 and 3 granules

alignas(4096) std::byte ring[kCapacity];
std::atomic<std::uint64_t> consumed_word;

struct Record {
  std::uint64_t position;
  std::uint32_t size;
  unsigned fill;
};

// What the lane must be like, in plain words.
struct Model {
  std::uint64_t published = 0;
  std::uint64_t consumed = 0;     // by the reader
  std::uint64_t given_back = 0;   // as the writer can know it
  std::deque<Record> unread;
  std::optional<Record> claim;
  unsigned fill = 0;

  // Where a record of `size` would begin, or nothing when the lane is full.
  std::optional<std::uint64_t> room(std::uint32_t size) const {
    const std::uint64_t to_end = kCapacity - published % kCapacity;
    const std::uint64_t advance = record_advance(size);
    const std::uint64_t begin = advance <= to_end ? published : published + to_end;
    if (begin + advance + kGranuleBytes > given_back + kCapacity) return std::nullopt;
    return begin;
  }
};

struct Saved {
  std::byte ring_bytes[kCapacity];
  std::uint64_t consumed_value;
  LaneWriter writer;
  LaneReader reader;
  Model model;
};

class Explorer {
 public:
  std::uint64_t states = 0;

  void begin_at(std::uint32_t granules) {
    std::memset(ring, 0xff, sizeof ring);  // as if used before, but for the first commit word
    commit_word(ring, kCapacity, 0)->store(0);
    consumed_word.store(0);
    writer = LaneWriter(ring, kCapacity, consumed_word);
    reader = LaneReader(ring, kCapacity, 168, consumed_word);
    model = {};
    for (std::uint32_t i = 0; i < granules; ++i) {
      claim(0);
      publish();
      pop();
      give_back();
    }
  }

  void fill(std::uint32_t granules) {
    for (std::uint32_t i = 0; i < granules; ++i) {
      claim(0);
      publish();
    }
  }

  void explore(int depth) {
    ++states;
    check();
    if (depth == 0 || testing::Test::HasFailure()) return;
    const Saved saved = save();
    for (int step = 0; step < 7; ++step) {
      if (!take(step)) continue;
      path.push_back(step);
      explore(depth - 1);
      path.pop_back();
      restore(saved);
      if (testing::Test::HasFailure()) return;
    }
  }

 private:
  bool take(int step) {
    switch (step) {
      case 0: case 1: case 2:
        if (model.claim) return false;
        claim(step);
        return true;
      case 3:
        if (!model.claim) return false;
        publish();
        return true;
      case 4:
        if (model.claim) return false;  // a writer takes ahead when it is about to wait, not in the middle of a record
        writer.take_ahead();
        return true;
      case 5:
        pop();
        return true;
      default:
        if (model.given_back == model.consumed) return false;
        give_back();
        return true;
    }
  }

  void claim(int which) {
    const std::uint32_t size = kSizes[which];
    const auto expected = model.room(size);
    std::byte* out = writer.try_claim(size);
    ASSERT_EQ(out != nullptr, expected.has_value()) << where();
    if (!out) return;
    ASSERT_EQ(out, ring + *expected % kCapacity + kCommitWordBytes) << where();
    model.claim = Record{*expected, size, 0x80 | (++model.fill & 0x7f)};
    std::memset(out, static_cast<int>(model.claim->fill), size);
  }

  void publish() {
    ASSERT_EQ(writer.publish(), model.claim->position) << where();
    model.published = model.claim->position + record_advance(model.claim->size);
    model.unread.push_back(*model.claim);
    model.claim.reset();
  }

  void pop() {
    const Peek peek = reader.peek();
    ASSERT_EQ(peek, model.unread.empty() ? Peek::empty : Peek::record) << where();
    if (peek != Peek::record) return;
    const Record record = model.unread.front();
    ASSERT_EQ(reader.size(), record.size) << where();
    ASSERT_EQ(reader.message(), ring + record.position % kCapacity + kCommitWordBytes) << where();
    reader.pop();
    model.consumed = record.position + record_advance(record.size);
    ASSERT_EQ(reader.consumed(), model.consumed) << where();
    model.unread.pop_front();
  }

  void give_back() {
    reader.publish_consumed();
    model.given_back = model.consumed;
  }

  void check() {
    ASSERT_EQ(writer.published(), model.published) << where();
    ASSERT_EQ(commit_word(ring, kCapacity, model.published)->load(), 0u) << "the commit word at `published`, " << where();
    ASSERT_EQ(reader.has_record(), !model.unread.empty()) << where();
    for (const Record& record : model.unread) {
      ASSERT_EQ(commit_word(ring, kCapacity, record.position)->load(), kCommitValid | record.size) << where();
      const std::byte* message = ring + record.position % kCapacity + kCommitWordBytes;
      for (std::uint32_t i = 0; i < record.size; ++i) ASSERT_EQ(message[i], static_cast<std::byte>(record.fill)) << where();
    }
  }

  Saved save() const {
    Saved saved{{}, consumed_word.load(), writer, reader, model};
    std::memcpy(saved.ring_bytes, ring, sizeof ring);
    return saved;
  }
  void restore(const Saved& saved) {
    std::memcpy(ring, saved.ring_bytes, sizeof ring);
    consumed_word.store(saved.consumed_value);
    writer = saved.writer;
    reader = saved.reader;
    model = saved.model;
  }

  std::string where() const {
    constexpr const char* kSteps[] = {"claim 1", "claim 2", "claim 3", "publish", "take ahead", "pop", "give back"};
    std::string text = "after";
    for (int step : path) text += std::string(" ") + kSteps[step] + ",";
    return text;
  }

  LaneWriter writer{ring, kCapacity, consumed_word};
  LaneReader reader{ring, kCapacity, 168, consumed_word};
  Model model;
  std::vector<int> path;
};

// From every place in the ring, empty and nearly full.
TEST(LaneExhaustive, every_order_of_steps_from_every_place_in_the_ring_keeps_every_record) {
  std::uint64_t states = 0;
  for (std::uint32_t start = 0; start < 16; ++start) {
    Explorer explorer;
    explorer.begin_at(start);
    explorer.explore(7);
    states += explorer.states;
    if (HasFailure()) FAIL() << "from granule " << start;
  }
  EXPECT_GT(states, 100'000u);
}

TEST(LaneExhaustive, the_same_in_a_ring_that_is_nearly_full) {
  for (std::uint32_t start = 0; start < 16; ++start) {
    for (std::uint32_t filled = 9; filled <= 14; ++filled) {
      Explorer explorer;
      explorer.begin_at(start);
      explorer.fill(filled);
      explorer.explore(5);
      if (HasFailure()) FAIL() << "from granule " << start << " with " << filled << " in it";
    }
  }
}

}  // namespace
}  // namespace samovar::ipc
