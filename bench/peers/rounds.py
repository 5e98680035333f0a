"""How a peer with a Python client is measured: it is told "N" on stdin and answers with N durations (ns) on one line.

So its rounds can take turns with Samovar's, and it sleeps in between.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from time import perf_counter_ns

PAYLOAD = b"B" * 64


def noop(payload: bytes) -> bytes:
    return payload


def worker_cpu() -> int:
    """Where the worker shall run, of the command line; -1 is anywhere. The client has been pinned by who started it."""
    return int(sys.argv[1])


def settle_worker(cpu: int) -> None:
    """Called first in a worker: pins it, and sees to it that it ends with its client even if that is killed."""
    if cpu >= 0:
        os.sched_setaffinity(0, {cpu})
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def serve_rounds(call: Callable[[bytes], bytes]) -> None:
    """Runs rounds of call(PAYLOAD) until stdin ends."""
    print("ready", flush=True)
    while line := sys.stdin.readline():
        count = int(line)
        for _ in range(count // 10 + 1):
            call(PAYLOAD)
        durations_ns = []
        for _ in range(count):
            begin_ns = perf_counter_ns()
            reply = call(PAYLOAD)
            durations_ns.append(perf_counter_ns() - begin_ns)
            if reply != PAYLOAD:
                raise RuntimeError(f"wrong answer: {reply!r}")
        print(*durations_ns, flush=True)
