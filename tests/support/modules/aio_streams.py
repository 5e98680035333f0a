"""Streams and calls back to the host in one event loop."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import samovar

PATIENCE_S = 30.0

made: dict[str, int] = {}
closed: list[str] = []
events: dict[str, asyncio.Event] = {}


def event(name: str) -> asyncio.Event:
    return events.setdefault(name, asyncio.Event())


@samovar.method
async def count(n: int) -> AsyncIterator[int]:
    for i in range(n):
        yield i


@samovar.method
async def count_slowly(n: int) -> AsyncIterator[int]:
    for i in range(n):
        await asyncio.sleep(0)
        yield i


@samovar.method
def count_plainly(n: int) -> Iterator[int]:
    yield from range(n)
    return n * 10


@samovar.method(stream=True)
async def count_later(n: int, how: str) -> Any:
    """Awaits before it knows what it yields."""
    await asyncio.sleep(0)
    if how == "number":
        return n
    return count(n) if how == "async" else iter(range(n))


@samovar.method
async def endless(name: str, *, ctx: samovar.Context) -> AsyncIterator[int]:
    """Tells how far it got, and when it is closed what it sees then."""
    made[name] = 0
    try:
        while True:
            made[name] += 1
            yield made[name]
    finally:
        await asyncio.sleep(0)
        closed.append(f"{name} {ctx.cancelled()}")


@samovar.method
def endless_plainly(name: str, *, ctx: samovar.Context) -> Iterator[int]:
    made[name] = 0
    try:
        while True:
            made[name] += 1
            yield made[name]
    finally:
        closed.append(f"{name} {ctx.cancelled()}")


@samovar.method
async def waits(name: str) -> AsyncIterator[int]:
    """Yields once, and waits for what never comes."""
    try:
        yield 1
        made[name] = 1
        await event(name).wait()
    except asyncio.CancelledError:
        closed.append(f"{name} cancelled")
        raise


@samovar.method
def made_by(name: str) -> int:
    return made.get(name, 0)


@samovar.method
def closings() -> list[str]:
    return list(closed)


@samovar.method
async def breaks(n: int) -> AsyncIterator[int]:
    for i in range(n):
        yield i
    raise ValueError(f"broke after {n}")


@samovar.method
def breaks_plainly(n: int) -> Iterator[int]:
    yield from range(n)
    raise ValueError(f"broke after {n}")


@samovar.method
async def sets(n: int) -> AsyncIterator[Any]:
    try:
        for i in range(n):
            yield i
        yield {1, 2}
    finally:
        closed.append("sets")


@samovar.method
async def too_large(size: int) -> AsyncIterator[bytes]:
    yield b"small"
    yield bytes(size)


@samovar.method
async def stubborn() -> AsyncIterator[int]:
    while True:
        try:
            yield 1
        except GeneratorExit:
            yield 2


@samovar.method
async def blocks(n: int, size: int) -> AsyncIterator[bytes]:
    for i in range(n):
        yield bytes([i % 256]) * size


@samovar.method
async def argument_twice(argument: bytes) -> AsyncIterator[bytes]:
    for _ in range(2):
        await asyncio.sleep(0)
        yield argument


@samovar.method
async def forks() -> AsyncIterator[int]:
    yield 1
    if os.fork() == 0:
        yield 2
    else:
        yield 3


@samovar.method
async def pid() -> int:
    return os.getpid()


# --- calls back ------------------------------------------------------------------------------------------------------------


@samovar.method
async def ask(name: str, *arguments: Any, ctx: samovar.Context) -> Any:
    return await ctx.host.call(name, *arguments)


@samovar.method
def ask_plainly(name: str, *arguments: Any, ctx: samovar.Context) -> Any:
    return ctx.host.call(name, *arguments)


@samovar.method
async def ask_all(n: int, *, ctx: samovar.Context) -> list[int]:
    """All at once; the answers come in any order."""
    return await asyncio.gather(*(ctx.host.call("double", i) for i in range(n)))


@samovar.method
async def ask_within(seconds: float, name: str, *, ctx: samovar.Context) -> str:
    begin = time.monotonic()
    try:
        return f"answered {await ctx.host.call(name, timeout=seconds)!r}"
    except samovar.HostTimeout as error:
        return f"{time.monotonic() - begin >= seconds * 0.9} {error}"


@samovar.method
async def fails(name: str, *arguments: Any, ctx: samovar.Context) -> str:
    try:
        return f"answered {await ctx.host.call(name, *arguments)!r}"
    except samovar.HostError as error:
        return str(error)


@samovar.method
async def asks_for_long(name: str, *, ctx: samovar.Context) -> None:
    try:
        await ctx.host.call(name)
    except asyncio.CancelledError:
        try:
            await ctx.host.call("double", 1)
        except samovar.HostError as error:
            closed.append(f"cancelled; {error}")
        raise


@samovar.method
async def stream_of_answers(n: int, *, ctx: samovar.Context) -> AsyncIterator[int]:
    for i in range(n):
        yield await ctx.host.call("double", i)


@samovar.method
def stream_of_answers_plainly(n: int, *, ctx: samovar.Context) -> Iterator[int]:
    for i in range(n):
        yield ctx.host.call("double", i)


@samovar.method
async def asks_in_a_task_of_its_own(name: str, *, ctx: samovar.Context) -> None:
    """The task outlives the call, and its question is dropped with it."""

    async def later() -> None:
        try:
            await ctx.host.call(name)
        except asyncio.CancelledError:
            closed.append("left over")
            raise

    asyncio.get_running_loop().kept = asyncio.create_task(later())  # type: ignore[attr-defined]
    await asyncio.sleep(0)
