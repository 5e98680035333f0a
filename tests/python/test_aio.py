"""The event loop of a worker, on a lane that is none."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import socket
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator
from typing import Any, cast

import pytest
from samovar import aio
from samovar._native import EventLane
from samovar.host import HostTimeout

PATIENCE_S = 30.0


class Call(Coroutine[Any, Any, None]):
    """As HandlerCoroutine: what it runs, and the place where."""

    def __init__(self, place: int, inner: Coroutine[Any, Any, None]) -> None:
        self.place = place
        self.inner = inner

    def send(self, value: Any) -> Any:
        return self.inner.send(value)

    def throw(self, *error: Any) -> Any:
        return self.inner.throw(*error)

    def close(self) -> None:
        self.inner.close()

    def __await__(self) -> Generator[Any, Any, None]:
        raise NotImplementedError


class Lane:
    """What LaneSelector and Loop use of an EventLane. Sleeps until it is nudged or a call is sent."""

    def __init__(self) -> None:
        self.requests: deque[Call | bool] = deque()
        self.cancelled: deque[int] = deque()
        self.stopping = self.broken = False
        self.turns = self.sleeps = self.alarms = 0
        self.closed = False
        self.credit = 0
        self.no_room = 0
        self.chunks: list[tuple[int, Any]] = []
        self.waiter: asyncio.Future[None] | None = None
        self.work = threading.Event()
        self.alarm = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def begin_turn(self) -> None:
        self.turns += 1
        self.work.clear()

    def begin(self) -> Call | bool | None:
        return self.requests.popleft() if self.requests else None

    def run_in(self, loop: aio.Loop) -> None:
        self.loop = loop

    def read_notes(self) -> bool:
        return bool(self.cancelled)

    def next_cancelled(self) -> int:
        return self.cancelled.popleft() if self.cancelled else -1

    def send_chunk(self, place: int, chunk: Any) -> bool | None:
        if self.no_room > 0:
            self.no_room -= 1
            return None
        self.chunks.append((place, chunk))
        return len(self.chunks) < self.credit

    def await_credit(self, place: int) -> asyncio.Future[None] | None:
        if len(self.chunks) < self.credit:
            return None
        self.waiter = self.loop.create_future()
        return self.waiter

    def give_credit(self, credit: int) -> None:
        assert self.waiter is not None
        self.credit = credit
        self.waiter.set_result(None)

    def sleep(self, seconds: float | None) -> None:
        self.sleeps += 1
        assert self.requests or self.stopping or self.work.wait(PATIENCE_S if seconds is None else seconds) or seconds

    def alarm_fd(self) -> int:
        return self.alarm

    def begin_sleep(self) -> float | None:
        if self.requests or self.stopping:
            return None
        self.alarms += 1
        return math.inf

    def end_sleep(self) -> None:
        if self.work.is_set():
            os.eventfd_read(self.alarm)
            self.work.clear()

    def nudge(self) -> None:
        self.work.set()

    def close(self) -> None:
        self.closed = True

    def send(self, call: Call | bool) -> None:
        """As the host, from another thread."""
        self.requests.append(call)
        self.work.set()
        os.eventfd_write(self.alarm, 1)


def run(scenario: Callable[[Lane, aio.Loop], Coroutine[Any, Any, None]]) -> Lane:
    """Serve until the scenario, which is the first call, has ended."""
    lane = Lane()
    loop = aio.Loop(cast(EventLane, lane))
    failure: list[BaseException] = []

    async def first() -> None:
        try:
            await asyncio.wait_for(scenario(lane, loop), PATIENCE_S)
        except BaseException as error:
            failure.append(error)
        lane.stopping = True

    lane.requests.append(Call(0, first()))
    loop.serve()
    aio.close(loop)
    os.close(lane.alarm)
    if failure:
        raise failure[0]
    return lane


async def numbers(closed: list[str], n: int = 10) -> AsyncIterator[int]:
    try:
        for i in range(n):
            yield i
    finally:
        await asyncio.sleep(0)
        closed.append("async")


def plain_numbers(closed: list[str], n: int = 10) -> Iterator[int]:
    try:
        yield from range(n)
    finally:
        closed.append("plain")
    return "end"


@pytest.mark.parametrize(("made", "end"), [(numbers, None), (plain_numbers, "end")])
def test_a_stream_awaits_credit_before_it_makes_more(made: Any, end: Any) -> None:
    async def scenario(lane: Lane, loop: aio.Loop) -> None:
        closed: list[str] = []
        lane.credit = 3
        task = loop.create_task(loop.send_stream(5, made(closed)))
        while lane.waiter is None:
            await asyncio.sleep(0)
        assert lane.chunks == [(5, 0), (5, 1), (5, 2)]
        lane.give_credit(100)
        assert await task == end
        assert [chunk for _, chunk in lane.chunks] == list(range(10))
        assert closed

    run(scenario)


@pytest.mark.parametrize("made", [numbers, plain_numbers])
def test_a_stream_that_is_cancelled_is_closed(made: Any) -> None:
    async def scenario(lane: Lane, loop: aio.Loop) -> None:
        closed: list[str] = []
        lane.credit = 1
        task = loop.create_task(loop.send_stream(5, made(closed)))
        while lane.waiter is None:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert closed
        assert len(lane.chunks) == 1

    run(scenario)


def test_a_chunk_without_room_is_sent_again() -> None:
    async def scenario(lane: Lane, loop: aio.Loop) -> None:
        lane.credit = 100
        lane.no_room = 3
        await loop.send_stream(5, numbers([], 2))
        assert lane.chunks == [(5, 0), (5, 1)]
        assert lane.no_room == 0

    run(scenario)


def test_a_question_ends_with_its_time_unless_it_was_answered() -> None:
    async def scenario(lane: Lane, loop: aio.Loop) -> None:
        late = loop.open_question("lookup", 0.001)
        answered = loop.open_question("lookup", 0.001)
        answered.set_result(7)
        forever = loop.open_question("lookup", None)
        with pytest.raises(HostTimeout, match='the host\'s "lookup" has not answered in time'):
            await late
        assert await answered == 7
        assert not forever.done()
        forever.cancel()

    run(scenario)


def test_calls_are_tasks_beside_each_other() -> None:
    async def scenario(lane: Lane, loop: aio.Loop) -> None:
        met = asyncio.Barrier(3)

        async def meet() -> None:
            await met.wait()

        lane.requests += [Call(1, meet()), Call(2, meet())]
        await met.wait()

    run(scenario)


def test_a_plain_call_is_the_only_one_of_its_turn() -> None:
    async def scenario(lane: Lane, loop: aio.Loop) -> None:
        lane.requests += [True] * 10
        before = lane.turns
        while lane.requests:
            await asyncio.sleep(0)
        assert lane.turns - before >= 10

    run(scenario)


def test_sleeps_in_the_lane_while_nobody_else_has_descriptors() -> None:
    async def scenario(lane: Lane, loop: aio.Loop) -> None:
        await asyncio.sleep(0.01)
        assert await asyncio.to_thread(lambda: 7) == 7

    lane = run(scenario)
    assert lane.sleeps > 0
    assert lane.alarms == 0


def test_sleeps_for_both_where_there_are_descriptors() -> None:
    async def scenario(lane: Lane, loop: aio.Loop) -> None:
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=ours)
        threading.Timer(0.01, theirs.send, [b"line\n"]).start()
        assert await reader.readline() == b"line\n"

        came = asyncio.Event()

        async def call() -> None:
            came.set()

        threading.Timer(0.01, lane.send, [Call(1, call())]).start()
        await came.wait()
        writer.close()
        theirs.close()

    assert run(scenario).alarms > 0


def test_a_call_that_nobody_waits_for_is_cancelled() -> None:
    async def scenario(lane: Lane, loop: aio.Loop) -> None:
        ended = loop.create_future()

        async def call() -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                ended.set_result("cancelled")

        lane.requests.append(Call(1, call()))
        await asyncio.sleep(0)
        lane.cancelled.append(1)
        assert await ended == "cancelled"

    run(scenario)


def test_a_broken_lane_ends_the_loop() -> None:
    async def scenario(lane: Lane, loop: aio.Loop) -> None:
        lane.broken = True

    run(scenario)


def test_tasks_that_are_left_are_cancelled_and_what_they_fail_with_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    kept = []

    async def scenario(lane: Lane, loop: aio.Loop) -> None:
        async def ends_badly() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                raise ZeroDivisionError("at the end")

        kept.append(asyncio.create_task(ends_badly()))
        await asyncio.sleep(0)

    with caplog.at_level(logging.ERROR, "samovar"):
        run(scenario)
    assert "a task failed while the worker ended" in caplog.text
    assert "ZeroDivisionError: at the end" in caplog.text


def test_tasks_that_do_not_end_are_told_of(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aio, "LAST_SECONDS", 0.01)
    kept: list[tuple[aio.Loop, asyncio.Task[None]]] = []
    ends = False

    async def scenario(lane: Lane, loop: aio.Loop) -> None:
        async def never_ends() -> None:
            while not ends:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    continue

        kept.append((loop, asyncio.create_task(never_ends())))
        await asyncio.sleep(0)

    with caplog.at_level(logging.WARNING, "samovar"):
        run(scenario)
    assert "a task runs on that was cancelled" in caplog.text
    ends = True
    aio.close(kept[0][0])


def test_what_asyncio_tells_goes_to_logging(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "samovar"):
        loop = asyncio.new_event_loop()
        aio.log_exception(loop, {"message": "lost", "exception": ValueError("why"), "task": "t"})
        loop.close()
    assert "lost (task='t')" in caplog.text
    assert "ValueError: why" in caplog.text
