#include "tests/support/thread_worker.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include <samovar_wire/error_generated.h>

namespace samovar::test {
namespace {

constexpr auto kSuperviseEvery = std::chrono::milliseconds(1);
constexpr std::uint64_t kPingId = 0;

std::vector<std::uint8_t> failure() {
  flatbuffers::FlatBufferBuilder builder;
  const auto type = builder.CreateString("ValueError");
  const auto message = builder.CreateString("no luck");
  const auto traceback = builder.CreateString("Traceback: here");
  builder.Finish(wire::CreateError(builder, static_cast<std::uint16_t>(ipc::FailureCode::exception), type, message, traceback));
  return {builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize()};
}

// The host maps a worker's pages read-only; here both sides are one process and shall be one mapping.
std::span<std::byte> writable(std::span<const std::byte> pages) {
  auto* memory = const_cast<std::byte*>(pages.data());
  if (mprotect(memory, pages.size(), PROT_READ | PROT_WRITE) != 0) broken("mprotect");
  return {memory, pages.size()};
}

}  // namespace

void broken(const char* what) {
  std::fprintf(stderr, "thread_worker: %s\n", what);
  std::abort();
}

std::vector<ipc::Method> methods() {
  return {{.name = "echo"}, {.name = "sleep"}, {.name = "fail"}, {.name = "hold"}, {.name = "same"}, {.name = "keep"}, {.name = "stream", .stream = true},
          {.name = "ask"}, {.name = "ask_at_once"}, {.name = "batched", .batch_max = 8}};
}

// --- ThreadWorker ---------------------------------------------------------------------------------------------------------

ThreadWorker::ThreadWorker(ipc::HostEnd& channel, std::span<const std::byte> request_arena, Fate fate, Lie lie,
                           std::int64_t spin_max_ns, OnRun on_run, std::uint32_t concurrency, std::uint32_t stream_window)
    : channel_(channel), fate_(fate), lie_(lie), on_run_(std::move(on_run)), concurrency_(concurrency), stream_window_(stream_window) {
  const std::size_t segment_bytes = ipc::worker_segment_bytes(channel.options().lane_bytes);
  const ipc::WorkerMemory memory{.host = channel.host_memory(),
                                 .worker = writable({channel.worker_memory(), segment_bytes}).data(),
                                 .request_arena = request_arena,
                                 .response_arena = writable(channel.response_arena())};
  end_ = std::make_unique<ipc::WorkerEnd>(channel.options(), spin_max_ns, memory, ipc::UniqueFd(dup(channel.response_arena_fd())),
                                          ipc::UniqueFd(dup(channel.eventfd())));
  thread_ = std::thread([this] {
    concurrency_ > 1 ? run_at_once() : run();
    ended_.store(true);
  });
}

ThreadWorker::~ThreadWorker() {
  kill();
  if (thread_.joinable()) thread_.join();
}

void ThreadWorker::kill() {
  killed_.store(true);
  channel_.stop();  // only to wake it, where it sleeps
}

void ThreadWorker::run() {
  while (!killed_.load() && !end_->stopping()) {
    ipc::Request request;
    switch (end_->peek(request)) {
      case ipc::Peek::broken: broken("the host has published what is no request");
      case ipc::Peek::record:
        if (!serve(request)) return;
        break;
      case ipc::Peek::empty:
        if (!end_->spin([this] { return !killed_.load(std::memory_order_relaxed); })) end_->park();
        break;
    }
  }
}

// Where WorkerEnd will say that it has read to, once it has given back the request that it found; it keeps that to itself.
void ThreadWorker::count_consumed(const ipc::Request& request) {
  const std::uint32_t capacity = channel_.options().lane_bytes;
  const auto offset = static_cast<std::uint64_t>(reinterpret_cast<const std::byte*>(end_->current_word()) -
                                                 (channel_.host_memory() + ipc::kPageBytes));
  std::uint64_t start = consumed_ / capacity * capacity + offset;
  if (start < consumed_) start += capacity;  // a wrap record lies between
  consumed_ = start + ipc::record_advance(ipc::message_bytes(static_cast<std::uint32_t>(request.payload.size())));
}

bool ThreadWorker::serve(const ipc::Request& request) {
  if (static_cast<Method>(request.method) == Method::batched) return serve_batch(request);
  count_consumed(request);
  const bool ping = request.method == ipc::kPingMethod;
  if (!ping && dies(Point::before_start)) return false;
  const bool expired = request.deadline_ns != 0 && ipc::has_passed(request.deadline_ns);
  const bool wanted = end_->start(request);
  if (ping) return respond({.call_id = request.call_id}, true, false);
  if (dies(Point::after_start)) return false;

  ipc::Response response{.call_id = request.call_id, .kind = request.kind};
  const std::optional<std::span<const std::byte>> payload = end_->payload(request);
  if (!payload) broken("the host has named a block outside of its arena");
  const bool in_arena = (request.flags & ipc::kRequestInArena) != 0;
  if (wanted && !expired) result_.assign(payload->begin(), payload->end());
  std::vector<std::uint8_t> failed;
  if (expired) {
    response = {.call_id = request.call_id, .status = ipc::Status::expired};
  } else if (!wanted) {
    response = {.call_id = request.call_id, .status = ipc::Status::skipped};
  } else {
    const std::int64_t begin_ns = ipc::now_ns();
    if (on_run_) on_run_(request.call_id, *payload);
    if (lie_ != Lie::none) {
      lie(request);
      if (lie_ >= Lie::chunk_unasked && lie_ <= Lie::asks_with_flags) {
        idle_until([] { return false; });  // found out while it lives
      }
      if (lie_ != Lie::never_consumes && lie_ != Lie::started_runs_ahead && lie_ != Lie::releases_unasked && lie_ != Lie::asks_garbage) return false;
    }
    switch (static_cast<Method>(request.method)) {
      case Method::fail:
        failed = failure();
        response.status = ipc::Status::failed;
        response.payload = std::as_bytes(std::span(failed));
        break;
      case Method::sleep: {
        std::uint32_t us;
        std::memcpy(&us, result_.data(), sizeof us);
        const std::int64_t until_ns = ipc::now_ns() + std::int64_t{us} * 1000;
        while (ipc::now_ns() < until_ns && !killed_.load(std::memory_order_relaxed)) std::this_thread::yield();
        break;
      }
      case Method::hold:
        holding_.fetch_add(1);
        idle_until([&] { return released_.load() || end_->stopping() || ipc::is_revoked(*end_->current_word()); });
        break;
      case Method::echo: break;
      case Method::stream:
        if (!stream(request) && killed_.load()) return false;
        break;
      case Method::ask:
      case Method::ask_at_once:
        switch (ask(request)) {
          case Asked::answered:
          case Asked::cancelled: break;
          case Asked::refused:
            response.status = ipc::Status::failed;
            response.payload = failure_;
            break;
          case Asked::dead: return false;
        }
        break;
      case Method::same:
        if (!in_arena) break;
        reference_.assign(request.payload.begin(), request.payload.end());
        response.flags = ipc::kResponseInArgument;
        break;
      case Method::keep:
        if (viewed_) end_->release_argument(*viewed_);
        viewed_.reset();
        if (in_arena) {
          viewed_ = request.call_id;
          response.flags = ipc::kResponseArgumentEscaped;
        }
        result_.clear();
        response.kind = ipc::Kind::none;
        break;
      default: broken("a method that is not there");
    }
    if (response.status == ipc::Status::ok) {
      if (static_cast<Method>(request.method) != Method::same) {
        for (std::byte& byte : result_) byte = ~byte;
      }
      response.payload = (response.flags & ipc::kResponseInArgument) != 0 ? reference_ : result_;
      if (!place(response)) return false;
    }
    if ((request.flags & ipc::kRequestTimed) != 0) response.service_ns = static_cast<std::uint64_t>(ipc::now_ns() - begin_ns);
  }
  if (killed_.load()) return false;
  const bool alive = respond(response, !dies(Point::in_handler), dies(Point::after_consume));
  if (alive) served_.fetch_add(1);
  if (!alive || dies(Point::after_response)) return false;
  ++number_;
  return true;
}

bool ThreadWorker::stream(const ipc::Request& request) {
  std::uint32_t count;
  std::memcpy(&count, result_.data(), sizeof count);
  std::uint64_t credit = stream_window_;
  for (std::uint64_t sent = 0; sent < count;) {
    while (end_->has_note() || sent == credit) {
      if (killed_.load() || end_->stopping()) return false;
      ipc::Note note;
      switch (end_->peek_note(note)) {
        case ipc::Peek::broken: broken("the host has published what is no note");
        case ipc::Peek::empty: end_->wait_for_note(ipc::kNever); continue;
        case ipc::Peek::record: break;
      }
      const bool ours = note.call_id == request.call_id;
      if (ours && note.topic == ipc::Topic::credit) credit = std::max(credit, note.number);
      const bool cancelled = ours && note.topic == ipc::Topic::cancel;
      end_->pop_note();
      if (cancelled) return false;
    }
    if (!send_chunk(request, sent++)) return false;
  }
  return true;
}

bool ThreadWorker::send_chunk(const ipc::Request& request, std::uint64_t number) {
  std::byte* const out = claim(sizeof number);
  if (out == nullptr) return false;
  ipc::write_response({.call_id = request.call_id, .kind = ipc::Kind::bytes, .status = ipc::Status::chunk, .payload = std::as_bytes(std::span(&number, 1))}, out);
  end_->publish();
  return true;
}

bool ThreadWorker::place(ipc::Response& response) {
  if (response.payload.size() <= end_->payload_bytes_max()) return true;
  for (;;) {
    const auto offset = end_->allocate_block(response.payload.size());
    if (!offset) broken("no memory for a result");
    if (*offset) {
      std::memcpy(end_->response_arena().at(**offset), response.payload.data(), response.payload.size());
      const ipc::BlockReference block{**offset, response.payload.size()};
      reference_.assign(ipc::as_payload(block).begin(), ipc::as_payload(block).end());
      response.payload = reference_;
      response.flags |= ipc::kResponseInArena;
      return true;
    }
    end_->wait_for_release(ipc::kNever);
    if (killed_.load() || end_->stopping()) return false;
  }
}

std::byte* ThreadWorker::claim(std::size_t payload_bytes) {
  const auto size = static_cast<std::uint32_t>(payload_bytes);
  std::byte* out;
  while ((out = end_->try_claim(size)) == nullptr) {
    end_->wait_for_room(size);
    if (killed_.load() || end_->stopping()) return nullptr;
  }
  return out;
}

bool ThreadWorker::respond(const ipc::Response& response, bool publish, bool consume_first) {
  std::byte* const out = claim(response.payload.size());
  if (out == nullptr) return false;
  ipc::write_response(response, out);
  if (!publish) return false;
  auto* page = reinterpret_cast<ipc::WorkerPage*>(const_cast<std::byte*>(channel_.worker_memory()));
  if (consume_first) {
    page->requests_consumed.store(consumed_, std::memory_order_release);
    return false;
  }
  if (lie_ == Lie::never_consumes) {
    // finish() stores the position first and then publishes; the host may see the truth for a moment. What counts is that
    // it finds no room when it looks, so tests of this lie fill the lane.
    end_->finish();
    page->requests_consumed.store(0, std::memory_order_release);
    return true;
  }
  end_->finish();
  return true;
}

void ThreadWorker::lie(const ipc::Request& request) {
  const auto lie_about_block = [&](const ipc::BlockReference& block, ipc::ResponseFlag flag) {
    respond({.call_id = request.call_id, .flags = flag, .kind = ipc::Kind::bytes, .payload = ipc::as_payload(block)}, true, false);
  };
  auto* page = reinterpret_cast<ipc::WorkerPage*>(const_cast<std::byte*>(channel_.worker_memory()));
  switch (lie_) {
    case Lie::wrong_call_id: respond({.call_id = request.call_id + 1}, true, false); break;
    case Lie::skips_unasked: respond({.call_id = request.call_id, .status = ipc::Status::skipped}, true, false); break;
    case Lie::started_runs_ahead: page->started.store(1000); break;
    case Lie::block_outside: lie_about_block({channel_.response_arena().size() - 4096, 4097}, ipc::kResponseInArena); break;
    case Lie::block_off_page: lie_about_block({64, 5000}, ipc::kResponseInArena); break;
    case Lie::no_block: respond({.call_id = request.call_id, .flags = ipc::kResponseInArena}, true, false); break;
    case Lie::not_its_argument: lie_about_block({0, 5000}, ipc::kResponseInArgument); break;
    case Lie::keeps_no_argument: respond({.call_id = request.call_id, .flags = ipc::kResponseArgumentEscaped}, true, false); break;
    case Lie::unknown_flags: respond({.call_id = request.call_id, .flags = 0x8000}, true, false); break;
    case Lie::chunk_unasked: send_chunk(request, 0); break;
    case Lie::chunk_beyond_credit:
      for (std::uint64_t number = 0; number <= stream_window_; ++number) send_chunk(request, number);
      break;
    case Lie::chunk_outside: {
      const ipc::BlockReference block{channel_.response_arena().size() - 4096, 4097};
      ipc::write_response({.call_id = request.call_id, .flags = ipc::kResponseInArena, .kind = ipc::Kind::bytes, .status = ipc::Status::chunk, .payload = ipc::as_payload(block)},
                          end_->try_claim(ipc::kBlockReferenceBytes));
      end_->publish();
      break;
    }
    case Lie::asks_for_another:
    case Lie::asks_after_answer:
    case Lie::asks_no_arguments:
    case Lie::asks_with_flags: lie_in_question(request); break;
    case Lie::releases_unasked: end_->release_argument(request.call_id + 1'000'000); break;
    case Lie::packed_for_another:
    case Lie::packed_too_many:
    case Lie::packed_cut:
    case Lie::packed_empty:
    case Lie::packed_with_flags: lie_in_packed(request); break;
    case Lie::garbage_response: {
      std::byte* out = end_->try_claim(0);
      std::memset(out, 0xff, ipc::kEnvelopeBytes);
      end_->finish();
      break;
    }
    case Lie::garbage_commit: {
      std::byte* out = end_->try_claim(0);
      ipc::write_response({.call_id = request.call_id}, out);
      end_->finish();
      reinterpret_cast<std::atomic<std::uint64_t>*>(out - ipc::kCommitWordBytes)->store(~std::uint64_t{0});
      break;
    }
    default: break;
  }
}

// --- Fleet ------------------------------------------------------------------------------------------------------------------

Options fleet_options(unsigned workers, Dispatcher dispatcher) {
  Options options;
  options.module = "thread_worker";
  options.workers = workers;
  options.dispatcher = dispatcher;
  options.timeout = std::chrono::seconds(30);
  options.dispatcher_cpu = 0;
  options.request_arena_bytes = options.response_arena_bytes = 4 << 20;
  return options;
}

Fleet::Fleet(Options options, Plan plan)
    : options_(std::move(options)),
      plan_(std::move(plan)),
      arena_(core::RequestArena::create("samovar-fleet", options_.request_arena_bytes).value()),
      wake_set_(core::WakeSet::create().value()),
      slots_(options_.workers) {
  dispatcher_ = std::make_unique<core::Dispatcher>(options_, core::MethodTable(methods()), counters_, events_, *arena_, *wake_set_,
                                                   bell_, plan_.cores, core::Dispatcher::Supervision{
      .kill_worker =
          [this](const core::DutyCycle::Violation& violation) {
            std::lock_guard lock(mutex_);
            violations_.push_back(violation.what);
            Slot& slot = slots_[static_cast<std::size_t>(violation.slot)];
            if (slot.incarnation == violation.incarnation) slot.kill = true;
          },
      .worker_drained =
          [this](core::DutyCycle::Drained drained) {
            std::lock_guard lock(mutex_);
            Slot& slot = slots_[static_cast<std::size_t>(drained.slot)];
            if (slot.incarnation == drained.incarnation) slot.drained = true;
          }});
  for (std::size_t i = 0; i < slots_.size(); ++i) start(static_cast<int>(i));
  if (options_.dispatcher == Dispatcher::pinned) dispatcher_->start_pinned(options_.dispatcher_cpu);
  supervisor_ = std::thread([this] { supervise(); });
}

Fleet::~Fleet() {
  finish();
  dispatcher_.reset();
}

void Fleet::finish(std::chrono::milliseconds drain) {
  if (!supervisor_.joinable()) return;
  dispatcher_->drain(ipc::now_ns() + std::chrono::nanoseconds(drain).count());
  {
    std::lock_guard lock(mutex_);
    finishing_ = true;
  }
  supervisor_.join();
}

void Fleet::start(int index) {
  auto channel = std::shared_ptr<ipc::HostEnd>(ipc::HostEnd::create({.lane_bytes = options_.lane_bytes,
                                                                     .payload_bytes_max = options_.inline_bytes_max,
                                                                     .response_arena_bytes = options_.response_arena_bytes})
                                                   .value());
  std::uint64_t incarnation;
  {
    std::lock_guard lock(mutex_);
    incarnation = ++incarnations_;
  }
  const std::span<const std::byte> arena(arena_->at(0), arena_->bytes_mapped());
  auto worker = std::make_unique<ThreadWorker>(*channel, arena, plan_.fate ? plan_.fate(index, incarnation) : Fate{},
                                               plan_.lie ? plan_.lie(index, incarnation) : Lie::none,
                                               options_.spin_max.count(), plan_.on_run, plan_.concurrency, options_.stream_window);
  await_pong(*channel);
  {
    std::lock_guard lock(mutex_);
    Slot& slot = slots_[static_cast<std::size_t>(index)];
    slot = {.channel = channel, .worker = std::move(worker), .incarnation = incarnation, .kill = false, .drained = false};
  }
  counters_.workers_ready.add();
  dispatcher_->attach({.slot = index, .worker = index, .incarnation = incarnation, .channel = std::move(channel), .numbers = plan_.numbers,
                       .concurrency = plan_.concurrency, .has_event_loop = plan_.concurrency > 1});
}

void Fleet::await_pong(ipc::HostEnd& channel) {
  ipc::write_request({.call_id = kPingId, .method = ipc::kPingMethod}, channel.requests.try_claim(ipc::message_bytes(0)));
  channel.requests.publish();
  ipc::store_load_fence();
  channel.ring_if_asleep();
  if (!wait_until([&] { return channel.responses.has_record(); })) broken("no pong");
  if (channel.responses.peek() != ipc::Peek::record) broken("pong");
  channel.responses.pop();
  channel.responses.publish_consumed();
}

void Fleet::bury(int index, std::string how) {
  std::unique_ptr<ThreadWorker> worker;
  std::uint64_t incarnation;
  std::shared_ptr<ipc::HostEnd> channel;  // outlives the worker's thread
  {
    std::lock_guard lock(mutex_);
    Slot& slot = slots_[static_cast<std::size_t>(index)];
    worker = std::move(slot.worker);
    channel = std::move(slot.channel);
    incarnation = slot.incarnation;
  }
  worker->kill();
  worker->join();  // the proof of its death
  worker.reset();
  counters_.workers_ready.subtract();
  dispatcher_->detach(index, {.incarnation = incarnation, .how = std::move(how), .output = "last words", .stacks = {}});
  deaths_.fetch_add(1);
}

void Fleet::supervise() {
  for (;;) {
    bool finishing;
    std::vector<int> dead;
    {
      std::lock_guard lock(mutex_);
      finishing = finishing_;
      for (std::size_t i = 0; i < slots_.size(); ++i) {
        const Slot& slot = slots_[i];
        if (slot.worker && (finishing || slot.kill || slot.worker->ended())) dead.push_back(static_cast<int>(i));
      }
    }
    for (int index : dead) {
      bury(index, "thread worker " + std::to_string(index) + (finishing ? " was stopped" : " died"));
      if (!finishing && plan_.replace) start(index);
    }
    if (finishing) return;
    events_.tell_posted();
    if (plan_.backstop && counters_.asynchronous.get() > 0) dispatcher_->backstop();
    std::this_thread::sleep_for(kSuperviseEvery);
  }
}

void Fleet::kill(int index) {
  const std::uint64_t before = deaths_.load();
  {
    std::lock_guard lock(mutex_);
    slots_[static_cast<std::size_t>(index)].kill = true;
  }
  if (!wait_until([&] { return deaths_.load() > before; })) broken("a worker that does not die");
}

Loan Fleet::loan(std::size_t bytes) {
  detail::Block block = arena_->allocate(bytes).value();
  std::byte* data = arena_->at(block.offset());
  return Loan(std::move(block), {data, bytes});
}

void Fleet::retire(int index) {
  std::uint64_t incarnation;
  {
    std::lock_guard lock(mutex_);
    incarnation = slots_[static_cast<std::size_t>(index)].incarnation;
  }
  dispatcher_->retire(index, incarnation);
  const bool drained = wait_until([&] {
    std::lock_guard lock(mutex_);
    return slots_[static_cast<std::size_t>(index)].drained;
  });
  if (!drained) broken("not drained");
}

void Fleet::release(int index) {
  std::lock_guard lock(mutex_);
  if (auto& worker = slots_[static_cast<std::size_t>(index)].worker) worker->release();
}

std::uint64_t Fleet::served(int index) {
  std::lock_guard lock(mutex_);
  const auto& worker = slots_[static_cast<std::size_t>(index)].worker;
  return worker ? worker->served() : 0;
}

std::uint64_t Fleet::holding(int index) {
  std::lock_guard lock(mutex_);
  const auto& worker = slots_[static_cast<std::size_t>(index)].worker;
  return worker ? worker->holding() : 0;
}

std::vector<std::string> Fleet::violations() {
  std::lock_guard lock(mutex_);
  return violations_;
}

// --- Sample ---------------------------------------------------------------------------------------------------------------

std::vector<std::byte> Sample::make(std::uint64_t number, std::size_t size, std::uint32_t sleep_us) {
  std::vector<std::byte> bytes(std::max<std::size_t>(size, sizeof sleep_us + sizeof number));
  std::memcpy(bytes.data(), &sleep_us, sizeof sleep_us);
  std::memcpy(bytes.data() + sizeof sleep_us, &number, sizeof number);
  std::uint64_t state = number * 0x9e37'79b9'7f4a'7c15 + 1;
  for (std::size_t i = sizeof sleep_us + sizeof number; i < bytes.size(); ++i) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    bytes[i] = static_cast<std::byte>(state);
  }
  return bytes;
}

std::uint64_t Sample::number(std::span<const std::byte> payload) {
  std::uint64_t number;
  std::memcpy(&number, payload.data() + sizeof(std::uint32_t), sizeof number);
  return number;
}

bool Sample::is_reply_to(std::span<const std::byte> reply, std::span<const std::byte> payload) {
  return std::equal(reply.begin(), reply.end(), payload.begin(), payload.end(), [](std::byte a, std::byte b) { return a == ~b; });
}

}  // namespace samovar::test
