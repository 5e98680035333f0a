"""What a worker does while the tests step through it: as few instructions as can be.

Each call writes down that it begins, and what it has read: its number, this process and a checksum (0: it begins).
"""

from __future__ import annotations

import os
from binascii import crc32

import samovar

journal = os.open(os.environ["SAMOVAR_TEST_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
write = os.write
pid = os.getpid().to_bytes(4, "little")
begins = pid + bytes(4)
held: list[object] = []


def note(data) -> bytes:
    number = bytes(data[:8])
    write(journal, number + begins)
    done = number + pid + crc32(data).to_bytes(4, "little")
    write(journal, done)
    return done


@samovar.method
def told(data):
    """The call's number, this process, and a checksum of all it sent."""
    return note(data)


@samovar.method
def told_at_length(data):
    """The same, over and over, so that it lies in an arena."""
    return note(data) * 16


@samovar.method
def kept(data):
    """The same, and the argument stays in view until the next call."""
    told = note(data)
    held[:] = [data]
    return told
