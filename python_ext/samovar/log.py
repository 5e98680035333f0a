"""Records of `logging` on their way to the host's log: with their level, line by line.

A line goes into the worker's output with a mark in front, in one write that nobody else's output can split. The host takes
the mark off (core/supervision/worker_output.cc). Code that configures logging itself wins: this is one handler of the root.
"""

from __future__ import annotations

import logging
import os
import select

OUTPUT = 2
MARK = "\x1e"  # the ASCII record separator; the mark is this, the level's number, and this again

# The host's levels, by number: a record has the last one that it reaches.
LEVELS = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR)


class HostHandler(logging.Handler):
    """Writes records for the host. Each line of a record has its mark, tracebacks included."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            mark = f"{MARK}{number_of(record.levelno)}{MARK}".encode()
            for line in self.format(record).replace(MARK, " ").split("\n"):
                for piece in cut(line.encode(errors="backslashreplace"), select.PIPE_BUF - len(mark) - 1):
                    os.write(OUTPUT, mark + piece + b"\n")
        except RecursionError:  # as the handlers of the standard library do
            raise
        except Exception:
            self.handleError(record)


def install(level: int) -> None:
    """Make `logging` write to the host what is at least of the host's `level`."""
    handler = HostHandler()
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(LEVELS[level])


def number_of(level: int) -> int:
    return max(0, sum(level >= least for least in LEVELS) - 1)


def cut(line: bytes, size: int) -> list[bytes]:
    """`line` in pieces of at most `size` bytes, no character of UTF-8 in two of them."""
    pieces = []
    while len(line) > size:
        end = size
        while line[end] & 0xC0 == 0x80:  # the character goes on
            end -= 1
        pieces.append(line[:end])
        line = line[end:]
    return [*pieces, line]
