/* blocks.pml: the response arena. The worker writes replies into blocks, the host reads them in place, keeps them as long as it
 * likes, in any order, and gives them back by its release ring; a worker without a block parks until one comes.
 *
 * Shown: no block is written while the host still reads it; each is given back once; the worker never sleeps while a release is
 * there for it; nothing breaks when the worker dies between any two steps.
 *
 * The lane is modelled in doorbell.pml: here it is a row of words. The ring of the other direction (arguments that Python kept)
 * is the same code with nobody who parks.
 *
 * case: BLOCKS=1 REPLIES=3: each reply needs the block of the one before
 * case: BLOCKS=2 REPLIES=3: the third needs one again, whichever comes first
 * full case: BLOCKS=2 REPLIES=4: both are needed again
 *
 * mutation: WITHOUT_HOST_FENCE: the host looks at `awaits_block` before its release is visible
 * mutation: WITHOUT_WORKER_FENCE: the worker looks at the ring before its `awaits_block` is visible
 * mutation: WITHOUT_LOOK_AGAIN: the worker waits without a second look at the ring
 * mutation: WITHOUT_DOORBELL_FIRST: the worker reads the doorbell after its second look, not before it announces itself
 * mutation: WITHOUT_DOORBELL_INCREMENT: the host only wakes and leaves the doorbell's number as it is
 * mutation: WITHOUT_RELEASE_BEFORE_RING: the host rings (or not) and releases afterwards
 * mutation: WITHOUT_READ_BEFORE_RELEASE: the host reads the block once more after it has released it
 * mutation: WITHOUT_COUNT_RELEASE: the ring's count is a relaxed store and may overtake the entry
 * mutation: WITHOUT_PUBLISH_RELEASE: the response is published by a relaxed store and may overtake the block's content
 */

/* BLOCKS: in the arena. */
#define BLOCKS_MAX 2

#define CONTENT(block) (block)
#define RESPONSE(number) (BLOCKS_MAX + (number))
#define ENTRY(number) (BLOCKS_MAX + REPLIES + (number))
#define PUBLISHED (BLOCKS_MAX + 2 * REPLIES)
#define AWAITS (BLOCKS_MAX + 2 * REPLIES + 1)
#define RELEASED (BLOCKS_MAX + 2 * REPLIES + 2)
#define DOORBELL (BLOCKS_MAX + 2 * REPLIES + 3)

#define MEM_WORDS (BLOCKS_MAX + 2 * REPLIES + 4)
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

#ifndef WITHOUT_DOORBELL_FIRST
#define ORDER_DOORBELL_FIRST load(WORKER, DOORBELL, doorbell)
#define DOORBELL_LATE skip
#else
#define ORDER_DOORBELL_FIRST skip
#define DOORBELL_LATE load(WORKER, DOORBELL, doorbell)
#endif

#ifndef WITHOUT_COUNT_RELEASE
#define ORDER_COUNT_RELEASE store_release(HOST, RELEASED, released)
#else
#define ORDER_COUNT_RELEASE store(HOST, RELEASED, released)
#endif

#ifndef WITHOUT_PUBLISH_RELEASE
#define ORDER_PUBLISH_RELEASE store_release(WORKER, PUBLISHED, number + 1)
#else
#define ORDER_PUBLISH_RELEASE store(WORKER, PUBLISHED, number + 1)
#endif

bool crash; /* the worker is to die before its next step */
bool dead;
bool asleep_in_kernel; /* the worker, in FUTEX_WAIT */

inline read_block(block) { d_step { see(HOST, CONTENT(block), word); assert(word == held[block]); word = 0 } }

inline release_block(block) {
  store(HOST, ENTRY(released), block + 1);
  released++;
#ifndef WITHOUT_RELEASE_BEFORE_RING
  ORDER_COUNT_RELEASE;
#endif
  ORDER_HOST_FENCE;
  load(HOST, AWAITS, word);
  if
  :: word ->
#ifndef WITHOUT_DOORBELL_INCREMENT
       d_step { sb[HOST].count < SB_SLOTS -> see(HOST, DOORBELL, word); push(HOST, DOORBELL, word + 1, false) };
#endif
       d_step { drained(HOST) -> asleep_in_kernel = false } /* FUTEX_WAKE */
  :: else
  fi;
#ifdef WITHOUT_RELEASE_BEFORE_RING
  ORDER_COUNT_RELEASE;
#endif
  word = 0
}

#define holds_some (held[0] || held[1])
#define can_take (taken < mem[PUBLISHED]) /* the host has no store of its own to this word */

proctype host() {
  byte taken = 0, released = 0, word = 0, block = 0;
  byte held[BLOCKS_MAX]; /* which reply it holds there, counted from one */
  do
  :: atomic { !can_take && !holds_some && (taken == REPLIES || dead) -> break }
  :: can_take ->
       d_step {
         see(HOST, RESPONSE(taken), word);
         assert(word != 0 && held[word - 1] == 0);
         taken++;
         held[word - 1] = taken;
         word = 0
       }
  :: holds_some -> /* A reply is read and dropped, whichever. */
       if
       :: held[0] -> block = 0
       :: held[1] -> block = 1
       fi;
       read_block(block);
#ifndef WITHOUT_READ_BEFORE_RELEASE
       held[block] = 0;
       release_block(block)
#else
       release_block(block);
       read_block(block);
       held[block] = 0
#endif
  od
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
  byte number = 0, collected = 0, word = 0, doorbell = 0, block = 0;
  bool used[BLOCKS_MAX];
  {
    do
    :: atomic { number == REPLIES -> break }
    :: else ->
allocate:
       /* One look at the count, then the entries up to it. */
       load(WORKER, RELEASED, word);
       do
       :: atomic { collected < word -> skip };
            d_step {
              see(WORKER, ENTRY(collected), block);
              assert(block != 0 && used[block - 1]);
              used[block - 1] = false;
              collected++;
              block = 0
            }
       :: atomic { collected >= word -> break }
       od;
       if
       :: !used[0] -> block = 0
       :: BLOCKS > 1 && !used[1] -> block = 1
       :: used[0] && (BLOCKS == 1 || used[1]) -> /* No room: park. */
            ORDER_DOORBELL_FIRST;
            store(WORKER, AWAITS, 1);
            ORDER_WORKER_FENCE;
#ifndef WITHOUT_LOOK_AGAIN
            load(WORKER, RELEASED, word);
#endif
            DOORBELL_LATE;
            if
            :: word == collected -> futex_wait()
            :: else
            fi;
            store(WORKER, AWAITS, 0);
            atomic { word = 0; doorbell = 0; goto allocate }
       fi;
       used[block] = true;
       store(WORKER, CONTENT(block), number + 1);
       store(WORKER, RESPONSE(number), block + 1);
       ORDER_PUBLISH_RELEASE;
       atomic { number++; word = 0; block = 0 }
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
