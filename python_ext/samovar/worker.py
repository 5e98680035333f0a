"""A worker: `python -m samovar.worker FD`, started by a host that has the other end of the socket FD.

Loads the user's module, tells the host what it can call, and serves until told to stop. What follows is native.
A nursery (nursery.py) forks workers that have loaded it already.
"""

from __future__ import annotations

import contextlib
import enum
import faulthandler
import importlib.machinery
import io
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, TypeVar

from samovar import failures, loading, log
from samovar.methods import Hooks, registry

if TYPE_CHECKING:
    from samovar._native import HostLink, NurseryLink

AnyLink = TypeVar("AnyLink", "HostLink", "NurseryLink")


Failure = tuple[str, str, str, str]
"""What was being done, and the exception's type, message and traceback, or nothing."""


class Exit(enum.IntEnum):
    """How a worker ends; native/exit_status.h has the same numbers, and those that only native code uses."""

    STOPPED = 0
    USAGE = 2
    NO_EXTENSION = 3
    LAYOUT = 4
    START_FAILED = 5
    BROKEN_LANE = 6
    HOST_GONE = 7


def main(arguments: list[str]) -> int:
    link = greet("samovar.worker", __doc__, arguments, lambda native, fd: native.receive_hello(fd))
    if isinstance(link, Exit):
        return link
    name_process("samovar-worker")
    link.guard(False)
    log.install(link.log_level)
    if failure := load(link.module) or run_hooks(registry.after_fork, link.module):
        link.fail(*failure)
        return Exit.START_FAILED
    return serve(link)


def greet(
    name: str, description: str | None, arguments: list[str], receive: Callable[[ModuleType, int], AnyLink]
) -> AnyLink | Exit:
    """The host's first message, or the status to end with. What was wrong has been said."""
    if arguments[1:] in (["--help"], ["-h"]):
        print(description)
        return Exit.STOPPED
    if len(arguments) != 2 or not arguments[1].isdigit():
        return complain(f"{name} is started by a Samovar pool, which passes it a socket; it is no command", Exit.USAGE)
    try:
        from samovar import _native
    except ImportError as error:
        return complain(explain_missing_extension(error), Exit.NO_EXTENSION)
    print_lines_at_once()
    faulthandler.enable(2)  # the stacks of a crash are its last output
    try:
        link = receive(_native, int(arguments[1]))
    except (OSError, ValueError) as error:
        return complain(
            f"{name}: no word from the host over descriptor {arguments[1]}: {error}",
            Exit.HOST_GONE if isinstance(error, OSError) else Exit.LAYOUT,
        )
    if link.layout_hash != _native.LAYOUT_HASH:
        link.fail(explain_layouts(link.layout_hash, _native.LAYOUT_HASH), "", "", "")
        return Exit.LAYOUT
    return link


def load(module: str) -> Failure | None:
    """Load and preload the user's module, as a script that was started with its name. Says why it cannot be."""
    sys.argv[:] = [module]
    try:
        loading.load(module)
    except BaseException as error:  # SystemExit and KeyboardInterrupt too: a worker that cannot start says why
        return (f"cannot load the module {module!r}", *failures.describe(error))
    if failure := run_hooks(registry.preload, module):
        return failure
    if not registry.has_methods:
        advice = "put @samovar.method above each function that the host may call"
        return (f"{module!r} has no methods: {advice}", "", "", "")
    if has_event_loop():
        if others := [method for method in registry.methods if method.batch_max > 1]:
            advice = "they cannot be in one module yet; put them into two, and start a pool for each"
            return (f"{module!r} has async methods, and {others[0].place} takes batches: {advice}", "", "", "")
        from samovar import aio  # noqa: F401  (before workers are forked: asyncio takes a while to be imported)
    return None


def has_event_loop() -> bool:
    return any(method.asynchronous for method in registry.methods)


def run_hooks(hooks: Hooks, module: str) -> Failure | None:
    for hook in hooks:
        try:
            hook()
        except BaseException as error:
            name = getattr(hook, "__qualname__", hook)
            return (f"the {hooks.name} hook {name!s} of {module!r} failed", *failures.describe(error))
    return None


def serve(link: HostLink) -> int:
    status = serve_calls(link)
    if status == Exit.STOPPED:
        tear_down()
    return status


def serve_calls(link: HostLink) -> int:
    if not has_event_loop():
        return link.serve(registry.methods, failures.describe)
    from samovar import aio

    if aio.serve(link, registry.methods):
        return Exit.STOPPED
    return complain(
        f"samovar: worker {link.worker} found what is no request in its lane; the host has a bug. The worker ends.",
        Exit.BROKEN_LANE,
    )


def tear_down() -> None:
    """In the reverse order of the set-ups. What fails is told and does not keep the others from it."""
    for hook in reversed(list(registry.teardown)):
        try:
            hook()
        except BaseException:
            logging.getLogger("samovar").exception("%s failed", hook.__qualname__)


def name_process(name: str) -> None:
    """As ps and top show it."""
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text(name)


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
