#include "core/dispatch/call.h"

#include <new>
#include <utility>

#include "core/arenas/request_arena.h"
#include "core/errors.h"
#include "ipc/doorbell.h"

namespace samovar::core {

constinit detail::Awaiting Call::kFinished;
constinit detail::Awaiting Call::kAbandoned;

void Call::OnStop::operator()() const { call->owner->cancelled(*call); }

void Call::sleep(std::int64_t until_ns) {
  const std::uint32_t word = word_.load(std::memory_order_acquire);
  if ((word & kFutexBit) != 0 && (word & kPhaseMask) != done && (word & kNewsBit) == 0) ipc::futex_wait(word_, word, until_ns);
}

void Call::wake() { ipc::futex_wake_one(word_); }

void Call::nudge() {
  word_.fetch_and(~kFutexBit, std::memory_order_acq_rel);
  ipc::futex_wake_one(word_);
}

Result<Reply> Call::take_outcome() {
  waiter.store(nullptr, std::memory_order_relaxed);
  if (error) {
    Result<Reply> failed = tl::unexpected(std::move(*error));
    drop_reference();
    return failed;
  }
  return Reply(this);
}

Result<Reply> Call::share_outcome() {
  if (error) return tl::unexpected(*error);
  add_reference();
  return Reply(this);
}

void Call::drop_reference() {
  // ACQUIRE, ACQ_REL: the last one sees what the others did to the call before it is used again.
  if (references_.load(std::memory_order_acquire) == 1 || references_.fetch_sub(1, std::memory_order_acq_rel) == 1) pool_->recycle(*this);
}

CallPool::CallPool() : free_(kNone), chunks_(std::make_unique<std::atomic<Call*>[]>(kChunksMax)) {}

CallPool::~CallPool() {
  for (std::uint32_t chunk = 0; chunk < chunk_count_.load(); ++chunk) delete[] chunks_[chunk].load();
}

Call* Call::acquire_chunk() { return pool_->acquire_done(); }

void Call::push_chunk(Call& chunk) {
  CallStream& its = *stream;
  chunk.worker = worker;
  Call* newest = its.arrived.load(std::memory_order_relaxed);
  do {
    chunk.next_ready = newest;
    // ACQ_REL: pairs with the exchange in CallStream::take(); the chunk and its response become visible.
  } while (!its.arrived.compare_exchange_weak(newest, &chunk, std::memory_order_acq_rel, std::memory_order_relaxed));
}

Error waited_too_long(const Call& call, std::string_view method, bool sent) {
  const bool for_a_chunk = call.stream && sent && !ipc::has_passed(call.deadline_ns);
  return for_a_chunk ? no_chunk_in_time(method, call.stream->chunk_timeout_ns) : deadline_exceeded(method, sent);
}

Call* CallPool::acquire_done() {
  Call* call;
  if (pop_or_grow({&call, 1}) == 0) return nullptr;
  call->word_.store(Call::done, std::memory_order_relaxed);
  call->references_.store(1, std::memory_order_relaxed);
  return call;
}

Call* CallPool::acquire() {
  Call* call;
  return acquire({&call, 1}) == 0 ? nullptr : call;
}

std::size_t CallPool::acquire(std::span<Call*> calls) {
  const std::size_t count = pop_or_grow(calls);
  for (Call* call : calls.first(count)) {
    call->word_.store(Call::claimed, std::memory_order_relaxed);
    call->references_.store(2, std::memory_order_relaxed);
  }
  return count;
}

std::size_t CallPool::pop_or_grow(std::span<Call*> calls) {
  std::size_t count = pop_free(calls);
  while (count == 0) {
    if (!grow()) return 0;
    count = pop_free(calls);
  }
  return count;
}

void CallPool::recycle(Call& call) {
  call.error.reset();
  call.stream.reset();
  call.block.reset();
  if (call.reply_channel) std::exchange(call.reply_channel, nullptr)->release_block(call.reply_offset);
  call.callback.reset();
  call.attempts = 0;
  call.requeues = 0;
  call.deaths = 0;
  call.asks = false;
  call.worker = -1;
  call.timed_out = false;
  if (!push_free(call, call)) settle(-1);
}

void CallPool::close() {
  const auto head = static_cast<std::uint32_t>(free_.exchange(kClosed, std::memory_order_acq_rel));
  std::int64_t home = 0;
  for (std::uint32_t index = head; index != kNone; index = at(index).next_free_.load(std::memory_order_relaxed)) ++home;
  settle(std::int64_t{kChunkCalls} * made_chunks_.load(std::memory_order_relaxed) - home);
}

// Whoever brings the count of calls abroad to zero, after the owner has added them, is the last.
void CallPool::settle(std::int64_t calls) {
  if (abroad_.fetch_add(calls, std::memory_order_acq_rel) + calls == 0) delete this;
}

// The first ones of the list, all taken by one exchange.
std::size_t CallPool::pop_free(std::span<Call*> calls) {
  std::uint64_t head = free_.load(std::memory_order_acquire);
  for (;;) {
    auto index = static_cast<std::uint32_t>(head);
    std::size_t count = 0;
    for (; index != kNone && count < calls.size(); ++count) {
      calls[count] = &at(index);
      index = calls[count]->next_free_.load(std::memory_order_relaxed);
    }
    if (count == 0) return 0;
    // Another may pop some of these meanwhile and change their next_free_, to that of another call or to none: then the tag has changed
    // and the exchange fails.
    const std::uint64_t next = ((head >> 32) + 1) << 32 | index;
    if (free_.compare_exchange_weak(head, next, std::memory_order_acquire, std::memory_order_acquire)) return count;
  }
}

bool CallPool::push_free(Call& first, Call& last) {
  std::uint64_t head = free_.load(std::memory_order_relaxed);
  std::uint64_t next;
  do {
    if (static_cast<std::uint32_t>(head) == kClosed) return false;
    last.next_free_.store(static_cast<std::uint32_t>(head), std::memory_order_relaxed);
    next = ((head >> 32) + 1) << 32 | first.index_;
    // RELEASE: pairs with the acquire in pop_free() and close(); the recycled call and its next_free_ become visible.
  } while (!free_.compare_exchange_weak(head, next, std::memory_order_release, std::memory_order_relaxed));
  return true;
}

bool CallPool::grow() {
  const std::uint32_t chunk = chunk_count_.fetch_add(1, std::memory_order_relaxed);
  if (chunk >= kChunksMax) {
    chunk_count_.fetch_sub(1, std::memory_order_relaxed);
    return false;
  }
  Call* calls = new (std::nothrow) Call[kChunkCalls];
  if (!calls) return false;  // the chunk stays empty: its indices are never given out
  for (std::uint32_t i = 0; i < kChunkCalls; ++i) {
    calls[i].pool_ = this;
    calls[i].index_ = chunk * kChunkCalls + i;
    calls[i].next_free_.store(calls[i].index_ + 1, std::memory_order_relaxed);
  }
  chunks_[chunk].store(calls, std::memory_order_release);
  made_chunks_.fetch_add(1, std::memory_order_relaxed);
  push_free(calls[0], calls[kChunkCalls - 1]);
  return true;
}

// A loan may be sent in part, so this is not the block's offset.
std::uint64_t Call::payload_offset() const { return static_cast<std::uint64_t>(payload.data() - block.arena()->at(0)); }

}  // namespace samovar::core

namespace samovar {

PayloadKind Reply::kind() const { return static_cast<PayloadKind>(call_->response.kind); }
std::span<const std::byte> Reply::data() const { return call_->response.payload; }
bool Reply::in_place() const { return call_->reply_channel || call_->block; }
std::string_view Reply::text() const {
  return {reinterpret_cast<const char*>(data().data()), data().size()};
}
std::chrono::nanoseconds Reply::service_time() const { return std::chrono::nanoseconds(call_->response.service_ns); }
int Reply::worker() const { return call_->worker; }
void Reply::release() { std::exchange(call_, nullptr)->drop_reference(); }

}  // namespace samovar
