// EventAudit: whether a pool's events tell a story that can be true. It keeps of each worker where its life stands, so that it can listen
// for days. Threads: hook() by the pool, the rest any.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <samovar/samovar.h>

namespace samovar::test {

class EventAudit {
 public:
  EventHook hook();

  std::uint64_t count(EventKind kind) const;
  std::uint64_t killed_for(const std::string& state) const;

  // What cannot be true, in words; nothing where all is well.
  std::vector<std::string> contradictions() const;

  // While the pool is at rest with so many workers: each life that was lost or recycled was followed by another, which serves.
  std::vector<std::string> contradictions_at_rest(unsigned workers) const;

  std::string to_string() const;  // "worker_killed 17 (overdue 5, wedged 12), worker_lost 20, …"

 private:
  enum class Life : std::uint8_t { started, serving, suspected, killed };
  struct Worker {
    Life life = Life::started;
    int seat = -1;
  };
  struct Heard {
    mutable std::mutex mutex;
    std::map<std::uint64_t, Worker> living;       // guarded by mutex; by incarnation
    std::map<std::string, std::uint64_t> killed;  // guarded by mutex; by state
    std::array<std::uint64_t, 32> counts{};       // guarded by mutex; by kind
    std::vector<std::string> contradictions;      // guarded by mutex

    void hear(const Event& event);
    void hear_of_worker(const Event& event);
    void contradict(const Event& event, const char* why);
  };
  std::shared_ptr<Heard> heard_ = std::make_shared<Heard>();
};

}  // namespace samovar::test
