"""What the stress tests call: work whose replies can be checked, and a worker that destroys all it can reach."""

from __future__ import annotations

import ctypes
import os
import random
import struct
import threading
import time
import zlib

import samovar

calls = 0


@samovar.method
def checked(data):
    """The call's own number and a checksum of all it sent."""
    global calls
    calls += 1
    return struct.pack("<QI", int.from_bytes(data[:8], "little"), zlib.crc32(data))


log = None


@samovar.method
def checked_and_logged(data):
    """The same, after a line in $SAMOVAR_TEST_LOG, which outlives this process and says what has begun to run."""
    global log
    if log is None:
        log = os.open(os.environ["SAMOVAR_TEST_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(log, data[:8])
    return checked(data)


@samovar.method
def checked_for(data):
    """The same, after 200 us of work."""
    until = time.perf_counter_ns() + 200_000
    while time.perf_counter_ns() < until:
        pass
    return checked(data)


@samovar.method
def tally(*, ctx):
    return [ctx.worker, calls]


@samovar.method
def echo(value=None):
    return value


@samovar.method
def last_of(*values):
    return values[-1]


@samovar.method
def pid():
    return os.getpid()


@samovar.method
def die(status):
    os._exit(status)


# --- a worker that scribbles ----------------------------------------------------------------------------------------------


def writable_pages():
    """Address and size of each mapping that this process shares with its host and may write."""
    with open("/proc/self/maps") as maps:
        for line in maps:
            fields = line.split()
            if len(fields) > 5 and "w" in fields[1] and "s" in fields[1] and "/memfd:" in fields[5]:
                begin, end = (int(part, 16) for part in fields[0].split("-"))
                yield begin, end - begin


@samovar.method
def writable_bytes():
    return sum(size for _, size in writable_pages())


def scribble_all(dice, begin, size):
    ctypes.memmove(begin, dice.randbytes(size), size)


def scribble_some(dice, begin, size):
    at = dice.randrange(size)
    count = min(dice.choice((1, 2, 4, 8, 64, 4096)), size - at)
    ctypes.memmove(begin + at, dice.randbytes(count), count)


def scribble_control_words(dice, begin, size):
    at = begin + dice.choice((0, 64, 72, 128))  # asleep and awaits_block, requests_consumed, started, blocks_released
    number = dice.choice((0, 1, 2**63, 2**64 - 1, dice.getrandbits(64), dice.getrandbits(12)))
    ctypes.memmove(at, struct.pack("<Q", number), 8)


def scribble_commit_words(dice, begin, size):
    flags = dice.choice((1 << 63, 3 << 62, 7 << 61, 0))
    number = flags | dice.choice((0, 8, 48, 4096, 4144, 2**32 - 1, dice.getrandbits(32)))
    for at in range(4096, size, 64):
        ctypes.memmove(begin + at, struct.pack("<Q", number), 8)


def clear_all(dice, begin, size):
    ctypes.memset(begin, dice.choice((0, 255)), size)


WAYS = (scribble_all, scribble_some, scribble_control_words, scribble_commit_words, clear_all)
doomed_after = None


def scribble_for_ever():
    dice = random.Random(os.getpid())
    pages = list(writable_pages())
    ways = (dice.choice(WAYS), scribble_all)  # one of its own, and one that is noticed for certain
    while True:
        for begin, size in pages:
            dice.choice(ways)(dice, begin, size)


@samovar.method
def checked_or_scribbled(data, *, ctx):
    """Worker 0 begins to scribble after a few calls; the others are well-behaved."""
    global doomed_after
    if ctx.worker == 0:
        if doomed_after is None:
            doomed_after = random.randrange(1, 20)
        doomed_after -= 1
        if doomed_after == 0:
            threading.Thread(target=scribble_for_ever, daemon=True).start()
    return checked(data)
