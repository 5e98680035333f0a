"""Faults on demand, beside work whose replies can be checked: what the chaos soak calls."""

from __future__ import annotations

import ctypes
import os
import subprocess
import threading
import time
from pathlib import Path

import samovar
import stress

checked = samovar.method(stress.checked)


def follow_start_plan():
    """The next worker that starts takes $SAMOVAR_TEST_START_PLAN, where it is, and starts as it says."""
    plan = Path(os.environ["SAMOVAR_TEST_START_PLAN"])
    try:
        mine = plan.rename(f"{plan}.{os.getpid()}")
    except FileNotFoundError:
        return
    how = mine.read_text()
    mine.unlink()
    if how == "raise":
        raise RuntimeError("as planned")
    if how == "exit":
        os._exit(5)
    time.sleep(float(how))


follow_start_plan()
samovar.after_fork(follow_start_plan)


@samovar.method
def returns_its_argument(data):
    return data


@samovar.method
def sleeps(data):
    time.sleep(0.02)
    return stress.checked(data)


@samovar.method
def raises(data):
    raise ValueError(int.from_bytes(data[:8], "little"))


@samovar.method
def loops(data):
    while True:
        pass


@samovar.method
def wedges(data):
    """Native code that keeps the GIL and waits for ever, for a mutex that it holds."""
    mutex = ctypes.create_string_buffer(64)
    for _ in range(2):
        ctypes.PyDLL(None).pthread_mutex_lock(mutex)


@samovar.method
def exits(data):
    os._exit(3)


@samovar.method
def crashes(data):
    ctypes.string_at(0)


@samovar.method
def hogs(data):
    kept = []
    while True:
        kept.append(bytearray(16 << 20))


@samovar.method
def leaves_a_child(data):
    subprocess.Popen(["sleep", "1000"])
    return stress.checked(data)


@samovar.method
def scribbles(data, *, ctx):
    """Worker 0 alone: what the others say can be relied on."""
    if ctx.worker == 0:
        threading.Thread(target=stress.scribble_for_ever, daemon=True).start()
    return stress.checked(data)
