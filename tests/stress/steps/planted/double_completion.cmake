# A lost call is told at once, and again by who completes it.
set(source core/dispatch/workers.cc)
set(right [[  counters_.calls_lost.add();]])
set(wrong [[  counters_.calls_lost.add();
  if (call.asynchronous) call.callback(tl::unexpected(error));]])
