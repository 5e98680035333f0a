# A call's deadline gives its argument's block back, which the worker may still read.
set(source core/dispatch/duty_cycle.cc)
set(right [[      call->add_reference();  // of queue or journal, until sweep() or the response; complete() drops one]])
set(wrong [[      call->add_reference();
      call->block.reset();]])
