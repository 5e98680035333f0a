"""What the guest calls: each method says which worker it is, or takes memory there."""

import os
from pathlib import Path

import samovar

kept = []
shared = b""


@samovar.preload
def load():
    global shared
    shared = b"z" * (8 << 20)


@samovar.method
def preloaded() -> int:
    """Where 8 MiB begin that the nursery has loaded."""
    return id(shared) + bytes.__basicsize__ - 1


@samovar.method
def who() -> int:
    return os.getpid()


@samovar.method
def allowed_cpus() -> list[int]:
    return sorted(os.sched_getaffinity(0))


@samovar.method
def take_memory(size: int) -> int:
    """Where `size` bytes begin, all of them touched: CPython keeps the content of a bytes object behind its header."""
    taken = b"x" * size
    kept.append(taken)
    return id(taken) + bytes.__basicsize__ - 1


@samovar.method
def length(payload) -> list[int]:
    return [os.getpid(), len(payload)]


@samovar.method
def large_reply(size: int) -> bytes:
    return b"y" * size


@samovar.method
def hold(path: str) -> int:
    """Busy until there is such a file."""
    while not Path(path).exists():
        pass
    return os.getpid()
