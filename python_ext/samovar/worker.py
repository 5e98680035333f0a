"""A worker: `python -m samovar.worker FD`, started by a host that has the other end of the socket FD.

Loads the user's module, tells the host what it can call, and serves until told to stop. What follows is native.
"""

from __future__ import annotations

import enum
import faulthandler
import importlib.machinery
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from samovar import failures, loading, log
from samovar.methods import registry

if TYPE_CHECKING:
    from samovar._native import HostLink


class Exit(enum.IntEnum):
    """How a worker ends; native/exit_status.h has the same numbers, and those that only native code uses."""

    STOPPED = 0
    USAGE = 2
    NO_EXTENSION = 3
    LAYOUT = 4
    START_FAILED = 5
    HOST_GONE = 7


def main(arguments: list[str]) -> int:
    if arguments[1:] in (["--help"], ["-h"]):
        print(__doc__)
        return Exit.STOPPED
    if len(arguments) != 2 or not arguments[1].isdigit():
        return complain(
            "samovar.worker is started by a Samovar pool, which passes it a socket; it is no command", Exit.USAGE
        )
    try:
        from samovar import _native
    except ImportError as error:
        return complain(explain_missing_extension(error), Exit.NO_EXTENSION)
    print_lines_at_once()
    faulthandler.enable(2)  # the stacks of a crash are its last output
    try:
        link = _native.receive_hello(int(arguments[1]))
    except (OSError, ValueError) as error:
        return complain(
            f"samovar.worker: no word from the host over descriptor {arguments[1]}: {error}",
            Exit.HOST_GONE if isinstance(error, OSError) else Exit.LAYOUT,
        )
    if link.layout_hash != _native.LAYOUT_HASH:
        link.fail(explain_layouts(link.layout_hash, _native.LAYOUT_HASH), "", "", "")
        return Exit.LAYOUT
    link.guard()
    log.install(link.log_level)
    sys.argv[:] = [link.module]
    if not start(link):
        return Exit.START_FAILED
    return link.serve([method.described for method in registry.methods], failures.describe)


def start(link: HostLink) -> bool:
    """Load and preload the user's module. False: the host has been told why not."""
    doing = f"cannot load the module {link.module!r}"
    try:
        loading.load(link.module)
        for hook in registry.preloads:
            doing = f"the preload hook {getattr(hook, '__qualname__', hook)!s} of {link.module!r} failed"
            hook()
    except BaseException as error:  # SystemExit and KeyboardInterrupt too: a worker that cannot start says why
        link.fail(doing, *failures.describe(error))
        return False
    if not registry.methods:
        advice = "put @samovar.method above each function that the host may call"
        link.fail(f"{link.module!r} has no methods: {advice}", "", "", "")
        return False
    return True


def print_lines_at_once() -> None:
    # The host reads stdout from a pipe, and a line should reach its log when it is printed, not 8 KiB later.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)


def explain_missing_extension(error: ImportError) -> str:
    built = sorted(path.name for path in Path(__file__).parent.glob("_native*.so")) or ["none"]
    return (
        f"samovar.worker: the extension samovar._native does not load into {sys.executable} "
        f"(Python {sys.version.split()[0]}): {error}. Built are: {', '.join(built)}; this interpreter wants "
        f"_native{importlib.machinery.EXTENSION_SUFFIXES[0]}. Start the pool with the Python that Samovar was built for, "
        f"or build it for this one (cmake -DPython_EXECUTABLE={sys.executable})."
    )


def explain_layouts(host: int, extension: int) -> str:
    return (
        f"the host speaks layout {host:#018x} and the Python extension {extension:#018x}: "
        "they come from different versions of Samovar; build both from one"
    )


def complain(sentence: str, status: Exit) -> Exit:
    print(sentence, file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv))
