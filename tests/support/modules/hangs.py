"""Ways to be busy and ways to hang, as an operator meets them."""

from __future__ import annotations

import ctypes
import faulthandler
import hashlib
import os
import signal
import sys
import threading
import time
from pathlib import Path

import samovar

WITH_GIL = ctypes.PyDLL(None)
STACK_SIGNAL = signal.SIGRTMAX - 3


@samovar.method
def answer():
    return 42


@samovar.method
def sleeps(gate):
    reach(gate)
    time.sleep(1000)


@samovar.method
def loops(gate):
    reach(gate)
    while True:
        pass


@samovar.method
def computes_without_gil(gate):
    reach(gate)
    hashlib.pbkdf2_hmac("sha256", b"password", b"salt", 1 << 30)


@samovar.method
def holds_gil(gate):
    reach(gate)
    pause_with_gil()


@samovar.method
def holds_gil_for_a_while(gate):
    reach(gate)
    until = time.monotonic() + 0.3
    while time.monotonic() < until:
        WITH_GIL.usleep(int((until - time.monotonic()) * 1e6) + 1)
    return 1


@samovar.method
def leaves_gil_to_a_hung_thread():
    sys.setswitchinterval(1000)  # not before this method is answered and the loop waits
    answered = threading.Event()
    threading.Thread(target=lambda: answered.wait() and pause_with_gil(), daemon=True).start()
    answered.set()
    return 1


def pause_with_gil():
    while True:
        WITH_GIL.pause()


@samovar.method
def waits_on_a_lock(gate):
    threading.Thread(target=background_work, daemon=True).start()
    reach(gate)
    threading.Lock().acquire(timeout=1000) and threading.Event().wait(1000)


def background_work():
    time.sleep(1000)


@samovar.method
def loops_for_ms(milliseconds):
    until = time.monotonic() + int(milliseconds) / 1000
    while time.monotonic() < until:
        pass
    return 1


@samovar.method
def grows():
    global kept
    kept = bytearray(b"x") * (64 << 20)
    return len(kept)


@samovar.method
def thread_states():
    return len(sys._current_frames())


# --- what a user's code may do to the stack dump -------------------------------------------------------------------------


@samovar.method
def takes_the_signal():
    signal.signal(STACK_SIGNAL, lambda *_: None)
    return 1


@samovar.method
def unregisters_the_signal():
    return int(faulthandler.unregister(STACK_SIGNAL))


@samovar.method
def closes_the_file():
    os.close(stack_file())
    return 1


@samovar.method
def puts_another_file_there(path):
    other = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    os.dup2(other, stack_file())
    return 1


@samovar.method
def blocks_all_signals():
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    return 1


@samovar.method
def signals_itself():
    os.kill(os.getpid(), STACK_SIGNAL)
    return os.fstat(stack_file()).st_size


@samovar.method
def forks():
    """How many of the descriptors that a worker uses its child has."""
    read_end, write_end = os.pipe()
    if os.fork() == 0:
        os.write(write_end, str(sum(is_ours(fd) for fd in os.listdir("/proc/self/fd"))).encode())
        os._exit(0)
    os.close(write_end)
    count = int(os.read(read_end, 100))
    os.close(read_end)
    os.wait()
    return count


def stack_file():
    return next(int(fd) for fd in os.listdir("/proc/self/fd") if "samovar-stacks" in link(fd))


def is_ours(fd):
    return any(name in link(fd) for name in ("socket:", "samovar", "pidfd", "eventfd"))


def link(fd):
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except FileNotFoundError:
        return ""


def reach(gate):
    Path(gate + ".here").touch()
