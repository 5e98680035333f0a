#include "core/supervision/worker_state.h"

#include <gtest/gtest.h>

#include <iterator>

namespace samovar::core {
namespace {

using S = WorkerState;
using E = WorkerEvent;

// Every state and every event, written out: nullopt is what cannot happen.
constexpr std::optional<S> kNone = std::nullopt;
struct Row {
  S state;
  std::optional<S> requested, withdrawn, spawned, ready, ponged, failed, violated, retire, drained, stop, condemn, dumped, overstayed, exited;
};
constexpr Row kTable[] = {
    //               requested    withdrawn
    //               spawned      ready       ponged      failed     violated   retire       drained      stop            condemn
    //               dumped       overstayed      exited
    {S::absent,      S::forking,  kNone,
                     S::starting, kNone,      kNone,      kNone,     kNone,     kNone,       kNone,       kNone,          kNone,
                     kNone,       kNone,          kNone},
    {S::forking,     kNone,       S::absent,
                     S::starting, kNone,      kNone,      kNone,     kNone,     kNone,       kNone,       S::absent,      kNone,
                     kNone,       kNone,          kNone},
    {S::starting,    kNone,       kNone,
                     kNone,       S::pinging, kNone,      S::killed, kNone,     kNone,       kNone,       S::killed,      kNone,
                     kNone,       S::killed,      S::absent},
    {S::pinging,     kNone,       kNone,
                     kNone,       kNone,      S::serving, S::killed, S::killed, kNone,       kNone,       S::killed,      kNone,
                     kNone,       S::killed,      S::absent},
    {S::serving,     kNone,       kNone,
                     kNone,       kNone,      kNone,      S::killed, S::killed, S::retiring, kNone,       S::stopping,    S::condemned,
                     kNone,       kNone,          S::absent},
    {S::retiring,    kNone,       kNone,
                     kNone,       kNone,      kNone,      S::killed, S::killed, kNone,       S::stopping, S::stopping,    S::condemned,
                     kNone,       kNone,          S::absent},
    {S::stopping,    kNone,       kNone,
                     kNone,       kNone,      kNone,      S::killed, S::killed, kNone,       kNone,       S::stopping,    kNone,
                     kNone,       S::terminating, S::absent},
    {S::terminating, kNone,       kNone,
                     kNone,       kNone,      kNone,      S::killed, S::killed, kNone,       kNone,       S::terminating, kNone,
                     kNone,       S::killed,      S::absent},
    {S::condemned,   kNone,       kNone,
                     kNone,       kNone,      kNone,      S::killed, S::killed, kNone,       kNone,       S::killed,      kNone,
                     S::killed,   S::killed,      S::absent},
    {S::killed,      kNone,       kNone,
                     kNone,       kNone,      kNone,      S::killed, S::killed, kNone,       S::killed,   S::killed,      kNone,
                     S::killed,   kNone,          S::absent},
};

TEST(WorkerState, follows_the_table_for_every_state_and_event) {
  ASSERT_EQ(std::size(kTable), static_cast<std::size_t>(kWorkerStates));
  int pairs = 0;
  for (const Row& row : kTable) {
    const std::pair<E, std::optional<S>> cells[] = {
        {E::requested, row.requested}, {E::withdrawn, row.withdrawn}, {E::spawned, row.spawned}, {E::ready, row.ready},     {E::ponged, row.ponged},         {E::failed, row.failed},
        {E::violated, row.violated}, {E::retire, row.retire}, {E::drained, row.drained},       {E::stop, row.stop},
        {E::condemn, row.condemn}, {E::dumped, row.dumped},   {E::overstayed, row.overstayed}, {E::exited, row.exited}};
    ASSERT_EQ(std::size(cells), static_cast<std::size_t>(kWorkerEvents));
    for (const auto& [event, expected] : cells) {
      EXPECT_EQ(next(row.state, event), expected) << to_string(row.state) << ", event " << static_cast<int>(event);
      ++pairs;
    }
  }
  EXPECT_EQ(pairs, kWorkerStates * kWorkerEvents);
}

TEST(WorkerState, a_death_leads_to_absent_from_wherever_there_is_a_process) {
  for (int state = 2; state < kWorkerStates; ++state) EXPECT_EQ(next(static_cast<S>(state), E::exited), S::absent);
}

TEST(WorkerState, nothing_leads_back_from_killed_but_death) {
  for (int event = 0; event < kWorkerEvents; ++event) {
    const auto after = next(S::killed, static_cast<E>(event));
    if (static_cast<E>(event) == E::exited) continue;
    EXPECT_TRUE(!after || *after == S::killed) << event;
  }
}

TEST(WorkerState, from_every_state_the_end_of_the_pool_leads_to_death_by_events_that_need_no_help_of_the_worker) {
  EXPECT_EQ(next(S::forking, E::stop), S::absent) << "no process yet";
  for (int from = 2; from < kWorkerStates; ++from) {
    auto state = static_cast<S>(from);
    if (const auto stopped = next(state, E::stop)) state = *stopped;
    for (int step = 0; step < kWorkerStates && state != S::killed; ++step) {
      const auto after = next(state, E::overstayed);
      ASSERT_TRUE(after) << to_string(state);
      state = *after;
    }
    EXPECT_EQ(state, S::killed) << from;
  }
}

TEST(WorkerState, has_a_name_each) {
  const std::string_view names[] = {"absent",   "forking",  "starting",    "pinging",   "serving",
                                    "retiring", "stopping", "terminating", "condemned", "killed"};
  ASSERT_EQ(std::size(names), static_cast<std::size_t>(kWorkerStates));
  for (int state = 0; state < kWorkerStates; ++state) EXPECT_EQ(to_string(static_cast<S>(state)), names[state]);
}

}  // namespace
}  // namespace samovar::core
