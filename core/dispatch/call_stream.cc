#include "core/dispatch/call_stream.h"

#include <utility>

#include "core/dispatch/call.h"

namespace samovar::core {
namespace {

Call* reversed(Call* newest) {
  Call* oldest = nullptr;
  while (newest) {
    Call* const next = newest->next_ready;
    newest->next_ready = oldest;
    oldest = newest;
    newest = next;
  }
  return oldest;
}

}  // namespace

CallStream::~CallStream() {
  for (Call* chunks : {in_order, reversed(arrived.load(std::memory_order_acquire))}) {
    while (chunks) std::exchange(chunks, chunks->next_ready)->drop_reference();
  }
}

Call* CallStream::take(Call& call) {
  if (!in_order) {
    // News first: a chunk that comes between the two makes us look once more, for nothing; the other way round one could lie there
    // without news.
    if (call.has_news()) {
      call.take_news();
    } else if (!arrived.load(std::memory_order_relaxed)) {
      return nullptr;
    }
    // ACQ_REL: pairs with push_chunk(): its chunks become visible; and who pushes after this sets news after take_news().
    in_order = reversed(arrived.exchange(nullptr, std::memory_order_acq_rel));
    if (!in_order) return nullptr;
  }
  Call* const chunk = std::exchange(in_order, in_order->next_ready);
  taken.store(taken.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  return chunk;
}

}  // namespace samovar::core
