// How a finished call finds the coroutine that awaits it, and what happens where that is gone.
#include <samovar/async.h>

#include "core/dispatch/call.h"
#include "core/dispatch/dispatcher.h"

namespace samovar {

using core::Call;

// ACQ_REL: pairs with itself in suspend() and abandon(): the waiter's frame, or the outcome, becomes visible to who comes second.
void core::Dispatcher::resume(Call& call) {
  detail::Awaiting* const awaiting = call.awaiting.exchange(&Call::kFinished, std::memory_order_acq_rel);
  if (awaiting == &Call::kAbandoned) {
    call.drop_reference();  // the waiter's
  } else if (awaiting) {
    awaiting->resume(*awaiting);
  }
}

bool AsyncCall::is_finished() const noexcept { return call_->awaiting.load(std::memory_order_acquire) == &Call::kFinished; }

// After the exchange the frame, and with it this, may be resumed and gone.
bool AsyncCall::suspend(detail::Awaiting awaiting) noexcept {
  awaiting_ = awaiting;
  detail::Awaiting* nobody = nullptr;
  return call_->awaiting.compare_exchange_strong(nobody, &awaiting_, std::memory_order_acq_rel);
}

Result<Reply> AsyncCall::await_resume() {
  if (call_) return std::exchange(call_, nullptr)->take_outcome();
  return tl::unexpected(std::move(*refused_));
}

void AsyncCall::abandon() {
  call_->add_reference();  // the waiter's own goes with poll()
  if (call_->awaiting.exchange(&Call::kAbandoned, std::memory_order_acq_rel) == &Call::kFinished) {
    call_->drop_reference();
  } else {
    Call::OnStop{call_}();
  }
  call_->drop_reference();
}

}  // namespace samovar
