/* token.pml: the dispatch token among the threads that wait in call(), and one that only submits.
 *
 * Shown: every caller ends; nobody sleeps for ever, on the epoll or on its call; each call is finished exactly once; no
 * call stays in the inbox. The supervisor's 1 ms backstop is not in the model: nothing here depends on it.
 *
 * A caller is in one of three places: it holds the token and works for all; it is the sentinel, asleep on the epoll; it is
 * a registered waiter, asleep on its own call word. The call word says which: PENDING, WAITING (wake me by futex), POLLING
 * (wake me through the epoll), DONE, TIMED_OUT. Only read-modify-writes touch it, so whoever finishes a call learns from the
 * word it replaces how to wake the owner, and an owner that comes too late to sleep finds its word changed.
 *
 * The mutex of the waiters' list is a word as well: what is written under it becomes visible no later than its release,
 * which is all that a mutex promises. Leaving threads look at the list without the mutex first.
 *
 * case: CALLERS=2 SUBMITTERS=0 CANCELLERS=1: sentinel and waiter, or sentinel and holder; a call ended from elsewhere
 * case: CALLERS=2 SUBMITTERS=1 CANCELLERS=0: holder, sentinel and waiter at once
 * full case: CALLERS=3 SUBMITTERS=0 CANCELLERS=0: 41 million states, 3 GB, three minutes
 *
 * mutation: WITHOUT_ENQUEUE_FENCE: a submitter looks at the token before its call is visible in the inbox
 * mutation: WITHOUT_WAITER_LOOK: a waiter sleeps without a look at token and sentinel after it has registered
 * mutation: WITHOUT_REGISTER_FENCE: a waiter looks at token and sentinel before its registration is visible
 * mutation: WITHOUT_RELEASE_BARRIER: the token is released by a plain store, and what follows may overtake it
 * mutation: WITHOUT_RELEASE_INBOX_LOOK: who releases the token does not look at the inbox again
 * mutation: WITHOUT_RELEASE_WAKE: who releases the token wakes nobody
 * mutation: WITHOUT_LEAVE_WAKE: who leaves call() wakes nobody
 * mutation: WITHOUT_LEAVE_FENCE: who leaves looks at list and token before its "no sentinel" is visible
 * mutation: WITHOUT_SENTINEL_LEAVE_WAKE: a sentinel that leaves from its sleep wakes nobody
 * mutation: WITHOUT_SENTINEL_LOOK: the sentinel sleeps without a look at lanes and inbox after it has announced itself
 * mutation: WITHOUT_SENTINEL_FENCE: the sentinel looks at the lanes before its `asleep` is visible
 * mutation: WITHOUT_WORKER_FENCE: the worker looks at `asleep` before its reply is visible
 * mutation: WITHOUT_SENTINEL_STAYS_ANNOUNCED: a holder clears `asleep` although a sentinel sleeps
 * mutation: WITHOUT_SENTINEL_CALL_LOOK: the sentinel sleeps without a look whether its own call has been finished
 * mutation: WITHOUT_FINISH_RINGS_SENTINEL: who finishes the sentinel's call does not ring the epoll
 * mutation: WITHOUT_POP_CHANGES_WORD: who wakes a waiter leaves its call word as it is
 * mutation: WITHOUT_TIMEOUT_CLAIM: a caller past its deadline stores "timed out" without a look at what is there
 */

#define CALLS 4 /* the last is the submitter's */
#define SUBMITTER 3
#define WORKER 4

#define TOKEN 0
#define SENTINEL 1
#define ASLEEP 2
#define MUTEX 3
#define REGISTERED(c) (4 + (c))
#define INBOX(c) (7 + (c))
#define REPLY(c) (11 + (c)) /* none to the submitter: nobody waits for it */

#define MEM_WORDS 14
#define MEM_CPUS 5
#define SB_SLOTS 2
#include "store_buffer.pml"

#define PENDING 0
#define WAITING 1
#define POLLING 2
#define DONE 3
#define TIMED_OUT 4

#define LEAVE 1
#define WAIT 2
#define SLEEP 3
#define STEP_DOWN 4

#ifndef WITHOUT_ENQUEUE_FENCE
#define ORDER_ENQUEUE_FENCE fence(SUBMITTER)
#else
#define ORDER_ENQUEUE_FENCE skip
#endif

#ifndef WITHOUT_REGISTER_FENCE
#define ORDER_REGISTER_FENCE fence(me)
#else
#define ORDER_REGISTER_FENCE skip
#endif

#ifndef WITHOUT_RELEASE_BARRIER
#define ORDER_RELEASE_BARRIER d_step { drained(me) -> mem[TOKEN] = 0 } /* exchange */
#else
#define ORDER_RELEASE_BARRIER store_release(me, TOKEN, 0)
#endif

#ifndef WITHOUT_LEAVE_FENCE
#define ORDER_LEAVE_FENCE fence(me)
#else
#define ORDER_LEAVE_FENCE skip
#endif

#ifndef WITHOUT_SENTINEL_FENCE
#define ORDER_SENTINEL_FENCE fence(me)
#else
#define ORDER_SENTINEL_FENCE skip
#endif

#ifndef WITHOUT_WORKER_FENCE
#define ORDER_WORKER_FENCE fence(WORKER)
#else
#define ORDER_WORKER_FENCE skip
#endif

byte call_word[3];
bool in_kernel[3]; /* in FUTEX_WAIT on the own call word */
bool deadline; /* the first caller has one, and any moment may be late */
#define has_deadline(c) (c == 0 && deadline)
bool cancelled; /* the second caller's call, by its stop_token */
bool edge; /* an eventfd of the epoll was written */
/* Guarded by the token. */
bool in_lane[CALLS]; /* taken out of the inbox; how the lane wakes the worker is doorbell.pml */
bool reply_taken[3];

#define in_inbox(c) (mem[INBOX(c)] && !in_lane[c])
#define inbox_shows (in_inbox(0) || in_inbox(1) || in_inbox(2) || in_inbox(3))
#define has_reply(c) (mem[REPLY(c)] && !reply_taken[c])
#define lanes_show (has_reply(0) || has_reply(1) || has_reply(2))
#define list_shows (mem[REGISTERED(0)] || mem[REGISTERED(1)] || mem[REGISTERED(2)])
#define finished(c) (call_word[c] == DONE || call_word[c] == TIMED_OUT)

inline dispatch(c) {
  if
  :: in_inbox(c) -> in_lane[c] = true
  :: else
  fi
}

/* Read-modify-write of the call word, then the wake its old value asks for. */
inline take_reply(c) {
  if
  :: !has_reply(c) -> skip
  :: has_reply(c) && call_word[c] == TIMED_OUT -> reply_taken[c] = true /* The owner has left: dropped. */
  :: has_reply(c) && call_word[c] == WAITING -> reply_taken[c] = true; call_word[c] = DONE; in_kernel[c] = false
#ifndef WITHOUT_FINISH_RINGS_SENTINEL
  :: has_reply(c) && call_word[c] == POLLING -> reply_taken[c] = true; call_word[c] = DONE; edge = true
#else
  :: has_reply(c) && call_word[c] == POLLING -> reply_taken[c] = true; call_word[c] = DONE
#endif
  :: has_reply(c) && call_word[c] == PENDING -> reply_taken[c] = true; call_word[c] = DONE
  :: has_reply(c) && call_word[c] == DONE -> assert(c == 1 && cancelled); reply_taken[c] = true
  fi
}

inline duty_cycle() {
  d_step { dispatch(0); dispatch(1); dispatch(2); dispatch(3) };
  d_step { drained(me) -> take_reply(0); take_reply(1); take_reply(2) }
}

/* The sentinel's last look. It waits for nothing of its own: whether `asleep` is visible by then is the fence's matter. */
inline duty_cycle_unfenced() {
  d_step {
    dispatch(0); dispatch(1); dispatch(2); dispatch(3);
    take_reply(0); take_reply(1); take_reply(2)
  }
}

#ifndef WITHOUT_POP_CHANGES_WORD
#define change_word(c) \
  if \
  :: call_word[c] == WAITING -> call_word[c] = PENDING; in_kernel[c] = false \
  :: else \
  fi
#else
#define change_word(c) in_kernel[c] = false
#endif

/* Under the mutex; which waiter is left open. */
inline wake_one() {
  atomic {
    drained(me) && mem[MUTEX] == 0 ->
    if
    :: mem[REGISTERED(0)] -> mem[REGISTERED(0)] = 0; change_word(0)
    :: mem[REGISTERED(1)] -> mem[REGISTERED(1)] = 0; change_word(1)
    :: mem[REGISTERED(2)] -> mem[REGISTERED(2)] = 0; change_word(2)
    :: !list_shows -> skip
    fi
  }
}

inline break_if_set(w) {
  atomic {
    load(me, w, ok);
    if
    :: ok -> ok = false; break
    :: else
    fi
  }
}

inline release_token() {
  do
  :: ORDER_RELEASE_BARRIER;
#ifdef WITHOUT_RELEASE_INBOX_LOOK
     break
#else
     if
     :: atomic { !inbox_shows -> break }
     :: inbox_shows
     fi;
     atomic {
       compare_exchange(me, TOKEN, 0, 1, ok);
       if
       :: !ok -> break /* Another has the token, and looks when it releases it. */
       :: ok -> ok = false
       fi
     };
     duty_cycle()
#endif
  od;
#ifndef WITHOUT_RELEASE_WAKE
  do
  :: atomic { !list_shows -> break }
  :: list_shows ->
       break_if_set(SENTINEL);
       wake_one();
       break
  od
#endif
}

inline leave_call() {
  do
  :: atomic {
       ORDER_LEAVE_FENCE;
       if
       :: !list_shows -> break
       :: list_shows
       fi
     };
     break_if_set(SENTINEL);
     break_if_set(TOKEN); /* The holder looks when it releases. */
     wake_one();
     break
  od
}

proctype caller(byte me) {
  bool ok = false;
  byte then = 0; /* what to do after the release of the token */
  /* Enqueue. Straight to memory: no caller sleeps before a read-modify-write of its own, which would wait for this. */
  atomic { (me != 2 || mem[INBOX(1)]) -> mem[INBOX(me)] = 1 };
start:
  atomic {
    if
    :: finished(me) -> goto leave
#ifndef WITHOUT_TIMEOUT_CLAIM
    :: !finished(me) && has_deadline(me) && drained(me) -> call_word[me] = TIMED_OUT; goto leave
#else
    :: !finished(me) && has_deadline(me) -> goto late
#endif
    :: !finished(me)
    fi
  };
  atomic {
    compare_exchange(me, TOKEN, 0, 1, ok);
    if
    :: !ok -> goto wait
    :: ok -> ok = false
    fi
  };
  /* Announced by an earlier sentinel, who has left: the holder is awake and looks itself. */
  atomic {
#ifndef WITHOUT_SENTINEL_STAYS_ANNOUNCED
    if
    :: !mem[SENTINEL] && mem[ASLEEP] -> push(me, ASLEEP, 0, false)
    :: else
    fi
#else
    if
    :: mem[ASLEEP] -> push(me, ASLEEP, 0, false)
    :: else
    fi
#endif
  };
  duty_cycle();
  /* Not finished: the spin budget is used up. Nobody sleeps while it holds the token. */
  atomic {
    if
    :: finished(me) -> then = LEAVE
    :: else ->
         compare_exchange(me, SENTINEL, 0, 1, ok);
         if
         :: ok -> then = SLEEP; ok = false
         :: !ok -> then = WAIT
         fi
    fi
  };
  /* Sentinel: announces itself and looks once more while it still holds the token, so that no other cycle comes between. */
  if
  :: then == SLEEP ->
       push(me, ASLEEP, 1, false);
#ifndef WITHOUT_SENTINEL_LOOK
       ORDER_SENTINEL_FENCE;
       duty_cycle_unfenced();
#endif
#ifndef WITHOUT_SENTINEL_CALL_LOOK
       atomic {
         drained(me) ->
         if
         :: finished(me) -> then = STEP_DOWN
         :: else -> call_word[me] = POLLING
         fi
       }
#endif
  :: else
  fi;
  release_token();
  atomic {
    if
    :: then == LEAVE -> then = 0; goto leave
    :: then == WAIT -> then = 0; goto wait
    :: then == STEP_DOWN -> then = 0; goto step_down
    :: then == SLEEP -> then = 0
    fi
  };
  /* epoll_wait */
  d_step { drained(me) && (edge || has_deadline(me)) -> edge = false };
step_down:
  atomic {
    drained(me) ->
    if
    :: call_word[me] == POLLING -> call_word[me] = PENDING
    :: else
    fi;
    push(me, SENTINEL, 0, true)
  };
#ifdef WITHOUT_SENTINEL_LEAVE_WAKE
  if
  :: finished(me) -> goto gone
  :: else
  fi;
#endif
  goto start;

wait:
  /* Waiter. */
  atomic {
    drained(me) && mem[MUTEX] == 0 ->
    if
    :: finished(me) -> goto leave
    :: else -> call_word[me] = WAITING
    fi;
    mem[MUTEX] = 1;
    push(me, REGISTERED(me), 1, false);
    push(me, MUTEX, 0, true)
  };
#ifndef WITHOUT_WAITER_LOOK
  do
  :: atomic {
       ORDER_REGISTER_FENCE;
       load(me, TOKEN, ok);
       if
       :: ok -> ok = false; break
       :: else
       fi
     };
     break_if_set(SENTINEL);
     goto deregister
  od;
#endif
  atomic {
    drained(me) -> /* futex_wait */
    if
    :: call_word[me] == WAITING -> in_kernel[me] = true
    :: else
    fi
  };
  d_step { !in_kernel[me] || has_deadline(me) -> in_kernel[me] = false };
deregister:
  atomic {
    drained(me) && mem[MUTEX] == 0 ->
    mem[REGISTERED(me)] = 0;
    if
    :: call_word[me] == WAITING -> call_word[me] = PENDING
    :: else
    fi;
    goto start
  };

#ifdef WITHOUT_TIMEOUT_CLAIM
late:
  atomic { drained(me) -> assert(!finished(me)); call_word[me] = TIMED_OUT };
#endif
leave:
#ifndef WITHOUT_LEAVE_WAKE
  leave_call();
#endif
gone:
  assert(finished(me))
}

proctype submitter() {
  byte me = SUBMITTER;
  bool ok = false;
  store_release(me, INBOX(me), 1);
  ORDER_ENQUEUE_FENCE;
  atomic {
    compare_exchange(me, TOKEN, 0, 1, ok);
    if
    :: !ok -> goto gone
    :: ok -> ok = false
    fi
  };
  duty_cycle();
  release_token();
gone:
  skip
}

#define answered(c) (replied[c] || call_word[c] == TIMED_OUT || (c == 1 && cancelled))

/* It ends when it has served every call that still has an owner: a call left in the inbox leaves it here for ever. */
proctype worker() {
  bool replied[3];
  byte c = 0, peer_asleep = 0;
next:
  do
  :: atomic {
       if
       :: in_lane[0] && !replied[0] -> c = 0
       :: in_lane[1] && !replied[1] -> c = 1
       :: in_lane[2] && !replied[2] -> c = 2
       fi;
       replied[c] = true;
       sb[WORKER].count < SB_SLOTS;
       push(WORKER, REPLY(c), 1, true);
       c = 0
     };
     atomic {
       ORDER_WORKER_FENCE;
       load(WORKER, ASLEEP, peer_asleep);
       if
       :: peer_asleep
       :: else -> goto next
       fi
     };
     atomic { drained(WORKER) -> edge = true; peer_asleep = 0 }
  :: atomic { answered(0) && answered(1) && answered(2) && in_lane[3] -> break }
  od
}

/* A stop_token, a worker's death, the end of the pool: an outcome from elsewhere, at any moment. */
proctype canceller() {
  d_step {
    if
    :: !finished(1) ->
         cancelled = true;
         if
         :: call_word[1] == WAITING -> in_kernel[1] = false
#ifndef WITHOUT_FINISH_RINGS_SENTINEL
         :: call_word[1] == POLLING -> edge = true
#endif
         :: else
         fi;
         call_word[1] = DONE
    :: else
    fi
  }
}

init {
  atomic {
    run caller(0);
    run caller(1);
#if CALLERS > 2
    run caller(2);
#else
    call_word[2] = TIMED_OUT;
#endif
#if SUBMITTERS > 0
    run submitter();
#else
    in_lane[SUBMITTER] = true;
#endif
#if CANCELLERS > 0
    run canceller();
#endif
    run worker();
    if
    :: deadline = true
    :: skip
    fi
  }
}
