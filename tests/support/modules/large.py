"""What tests of large payloads call. What a handler keeps lies in `held`, until `forget`."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import samovar
from methods import wait_at

held: list[object] = []
gate = ""


@samovar.method
def sum_of(data):
    return sum(data)


@samovar.method
def tail_of(data):
    return data[4096:]


@samovar.method
def filled(byte, n):
    return bytes([byte]) * n


@samovar.method
def die_with(data):
    os._exit(9)


# --- the order of things, decided by the test -------------------------------------------------------------------------


@samovar.method
def set_gate(path):
    global gate
    gate = path


@samovar.method
def size_behind_gate(data):
    wait_at(gate)
    return len(data)


@samovar.method
def zeros_behind_gate(n):
    wait_at(gate)
    return bytes(n)


@samovar.method
def size_unless_marked(data):
    """Dies the first time, and answers the second: for calls that may run again."""
    mark = Path(os.environ["SAMOVAR_TEST_MARK"])
    if mark.exists():
        return len(data)
    mark.touch()
    os._exit(9)


# --- views that outlive their calls -----------------------------------------------------------------------------------


@samovar.method
def hold(data):
    held.append(data)


@samovar.method
def hold_slice(data):
    held.append(data[10:20])


@samovar.method
def hold_cast(data):
    held.append(data.cast("I"))


@samovar.method
def hold_in_a_cycle(data):
    cycle = [data]
    cycle.append(cycle)
    held.append(cycle)


@samovar.method
def held_bytes():
    return bytes(held[0])


@samovar.method
def held_size():
    return sum(len(data) for data in held)


@samovar.method
def forget():
    import gc

    held.clear()
    gc.collect()


@samovar.method
def forget_in_a_thread_behind_gate():
    def wait_and_forget():
        wait_at(gate)
        held.clear()

    threading.Thread(target=wait_and_forget).start()


@samovar.method
def raise_with(data):
    raise ValueError("with a view in its frame")


@samovar.method
def release(data):
    data.release()
    return len(held)


@samovar.method
def write_into(data):
    data[0] = 1
