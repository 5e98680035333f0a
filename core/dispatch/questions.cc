#include "core/dispatch/questions.h"

#include <algorithm>
#include <exception>
#include <utility>

#include <samovar_wire/error_generated.h>

#include "core/nearest.h"
#include "core/values/decoding.h"

namespace samovar::detail {

void HostAnswer::put(Encoder& encoder) {
  const Payload payload = encoder.finish();
  if (!payload.error().empty()) {
    failure = "its result cannot be sent: " + payload.error();
  } else {
    bytes.assign(payload.data().begin(), payload.data().end());
  }
}

std::string wrong_number_of_arguments(std::size_t takes, std::size_t given) {
  return "it takes " + std::to_string(takes) + (takes == 1 ? " argument, " : " arguments, ") + std::to_string(given) + (given == 1 ? " was given" : " were given");
}

}  // namespace samovar::detail

namespace samovar::core {
namespace {

constexpr std::size_t kMessageBytesMax = 1024;

std::vector<std::byte> encode_failure(std::string message, std::size_t bytes_max) {
  constexpr std::size_t kEnvelopeBytes = 128;
  message.resize(std::min({message.size(), kMessageBytesMax, bytes_max > kEnvelopeBytes ? bytes_max - kEnvelopeBytes : 0}));
  flatbuffers::FlatBufferBuilder builder;
  const auto type = builder.CreateString("samovar.HostError");
  const auto text = builder.CreateString(message);
  builder.Finish(wire::CreateError(builder, static_cast<std::uint16_t>(ipc::FailureCode::exception), type, text, builder.CreateString("")));
  const auto bytes = std::as_bytes(std::span(builder.GetBufferPointer(), builder.GetSize()));
  return bytes.size() <= bytes_max ? std::vector(bytes.begin(), bytes.end()) : std::vector<std::byte>();
}

// The name in front of the arguments.
bool read_name(const Decoder& question, void* out) {
  return question.expect(Value::Kind::list) && question.size() > 0 && question.item(0, *static_cast<std::string*>(out));
}

struct Asked {
  detail::HostFunction& function;
  detail::HostAnswer& answer;
};

bool run(const Decoder& question, void* context) {
  const Asked& asked = *static_cast<Asked*>(context);
  return asked.function(question, asked.answer);
}

}  // namespace

Answer refuse(const Question& question, std::string why, std::uint32_t bytes_max) {
  return {.incarnation = question.incarnation, .call_id = question.call_id, .number = question.number, .failed = true, .bytes = encode_failure(std::move(why), bytes_max)};
}

Questions::Questions(unsigned threads_max, std::uint32_t bytes_max, Send send) : threads_max_(threads_max), bytes_max_(bytes_max), send_(std::move(send)) {}

Questions::~Questions() { stop(); }

void Questions::expose(std::string_view name, detail::HostFunction function) {
  auto shared = std::make_shared<detail::HostFunction>(std::move(function));
  const std::lock_guard lock(mutex_);
  functions_.insert_or_assign(std::string(name), std::move(shared));
}

void Questions::enqueue(Question question) {
  {
    const std::lock_guard lock(mutex_);
    if (stopped_) return;
    waiting_.push_back(std::move(question));
    if (idle_ < waiting_.size() && threads_.size() < threads_max_) threads_.emplace_back([this] { work(); });
  }
  wake_.notify_one();
}

void Questions::stop() {
  std::vector<std::thread> threads;
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    waiting_.clear();
    threads.swap(threads_);
  }
  wake_.notify_all();
  for (std::thread& thread : threads) thread.join();
}

void Questions::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    ++idle_;
    wake_.wait(lock, [this] { return stopped_ || !waiting_.empty(); });
    --idle_;
    if (stopped_) return;
    const Question question = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    send_(answer(question));
    lock.lock();
  }
}

std::shared_ptr<detail::HostFunction> Questions::find(const std::string& name, std::string& failure) {
  const std::lock_guard lock(mutex_);
  if (const auto found = functions_.find(name); found != functions_.end()) return found->second;
  std::vector<std::string_view> names;
  for (const auto& [known, function] : functions_) names.push_back(known);
  failure = "the host has no function \"" + name + '"';
  if (const std::string_view near = nearest(name, names); !near.empty()) failure += "; did you mean \"" + std::string(near) + "\"?";
  return nullptr;
}

Answer Questions::answer(const Question& question) {
  Answer answer{.incarnation = question.incarnation, .call_id = question.call_id, .number = question.number, .failed = false, .bytes = {}};
  detail::HostAnswer given;
  std::string name;
  try {
    Decoding naming(PayloadKind::value, question.bytes);
    if (!naming.run(read_name, &name)) {
      given.failure = "the question is malformed";
    } else if (const auto function = find(name, given.failure)) {
      Decoding reading(PayloadKind::value, question.bytes);
      Asked asked{*function, given};
      if (!reading.run(run, &asked)) given.failure = '"' + name + "\" was asked with arguments that it does not take: " + reading.message(name);
      else if (!given.failure.empty()) given.failure = '"' + name + "\": " + given.failure;
    }
  } catch (const std::exception& thrown) {
    given.failure = '"' + name + "\" threw: " + thrown.what();
  } catch (...) {
    given.failure = '"' + name + "\" threw what is no std::exception";
  }
  if (given.failure.empty() && given.bytes.size() > bytes_max_) {
    given.failure = "the answer of \"" + name + "\" is " + std::to_string(given.bytes.size()) + " bytes; at most inline_bytes_max = " + std::to_string(bytes_max_) + " can be sent";
  }
  answer.failed = !given.failure.empty();
  answer.bytes = answer.failed ? encode_failure(std::move(given.failure), bytes_max_) : std::move(given.bytes);
  return answer;
}

}  // namespace samovar::core
