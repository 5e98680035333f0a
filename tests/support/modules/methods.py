"""What the tests call. Small, and each method for one purpose."""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import samovar

PATIENCE_S = 30.0


@samovar.preload
def load() -> None:
    global loaded
    loaded = globals().get("loaded", 0) + 1


# --- payloads ---------------------------------------------------------------------------------------------------------


@samovar.method
def echo(value=None):
    return value


@samovar.method
def spread(*values):
    return list(values)


@samovar.method
def types(*values):
    return [type(value).__name__ for value in values]


@samovar.method
def size(data):
    return len(data)


@samovar.method
def zeros(n):
    return bytes(n)


@samovar.method
def letters(n):
    return "x" * n


@samovar.method
def bytearray_of(data):
    return bytearray(data)


@samovar.method
def every_other(data):
    return data[::2]  # a view that is not contiguous


@samovar.method
def result_of(expression):
    return eval(expression)  # noqa: S307 - the tests ask for results that no other way makes


@samovar.method
def keep(data):
    global kept
    kept = data


@samovar.method
def kept_bytes():
    return bytes(kept)


@samovar.method("named by its author")
def has_another_name():
    return "named"


# --- failures ---------------------------------------------------------------------------------------------------------


class NoSuchSymbol(Exception):
    pass


class NoException(BaseException):
    pass


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@samovar.method
def fail(message):
    raise ValueError(message)


@samovar.method
def fail_own():
    raise NoSuchSymbol("XYZ")


@samovar.method
def fail_mute():
    raise Mute


@samovar.method
def fail_chained():
    try:
        inner()
    except KeyError as error:
        raise RuntimeError("outer") from error


def inner():
    raise KeyError("cause")


@samovar.method
def leave(code):
    sys.exit(code)


@samovar.method
def interrupt():
    raise KeyboardInterrupt


@samovar.method
def raise_base():
    raise NoException("not even an Exception")


@samovar.method
def recurse():
    return recurse()


# --- the call and its worker --------------------------------------------------------------------------------------------


@samovar.method
def pid():
    return os.getpid()


@samovar.method
def about(*, ctx):
    return {
        "deadline": ctx.deadline,
        "cancelled": ctx.cancelled(),
        "worker": ctx.worker,
        "call_id": ctx.call_id,
        "session": ctx.session,
    }


@samovar.method
def with_argument_and_ctx(value, ctx):
    return [value, ctx.worker]


@samovar.method
def preloads():
    return loaded


@samovar.method
def state():
    """What a worker must find: clean signals, no inherited descriptors, nothing on stdin."""
    status = Path("/proc/self/status").read_text()
    masks = {name: int(re.search(rf"^{name}:\s*(\w+)", status, re.M)[1], 16) for name in ("SigBlk", "SigIgn")}
    return {
        "blocked": masks["SigBlk"],
        # Less what Python itself ignores, and what glibc's posix_spawn keeps for its threads.
        "ignored": masks["SigIgn"] & ~sum(1 << (number - 1) for number in (signal.SIGPIPE, signal.SIGXFSZ, 32, 33)),
        "descriptors": descriptors(),
        "stdin": sys.stdin.read(),
        "leads_group": os.getpgrp() == os.getpid(),
        "threads": os.environ.get("OMP_NUM_THREADS", ""),
    }


def descriptors():
    links = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            if int(fd) > 2:
                links.append(os.readlink(f"/proc/self/fd/{fd}"))
        except FileNotFoundError:  # the one that listed the folder
            pass
    return links


@samovar.method
def affinity():
    return sorted(os.sched_getaffinity(0))


@samovar.method
def say(text):
    print(text)


@samovar.method
def say_error(text):
    print(text, file=sys.stderr)


@samovar.method
def say_unfinished(text):
    sys.stdout.write(text)
    sys.stdout.flush()


@samovar.method
def log(text):
    logging.getLogger("methods").warning(text)


@samovar.method
def log_at_each_level():
    logger = logging.getLogger("methods.sub")
    logger.debug("a debug record")
    logger.info("an info record")
    logger.warning("a warning record")
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError:
        logger.exception("an error record")
    logger.critical("a critical record")
    print("the last line")


@samovar.method
def say_native(text):
    os.write(1, text.encode() + b"\n")


@samovar.method
def say_much(lines):
    for line in range(lines):
        print(f"line {line} " + "." * 200)


# --- time -----------------------------------------------------------------------------------------------------------------

begun = 0
saw_cancelled = False


@samovar.method
def count():
    global begun
    begun += 1
    return begun


@samovar.method
def counted():
    return begun


@samovar.method
def sleep(seconds):
    time.sleep(seconds)
    return seconds


@samovar.method
def spin_us(microseconds):
    until = time.perf_counter_ns() + microseconds * 1000
    while time.perf_counter_ns() < until:
        pass
    return microseconds


@samovar.method
def wait_at(gate):
    Path(gate + ".here").touch()
    until = time.monotonic() + PATIENCE_S
    folder = os.path.dirname(gate)
    while not os.path.exists(gate + ".open") and os.path.exists(folder):  # a gate that is gone is open
        if time.monotonic() > until:
            raise TimeoutError(gate)
        time.sleep(0.0005)
    return os.getpid()


@samovar.method
def until_cancelled(gate, *, ctx):
    global saw_cancelled
    saw_cancelled = False
    Path(gate + ".here").touch()
    until = time.monotonic() + PATIENCE_S
    while not ctx.cancelled() and time.monotonic() < until:
        time.sleep(0.0005)
    saw_cancelled = ctx.cancelled()
    return saw_cancelled


@samovar.method
def cancelled_last():
    return saw_cancelled


@samovar.method
def append(path, number):
    write_line(path, number)
    return number


@samovar.method
def append_and_wait_at(path, number, gate):
    write_line(path, number)
    return wait_at(gate)


@samovar.method
def append_and_die(path, number):
    write_line(path, number)
    os._exit(9)


@samovar.method
def die_unless_marked(path):
    """Dies the first time, and answers the second: for calls that may run again."""
    if os.path.exists(path):
        return os.getpid()
    Path(path).touch()
    os._exit(9)


def write_line(path, number):
    out = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(out, f"{number}\n".encode())
    os.close(out)


# --- what a worker may use ------------------------------------------------------------------------------------------------


@samovar.method
def allocate(size):
    return len(bytearray(size))


@samovar.method
def hog():
    """Takes memory until something gives."""
    kept = []
    while True:
        kept.append(os.urandom(1 << 20))


@samovar.method
def open_files(count):
    files = [open(os.devnull) for _ in range(count)]  # noqa: SIM115
    return len(files)


@samovar.method
def limit_of(name):
    return list(resource.getrlimit(getattr(resource, name)))


@samovar.method
def niceness():
    return os.getpriority(os.PRIO_PROCESS, 0)


# --- what keeps a worker busy ---------------------------------------------------------------------------------------------


@samovar.method
def die(status):
    os._exit(status)


@samovar.method
def kill_self(number):
    os.kill(os.getpid(), number)
    time.sleep(PATIENCE_S)


@samovar.method
def busy_sleep(gate):
    Path(gate + ".here").touch()
    time.sleep(1000)


@samovar.method
def busy_loop(gate):
    Path(gate + ".here").touch()
    while True:
        pass


@samovar.method
def busy_native(gate):
    Path(gate + ".here").touch()
    re.match(r"(a+)+$", "a" * 40 + "b")  # years, in one C function that keeps the GIL


@samovar.method
def runs_for(code):
    """Evaluates what takes a while."""
    eval(code)


@samovar.method
def busy_wedged(gate):
    """Waits for ever in native code that keeps the GIL: for a mutex that it holds. PyDLL calls do not release the GIL."""
    Path(gate + ".here").touch()
    mutex = ctypes.create_string_buffer(64)
    for _ in range(2):
        ctypes.PyDLL(None).pthread_mutex_lock(mutex)


@samovar.method
def hoard(size):
    """Keeps so many bytes of private memory."""
    global hoarded
    hoarded = bytearray(size)
    for page in range(0, size, 4096):
        hoarded[page] = 1


@samovar.method
def busy_deaf(gate):
    """Busy, and deaf to all that can be ignored."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    Path(gate + ".here").touch()
    while True:
        time.sleep(1000)


@samovar.method
def with_child(gate):
    child = subprocess.Popen(["sleep", "1000"])
    Path(gate + ".child").write_text(str(child.pid))
    Path(gate + ".here").touch()
    time.sleep(1000)


@samovar.method
def leave_child():
    return subprocess.Popen(["sleep", "1000"]).pid


@samovar.method
def fork_and_return():
    """Returns twice, once in a child that is no worker."""
    return os.fork() and os.getpid()


# --- other threads --------------------------------------------------------------------------------------------------------

ticks = 0


@samovar.method
def start_ticking():
    def tick() -> None:
        global ticks
        while True:
            ticks += 1
            time.sleep(0.001)

    threading.Thread(target=tick, daemon=True).start()


@samovar.method
def start_computing():
    def compute() -> None:
        global ticks
        while True:
            ticks += 1

    threading.Thread(target=compute, daemon=True).start()


@samovar.method
def ticked():
    return ticks
