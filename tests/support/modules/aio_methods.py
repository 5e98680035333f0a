"""Coroutine methods for the tests: they meet each other, wait for what only another call brings, and block their loop on purpose."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import socket
import threading
import time
from pathlib import Path

import samovar

PATIENCE_S = 30.0

running = 0
most_running = 0
events: dict[str, asyncio.Event] = {}
log: list[str] = []
name_of_call: contextvars.ContextVar[str] = contextvars.ContextVar("name_of_call", default="nobody")


def event(name):
    return events.setdefault(name, asyncio.Event())


@samovar.method
def pid():
    return os.getpid()


@samovar.method
async def same(value=None):
    return value


@samovar.method
def plain(value=None):
    return value


@samovar.method
async def meet(count):
    """Returns once so many calls of it run at once: how many ran at most."""
    global running, most_running
    running += 1
    most_running = max(most_running, running)
    if most_running >= count:
        event(f"met{count}").set()
    try:
        await asyncio.wait_for(event(f"met{count}").wait(), PATIENCE_S)
    finally:
        running -= 1
    return most_running


@samovar.method
async def count_running(turns):
    """How many calls of it ran at most while it gave way so many times."""
    global running, most_running
    running += 1
    most_running = max(most_running, running)
    for _ in range(turns):
        await asyncio.sleep(0)
    running -= 1
    return most_running


@samovar.method
async def wait_for(name):
    log.append(f"{name} waits")
    try:
        await asyncio.wait_for(event(name).wait(), PATIENCE_S)
    except asyncio.CancelledError:
        log.append(f"{name} cancelled")
        raise
    log.append(f"{name} came")
    return name


@samovar.method
async def wait_at(gate):
    """Tells the test by a file that it runs, and waits for one in turn."""
    Path(gate + ".here").touch()
    async with asyncio.timeout(PATIENCE_S):
        while not os.path.exists(gate + ".open") and os.path.exists(os.path.dirname(gate)):
            await asyncio.sleep(0.001)
    return os.getpid()


@samovar.method
async def bring(name):
    event(name).set()
    return name


@samovar.method
def bring_plainly(name):
    event(name).set()
    return name


@samovar.method
def logged():
    return list(log)


@samovar.method
async def swallows_cancelling(name, *, ctx):
    """Goes on although it is cancelled, until somebody brings what it waits for."""
    while True:
        try:
            await event(name).wait()
            return ctx.cancelled()
        except asyncio.CancelledError:
            log.append(f"{name} swallowed {ctx.cancelled()}")


@samovar.method
async def fails(how):
    await asyncio.sleep(0)
    if how == "exit":
        raise SystemExit(3)
    if how == "interrupt":
        raise KeyboardInterrupt
    if how == "cancelled":
        raise asyncio.CancelledError
    if how == "unsendable":
        return {1, 2}
    raise ValueError(how)


@samovar.method
def fails_plainly():
    raise LookupError("plain")


@samovar.method
async def of_call(value, *, ctx):
    """What a call sees of itself after others have run in between."""
    name_of_call.set(value)
    deadline = ctx.deadline
    for _ in range(10):
        await asyncio.sleep(0)
    return [name_of_call.get(), ctx.worker, ctx.cancelled(), deadline is not None]


@samovar.method
async def size(data):
    await asyncio.sleep(0)
    return len(data)


@samovar.method
async def back(data):
    await asyncio.sleep(0)
    return data


@samovar.method
async def filled(size):
    await asyncio.sleep(0)
    return b"x" * size


@samovar.method
async def blocks(gate):
    """Keeps the loop from coming round, the GIL released."""
    await asyncio.sleep(0)
    Path(gate + ".here").touch()
    until = time.monotonic() + PATIENCE_S
    while not os.path.exists(gate + ".open") and os.path.exists(os.path.dirname(gate)) and time.monotonic() < until:
        time.sleep(0.0005)
    return os.getpid()


@samovar.method
async def over_sockets(count):
    """Lines there and back between two streams: descriptors of the loop, while nothing comes from the host."""
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours)
    other_reader, other_writer = await asyncio.open_connection(sock=theirs)
    got = 0
    for _ in range(count):
        writer.write(b"hello\n")
        await other_reader.readline()
        other_writer.write(b"world\n")
        got += (await reader.readline()) == b"world\n"
    writer.close()
    other_writer.close()
    return got


@samovar.method
async def reads(path):
    """What comes out of a named pipe, which the test writes when it likes."""
    Path(path + ".here").touch()
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(os.open(path, os.O_RDWR | os.O_NONBLOCK), "rb")
    )
    line = await reader.readline()
    transport.close()
    return line.decode()


@samovar.method
async def of_a_child():
    process = await asyncio.create_subprocess_exec("echo", "child", stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    return out.decode().strip()


@samovar.method
async def in_a_thread():
    here = threading.get_ident()
    return await asyncio.to_thread(threading.get_ident) != here


@samovar.method
async def sleeps(seconds):
    await asyncio.sleep(seconds)
    return seconds


@samovar.method
async def leaves_a_task(name):
    """A task of its own, which lives until the worker ends."""

    async def stays():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            logging.warning("%s was cancelled", name)
            raise

    asyncio.get_running_loop().kept = asyncio.create_task(stays())
    await asyncio.sleep(0)


@samovar.method
async def leaves_a_failure():
    async def fail():
        raise ZeroDivisionError("left alone")

    asyncio.create_task(fail())
    await asyncio.sleep(0)
    await asyncio.sleep(0)


@samovar.method
def cpu_ns():
    return time.process_time_ns()
