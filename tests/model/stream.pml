/* stream.pml: a stream's chunks one way, credit and cancellation as notes the other way, and a consumer in between.
 *
 * Shown: the chunks that are on their way never pass the window; the consumer gets them all, then one end, and sleeps through
 * neither; the worker never waits for credit that was given, nor for a consumer that has dropped the stream; the worker may die
 * between any two steps.
 *
 * Three sides: the worker; the consumer, who takes chunks, says so and helps where nobody has the token; and the sleeper, who
 * sleeps in the epoll for all (a sentinel, poll() or the pinned thread) and ends the call at its deadline. The worker parks for
 * a note, or for room for its next chunk. A note that finds its lane full is tried again, at the latest when the sleeper's timer
 * is due.
 *
 * How records look is doorbell.pml, and how the token goes from hand to hand token.pml. Here lanes are two counters each.
 *
 * case: ENDS=READ WINDOW=1 CHUNKS=2 ROOM=2 NOTES=2: each chunk needs the credit that the one before it gives
 * case: ENDS=READ WINDOW=4 CHUNKS=1 ROOM=1 NOTES=1: the window is larger than the response lane, and one chunk gives no credit
 * case: ENDS=READ WINDOW=1 CHUNKS=1 ROOM=2 NOTES=1 OTHERS=1: a note for a call behind the stream may fill the note lane
 * case: ENDS=DROPPED WINDOW=1 CHUNKS=1 ROOM=2 NOTES=1: a credit note may lie where the cancel note is to go
 * case: ENDS=LATE WINDOW=1 CHUNKS=1 ROOM=2 NOTES=1: the same at the call's deadline, which may find the consumer asleep
 * case: ENDS=KILLED WINDOW=1 CHUNKS=1 ROOM=2 NOTES=1: the worker dies
 * full case: ENDS=READ WINDOW=2 CHUNKS=2 ROOM=1 NOTES=1: two chunks on their way
 * full case: ENDS=DROPPED WINDOW=1 CHUNKS=2 ROOM=1 NOTES=1: the worker may be waiting for room, too
 * full case: ENDS=ANYHOW WINDOW=1 CHUNKS=1 ROOM=1 NOTES=1: dropped, late and killed
 *
 * mutation: WITHOUT_HOST_FENCE: the host looks at the worker's `asleep` before its note is visible
 * mutation: WITHOUT_NOTE_FENCE: the worker looks at the note lane before its `asleep` is visible
 * mutation: WITHOUT_ROOM_FENCE: the worker looks at the consumed position before its `asleep` is visible
 * mutation: WITHOUT_LOOK_FOR_NOTE: the worker waits for a note without a second look
 * mutation: WITHOUT_DOORBELL_FIRST: the worker reads the doorbell after its second look, not before it announces itself
 * mutation: WITHOUT_DOORBELL_INCREMENT: the host only wakes and leaves the doorbell's number as it is
 * mutation: WITHOUT_RING_FOR_NOTES: the host rings after it has consumed chunks only
 * mutation: WITHOUT_RING_FOR_ROOM WINDOW=4: the host rings after notes only
 * mutation: WITHOUT_CHUNK_FENCE: the worker looks at the host's `asleep` before its chunk is visible
 * mutation: WITHOUT_SLEEP_FENCE: the sleeper looks at the lane before its `asleep` is visible
 * mutation: WITHOUT_LOOK_BEFORE_SLEEP: the sleeper takes what is there and announces itself afterwards
 * mutation: WITHOUT_LAST_DRAIN ENDS=KILLED: the call of a dead worker is ended without a drain that follows the proof
 * mutation: WITHOUT_RAISE_FOR_CREDIT: the consumer takes chunks and tells nobody
 * mutation: WITHOUT_TAKEN_BEFORE_RAISE: the consumer tells that it has taken a chunk, and counts it afterwards
 * mutation: WITHOUT_RAISE_FOR_DROP ENDS=DROPPED: the consumer drops the stream and tells nobody
 * mutation: WITHOUT_CANCEL_NOTE ENDS=DROPPED: a stream that nobody waits for gets neither credit nor a note
 * mutation: WITHOUT_RELEASE_LOOK: the token is released without a look at what was raised meanwhile
 * mutation: WITHOUT_RELEASE_BARRIER: that look comes before the token is visibly free
 * mutation: WITHOUT_NEWS_AFTER_PUSH: the consumer is told of a chunk before that lies there
 * mutation: WITHOUT_NEWS_BEFORE_TAKE: the consumer takes the chunks and then says that it knows of them
 * mutation: WITHOUT_SLEEP_LOOKS_AT_NEWS: the consumer goes to sleep unless the call is done, whatever news there are
 * mutation: WITHOUT_DONE_BEFORE_LOOK: the consumer sees no chunk, then that the call is done, and leaves
 * mutation: WITHOUT_CLAIM ENDS=DROPPED: an outcome is written where there is one already
 * mutation: WITHOUT_CREDIT_BY_TAKEN: credit is given for what has come, not for what has been taken
 * mutation: WITHOUT_GRANTED_WHEN_SENT OTHERS=1: credit counts as given although its note found the lane full
 * mutation: WITHOUT_NOTE_AGAIN OTHERS=1: a note that found the lane full is forgotten
 * mutation: WITHOUT_TIMER OTHERS=1: it is not forgotten, and nobody looks again by himself
 * mutation: WITHOUT_DUE_SOONER OTHERS=1: who sleeps without a timer, or is about to, is not told that it needs one
 */

/* ENDS: how, but for the end that the generator comes to. WINDOW: credit at the start. CHUNKS: that the generator yields.
 * ROOM: what fits into the response lane. NOTES: into the note lane. OTHERS: notes for a call that lies behind the stream. */
#define READ 0
#define DROPPED 1
#define LATE 2
#define KILLED 3
#define ANYHOW 4
#define MAY_END(how) (ENDS == (how) || ENDS == ANYHOW)

#if WINDOW < 2
#define STEP 1
#else
#define STEP (WINDOW / 2)
#endif

#define NOTES_PUBLISHED 0
#define NOTES_CONSUMED 1
#define DOORBELL 2
#define WORKER_ASLEEP 3
#define PUBLISHED 4 /* responses: chunks and the final one */
#define CONSUMED 5
#define HOST_ASLEEP 6
#define TAKEN 7
#define TOKEN 8
#define ATTENTION 9

#define MEM_WORDS 10
#define MEM_CPUS 3
#define SB_SLOTS 2
#include "store_buffer.pml"

#define SLEEPER 0
#define CONSUMER 1
#define WORKER 2

#ifndef WITHOUT_HOST_FENCE
#define ORDER_HOST_FENCE fence(me)
#else
#define ORDER_HOST_FENCE skip
#endif

#ifndef WITHOUT_NOTE_FENCE
#define ORDER_NOTE_FENCE fence(WORKER)
#else
#define ORDER_NOTE_FENCE skip
#endif

#ifndef WITHOUT_ROOM_FENCE
#define ORDER_ROOM_FENCE fence(WORKER)
#else
#define ORDER_ROOM_FENCE skip
#endif

#ifndef WITHOUT_CHUNK_FENCE
#define ORDER_CHUNK_FENCE fence(WORKER)
#else
#define ORDER_CHUNK_FENCE skip
#endif

#ifndef WITHOUT_SLEEP_FENCE
#define ORDER_SLEEP_FENCE fence(SLEEPER)
#else
#define ORDER_SLEEP_FENCE skip
#endif

#ifndef WITHOUT_DOORBELL_FIRST
#define ORDER_DOORBELL_FIRST load(WORKER, DOORBELL, doorbell)
#define DOORBELL_LATE skip
#else
#define ORDER_DOORBELL_FIRST skip
#define DOORBELL_LATE load(WORKER, DOORBELL, doorbell)
#endif

#ifndef WITHOUT_RELEASE_BARRIER
#define ORDER_RELEASE_BARRIER d_step { drained(me) -> mem[TOKEN] = 0 } /* exchange */
#else
#define ORDER_RELEASE_BARRIER store_release(me, TOKEN, 0)
#endif

#ifndef WITHOUT_RING_FOR_NOTES
#define NOTE_TOUCHES touched = true
#else
#define NOTE_TOUCHES skip
#endif

#ifndef WITHOUT_RING_FOR_ROOM
#define CHUNK_TOUCHES touched = true
#else
#define CHUNK_TOUCHES skip
#endif

#ifndef WITHOUT_NOTE_AGAIN
#define NOTE_AGAIN notes_due = true
#else
#define NOTE_AGAIN skip
#endif

#ifndef WITHOUT_SLEEP_LOOKS_AT_NEWS
#define KEEPS_AWAKE (done || news)
#else
#define KEEPS_AWAKE done
#endif

#define CANCEL 255
#define OF_ANOTHER 254

bool crash; /* the worker is to die before its next step */
bool dead; /* its pidfd is readable */
bool worker_left; /* it has answered */
bool worker_in_kernel; /* in FUTEX_WAIT on the doorbell */
bool edge; /* an eventfd of the epoll was written */
byte answer_at; /* which response is the final one, counted from one */
byte note[CHUNKS + 3]; /* credit in all, or CANCEL; its record is visible when NOTES_PUBLISHED says so */

/* The call's word: read-modify-writes, by both threads of the host. */
bool done, news, consumer_sleeps;
bool consumer_in_kernel;
byte outcomes;

byte arrived; /* chunks in the list that both exchange */
byte sent_at_death; /* what was visible then */
byte got; /* chunks that the consumer has taken, whoever sees it */
bool consumer_left;

/* Guarded by the token. */
byte received, came, pushed, notes_sent;
byte granted = WINDOW;
bool notes_due, lane_full, due_sooner, note_sent, other_due, cancel_sent, resolved, touched, consumed_some, telling;

inline finish() {
#ifndef WITHOUT_CLAIM
  if
  :: !done -> outcomes++
  :: else
  fi;
#else
  outcomes++;
#endif
  assert(outcomes == 1);
  done = true;
  consumer_in_kernel = false
}

inline tell_of_news() {
  if
  :: consumer_sleeps && !news -> consumer_in_kernel = false
  :: else
  fi;
  news = true
}

inline push_chunk() {
  arrived++;
  pushed++
}

#ifndef WITHOUT_NEWS_AFTER_PUSH
#define FIRST push_chunk()
#define THEN tell_of_news()
#else
#define FIRST tell_of_news()
#define THEN push_chunk()
#endif

inline take_responses() {
  do
  :: atomic {
       received < mem[PUBLISHED] && drained(me) ->
       received++;
       consumed_some = true;
#ifdef WITHOUT_CREDIT_BY_TAKEN
       notes_due = true;
#endif
       if
       :: received == answer_at -> resolved = true; finish()
       :: received != answer_at ->
            assert(came < granted);
            came++;
            if
            :: !done -> FIRST; telling = true
            :: else /* nobody takes it */
            fi
       fi
     };
     atomic {
       if
       :: telling && drained(me) -> THEN; telling = false
       :: !telling
       fi
     }
  :: atomic { received >= mem[PUBLISHED] -> break }
  od
}

#define has_note_room (notes_sent - mem[NOTES_CONSUMED] < NOTES)
#ifndef WITHOUT_CREDIT_BY_TAKEN
#define may_send (mem[TAKEN] + WINDOW)
#else
#define may_send (came + WINDOW)
#endif

inline send_note(what) {
  note[notes_sent] = what;
  notes_sent++;
  note_sent = true
}

inline send_notes() {
  notes_due = false;
#if OTHERS
  if
  :: other_due && has_note_room -> other_due = false; send_note(OF_ANOTHER)
  :: other_due && !has_note_room -> notes_due = true
  :: !other_due
  fi;
#endif
  if
  :: resolved
#ifndef WITHOUT_CANCEL_NOTE
  :: !resolved && done && !cancel_sent && has_note_room -> cancel_sent = true; send_note(CANCEL)
  :: !resolved && done && !cancel_sent && !has_note_room -> NOTE_AGAIN
  :: !resolved && done && cancel_sent
#else
  :: !resolved && done
#endif
  :: !resolved && !done && may_send - granted >= STEP && has_note_room -> granted = may_send; send_note(granted)
  :: !resolved && !done && may_send - granted >= STEP && !has_note_room ->
#ifdef WITHOUT_GRANTED_WHEN_SENT
       granted = may_send;
#endif
       NOTE_AGAIN
  :: !resolved && !done && may_send - granted < STEP
  fi
}

/* What a turn writes, and rings for. */
inline tell_worker() {
  d_step {
    sb[me].count + consumed_some + notes_due <= SB_SLOTS ->
    if
    :: consumed_some -> push(me, CONSUMED, received, true); consumed_some = false; CHUNK_TOUCHES
    :: else
    fi;
    if
    :: notes_due -> send_notes()
    :: else
    fi;
    if
    :: note_sent -> note_sent = false; push(me, NOTES_PUBLISHED, notes_sent, true); NOTE_TOUCHES
    :: else
    fi;
    due_sooner = (notes_due && !lane_full);
    lane_full = notes_due
  }
}

inline ring_worker() {
  if
  :: touched ->
       ORDER_HOST_FENCE;
       d_step { touched = false; see(me, WORKER_ASLEEP, ok) };
       if
       :: ok ->
            ok = false;
#ifndef WITHOUT_DOORBELL_INCREMENT
            d_step { drained(me) -> mem[DOORBELL] = (mem[DOORBELL] + 1) % 4 }; /* fetch_add */
#endif
            d_step { drained(me) -> worker_in_kernel = false } /* FUTEX_WAKE */
       :: else
       fi
  :: else
  fi
}

inline turn() {
  atomic {
    if
    :: mem[ATTENTION] && drained(me) -> mem[ATTENTION] = 0; notes_due = true
    :: !mem[ATTENTION]
    fi
  };
  take_responses();
  if
  :: consumed_some || notes_due ->
       tell_worker();
       ring_worker();
#ifndef WITHOUT_DUE_SOONER
       if
       :: due_sooner -> d_step { drained(me) -> edge = true; due_sooner = false }
       :: else
       fi
#endif
  :: else
  fi
}

inline release_token() {
  do
  :: ORDER_RELEASE_BARRIER;
#ifdef WITHOUT_RELEASE_LOOK
     break
#else
     atomic {
       if
       :: !mem[ATTENTION] -> break
       :: else
       fi
     };
     atomic {
       compare_exchange(me, TOKEN, 0, 1, ok);
       if
       :: !ok -> break /* Another has the token, and looks when it releases it. */
       :: ok -> ok = false
       fi
     };
     turn()
#endif
  od
}

/* Raise, fence (the read-modify-write is one here), help. */
inline raise_and_help() {
  d_step { drained(me) -> mem[ATTENTION] = 1 };
  compare_exchange(me, TOKEN, 0, 1, ok);
  if
  :: ok ->
       ok = false;
       turn();
       release_token()
  :: else
  fi
}

proctype consumer() {
  byte me = CONSUMER;
  byte in_order = 0;
  bool ok = false, was_done = false;
next:
  do
#if MAY_END(DROPPED)
  :: d_step { drained(me) && !done -> done = true; outcomes++; assert(outcomes == 1) };
     break
#endif
  :: was_done = done; /* before the look: no chunk comes after it */
     if
     :: in_order == 0 ->
#ifndef WITHOUT_NEWS_BEFORE_TAKE
          atomic { drained(me) -> news = false; consumer_sleeps = false };
          d_step { in_order = arrived; arrived = 0 }
#else
          atomic { drained(me) -> in_order = arrived; arrived = 0 };
          atomic { news = false; consumer_sleeps = false }
#endif
     :: else
     fi;
#ifdef WITHOUT_DONE_BEFORE_LOOK
     if
     :: in_order == 0 -> was_done = done
     :: else
     fi;
#endif
     if
     :: in_order > 0 ->
#ifndef WITHOUT_TAKEN_BEFORE_RAISE
          d_step { in_order--; got++; push(me, TAKEN, got, false) };
#else
          d_step { in_order--; got++ };
#endif
          if
          :: got % STEP == 0 && !done ->
#ifndef WITHOUT_RAISE_FOR_CREDIT
               raise_and_help();
#endif
               skip
          :: else
          fi;
#ifdef WITHOUT_TAKEN_BEFORE_RAISE
          store(me, TAKEN, got);
#endif
          atomic { was_done = false; goto next }
     :: in_order == 0 && was_done ->
          assert(got == pushed);
          goto gone
     :: else
     fi;
     atomic {
       drained(me) ->
       if
       :: KEEPS_AWAKE
       :: else -> consumer_sleeps = true; consumer_in_kernel = true
       fi
     };
     !consumer_in_kernel
  od;
#ifndef WITHOUT_RAISE_FOR_DROP
  raise_and_help();
#endif
gone:
  consumer_left = true
}

#define all_over (consumer_left && resolved && (worker_left || dead))

proctype sleeper() {
  byte me = SLEEPER;
  bool ok = false, death_seen = false, timer = false, told_other = false;
  do
  :: atomic {
       drained(me) && mem[TOKEN] == 0 ->
       mem[TOKEN] = 1;
       mem[HOST_ASLEEP] = 0;
#if OTHERS
       if
       :: !told_other -> told_other = true; other_due = true; notes_due = true
       :: skip
       fi;
#endif
#if MAY_END(LATE)
       if
       :: !done -> finish(); notes_due = true
       :: skip
       fi
#endif
     };
#ifdef WITHOUT_LOOK_BEFORE_SLEEP
     turn();
#endif
     store(SLEEPER, HOST_ASLEEP, 1);
     ORDER_SLEEP_FENCE;
#ifndef WITHOUT_LOOK_BEFORE_SLEEP
     turn();
#endif
     atomic {
#ifdef WITHOUT_LAST_DRAIN
       death_seen = dead;
#endif
       drained(me) ->
       if
       :: death_seen && !resolved ->
            assert(received >= sent_at_death);
            resolved = true;
            if
            :: !done -> finish() /* worker_lost */
            :: else
            fi
       :: else
       fi;
       death_seen = false;
#ifndef WITHOUT_TIMER
       timer = notes_due
#endif
     };
     release_token();
     /* epoll_wait */
     atomic {
       drained(me) && (edge || (dead && !resolved) || timer || all_over) ->
       if
       :: all_over -> break
       :: else
       fi;
#ifndef WITHOUT_LAST_DRAIN
       death_seen = dead;
#endif
       edge = false;
       timer = false
     }
  od;
  assert(outcomes == 1)
}

/* The kernel compares and sleeps in one step. */
inline futex_wait() {
  atomic {
    drained(WORKER) ->
    if
    :: mem[DOORBELL] == doorbell -> worker_in_kernel = true
    :: else /* EAGAIN */
    fi
  };
  !worker_in_kernel
}

inline publish() {
  d_step {
    sb[WORKER].count < SB_SLOTS ->
    sent++;
    push(WORKER, PUBLISHED, sent, true);
    assert(sent == answer_at || sent - got <= WINDOW)
  };
  ORDER_CHUNK_FENCE;
  load(WORKER, HOST_ASLEEP, word);
  atomic {
    if
    :: word && drained(WORKER) -> edge = true; word = 0
    :: !word
    fi
  }
}

proctype worker() {
  byte sent = 0, read = 0, word = 0, doorbell = 0;
  byte credit = WINDOW;
  bool cancelled = false;
  {
    do
    :: d_step {
         sb[WORKER].count < SB_SLOTS ->
         see(WORKER, NOTES_PUBLISHED, word);
         if
         :: read < word ->
              do
              :: read < word ->
                   if
                   :: note[read] == CANCEL -> cancelled = true
                   :: note[read] == OF_ANOTHER
                   :: else -> credit = note[read]
                   fi;
                   read++
              :: else -> break
              od;
              push(WORKER, NOTES_CONSUMED, read, true)
         :: else
         fi;
         word = 0
       };
       if
       :: !cancelled && sent == credit -> /* No credit: park. */
            ORDER_DOORBELL_FIRST;
            store(WORKER, WORKER_ASLEEP, 1);
            ORDER_NOTE_FENCE;
            word = read;
#ifndef WITHOUT_LOOK_FOR_NOTE
            load(WORKER, NOTES_PUBLISHED, word);
#endif
            DOORBELL_LATE;
            if
            :: word == read -> futex_wait()
            :: else
            fi;
            d_step { sb[WORKER].count < SB_SLOTS -> push(WORKER, WORKER_ASLEEP, 0, false); word = 0; doorbell = 0 }
       :: else ->
room:
            load(WORKER, CONSUMED, word);
            if
            :: sent - word == ROOM -> /* No room for a response: park. */
                 ORDER_DOORBELL_FIRST;
                 store(WORKER, WORKER_ASLEEP, 1);
                 ORDER_ROOM_FENCE;
                 load(WORKER, CONSUMED, word);
                 DOORBELL_LATE;
                 if
                 :: sent - word == ROOM -> futex_wait()
                 :: else
                 fi;
                 atomic { sb[WORKER].count < SB_SLOTS -> push(WORKER, WORKER_ASLEEP, 0, false); word = 0; doorbell = 0; goto room }
            :: else -> word = 0
            fi;
            if
            :: cancelled || sent == CHUNKS -> break
            :: else -> publish()
            fi
       fi
    od;
    answer_at = sent + 1;
    publish();
    worker_left = true
  } unless {
    atomic { crash && !worker_left -> skip };
    lose_or_drain(WORKER);
    d_step { sent_at_death = mem[PUBLISHED]; dead = true }
  }
}

proctype fate() {
#if MAY_END(KILLED)
  if
  :: crash = true
  :: skip
  fi
#else
  skip
#endif
}

init {
  atomic { run sleeper(); run consumer(); run worker(); run fate() }
}
