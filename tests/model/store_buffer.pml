/* store_buffer.pml: memory as several cores see it, for models whose checker knows only one order of all steps.
 *
 * The including file defines first: MEM_WORDS (how many shared words), MEM_CPUS (how many processes own a buffer).
 * Each cpu has a bounded store buffer. Stores enter it; loads of the same cpu see its own stores first; a store becomes
 * visible to the others when the buffer's process moves it to memory, at any later time.
 *
 * It is weaker than x86-TSO: a relaxed store may overtake earlier ones to other words (as on AArch64), a release store
 * waits for all before it. Whatever holds here holds on x86, whose buffers are FIFO: always the oldest first.
 * Loads happen in program order, as if each were an acquire. Read-modify-writes and system calls wait for the own buffer
 * to be empty; a compare-exchange that fails is only a load, as C++ has it.
 */

#ifndef SB_SLOTS
#define SB_SLOTS 3 /* at most 4: see may_drain() */
#endif

typedef StoreBuffer {
  byte count;
  byte word[SB_SLOTS];
  byte value[SB_SLOTS];
  bool release[SB_SLOTS]
}

byte mem[MEM_WORDS];
StoreBuffer sb[MEM_CPUS];
hidden byte sb_i; /* scratch of the steps below; never read across two of them */

inline push(cpu, w, v, is_release) {
  sb[cpu].word[sb[cpu].count] = w;
  sb[cpu].value[sb[cpu].count] = v;
  sb[cpu].release[sb[cpu].count] = is_release;
  sb[cpu].count++
}

inline store(cpu, w, v)         { d_step { sb[cpu].count < SB_SLOTS -> push(cpu, w, v, false) } }
inline store_release(cpu, w, v) { d_step { sb[cpu].count < SB_SLOTS -> push(cpu, w, v, true) } }

/* For use inside a d_step: what `cpu` sees in word `w`. */
inline see(cpu, w, out) {
  out = mem[w];
  sb_i = 0;
  do
  :: sb_i < sb[cpu].count ->
       if
       :: sb[cpu].word[sb_i] == (w) -> out = sb[cpu].value[sb_i]
       :: else
       fi;
       sb_i++
  :: else -> break
  od;
  sb_i = 0
}

inline load(cpu, w, out) { d_step { see(cpu, w, out) } }

/* A fence, and what every system call is here as well: nothing further until the own stores are visible. */
#define drained(cpu) (sb[cpu].count == 0)
inline fence(cpu) { drained(cpu) }

#define holds(cpu, i, w) (sb[cpu].count > i && sb[cpu].word[i] == (w))
#if SB_SLOTS == 1
#define holds_any(cpu, w) holds(cpu, 0, w)
#elif SB_SLOTS == 2
#define holds_any(cpu, w) (holds(cpu, 0, w) || holds(cpu, 1, w))
#elif SB_SLOTS == 3
#define holds_any(cpu, w) (holds(cpu, 0, w) || holds(cpu, 1, w) || holds(cpu, 2, w))
#else
#define holds_any(cpu, w) (holds(cpu, 0, w) || holds(cpu, 1, w) || holds(cpu, 2, w) || holds(cpu, 3, w))
#endif

/* ok = the word was `expected` and is `desired` now. A failing one does not wait for the buffer. */
inline compare_exchange(cpu, w, expected, desired, ok) {
  d_step {
    (drained(cpu) || (mem[w] != (expected) && !holds_any(cpu, w))) ->
    if
    :: mem[w] == (expected) -> mem[w] = desired; ok = true
    :: else -> ok = false
    fi
  }
}

inline forget_slots(cpu) {
  sb_i = sb[cpu].count;
  do
  :: sb_i < SB_SLOTS -> sb[cpu].word[sb_i] = 0; sb[cpu].value[sb_i] = 0; sb[cpu].release[sb_i] = false; sb_i++
  :: else -> break
  od;
  sb_i = 0
}

inline drain(cpu, i) {
  mem[sb[cpu].word[i]] = sb[cpu].value[i];
  sb_i = i;
  do
  :: sb_i + 1 < sb[cpu].count ->
       sb[cpu].word[sb_i] = sb[cpu].word[sb_i + 1];
       sb[cpu].value[sb_i] = sb[cpu].value[sb_i + 1];
       sb[cpu].release[sb_i] = sb[cpu].release[sb_i + 1];
       sb_i++
  :: else -> break
  od;
  sb[cpu].count--;
  forget_slots(cpu)
}

/* A death between two instructions. On real machines what was retired becomes visible before the kernel lets the process
 * be seen dead; that it is lost (as if the process had died earlier) is allowed too, to ask more of the protocol. */
inline lose_or_drain(cpu) {
  if
  :: fence(cpu)
  :: d_step { !drained(cpu) -> sb[cpu].count = 0; forget_slots(cpu) }
  fi
}

#define overtakes(cpu, i, j) (sb[cpu].word[i] != sb[cpu].word[j])
#define may_drain_1(cpu) (sb[cpu].count > 1 && !sb[cpu].release[1] && overtakes(cpu, 1, 0))
#define may_drain_2(cpu) (sb[cpu].count > 2 && !sb[cpu].release[2] && overtakes(cpu, 2, 0) && overtakes(cpu, 2, 1))
#define may_drain_3(cpu) \
  (sb[cpu].count > 3 && !sb[cpu].release[3] && overtakes(cpu, 3, 0) && overtakes(cpu, 3, 1) && overtakes(cpu, 3, 2))

/* The first processes, so that _pid is the cpu. */
active [MEM_CPUS] proctype store_buffer() {
end:
  do
  :: d_step { sb[_pid].count > 0 -> drain(_pid, 0) }
#if SB_SLOTS > 1
  :: d_step { may_drain_1(_pid) -> drain(_pid, 1) }
#endif
#if SB_SLOTS > 2
  :: d_step { may_drain_2(_pid) -> drain(_pid, 2) }
#endif
#if SB_SLOTS > 3
  :: d_step { may_drain_3(_pid) -> drain(_pid, 3) }
#endif
  od
}
