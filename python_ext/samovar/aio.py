"""The event loop of a worker whose module has `async def` methods: calls are tasks of it, up to `concurrency` at once.

The loop is asyncio's own. What is ours is its selector, which looks at the lane at each turn and sleeps for both: the host's
doorbell is a futex, and no descriptor.
"""

from __future__ import annotations

import asyncio
import logging
import math
import selectors
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from samovar import failures
from samovar.host import HostTimeout
from samovar.methods import Method

if TYPE_CHECKING:
    from samovar._native import EventLane, HostLink

LAST_SECONDS = 1.0
"""What tasks have to end in, once they are cancelled because the worker ends."""

LOOKS_EVERY = 16
"""Turns between looks at descriptors while nobody but the loop itself has any: signals and threads write to that one."""

ROOM_SECONDS = 0.001
"""Between two looks whether the response arena has room for a chunk. Nobody tells of that."""

Ready = list[tuple[selectors.SelectorKey, int]]

logger = logging.getLogger("samovar")


class LaneSelector(selectors.EpollSelector):
    """Waits for the lane and for descriptors. The loop calls select() once a turn, which begins the calls that have come."""

    def __init__(self, lane: EventLane) -> None:
        super().__init__()
        self._lane = lane
        self._begin: Callable[[], bool] | None = None
        self._own = 1
        """Descriptors of the loop's and of ours."""
        self._turns = 0
        self.heeds_signals = False
        """They are written to the loop's own descriptor, so that has to be watched."""

    def attend(self, begin: Callable[[], bool] | None) -> None:
        """Call `begin` at each turn from now on; it says whether there is more to do. None: leave the lane alone."""
        self._begin = begin

    def select(self, timeout: float | None = None) -> Ready:
        if self._begin is None:
            return super().select(timeout)
        self._lane.begin_turn()
        if self._begin():
            timeout = 0
        if timeout is not None and timeout <= 0:
            self._turns += 1
            return super().select(0) if self._has_others() or self._turns % LOOKS_EVERY == 0 else []
        found = self._sleep(timeout)
        self._begin()
        return found

    def _sleep(self, timeout: float | None) -> Ready:
        if found := super().select(0):  # nobody waits for these 0.3 us, and the futex would not see it
            return found
        if not self._has_others():
            self._lane.sleep(timeout)
            return super().select(0)
        self._watch_alarm()
        if (longest := self._lane.begin_sleep()) is None:
            return super().select(0)
        try:
            longest = longest if timeout is None else min(timeout, longest)
            return super().select(None if longest == math.inf else longest)
        finally:
            self._lane.end_sleep()

    def _has_others(self) -> bool:
        return self.heeds_signals or len(self.get_map()) > self._own

    def _watch_alarm(self) -> None:
        if self._own == 1:
            # With data as the loop has it for its own: nobody is to be told.
            self.register(self._lane.alarm_fd(), selectors.EVENT_READ, (None, None))
            self._own = 2


class Loop(asyncio.SelectorEventLoop):
    """asyncio's loop on a LaneSelector."""

    def __init__(self, lane: EventLane) -> None:
        self._lane = lane
        self._lane_selector = LaneSelector(lane)
        self._tasks: dict[int, asyncio.Task[None]] = {}
        super().__init__(self._lane_selector)
        lane.run_in(self)

    def serve(self) -> None:
        """Run calls until the host wants the worker to end, or publishes what is no call."""
        self._lane_selector.attend(self._begin_calls)
        try:
            self.run_forever()
        finally:
            self._lane_selector.attend(None)

    def add_signal_handler(self, sig: int, callback: Callable[..., object], *args: Any) -> None:  # type: ignore[override]
        super().add_signal_handler(sig, callback, *args)
        self._lane_selector.heeds_signals = True

    def _write_to_self(self) -> None:
        # Of call_soon_threadsafe(): whoever sleeps in the futex does not see the descriptor.
        super()._write_to_self()  # type: ignore[misc]
        self._lane.nudge()

    # --- what the lane calls ---

    def open_question(self, name: str, seconds: float | None) -> asyncio.Future[Any]:
        """What is awaited of ctx.host.call(): the lane ends it with the answer, or time does."""
        answer = self.create_future()
        if seconds is not None:
            timer = self.call_later(seconds, give_up, answer, name)
            answer.add_done_callback(lambda _: timer.cancel())
        return answer

    async def send_stream(self, place: int, made: Any) -> Any:
        """Send what the stream at `place` yields, as far as there is credit. What it returns ends it."""
        items = await made if isinstance(made, Coroutine) else made
        try:
            if isinstance(items, AsyncIterator):
                async for item in items:
                    if not (sent := self._lane.send_chunk(place, item)):
                        await self._await_turn(place, item, sent)
                return None
            if not isinstance(items, Iterator):
                self._lane.refuse_items(place, items)
            while True:
                try:
                    item = next(items)
                except StopIteration as end:
                    return end.value
                if not (sent := self._lane.send_chunk(place, item)):
                    await self._await_turn(place, item, sent)
        finally:
            await close_items(items)

    async def _await_turn(self, place: int, item: Any, sent: bool | None) -> None:
        """Send `item` once there is room, if it has not been, and return once there is credit for the next."""
        while sent is None:
            await asyncio.sleep(ROOM_SECONDS)
            sent = self._lane.send_chunk(place, item)
        while (credit := self._lane.await_credit(place)) is not None:
            await credit

    # --- turns ---

    def _begin_calls(self) -> bool:
        """Begin what has come, one plain call at most, and cancel what nobody waits for. Whether there is more to do."""
        lane = self._lane
        moved = False
        while (coroutine := lane.begin()) is not None:
            moved = True
            if coroutine is True:
                break
            self._tasks[coroutine.place] = self.create_task(coroutine)
        moved = lane.read_notes() or moved
        while (place := lane.next_cancelled()) >= 0:
            self._tasks[place].cancel()
        if lane.stopping or lane.broken:
            self.stop()
            moved = True
        return moved


def give_up(answer: asyncio.Future[Any], name: str) -> None:
    if not answer.done():
        answer.set_exception(HostTimeout(f'the host\'s "{name}" has not answered in time; a late answer will be dropped'))


async def close_items(items: Any) -> None:
    """Close a generator: what it has not finished ends with GeneratorExit at its yield. Its call has its outcome."""
    try:
        if isinstance(items, AsyncIterator):
            if (aclose := getattr(items, "aclose", None)) is not None:
                await aclose()
        elif isinstance(items, Iterator) and (close := getattr(items, "close", None)) is not None:
            close()
    except Exception:
        logger.exception("a stream could not be closed: %r", items)


def serve(link: HostLink, methods: Sequence[Method]) -> bool:
    """Say Ready and serve. Whether the host has asked for the end; else it has published what is no request."""
    lane = link.open_lane(methods, failures.describe)
    loop = Loop(lane)
    loop.set_exception_handler(log_exception)
    asyncio.set_event_loop(loop)
    try:
        loop.serve()
    finally:
        lane.close()
        close(loop)
    return not lane.broken


def close(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel what still runs, wait for it briefly, and say what does not end."""
    if tasks := asyncio.all_tasks(loop):
        for task in tasks:
            task.cancel()
        _, pending = loop.run_until_complete(asyncio.wait(tasks, timeout=LAST_SECONDS))
        for task in pending:
            logger.warning("the worker ends while a task runs on that was cancelled: %r", task)
        for task in tasks - pending:
            if not task.cancelled() and (error := task.exception()) is not None:
                logger.error("a task failed while the worker ended: %r", task, exc_info=error)
        if pending:
            return  # a loop that is closed would only complain of them
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


def log_exception(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What asyncio tells of failures that nobody waits for, through `logging` to the host."""
    about = ", ".join(f"{key}={value!r}" for key, value in context.items() if key not in ("message", "exception"))
    logger.error("%s%s", context["message"], f" ({about})" if about else "", exc_info=context.get("exception"))
