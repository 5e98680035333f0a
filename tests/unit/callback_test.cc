#include <gtest/gtest.h>
#include <samovar/callback.h>

#include <array>
#include <cstdlib>
#include <memory>
#include <new>
#include <optional>
#include <vector>

#include "core/errors.h"

namespace samovar {
namespace {

Result<Reply> some_result() { return tl::unexpected(core::pool_stopped()); }

struct Counts {
  int made = 0, moved = 0, destroyed = 0, called = 0;
  int alive() const { return made + moved - destroyed; }
};

template <std::size_t kPadding>
struct Counted {
  explicit Counted(Counts& c) : counts(&c) { ++counts->made; }
  Counted(Counted&& other) noexcept : counts(other.counts) { ++counts->moved; }
  ~Counted() { ++counts->destroyed; }
  void operator()(Result<Reply> result) {
    EXPECT_FALSE(result);
    ++counts->called;
  }
  Counts* counts;
  std::array<char, kPadding> padding{};
};

using Small = Counted<8>;
using Large = Counted<200>;

template <typename T>
class CallbackOf : public testing::Test {};
using Sizes = testing::Types<Small, Large>;
TYPED_TEST_SUITE(CallbackOf, Sizes);

TYPED_TEST(CallbackOf, is_called_and_destroyed_once) {
  Counts counts;
  {
    Callback callback = TypeParam(counts);
    EXPECT_TRUE(callback);
    callback(some_result());
    EXPECT_EQ(counts.alive(), 1);
  }
  EXPECT_EQ(counts.called, 1);
  EXPECT_EQ(counts.alive(), 0);
}

TYPED_TEST(CallbackOf, moves_and_leaves_nothing_behind) {
  Counts counts;
  Callback first = TypeParam(counts);
  Callback second = std::move(first);
  EXPECT_FALSE(first);
  EXPECT_TRUE(second);
  EXPECT_EQ(counts.alive(), 1);
  Callback third;
  EXPECT_FALSE(third);
  third = std::move(second);
  EXPECT_FALSE(second);
  third(some_result());
  EXPECT_EQ(counts.called, 1);
  third = Callback();
  EXPECT_FALSE(third);
  EXPECT_EQ(counts.alive(), 0);
}

TYPED_TEST(CallbackOf, assignment_destroys_what_was_there) {
  Counts old_counts, new_counts;
  Callback callback = TypeParam(old_counts);
  callback = Callback(TypeParam(new_counts));
  EXPECT_EQ(old_counts.alive(), 0);
  EXPECT_EQ(new_counts.alive(), 1);
  callback.reset();
  callback.reset();
  EXPECT_EQ(new_counts.alive(), 0);
}

TYPED_TEST(CallbackOf, assigned_to_itself_stays) {
  Counts counts;
  Callback callback = TypeParam(counts);
  Callback& same = callback;
  callback = std::move(same);
  EXPECT_TRUE(callback);
  EXPECT_EQ(counts.alive(), 1);
}

TEST(Callback, holds_what_can_only_be_moved) {
  auto owned = std::make_unique<int>(42);
  int seen = 0;
  Callback callback = [&seen, owned = std::move(owned)](Result<Reply>) { seen = *owned; };
  Callback moved = std::move(callback);
  moved(some_result());
  EXPECT_EQ(seen, 42);
}

TEST(Callback, copies_an_lvalue_and_leaves_it_usable) {
  int calls = 0;
  const auto function = [&calls](Result<Reply>) { ++calls; };
  Callback first = function;
  Callback second = function;
  first(some_result());
  second(some_result());
  EXPECT_EQ(calls, 2);
}

TEST(Callback, holds_a_plain_function) {
  static int calls;
  struct Plain {
    static void function(Result<Reply>) { ++calls; }
  };
  Callback callback = &Plain::function;
  callback(some_result());
  EXPECT_EQ(calls, 1);
}

// In place: the captured bytes lie inside the Callback object.
template <std::size_t kBytes>
bool lies_inside() {
  struct Function {
    std::array<std::byte, kBytes - sizeof(void*)> padding{};
    const void** where;
    void operator()(Result<Reply>) { *where = this; }
  };
  static_assert(sizeof(Function) == kBytes);
  const void* where = nullptr;
  Callback callback = Function{{}, &where};
  callback(some_result());
  const auto* begin = reinterpret_cast<const std::byte*>(&callback);
  const auto* at = static_cast<const std::byte*>(where);
  return at >= begin && at + kBytes <= begin + sizeof callback;
}

TEST(Callback, up_to_48_bytes_do_not_allocate) {
  EXPECT_TRUE(lies_inside<16>());
  EXPECT_TRUE(lies_inside<48>());
  EXPECT_FALSE(lies_inside<56>());
}

TEST(Callback, in_a_growing_vector_is_destroyed_exactly_once_each) {
  Counts small, large;
  {
    std::vector<Callback> callbacks;
    for (int i = 0; i < 50; ++i) {
      callbacks.emplace_back(Small(small));
      callbacks.emplace_back(Large(large));
    }
    for (auto& callback : callbacks) callback(some_result());
  }
  EXPECT_EQ(small.called, 50);
  EXPECT_EQ(large.called, 50);
  EXPECT_EQ(small.alive(), 0);
  EXPECT_EQ(large.alive(), 0);
}

}  // namespace
}  // namespace samovar
