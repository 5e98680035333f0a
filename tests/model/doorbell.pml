/* doorbell.pml: the request lane, and a worker that parks on the doorbell for one of two reasons: no request to read,
 * or no space for a reply.
 *
 * Shown: every request is read once, in order and whole; the worker never sleeps while there is something for it, dead
 * host included; nothing breaks when either side dies between any two steps.
 *
 * Both lanes of the real thing have the same format, so the format (commit words, laps) is modelled in the request lane
 * only; the response lane is two counters.
 *
 * case: GRANULES=2 REQUESTS=3: one record at a time; the third is written where the first was
 * case: GRANULES=3 REQUESTS=3: two records at a time; the third zeroes a commit word of the first lap
 * full case: GRANULES=3 REQUESTS=4: the fourth is written where the first was
 *
 * mutation: WITHOUT_HOST_FENCE: the host looks at `asleep` before its publications are visible
 * mutation: WITHOUT_WORKER_FENCE: the worker looks at the commit word before its `asleep` is visible
 * mutation: WITHOUT_SPACE_FENCE: the worker looks at the consumed position before its `asleep` is visible
 * mutation: WITHOUT_LOOK_AGAIN: the worker waits without a second look at the commit word
 * mutation: WITHOUT_DOORBELL_FIRST: the worker reads the doorbell after its second look, not before it announces itself
 * mutation: WITHOUT_PUBLISH_BEFORE_RING: the host rings (or not) and publishes afterwards
 * mutation: WITHOUT_DOORBELL_INCREMENT: the host only wakes and leaves the doorbell's number as it is
 * mutation: WITHOUT_RING_FOR_SPACE: the host rings for requests only, not after it has consumed replies
 * mutation: WITHOUT_ZERO_BEFORE_PUBLISH: the next commit word is zeroed after the publication
 * mutation: WITHOUT_SPARE_GRANULE: the host publishes where the record fits but not one more granule
 * mutation: WITHOUT_PUBLISH_RELEASE: the commit word is a relaxed store and may overtake the payload
 */

/* GRANULES: of the request lane; each record is one, and one more must stay free. */
#define REPLIES_MAX 1 /* what fits into the response lane */

#define COMMIT(position) ((position) % GRANULES)
#define PAYLOAD(position) (GRANULES + (position) % GRANULES)
#define DOORBELL (2 * GRANULES)
#define REPLIES_CONSUMED (2 * GRANULES + 1)
#define ASLEEP (2 * GRANULES + 2)
#define REQUESTS_CONSUMED (2 * GRANULES + 3)
#define REPLIES_PUBLISHED (2 * GRANULES + 4)

#define MEM_WORDS (2 * GRANULES + 5)
#define MEM_CPUS 2
#define SB_SLOTS 4
#include "store_buffer.pml"

#define HOST 0
#define WORKER 1

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

#ifndef WITHOUT_SPACE_FENCE
#define ORDER_SPACE_FENCE fence(WORKER)
#else
#define ORDER_SPACE_FENCE skip
#endif

#ifndef WITHOUT_DOORBELL_FIRST
#define ORDER_DOORBELL_FIRST(out) load(WORKER, DOORBELL, out)
#define DOORBELL_LATE(out) skip
#else
#define ORDER_DOORBELL_FIRST(out) skip
#define DOORBELL_LATE(out) load(WORKER, DOORBELL, out)
#endif

#ifndef WITHOUT_ZERO_BEFORE_PUBLISH
#define ORDER_ZERO_BEFORE_PUBLISH(position) store(HOST, COMMIT(position), 0)
#define ZERO_LATE(position) skip
#else
#define ORDER_ZERO_BEFORE_PUBLISH(position) skip
#define ZERO_LATE(position) store(HOST, COMMIT(position), 0)
#endif

#ifndef WITHOUT_PUBLISH_RELEASE
#define ORDER_PUBLISH_RELEASE(position) store_release(HOST, COMMIT(position), 1)
#else
#define ORDER_PUBLISH_RELEASE(position) store(HOST, COMMIT(position), 1)
#endif

#ifndef WITHOUT_SPARE_GRANULE
#define GRANULES_NEEDED 2
#else
#define GRANULES_NEEDED 1
#endif

bool crash[2]; /* the process is to die before its next step */
bool dead[2];
bool asleep_in_kernel; /* the worker, in FUTEX_WAIT */

/* What the host sees of the worker's page. It has no store of its own to these words, so memory is what it sees. */
#define can_send (sent < REQUESTS && GRANULES - (sent - mem[REQUESTS_CONSUMED]) >= GRANULES_NEEDED)
#define can_receive (received < mem[REPLIES_PUBLISHED])

inline push_request() {
  ORDER_ZERO_BEFORE_PUBLISH(sent + 1);
  store(HOST, PAYLOAD(sent), sent + 1);
#ifndef WITHOUT_PUBLISH_BEFORE_RING
  ORDER_PUBLISH_RELEASE(sent);
#endif
  ZERO_LATE(sent + 1);
  sent++
}

inline ring_if_asleep() {
  ORDER_HOST_FENCE;
  load(HOST, ASLEEP, peer_asleep);
  if
  :: peer_asleep ->
#ifndef WITHOUT_DOORBELL_INCREMENT
       d_step { sb[HOST].count < SB_SLOTS -> see(HOST, DOORBELL, doorbell); push(HOST, DOORBELL, doorbell + 1, false) };
#endif
       d_step { drained(HOST) -> asleep_in_kernel = false; doorbell = 0 } /* FUTEX_WAKE */
  :: else
  fi;
  peer_asleep = 0
}

/* One duty cycle at a time, whenever there is something to do: spinning, seen from outside. How the host sleeps is
 * eventfd.pml. */
proctype host() {
  byte sent = 0, received = 0, peer_asleep = 0, doorbell = 0;
#ifdef WITHOUT_PUBLISH_BEFORE_RING
  byte published = 0;
#endif
  bool publishing = false, consumed = false;
  {
    do
    :: atomic { sent == REQUESTS && received == REQUESTS -> break }
    :: atomic { dead[WORKER] -> break }
    :: atomic { (can_send || can_receive) -> publishing = false; consumed = false };
       if
       :: can_receive ->
            atomic { received++; consumed = true };
            store_release(HOST, REPLIES_CONSUMED, received)
       :: else
       fi;
       /* As many as fit, or fewer: the fence is once per cycle, not once per record. */
       do
       :: can_send -> push_request(); publishing = true
       :: break
       od;
       if
#ifdef WITHOUT_RING_FOR_SPACE
       :: publishing -> ring_if_asleep()
       :: else
#else
       :: (publishing || consumed) -> ring_if_asleep()
       :: else
#endif
       fi;
#ifdef WITHOUT_PUBLISH_BEFORE_RING
       do
       :: published < sent -> ORDER_PUBLISH_RELEASE(published); published++
       :: else -> break
       od
#endif
    od
  } unless {
    atomic { crash[HOST] -> skip };
    lose_or_drain(HOST);
    dead[HOST] = true
  }
}

/* The kernel compares and sleeps in one step. */
inline futex_wait() {
  atomic {
    drained(WORKER) ->
    if
    :: mem[DOORBELL] == doorbell -> asleep_in_kernel = true
    :: else /* EAGAIN */
    fi
  };
  !asleep_in_kernel
}

proctype worker() {
  byte taken = 0, word = 0, doorbell = 0;
  {
    do
    :: atomic { taken == REQUESTS -> break }
    :: else ->
next:
       load(WORKER, COMMIT(taken), word);
       if
       :: word == 0 -> /* No request: park. */
            ORDER_DOORBELL_FIRST(doorbell);
            store(WORKER, ASLEEP, 1);
            ORDER_WORKER_FENCE;
#ifndef WITHOUT_LOOK_AGAIN
            load(WORKER, COMMIT(taken), word);
#endif
            DOORBELL_LATE(doorbell);
            if
            :: word == 0 -> futex_wait()
            :: else
            fi;
            store(WORKER, ASLEEP, 0);
            atomic { word = 0; doorbell = 0; goto next }
       :: else
       fi;
       d_step { see(WORKER, PAYLOAD(taken), word); assert(word == taken + 1); taken++; word = 0 };
       store_release(WORKER, REQUESTS_CONSUMED, taken);
space:
       load(WORKER, REPLIES_CONSUMED, word);
       if
       :: taken - 1 - word == REPLIES_MAX -> /* No space for the reply: park. */
            ORDER_DOORBELL_FIRST(doorbell);
            store(WORKER, ASLEEP, 1);
            ORDER_SPACE_FENCE;
            load(WORKER, REPLIES_CONSUMED, word);
            DOORBELL_LATE(doorbell);
            if
            :: taken - 1 - word == REPLIES_MAX -> futex_wait()
            :: else
            fi;
            store(WORKER, ASLEEP, 0);
            atomic { word = 0; doorbell = 0; goto space }
       :: else
       fi;
       d_step { sb[WORKER].count < SB_SLOTS -> push(WORKER, REPLIES_PUBLISHED, taken, true); word = 0 }
    od
  } unless {
    atomic { crash[WORKER] -> skip };
    lose_or_drain(WORKER);
    dead[WORKER] = true
  }
}

/* The worker's guard thread: some time after the host's death it ends the process, asleep or not. */
proctype guard() {
end:
  dead[HOST] -> crash[WORKER] = true
}

proctype fate() {
  if
  :: crash[HOST] = true
  :: crash[WORKER] = true
  :: skip
  fi
}

init {
  atomic { run host(); run worker(); run guard(); run fate() }
}
