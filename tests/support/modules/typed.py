"""For typed methods: what an argument looks like in Python, any result, and functions of many signatures."""

from __future__ import annotations

import collections
import enum
import functools

import samovar


class Level(enum.IntEnum):
    LOW = 1


class Ratio(float):
    """As numpy.float64: derived from float."""


Pair = collections.namedtuple("Pair", "first second")  # noqa: PYI024


@samovar.method
def shown(*values):
    return ", ".join(f"{type(value).__name__} {value!r}" for value in values)


@samovar.method
def result_of(expression):
    return eval(expression)


@samovar.method
def price(symbol, quantity):
    return 1.25 * quantity if symbol == "EURUSD" else None


@samovar.method
def fails():
    raise ValueError("no luck")


@samovar.method
def three(a, b, c):
    return [a, b, c]


@samovar.method
def one_or_two(a, b=0):
    return [a, b]


@samovar.method
def with_ctx(a, *, ctx):
    return [a, ctx.worker]


@samovar.method
def by_name(a, *, mode):
    return [a, mode]


@samovar.method("with_given_a")
@functools.wraps(three)
def with_given_a(*rest):
    return three(1, *rest)


samovar.method("largest")(max)  # a builtin without a readable signature


@samovar.method
def sleep_for_s(seconds):
    import time

    time.sleep(seconds)
