/* eventfd.pml: the host sleeps on its epoll; a worker's reply, a worker's death or a new call in the inbox wakes it.
 *
 * Shown: the host never sleeps while a reply lies in the lane, a call in the inbox, or the worker is dead; each call gets
 * exactly one outcome; a reply that was visible when the worker died is received.
 *
 * The eventfds are edge-triggered and never read: a write makes one edge, epoll_wait takes it, and the counter that stays
 * above zero says nothing. One edge word stands for both eventfds (the worker's and the host's own, for the inbox): that
 * is less for the host to know than it knows in truth. The pidfd is level-triggered until its event has been handled.
 *
 * mutation: WITHOUT_WORKER_FENCE: the worker looks at `asleep` before its reply is visible
 * mutation: WITHOUT_HOST_FENCE: the host looks at the lane and the inbox before its `asleep` is visible
 * mutation: WITHOUT_ENQUEUE_FENCE: the submitter looks at `asleep` before its call is visible in the inbox
 * mutation: WITHOUT_LOOK_AT_LANE: the host sleeps without a second look at the response lane
 * mutation: WITHOUT_LOOK_AT_INBOX: the host sleeps without a second look at the inbox
 * mutation: WITHOUT_LOOK_AFTER_ANNOUNCE: the host looks first and announces itself afterwards
 * mutation: WITHOUT_PIDFD: the host waits for eventfds only
 * mutation: WITHOUT_LAST_DRAIN: the calls of a dead worker are ended after a drain that precedes the proof
 * mutation: WITHOUT_DEATH_ONCE: the journal still shows the dead worker's calls, and the pidfd stays in the epoll
 * mutation: WITHOUT_PUBLISH_RELEASE: the reply's commit is a relaxed store and may overtake its payload
 */

#define CALLS 3 /* the first two are in the inbox at the start, the last comes from another thread */

#define PAYLOAD(call) (call)
#define REPLIES_PUBLISHED CALLS
#define ASLEEP (CALLS + 1)
#define INBOX (CALLS + 2)

#define MEM_WORDS (CALLS + 3)
#define MEM_CPUS 3
#define SB_SLOTS 3
#include "store_buffer.pml"

#define HOST 0
#define WORKER 1
#define SUBMITTER 2

#ifndef WITHOUT_WORKER_FENCE
#define ORDER_WORKER_FENCE fence(WORKER)
#else
#define ORDER_WORKER_FENCE skip
#endif

#ifndef WITHOUT_HOST_FENCE
#define ORDER_HOST_FENCE fence(HOST)
#else
#define ORDER_HOST_FENCE skip
#endif

#ifndef WITHOUT_ENQUEUE_FENCE
#define ORDER_ENQUEUE_FENCE fence(SUBMITTER)
#else
#define ORDER_ENQUEUE_FENCE skip
#endif

#ifndef WITHOUT_PUBLISH_RELEASE
#define ORDER_PUBLISH_RELEASE(n) store_release(WORKER, REPLIES_PUBLISHED, n)
#else
#define ORDER_PUBLISH_RELEASE(n) store(WORKER, REPLIES_PUBLISHED, n)
#endif

#ifndef WITHOUT_PIDFD
#define PIDFD_READY (dead && pidfd_watched)
#else
#define PIDFD_READY false
#endif

bool edge; /* an eventfd was written since the last epoll_wait */
bool crash; /* the worker is to die before its next step */
bool dead; /* the worker's pidfd is readable */
bool pidfd_watched = true;
byte lane; /* requests in the request lane: how they get there and wake the worker is doorbell.pml */
byte replies_at_death; /* what was visible then */

/* The host's private journal. */
byte outcomes[CALLS];
bool in_flight[CALLS];

inline end_call(call) {
  in_flight[call] = false;
  outcomes[call]++;
  assert(outcomes[call] == 1)
}

inline take_replies() {
  do
  :: d_step {
       received < mem[REPLIES_PUBLISHED] ->
       assert(mem[PAYLOAD(received)] == received + 1);
       end_call(received);
       received++
     }
  :: atomic { received == mem[REPLIES_PUBLISHED] -> break }
  od
}

inline take_inbox() {
  do
  :: d_step {
       accepted < CALLS && accepted < 2 + mem[INBOX] ->
       if
       :: worker_lost -> outcomes[accepted]++; assert(outcomes[accepted] == 1) /* No worker: another outcome, at once. */
       :: else -> in_flight[accepted] = true; lane++
       fi;
       accepted++
     }
  :: atomic { accepted == CALLS || accepted == 2 + mem[INBOX] -> break }
  od
}

inline handle_death() {
#ifndef WITHOUT_LAST_DRAIN
  take_replies();
#endif
  atomic {
    i = 0;
    do
    :: i < CALLS ->
         if
         :: in_flight[i] ->
              outcomes[i]++; /* worker_lost, or back to the queue */
              assert(outcomes[i] == 1)
#ifndef WITHOUT_DEATH_ONCE
              ;
              in_flight[i] = false
#endif
         :: else
         fi;
         i++
    :: else -> break
    od;
    i = 0;
    worker_lost = true;
#ifndef WITHOUT_DEATH_ONCE
    pidfd_watched = false;
#endif
    assert(received >= replies_at_death)
  }
}

/* The second look before sleeping, at the lane and at the inbox. */
inline look_again() {
  something = false;
#ifndef WITHOUT_LOOK_AT_LANE
  atomic { something = (received < mem[REPLIES_PUBLISHED]) };
#endif
#ifndef WITHOUT_LOOK_AT_INBOX
  atomic { something = (something || (accepted < CALLS && accepted < 2 + mem[INBOX])) };
#endif
  skip
}

#define all_done (outcomes[0] + outcomes[1] + outcomes[2] == CALLS)

proctype host() {
  byte received = 0, accepted = 0, i = 0;
  bool something = false, death_seen = false, worker_lost = false;
  do
  :: take_inbox();
#ifdef WITHOUT_LAST_DRAIN
     take_replies();
     atomic { death_seen = (death_seen || PIDFD_READY) };
#endif
     if
     :: atomic { death_seen -> death_seen = false };
        handle_death()
     :: else -> take_replies()
     fi;
     if
     :: all_done -> break
     :: else
     fi;
#ifndef WITHOUT_LOOK_AFTER_ANNOUNCE
     store(HOST, ASLEEP, 1);
     ORDER_HOST_FENCE;
     look_again();
#else
     look_again();
     store(HOST, ASLEEP, 1);
     ORDER_HOST_FENCE;
#endif
     if
     :: atomic { something -> something = false }
     :: else ->
          /* epoll_wait */
          d_step {
            drained(HOST) && (edge || PIDFD_READY) ->
            death_seen = PIDFD_READY;
            edge = false
          }
     fi;
     store(HOST, ASLEEP, 0)
  od
}

inline write_eventfd_if_asleep(cpu) {
  load(cpu, ASLEEP, peer_asleep);
  if
  :: peer_asleep -> atomic { drained(cpu) -> edge = true; peer_asleep = 0 }
  :: else
  fi
}

proctype worker() {
  byte taken = 0, peer_asleep = 0;
  {
    do
    :: atomic { lane > taken -> taken++ };
       store(WORKER, PAYLOAD(taken - 1), taken);
       ORDER_PUBLISH_RELEASE(taken);
       ORDER_WORKER_FENCE;
       write_eventfd_if_asleep(WORKER)
    :: atomic { taken == CALLS -> break }
    :: atomic { all_done -> break }
    od
  } unless {
    atomic { crash -> skip };
    lose_or_drain(WORKER);
    d_step { replies_at_death = mem[REPLIES_PUBLISHED]; dead = true }
  }
}

/* Another thread: enqueue and leave. */
proctype submitter() {
  byte peer_asleep = 0;
  store_release(SUBMITTER, INBOX, 1);
  ORDER_ENQUEUE_FENCE;
  write_eventfd_if_asleep(SUBMITTER)
}

proctype fate() {
  if
  :: crash = true
  :: skip
  fi
}

init {
  atomic { run host(); run worker(); run submitter(); run fate() }
}
