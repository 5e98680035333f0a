"""What the peers with a tensor of 8 MiB share: the arrays, the handler, and how rounds are measured (see rounds.py).

There goes a float32 array of 8 MiB, and another one of 8 MiB comes back. The handler touches neither. Both exist before
anything is measured, so that no peer pays for fresh pages but those it takes itself.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from time import perf_counter_ns
from typing import TypeAlias, TypeVar

try:
    import numpy as np
    from numpy.typing import NDArray
except ImportError as error:
    print(f"{error} (numpy is in .venv: make setup)", flush=True)
    sys.exit(1)

Array: TypeAlias = "NDArray[np.float32]"
T = TypeVar("T")

ELEMENTS = (8 << 20) // 4
BYTES = ELEMENTS * 4
ARGUMENT = np.arange(ELEMENTS, dtype=np.float32)
RESULT = np.arange(ELEMENTS, 0, -1, dtype=np.float32)


def answer(argument: Array) -> Array:
    """What the worker runs. Looks at as much as shows that the argument has come whole."""
    if argument.shape != ARGUMENT.shape or argument[-1] != ARGUMENT[-1]:
        raise RuntimeError("a wrong argument")
    return RESULT


def serve_rounds(call: Callable[[Array], Array]) -> None:
    """Runs rounds of call(ARGUMENT) until stdin ends."""

    def check(result: Array) -> None:
        if result.shape != RESULT.shape or result.dtype != RESULT.dtype or result[-1] != RESULT[-1]:
            raise RuntimeError("a wrong result")

    serve_trips(lambda: call(ARGUMENT), check)


def serve_trips(trip: Callable[[], T], check: Callable[[T], None]) -> None:
    """Runs rounds of trips until stdin ends; what they return is checked, off the clock."""
    print("ready", flush=True)
    while line := sys.stdin.readline():
        count = int(line)
        check(trip())
        durations_ns = []
        for _ in range(count):
            begin_ns = perf_counter_ns()
            result = trip()
            durations_ns.append(perf_counter_ns() - begin_ns)
            check(result)
        print(*durations_ns, flush=True)
