/* revoke.pml: the host takes a call back from a worker's lane, or finds that it has been started.
 *
 * Shown: a handler runs at most once per call, on this worker and elsewhere together; each call gets exactly one outcome,
 * and that is the answer where one was visible; the worker may die between any two steps.
 *
 * All calls lie in the lane from the start. The host may revoke each, in any order. "Elsewhere" is another worker, which
 * runs the call and replies for certain.
 *
 * mutation: WITHOUT_HOST_FENCE: the host reads `started` before its `revoked` is visible
 * mutation: WITHOUT_WORKER_FENCE: the worker reads `revoked` before its `started` is visible
 * mutation: WITHOUT_STARTED_FIRST: the worker looks at `revoked` (and touches the payload), then stores `started`
 * mutation: WITHOUT_LOOK_AT_REVOKED: the worker runs whatever it has started
 * mutation: WITHOUT_LOOK_AT_STARTED: the host takes the call back without a look at `started`
 * mutation: WITHOUT_WAIT_FOR_ANSWER: the host takes a started call back and does not wait for "reply" or "skipped"
 * mutation: WITHOUT_TAKEN_BACK_NOTED: a "skipped" for a call that was taken back already takes it back again
 * mutation: WITHOUT_STARTED_AFTER_PROOF: what was started is read before the proof of death, not after it
 * mutation: WITHOUT_LAST_DRAIN: after a death the calls are ended without a drain that follows the proof
 * mutation: WITHOUT_PUBLISH_RELEASE: the answer is a relaxed store and may overtake its payload
 */

#define CALLS 3

#define STARTED 0
#define REVOKED(call) (1 + (call))
#define ANSWER(call) (1 + CALLS + (call)) /* one word per record: the lane's order is doorbell.pml's matter */
#define PAYLOAD(call) (1 + 2 * CALLS + (call))

#define MEM_WORDS (1 + 3 * CALLS)
#define MEM_CPUS 2
#define SB_SLOTS 4
#include "store_buffer.pml"

#define HOST 0
#define WORKER 1

#define NONE 0
#define REPLY 1
#define SKIPPED 2

#ifndef WITHOUT_HOST_FENCE
#define ORDER_HOST_FENCE fence(HOST)
#else
#define ORDER_HOST_FENCE skip
#endif

#ifndef WITHOUT_WORKER_FENCE
#define ORDER_WORKER_FENCE fence(WORKER)
#else
#define ORDER_WORKER_FENCE skip
#endif

#ifndef WITHOUT_STARTED_FIRST
#define ORDER_STARTED_FIRST store_release(WORKER, STARTED, n + 1); ORDER_WORKER_FENCE
#define STARTED_LATE skip
#else
#define ORDER_STARTED_FIRST skip
#define STARTED_LATE store_release(WORKER, STARTED, n + 1); ORDER_WORKER_FENCE
#endif

#ifndef WITHOUT_PUBLISH_RELEASE
#define ORDER_PUBLISH_RELEASE(call, answer) store_release(WORKER, ANSWER(call), answer)
#else
#define ORDER_PUBLISH_RELEASE(call, answer) store(WORKER, ANSWER(call), answer)
#endif

bool crash; /* the worker is to die before its next step */
bool dead; /* the proof */
byte runs[CALLS]; /* handler runs, here and elsewhere */

/* The host's private journal. */
byte outcomes[CALLS];
bool revoked[CALLS];
bool taken_back[CALLS];

inline run_handler(call) {
  runs[call]++;
  assert(runs[call] == 1)
}

inline end_call(call) {
  outcomes[call]++;
  assert(outcomes[call] == 1)
}

inline take_back(call) {
  taken_back[call] = true;
  run_handler(call);
  end_call(call)
}

/* Answers come in lane order. */
inline take_answers() {
  do
  :: d_step {
       answered < CALLS && mem[ANSWER(answered)] != NONE ->
       if
       :: mem[ANSWER(answered)] == REPLY -> assert(mem[PAYLOAD(answered)] == answered + 1); end_call(answered)
#ifndef WITHOUT_TAKEN_BACK_NOTED
       :: mem[ANSWER(answered)] == SKIPPED && taken_back[answered] -> skip
       :: mem[ANSWER(answered)] == SKIPPED && !taken_back[answered] -> take_back(answered)
#else
       :: mem[ANSWER(answered)] == SKIPPED -> take_back(answered)
#endif
       fi;
       answered++
     }
  :: atomic { answered == CALLS || mem[ANSWER(answered)] == NONE -> break }
  od
}

inline revoke(call) {
  revoked[call] = true;
  store(HOST, REVOKED(call), 1);
  ORDER_HOST_FENCE;
#ifndef WITHOUT_LOOK_AT_STARTED
  load(HOST, STARTED, started);
#endif
  atomic {
    if
    :: call >= started -> take_back(call) /* not started, and it will not be: the worker will see `revoked` */
#ifndef WITHOUT_WAIT_FOR_ANSWER
    :: else
#else
    :: else -> take_back(call)
#endif
    fi;
    started = 0;
    call = 0
  }
}

#define may_revoke(call) (!revoked[call] && call >= answered)

proctype host() {
  byte answered = 0, started = 0, call = 0;
#ifdef WITHOUT_STARTED_AFTER_PROOF
  byte early_started = 0;
#endif
  do
  :: mem[ANSWER(answered)] != NONE -> take_answers();
       if
       :: answered == CALLS -> break
       :: else
       fi
  :: atomic { may_revoke(0) -> call = 0 }; revoke(call)
  :: atomic { may_revoke(1) -> call = 1 }; revoke(call)
  :: atomic { may_revoke(2) -> call = 2 }; revoke(call)
  :: dead -> /* epoll says so; eventfd.pml */
#ifdef WITHOUT_STARTED_AFTER_PROOF
       atomic { started = early_started; early_started = 0 };
#else
       load(HOST, STARTED, started);
#endif
#ifndef WITHOUT_LAST_DRAIN
       take_answers();
#endif
       atomic {
         call = answered;
         do
         :: call < CALLS ->
              if
              :: taken_back[call] -> skip
              :: !taken_back[call] && call < started ->
                   assert(mem[ANSWER(call)] == NONE);
                   end_call(call) /* worker_lost: it may have run */
              :: !taken_back[call] && call >= started -> take_back(call) /* back to the queue */
              fi;
              call++
         :: else -> break
         od
       };
       break
#ifdef WITHOUT_STARTED_AFTER_PROOF
  :: !dead && early_started == 0 && mem[STARTED] > 0 -> load(HOST, STARTED, early_started)
#endif
  od;
  assert(outcomes[0] == 1 && outcomes[1] == 1 && outcomes[2] == 1)
}

proctype worker() {
  byte n = 0, is_revoked = 0;
  {
    do
    :: n < CALLS ->
         ORDER_STARTED_FIRST;
#ifndef WITHOUT_LOOK_AT_REVOKED
         load(WORKER, REVOKED(n), is_revoked);
#endif
         if
         :: is_revoked ->
              STARTED_LATE;
              ORDER_PUBLISH_RELEASE(n, SKIPPED)
         :: else ->
              STARTED_LATE;
              d_step { run_handler(n) };
              store(WORKER, PAYLOAD(n), n + 1);
              ORDER_PUBLISH_RELEASE(n, REPLY)
         fi;
         atomic { n++; is_revoked = 0 }
    :: atomic { else -> break }
    od
  } unless {
    atomic { crash -> skip };
    lose_or_drain(WORKER);
    dead = true
  }
}

proctype fate() {
  if
  :: crash = true
  :: skip
  fi
}

init {
  atomic { run host(); run worker(); run fate() }
}
