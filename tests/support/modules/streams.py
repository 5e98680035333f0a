"""Methods that yield: what the tests of streams look at."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import samovar

progress = {"made": 0, "closed": 0}


@samovar.method
def count(n: int) -> Iterator[int]:
    yield from range(n)
    return n * 10  # noqa: B901  what it returns ends the stream


@samovar.method
def same(n: int, size: int) -> Iterator[bytes]:
    chunk = bytes(size)
    for _ in range(n):
        yield chunk


@samovar.method
def kinds(argument: Any) -> Iterator[Any]:
    yield None
    yield b"bytes"
    yield "text"
    yield {"value": [1, 2.5]}
    yield argument


@samovar.method
def blocks(n: int, size: int) -> Iterator[bytes]:
    for i in range(n):
        yield bytes([i % 256]) * size


@samovar.method
def endless(*, ctx: samovar.Context) -> Iterator[int]:
    progress["made"] = 0
    progress["seen"] = 0
    try:
        while True:
            progress["made"] += 1
            yield progress["made"]
    finally:
        progress["closed"] += 1
        progress["seen"] = int(ctx.cancelled())


@samovar.method
def looked_at() -> dict[str, int]:
    return dict(progress)


@samovar.method
def written(path: str) -> Iterator[int]:
    """Writes how far it got, for a test that cannot ask meanwhile."""
    i = 0
    try:
        while True:
            i += 1
            Path(path).write_text(str(i))
            yield i
    finally:
        Path(path + ".closed").write_text(str(i))


@samovar.method
def breaks(n: int) -> Iterator[int]:
    yield from range(n)
    raise ValueError(f"broke after {n}")


@samovar.method
def sets(n: int) -> Iterator[Any]:
    yield from range(n)
    yield {1, 2}


@samovar.method
def too_large(size: int) -> Iterator[bytes]:
    yield b"small"
    yield bytes(size)


@samovar.method
def dies(n: int) -> Iterator[int]:
    yield from range(n)
    os.kill(os.getpid(), signal.SIGKILL)


@samovar.method
def slow(n: int, seconds: float) -> Iterator[int]:
    for i in range(n):
        yield i
        time.sleep(seconds)


@samovar.method
def never(path: str) -> Iterator[int]:
    wait_at(path)
    yield 1


@samovar.method
def gated(n: int, path: str) -> Iterator[int]:
    yield from range(n)
    wait_at(path)
    yield n


@samovar.method(stream=True)
def listed(n: int) -> Iterator[int]:
    return iter(list(range(n)))


@samovar.method(stream=True)
def no_iterator() -> int:
    return 7


@samovar.method
def stubborn() -> Iterator[int]:
    while True:
        try:
            yield 1
        except GeneratorExit:
            yield 2


@samovar.method
def forks() -> Iterator[int]:
    yield 1
    if os.fork() == 0:
        yield 2
    else:
        yield 3


@samovar.method
def echo(payload: Any) -> Any:
    return payload


@samovar.method
def pid() -> int:
    return os.getpid()


def wait_at(path: str) -> None:
    """Stands at a gate of the tests; see Gate in pools.h."""
    Path(path + ".here").touch()
    until = time.monotonic() + 20
    folder = os.path.dirname(path)
    while not os.path.exists(path + ".open") and os.path.exists(folder) and time.monotonic() < until:
        time.sleep(0.001)
