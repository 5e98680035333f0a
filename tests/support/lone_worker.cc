#include "tests/support/lone_worker.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>
#include <span>
#include <stdexcept>
#include <utility>
#include <vector>

#include "core/supervision/launch_plan.h"
#include "core/values/value_codec.h"
#include "tests/support/pools.h"

namespace samovar::test {
namespace {

ipc::ControlMessage next_message(const ipc::ControlSocket& socket) {
  pollfd readable{socket.fd(), POLLIN, 0};
  if (poll(&readable, 1, 1000 * static_cast<int>(kPatience.count())) != 1) throw std::runtime_error("no word from the worker");
  return ipc::decode_control(socket.receive().value().bytes).value();
}

}  // namespace

LoneWorker::LoneWorker(std::string_view module_file, std::chrono::nanoseconds heartbeat, std::chrono::nanoseconds probe_after) {
  channel_ = std::move(ipc::HostEnd::create({}).value());
  auto [ours, theirs] = std::move(ipc::ControlSocket::pair().value());
  socket_ = std::move(ours);
  output_ = ipc::UniqueFd(open("/dev/null", O_WRONLY | O_CLOEXEC));
  const core::LaunchPlan plan = core::plan_launch(options(module_file)).value();
  process_ = std::move(core::Process::spawn({.argv = plan.argv("samovar.worker"),
                                             .environment = plan.environment,
                                             .socket = theirs.fd(),
                                             .output = output_.get()})
                           .value());
  ipc::Hello hello = channel_->hello();
  hello.incarnation = 1;
  hello.spin_max_ns = 50'000;
  hello.module = module(module_file);
  hello.heartbeat_ns = heartbeat.count();
  hello.probe_after_ns = probe_after.count();
  hello.log_level = static_cast<std::uint8_t>(LogLevel::warning);
  const ipc::UniqueFd self(static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0)));
  say(hello, channel_->fds_for_worker(self.get()));
  auto message = next_message(*socket_);
  auto* ready = std::get_if<ipc::Ready>(&message);
  if (ready == nullptr) throw std::runtime_error("the worker is not ready");
  methods_ = std::move(ready->methods);
}

void LoneWorker::say(const ipc::ControlMessage& message, std::span<const int> fds) const {
  const auto sent = socket_->send(ipc::encode_control(message), fds);
  if (!sent) throw std::runtime_error(sent.error().to_string());
}

LoneWorker::~LoneWorker() {
  if (!process_) return;
  process_.signal_group(SIGKILL);
  pollfd ended{process_.pidfd(), POLLIN, 0};
  poll(&ended, 1, -1);
  process_.bury_group();
}

void LoneWorker::send(std::string_view method, std::optional<std::string> text) {
  std::size_t index = 0;
  while (index < methods_.size() && methods_[index].name != method) ++index;
  if (index == methods_.size()) throw std::runtime_error("no method " + std::string(method));
  const std::span<const std::byte> payload = text ? std::as_bytes(std::span(*text)) : std::span<const std::byte>();
  std::byte* out = channel_->requests.try_claim(ipc::message_bytes(static_cast<std::uint32_t>(payload.size())));
  if (out == nullptr) throw std::runtime_error("the lane is full");
  ipc::write_request({.call_id = ++calls_,
                      .deadline_ns = 0,
                      .method = static_cast<std::uint16_t>(index + 1),
                      .kind = text ? ipc::Kind::text : ipc::Kind::none,
                      .payload = payload},
                     out);
  channel_->requests.publish();
  ipc::store_load_fence();
  channel_->ring_if_asleep();
}

Value LoneWorker::receive() {
  if (!wait_until([&] { return channel_->responses.has_record(); })) throw std::runtime_error("no response");
  if (channel_->responses.peek() != ipc::Peek::record) throw std::runtime_error("no record");
  const std::vector<std::byte> copy(channel_->responses.message(), channel_->responses.message() + channel_->responses.size());
  ipc::Response response;
  if (!ipc::read_response(copy, response) || response.status != ipc::Status::ok) throw std::runtime_error("the call failed");
  channel_->responses.pop();
  channel_->responses.publish_consumed();
  return core::decode_value(response.payload).value();
}

Value LoneWorker::call(std::string_view method, std::optional<std::string> text) {
  send(method, std::move(text));
  return receive();
}

std::optional<std::string> LoneWorker::stacks() {
  say(ipc::DumpStacks{});
  auto message = next_message(*socket_);
  auto* stacks = std::get_if<ipc::Stacks>(&message);
  return stacks ? std::optional(std::move(stacks->text)) : std::nullopt;
}

core::ExitStatus LoneWorker::stop() {
  say(ipc::Stop{});
  channel_->stop();
  pollfd ended{process_.pidfd(), POLLIN, 0};
  if (poll(&ended, 1, 1000 * static_cast<int>(kPatience.count())) != 1) throw std::runtime_error("the worker does not end");
  const core::ExitStatus status = process_.exit_status();
  process_.bury_group();
  return status;
}

}  // namespace samovar::test
