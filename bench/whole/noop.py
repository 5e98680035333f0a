"""The methods that `samovar bench` calls. `noop` is what every peer runs, too: it returns its argument."""

import ctypes
import os
import platform
import zlib
from pathlib import Path

import busy
import samovar


@samovar.method
def noop(payload):
    return payload


@samovar.method
def checksum(payload):
    return zlib.crc32(payload)


@samovar.method
def price(symbol, quantity):
    return 1.0842


@samovar.method
def pid():
    return os.getpid()


@samovar.method
def python_version():
    return platform.python_version()


begin = samovar.method(busy.begin)


# --- what `samovar bench recovery` does harm to ---------------------------------------------------------------------------


@samovar.method
def spin(busy):
    say(busy)
    while True:
        pass


@samovar.method
def hoard(size):
    global hoarded
    hoarded = bytearray(b"x") * size  # written, so that it is memory


@samovar.method
def wedge(busy):
    """Sleeps in native code that keeps the GIL."""
    say(busy)
    ctypes.PyDLL(None).sleep(1000)


def say(fifo):
    Path(fifo).write_bytes(b"!")
