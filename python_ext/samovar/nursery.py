"""A nursery: `python -m samovar.nursery FD`, started by a host that has the other end of the socket FD.

Loads the user's module once, and forks a worker that has it loaded for each request of the host. The workers share the
memory of what was loaded until they write to it.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import logging
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from samovar import failures, log, worker
from samovar.methods import registry
from samovar.worker import Exit

if TYPE_CHECKING:
    from samovar._native import HostLink, NurseryLink

TASKS = Path("/proc/self/task")
DESCRIPTORS = Path("/proc/self/fd")
COLLAPSE_SECONDS_MAX = 1.0


def main(arguments: list[str]) -> int:
    link = worker.greet("samovar.nursery", __doc__, arguments, lambda native, fd: native.receive_nursery_hello(fd))
    if isinstance(link, Exit):
        return link
    worker.name_process("samovar-nursery")
    log.install(link.log_level)
    with watched(link):
        sockets = open_sockets()
        if failure := worker.load(link.module):
            link.fail(*failure)
            return Exit.START_FAILED
        warn_of_sockets(open_sockets() - sockets)
        gc.collect()
        gc.freeze()  # a collection in a worker need not touch, and so copy, what was loaded
        threads = names_of_threads()
        if not threads:
            collapse_pages()
    link.ready(threads)
    child = fork_on_request(link)
    if child is None:
        return Exit.STOPPED
    born = become_worker(*child)
    return born if isinstance(born, Exit) else worker.serve(born)


def fork_on_request(link: NurseryLink) -> tuple[int, int] | None:
    """None at the end; in a child the socket to its host, and what it prints to."""
    while (request := link.next_fork()) is not None:
        incarnation, socket, output = request
        with watched(link):
            refusal = worker.run_hooks(registry.before_fork, link.module) or refuse_because_of_threads()
        pid = -1
        if refusal is None:
            flush()
            try:
                pid = os.fork()
            except OSError as error:
                refusal = ("the nursery cannot fork", *failures.describe(error))
        if pid == 0:
            link.leave()
            return socket, output
        os.close(socket)
        os.close(output)
        if refusal is not None:
            link.refuse(incarnation, *refusal)
        else:
            link.forked(incarnation, pid)
    return None


def become_worker(socket: int, output: int) -> HostLink | Exit:
    """In the child: what precedes the serving in a worker that was not forked, but for the loading."""
    from samovar import _native

    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    atexit._clear()  # the nursery's, which calls them when it ends
    try:
        link = _native.receive_hello(socket)
    except OSError:  # the host has gone, or does not need this worker any more
        return Exit.HOST_GONE
    worker.name_process("samovar-worker")
    link.guard(True)
    reseed()
    if failure := worker.run_hooks(registry.after_fork, link.module):
        link.fail(*failure)
        return Exit.START_FAILED
    return link


def collapse_pages() -> None:
    """So that a fork, and the end of a worker, need not go through the pages of the model one by one."""
    from samovar import _native

    _native.collapse_pages(COLLAPSE_SECONDS_MAX)


@contextlib.contextmanager
def watched(link: NurseryLink) -> Iterator[None]:
    """While user code runs in the nursery it ends with its host all the same."""
    link.watch_host(True)
    try:
        yield
    finally:
        link.watch_host(False)


def reseed() -> None:
    # Python's own generator does so by itself. Workers with the same random numbers are a mistake that nobody sees.
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()


def names_of_threads() -> list[str]:
    """Of all threads but the main one, those of native libraries included."""
    known = {thread.native_id: thread.name for thread in threading.enumerate()}
    try:
        tasks = sorted(int(task.name) for task in TASKS.iterdir())
    except OSError:  # no /proc
        tasks = [task for task in known if task is not None]
    return [known.get(task) or name_of_task(task) for task in tasks if task != os.getpid()]


def name_of_task(task: int) -> str:
    try:
        return (TASKS / str(task) / "comm").read_text().strip()
    except OSError:
        return f"thread {task}"


def refuse_because_of_threads() -> worker.Failure | None:
    if not (names := names_of_threads()):
        return None
    return (
        f"the nursery cannot fork beside its threads ({', '.join(names)}): start them in @samovar.after_fork",
        "",
        "",
        "",
    )


def open_sockets() -> set[str]:
    """As "7 socket:[1234]"."""
    found = set()
    with contextlib.suppress(OSError):
        for descriptor in DESCRIPTORS.iterdir():
            with contextlib.suppress(OSError):  # that of this loop
                target = str(descriptor.readlink())
                if target.startswith("socket:"):
                    found.add(f"{descriptor.name} {target}")
    return found


def warn_of_sockets(sockets: set[str]) -> None:
    if not sockets:
        return
    logging.getLogger("samovar").warning(
        "loading the module has left %d sockets open (descriptors %s): all workers would share them. Connect in "
        "@samovar.after_fork instead.",
        len(sockets),
        ", ".join(sorted(found.split()[0] for found in sockets)),
    )


def flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()


def end(status: int) -> NoReturn:
    """As an interpreter ends, but for taking itself down: that would touch, and so copy, every page that workers share."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    flush()
    os._exit(status)


if __name__ == "__main__":
    end(main(sys.argv))
