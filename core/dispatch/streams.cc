// The dispatcher's part for streams: how they begin, how their chunks reach who waits for them, how they end.
//
// A stream is a call that is told of more than once. Who takes its chunks is a waiter like that of call(), in next(), or one that
// poll() tells: a callback or a coroutine. Each announces how it waits in the call's word, so one rule wakes them all.
#include <samovar/stream.h>

#include <algorithm>
#include <utility>

#include "core/dispatch/dispatcher.h"
#include "core/errors.h"

namespace samovar {

using core::Call;

Result<std::optional<Reply>> Stream::next() { return core::Dispatcher::next_chunk(dispatcher_, *call_); }

Result<Reply> Stream::result() {
  for (;;) {
    Result<std::optional<Reply>> chunk = core::Dispatcher::next_chunk(dispatcher_, *call_);
    if (!chunk) return tl::unexpected(std::move(chunk.error()));
    if (!*chunk) return call_->share_outcome();
  }
}

void Stream::cancel() { Call::OnStop{call_}(); }

void Stream::release() {
  core::Call* const call = std::exchange(call_, nullptr);
  call->stream->awaiting = nullptr;
  call->on_stop.reset();
  if (!call->is_done()) Call::OnStop{call}();
  call->drop_reference();
}

bool NextChunk::await_ready() const noexcept { return stream_->call_->stream->in_order || stream_->call_->has_news(); }

bool NextChunk::suspend(detail::Awaiting awaiting) noexcept {
  awaiting_ = awaiting;
  Call& call = *stream_->call_;
  call.stream->awaiting = &awaiting_;
  call.stream->begin_wait();
  return call.announce_sleep(Call::Sleeper::poll);  // after this the frame, and with it this, may be resumed and gone
}

Result<std::optional<Reply>> NextChunk::await_resume() {
  stream_->call_->stream->awaiting = nullptr;
  return core::Dispatcher::next_chunk(stream_->dispatcher_, *stream_->call_);
}

namespace core {

Result<Stream> Dispatcher::stream(std::string_view method, const Payload& payload, const CallOptions& options) {
  Result<Call*> started = start_stream(method, payload, {}, {}, options);
  if (!started) return tl::unexpected(std::move(started.error()));
  return Stream(*this, **started);
}

Result<void> Dispatcher::submit_stream(std::string_view method, const Payload& payload, std::function<void(Reply)> on_chunk,
                                       Callback on_end, const CallOptions& options) {
  if (!on_chunk) on_chunk = [](Reply) {};
  Result<Call*> started = start_stream(method, payload, std::move(on_chunk), std::move(on_end), options);
  if (!started) return tl::unexpected(std::move(started.error()));
  return {};
}

Result<Call*> Dispatcher::start_stream(std::string_view method, const Payload& payload, std::function<void(Reply)> on_chunk, Callback on_end,
                                       const CallOptions& options) {
  const Result<std::uint32_t> number = find(method);
  std::optional<Error> refused;
  if (!number) {
    refused = number.error();
  } else if (!methods_.now().method(*number).stream) {
    refused = not_a_stream(method);
  }
  if (refused) {
    counters_.rejected.add();
    return tl::unexpected(std::move(*refused));
  }
  const std::int64_t chunk_timeout_ns = options.chunk_timeout ? std::max<std::int64_t>(options.chunk_timeout->count(), 0) : ipc::kNever;
  auto stream = std::make_unique<CallStream>(options_.stream_window, chunk_timeout_ns);
  stream->on_chunk = std::move(on_chunk);
  return start(*number, payload, options, Told::by_stream, std::move(on_end), std::move(stream));
}

Result<std::optional<Reply>> Dispatcher::next_chunk(Dispatcher* dispatcher, Call& call) {
  CallStream& stream = *call.stream;
  for (;;) {
    const bool done = call.is_done();  // before the look: no chunk comes after the outcome
    if (Call* chunk = take_chunk(dispatcher, call)) return std::optional<Reply>(chunk->take_outcome().value());
    if (done) break;
    stream.begin_wait();
    dispatcher->wait(call, Holding::no, Until::done_or_chunk);
    stream.end_wait();
  }
  if (call.error) return tl::unexpected(*call.error);
  return std::nullopt;
}

Call* Dispatcher::take_chunk(Dispatcher* dispatcher, Call& call) {
  CallStream& stream = *call.stream;
  Call* const chunk = stream.take(call);
  // Half of the window at a time: the worker has the other half to go on with meanwhile.
  if (chunk && stream.taken.load(std::memory_order_relaxed) % stream.credit_step() == 0 && !call.is_done()) dispatcher->raise_and_help(kCredit);
  return chunk;
}

// What poll() does with a stream that has news. Gives the ready list's reference back.
void Dispatcher::tell_stream(Call& call) {
  CallStream& stream = *call.stream;
  if (!stream.on_chunk) {
    detail::Awaiting* const awaiting = std::exchange(stream.awaiting, nullptr);
    stream.end_wait();
    if (awaiting) awaiting->resume(*awaiting);
  } else {
    tell_chunks(call);
  }
  call.drop_reference();
}

void Dispatcher::tell_chunks(Call& call) {
  CallStream& stream = *call.stream;
  stream.end_wait();
  for (std::uint32_t told = 0;;) {
    const bool done = call.is_done();  // before the look: no chunk comes after the outcome
    Call* const chunk = take_chunk(this, call);
    if (chunk) {
      stream.on_chunk(chunk->take_outcome().value());
      if (++told < stream.window) continue;
      call.add_reference();  // the others' turn
      return add_ready(call);
    }
    if (done) break;
    stream.begin_wait();
    if (call.announce_sleep(Call::Sleeper::poll)) return;
  }
  while (!call.stop_armed.load(std::memory_order_acquire)) ipc::cpu_pause();
  call.on_stop.reset();
  Callback on_end = std::move(call.callback);
  Result<Reply> outcome = call.take_outcome();
  if (on_end) on_end(std::move(outcome));
}

}  // namespace core
}  // namespace samovar
