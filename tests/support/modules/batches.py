"""Methods that take several calls at once."""

import os
import time
from pathlib import Path

import samovar


@samovar.method(batch=True, max_batch=8, max_wait="50ms")
def sizes(items):
    """To each call how many it was taken with."""
    return [len(items)] * len(items)


@samovar.method(batch=True, max_batch=8, max_wait=0)
def at_once(items):
    return [len(items)] * len(items)


@samovar.method(batch=True, max_batch=8, max_wait="1h")
def patient(items):
    return [len(items)] * len(items)


@samovar.method(batch=True, max_batch=8, max_wait="5ms")
def same(items):
    return items


@samovar.method(batch=True, max_batch=8, max_wait="5ms")
def shown(items):
    return [repr(item) if not isinstance(item, memoryview) else bytes(item) for item in items]


@samovar.method(batch=True, max_batch=8, max_wait="20ms")
def inverse(items):
    return [ZeroDivisionError("zero has none") if item == 0 else 1 / item for item in items]


@samovar.method(batch=True, max_batch=8, max_wait="20ms")
def raises(items):
    raise LookupError(f"{len(items)} items")


@samovar.method(batch=True, max_batch=8, max_wait="20ms")
def too_few(items):
    return items[:-1]


@samovar.method(batch=True, max_batch=8, max_wait="20ms")
def no_sequence(items):
    return len(items)


@samovar.method(batch=True, max_batch=8, max_wait="20ms")
def text(items):
    return "x" * len(items)


@samovar.method(batch=True, max_batch=8, max_wait="20ms")
def one_cannot_be_sent(items):
    return [{1, 2} if item == 1 else item for item in items]


@samovar.method(batch=True, max_batch=8, max_wait="20ms")
def large(items):
    return [bytes([item]) * 20_000 for item in items]


@samovar.method(batch=True, max_batch=2, max_wait="1h")
def sized(items):
    return [bytes(item) for item in items]


@samovar.method(batch=True, max_batch=8, max_wait="50ms")
def told(items, *, ctx):
    return [ctx.deadline] * len(items)


@samovar.method(batch=True, max_batch=8, max_wait="50ms")
def until_cancelled(items, *, ctx):
    until = time.monotonic() + 20
    while not ctx.cancelled() and time.monotonic() < until:
        time.sleep(0.001)
    return [ctx.cancelled()] * len(items)


@samovar.method(batch=True, max_batch=4, max_wait="50ms")
def die(items):
    os._exit(3)


@samovar.method
def wait_at(gate):
    Path(gate + ".here").touch()
    until = time.monotonic() + 60
    folder = os.path.dirname(gate)
    while not os.path.exists(gate + ".open") and os.path.exists(folder):  # a gate that is gone is open
        if time.monotonic() > until:
            raise TimeoutError(gate)
        time.sleep(0.0005)


@samovar.method
def plain(number):
    return number
