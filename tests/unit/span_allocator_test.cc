// The allocator of arenas against a plain model of it, and how much of an arena its fragmentation costs.
#include "ipc/span_allocator.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>
#include <random>
#include <vector>

namespace samovar::ipc {
namespace {

// All spans from the last to the first, which must tile the arena; free ones must not touch.
std::map<std::uint32_t, std::uint32_t> used_spans(const SpanAllocator& spans) {
  std::map<std::uint32_t, std::uint32_t> used;
  std::uint32_t end = spans.granules();
  bool free_behind = false;
  for (Span span = spans.last(); span.count != 0; span = spans.before(span)) {
    EXPECT_EQ(span.end(), end);
    EXPECT_FALSE(free_behind && spans.is_free(span)) << "two free spans touch at " << span.end();
    free_behind = spans.is_free(span);
    if (!free_behind) used[span.first] = span.count;
    end = span.first;
  }
  EXPECT_EQ(end, 0u);
  return used;
}

TEST(SpanAllocator, gives_all_of_it_and_takes_it_back) {
  SpanAllocator spans(100);
  EXPECT_EQ(spans.longest_free(), 100u);
  EXPECT_EQ(spans.allocate(100), 0u);
  EXPECT_EQ(spans.in_use(), 100u);
  EXPECT_EQ(spans.longest_free(), 0u);
  EXPECT_EQ(spans.allocate(1), std::nullopt);
  EXPECT_TRUE(spans.free(0));
  EXPECT_EQ(spans.in_use(), 0u);
  EXPECT_EQ(spans.allocate(101), std::nullopt);
  EXPECT_EQ(spans.allocate(UINT32_MAX), std::nullopt);
}

TEST(SpanAllocator, finds_a_span_that_fits_exactly_although_its_class_holds_shorter_ones) {
  SpanAllocator spans(1000);
  const std::uint32_t first = *spans.allocate(999);  // 999 is not the least of its class
  EXPECT_TRUE(spans.allocate(1));
  EXPECT_TRUE(spans.free(first));
  EXPECT_EQ(spans.allocate(999), first);
}

TEST(SpanAllocator, refuses_to_free_what_does_not_begin_there) {
  SpanAllocator spans(64);
  const std::uint32_t first = *spans.allocate(10);
  for (std::uint32_t at = 0; at < 70; ++at) {
    if (at == first) continue;
    EXPECT_EQ(spans.free(at), false) << at;
  }
  EXPECT_FALSE(spans.free(UINT32_MAX));
  EXPECT_TRUE(spans.free(first));
  EXPECT_FALSE(spans.free(first)) << "twice";
}

TEST(SpanAllocator, joins_freed_neighbours_in_every_order) {
  std::vector<int> order{0, 1, 2, 3};
  do {
    SpanAllocator spans(40);
    std::vector<std::uint32_t> firsts;
    for (int i = 0; i < 4; ++i) firsts.push_back(*spans.allocate(10));
    for (int i : order) ASSERT_TRUE(spans.free(firsts[static_cast<std::size_t>(i)]));
    EXPECT_EQ(spans.longest_free(), 40u);
    EXPECT_TRUE(used_spans(spans).empty());
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST(SpanAllocator, takes_any_part_of_a_free_span) {
  for (std::uint32_t first = 0; first < 8; ++first) {
    for (std::uint32_t count = 1; first + count <= 8; ++count) {
      SpanAllocator spans(8);
      spans.take({0, 8}, {first, count});
      EXPECT_EQ(used_spans(spans), (std::map<std::uint32_t, std::uint32_t>{{first, count}}));
      EXPECT_EQ(spans.in_use(), count);
      EXPECT_TRUE(spans.free(first));
      EXPECT_EQ(spans.longest_free(), 8u);
    }
  }
}

TEST(SpanAllocator, agrees_with_a_model_over_random_histories) {
  for (std::uint32_t seed = 1; seed <= 40; ++seed) {
    std::mt19937 random(seed);
    const std::uint32_t granules = 1 + random() % 3000;
    SpanAllocator spans(granules);
    std::map<std::uint32_t, std::uint32_t> model;
    std::uint32_t in_use = 0;
    for (int step = 0; step < 2000; ++step) {
      if (random() % 2 == 0) {
        const std::uint32_t count = 1 + random() % (1u << (random() % 12));
        const std::uint32_t longest = spans.longest_free();
        const auto first = spans.allocate(count);
        ASSERT_EQ(first.has_value(), count <= longest) << "seed " << seed << " step " << step;
        if (first) model[*first] = count, in_use += count;
      } else if (!model.empty()) {
        const auto victim = std::next(model.begin(), random() % static_cast<std::uint32_t>(model.size()));
        ASSERT_EQ(spans.used_at(victim->first), victim->second);
        ASSERT_TRUE(spans.free(victim->first));
        in_use -= victim->second;
        model.erase(victim);
      }
      ASSERT_EQ(spans.in_use(), in_use);
      if (step % 50 == 0) {
        ASSERT_EQ(used_spans(spans), model) << "seed " << seed << " step " << step;
      }
    }
    while (!model.empty()) {
      ASSERT_TRUE(spans.free(model.begin()->first));
      model.erase(model.begin());
    }
    EXPECT_EQ(spans.longest_free(), granules);
  }
}

// Sizes from 4 KiB to 16 MiB, log-uniform, random lives, 1 GiB half full: no request may fail.
TEST(SpanAllocator, does_not_fail_by_fragmentation_at_half_fill) {
  constexpr std::uint32_t kGranules = 1 << 18;
  std::mt19937_64 random(7);
  std::uniform_real_distribution<double> exponent(0.0, 12.0);
  SpanAllocator spans(kGranules);
  std::vector<std::uint32_t> held;
  for (int step = 0; step < 400'000; ++step) {
    const auto count = static_cast<std::uint32_t>(std::exp2(exponent(random)));
    while (spans.in_use() + count > kGranules / 2) {
      const std::size_t victim = random() % held.size();
      ASSERT_TRUE(spans.free(held[victim]));
      held[victim] = held.back();
      held.pop_back();
    }
    const auto first = spans.allocate(count);
    ASSERT_TRUE(first) << "step " << step << ": " << count << " granules, longest free " << spans.longest_free();
    held.push_back(*first);
  }
}

}  // namespace
}  // namespace samovar::ipc
