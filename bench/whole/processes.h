// Processes: what /proc and the kernel's clocks say of other processes. Nothing here is on the way of a measured call.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <vector>

namespace samovar::bench {

// Whether the main thread of `pid` sleeps, awaited for at most `limit`. A thread that spins is never seen asleep.
bool wait_until_asleep(pid_t pid, std::chrono::nanoseconds limit);

// Children, their children and so on, of this process.
std::vector<pid_t> descendants();

// User + system time of all threads, those that ended included; exact, not counted in ticks. 0: no such process.
std::int64_t cpu_time_ns(pid_t pid);

// Times that threads alive now went to sleep.
std::int64_t voluntary_switches(pid_t pid);

// Time that the hypervisor gave to others, of all CPUs, since boot.
double stolen_seconds();

}  // namespace samovar::bench
