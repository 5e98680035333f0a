#include "core/options.h"

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <string>

namespace samovar::core {
namespace {

using namespace std::chrono_literals;

// A core each.
Machine machine_of(const std::vector<int>& cpus) {
  Machine machine;
  for (const int cpu : cpus) machine.cpus.push_back({.number = cpu, .core = cpu, .node = 0});
  machine.nodes.push_back({.number = 0});
  return machine;
}

const std::vector<int> kCpus{2, 3, 5, 7};

Result<Options> resolve(Options options, const std::vector<int>& cpus) {
  Result<Resolved> resolved = resolve(std::move(options), machine_of(cpus), true);
  if (!resolved) return tl::unexpected(std::move(resolved.error()));
  return std::move(resolved->options);
}

Options good() {
  Options options;
  options.module = "models.py";
  return options;
}

Result<Options> with(const std::function<void(Options&)>& change) {
  Options options = good();
  change(options);
  return resolve(options, kCpus);
}

struct Refused {
  const char* option;  // must be named by the message
  const char* value;   // likewise
  void (*change)(Options&);
};

class EachCheck : public testing::TestWithParam<Refused> {};

INSTANTIATE_TEST_SUITE_P(
    Checks, EachCheck,
    testing::Values(
        Refused{"module", "", [](Options& o) { o.module.clear(); }},
        Refused{"workers", "1025", [](Options& o) { o.workers = 1025; }},
        Refused{"workers_max", "1025", [](Options& o) { o.workers_max = 1025; }},
        Refused{"workers_max", "3", [](Options& o) { o.workers = 4, o.workers_max = 3; }},
        Refused{"workers_max", "2", [](Options& o) { o.workers_max = 2; }},
        Refused{"max_overflow", "1025", [](Options& o) { o.max_overflow = 1025; }},
        Refused{"overflow_after", "0s", [](Options& o) { o.overflow_after = 0ns; }},
        Refused{"queue_limit", "0", [](Options& o) { o.queue_limit = 0; }},
        Refused{"prefetch", "1025", [](Options& o) { o.prefetch = 1025; }},
        Refused{"concurrency", "0", [](Options& o) { o.concurrency = 0; }},
        Refused{"concurrency", "1025", [](Options& o) { o.concurrency = 1025; }},
        Refused{"timeout", "0s", [](Options& o) { o.timeout = 0ns; }},
        Refused{"timeout", "-1ns", [](Options& o) { o.timeout = -1ns; }},
        Refused{"start_timeout", "0s", [](Options& o) { o.start_timeout = 0ns; }},
        Refused{"restart_delay", "0s", [](Options& o) { o.restart_delay = 0ns; }},
        Refused{"restart_delay_max", "-5s", [](Options& o) { o.restart_delay_max = -5s; }},
        Refused{"stop_timeout", "-1ns", [](Options& o) { o.stop_timeout = -1ns; }},
        Refused{"spin_max", "-1ns", [](Options& o) { o.spin_max = -1ns; }},
        Refused{"spin_max", "1001ms", [](Options& o) { o.spin_max = 1001ms; }},
        Refused{"lane_bytes", "65537", [](Options& o) { o.lane_bytes = 65537; }},
        Refused{"lane_bytes", "2KiB", [](Options& o) { o.lane_bytes = 2048; }},
        Refused{"lane_bytes", "0", [](Options& o) { o.lane_bytes = 0; }},
        Refused{"lane_bytes", "2GiB", [](Options& o) { o.lane_bytes = 1u << 31; }},
        Refused{"inline_bytes_max", "16384", [](Options& o) { o.inline_bytes_max = 16384; }},
        Refused{"inline_bytes_max", "4294967295", [](Options& o) { o.inline_bytes_max = UINT32_MAX; }},
        Refused{"worker_cpus", "4", [](Options& o) { o.worker_cpus = {2, 4}; }},
        Refused{"worker_cpus", "-1", [](Options& o) { o.worker_cpus = {-1}; }},
        Refused{"dispatcher_cpu", "6", [](Options& o) { o.dispatcher_cpu = 6; }},
        Refused{"dispatcher_cpu", "-2", [](Options& o) { o.dispatcher_cpu = -2; }},
        Refused{"cpus", "4", [](Options& o) { o.cpus = {2, 4}; }},
        Refused{"nodes", "1", [](Options& o) { o.nodes = {0, 1}; }},
        Refused{"worker_threads", "1025", [](Options& o) { o.worker_threads = 1025; }}),
    [](const auto& info) { return std::string(info.param.option) + "_" + std::to_string(info.index); });

TEST_P(EachCheck, refuses_and_names_the_option_and_its_value) {
  const auto resolved = with(GetParam().change);
  ASSERT_FALSE(resolved);
  EXPECT_EQ(resolved.error().category, Category::configuration);
  EXPECT_EQ(resolved.error().code, Code::invalid_option);
  EXPECT_NE(resolved.error().message.find(GetParam().option), std::string::npos) << resolved.error().message;
  EXPECT_NE(resolved.error().message.find(GetParam().value), std::string::npos) << resolved.error().message;
}

TEST(Options, at_their_bounds_are_taken) {
  EXPECT_TRUE(with([](Options& o) { o.workers = 1024; }));
  EXPECT_TRUE(with([](Options& o) { o.queue_limit = 1; }));
  EXPECT_TRUE(with([](Options& o) { o.prefetch = 1024; }));
  EXPECT_TRUE(with([](Options& o) { o.timeout = 1ns; }));
  EXPECT_TRUE(with([](Options& o) { o.timeout = Duration::max(); }));
  EXPECT_TRUE(with([](Options& o) { o.stop_timeout = 0ns; }));
  EXPECT_TRUE(with([](Options& o) { o.spin_max = 0ns; }));
  EXPECT_TRUE(with([](Options& o) { o.spin_max = 1s; }));
  EXPECT_TRUE(with([](Options& o) { o.lane_bytes = 4096, o.inline_bytes_max = 968; }));
  EXPECT_FALSE(with([](Options& o) { o.lane_bytes = 4096, o.inline_bytes_max = 969; }));
  EXPECT_TRUE(with([](Options& o) { o.inline_bytes_max = 16; }));
  EXPECT_FALSE(with([](Options& o) { o.inline_bytes_max = 15; })) << "a record holds at least where a payload lies";
  EXPECT_TRUE(with([](Options& o) { o.worker_cpus = {2, 3, 5, 7, 7}; }));
  EXPECT_TRUE(with([](Options& o) { o.dispatcher_cpu = 5; }));
}

TEST(Options, defaults_follow_from_the_machine) {
  const auto resolved = resolve(good(), kCpus);
  ASSERT_TRUE(resolved);
  EXPECT_EQ(resolved->workers, 4u);
  EXPECT_EQ(resolved->starts_at_once, 4u);
  EXPECT_EQ(resolved->pinning, Pinning::none);
  EXPECT_EQ(resolved->dispatcher_cpu, -1) << "none is pinned";
  EXPECT_EQ(resolve(good(), {9})->workers, 1u);
  EXPECT_EQ(with([](Options& o) { o.workers = 2; })->dispatcher_cpu, 7);
  EXPECT_EQ(with([](Options& o) { o.workers = 2; })->pinning, Pinning::core);
  EXPECT_EQ(with([](Options& o) { o.workers = 2, o.pool_enabled = false; })->dispatcher_cpu, -1) << "nor where there is no pool";
}

TEST(Options, automatic_is_pinned_only_where_a_core_is_free_for_it) {
  const auto chosen = [](unsigned workers, std::vector<int> cpus) {
    Options options = good();
    options.workers = workers;
    return resolve(options, cpus)->dispatcher;
  };
  EXPECT_EQ(chosen(2, {0, 1, 2, 3}), Dispatcher::pinned);
  EXPECT_EQ(chosen(3, {0, 1, 2, 3}), Dispatcher::caller);
  EXPECT_EQ(chosen(1, {0, 1}), Dispatcher::caller);
  EXPECT_EQ(chosen(1, {0, 1, 2}), Dispatcher::pinned);
  EXPECT_EQ(chosen(0, {0, 1, 2, 3}), Dispatcher::caller) << "a worker for each core";
}

TEST(Options, a_dispatcher_that_was_asked_for_is_kept) {
  for (Dispatcher dispatcher : {Dispatcher::caller, Dispatcher::manual, Dispatcher::pinned}) {
    EXPECT_EQ(with([&](Options& o) { o.dispatcher = dispatcher, o.workers = 64; })->dispatcher, dispatcher);
  }
}

TEST(Options, the_other_values_are_left_as_they_are) {
  const auto resolved = with([](Options& o) {
    o.name = "n", o.queue_limit = 7, o.prefetch = 3, o.python = "/p", o.python_path = {"a"}, o.timeout = 3s;
  });
  ASSERT_TRUE(resolved);
  EXPECT_EQ(resolved->name, "n");
  EXPECT_EQ(resolved->queue_limit, 7u);
  EXPECT_EQ(resolved->prefetch, 3u);
  EXPECT_EQ(resolved->python, "/p");
  EXPECT_EQ(resolved->python_path, (std::vector<std::string>{"a"}));
  EXPECT_EQ(resolved->timeout, 3s);
  EXPECT_EQ(resolved->requeue_limit, 3u);
}

TEST(Options, a_refused_cpu_is_told_which_ones_there_are) {
  EXPECT_NE(with([](Options& o) { o.dispatcher_cpu = 4; }).error().message.find("2,3,5,7"), std::string::npos);
}

}  // namespace
}  // namespace samovar::core
