// Questions: what running methods ask of the host, answered by its functions in threads of their own.
//
// A question comes out of a turn (DutyCycle::Outbox), is answered here, and its answer goes back to the dispatcher, whose next turn
// writes the note. User code so never runs under the token, and no worker waits behind another's slow function: a question that finds no
// thread free starts one, as long as there are fewer than all workers could keep busy.
// Threads: any.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <samovar/host.h>

#include "ipc/message.h"

namespace samovar::core {

// Of one call in one incarnation.
struct Question {
  std::uint64_t incarnation = 0;
  std::uint64_t call_id = 0;
  std::uint32_t number = 0;
  std::vector<std::byte> bytes;  // private, not verified: arguments, the function's name first
};

struct Answer {
  std::uint64_t incarnation = 0;
  std::uint64_t call_id = 0;
  std::uint32_t number = 0;
  bool failed = false;
  std::vector<std::byte> bytes;  // a value, or a wire::Error
};

// The answer to one that nobody takes.
Answer refuse(const Question& question, std::string why, std::uint32_t bytes_max);

class Questions {
 public:
  using Send = std::function<void(Answer)>;

  // `send` is called by the threads; `bytes_max`: of an answer.
  Questions(unsigned threads_max, std::uint32_t bytes_max, Send send);
  ~Questions();  // stop()

  void expose(std::string_view name, detail::HostFunction function);  // in place of one of that name

  void enqueue(Question question);

  // Drops those that wait and waits for those that run. Blocks. Nothing is taken any more.
  void stop();

 private:
  void work();
  Answer answer(const Question& question);
  std::shared_ptr<detail::HostFunction> find(const std::string& name, std::string& failure);

  const unsigned threads_max_;
  const std::uint32_t bytes_max_;
  const Send send_;

  std::mutex mutex_;
  std::condition_variable wake_;
  std::map<std::string, std::shared_ptr<detail::HostFunction>, std::less<>> functions_;  // guarded by mutex_
  std::deque<Question> waiting_;      // guarded by mutex_
  std::vector<std::thread> threads_;  // guarded by mutex_
  unsigned idle_ = 0;                 // guarded by mutex_
  bool stopped_ = false;              // guarded by mutex_
};

}  // namespace samovar::core
