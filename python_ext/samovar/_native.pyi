from collections.abc import Callable, Sequence
from typing import Any, final

from samovar.methods import Method

LAYOUT_HASH: int

@final
class Context:
    """What a method that declares the keyword parameter `ctx` is told of its call."""

    @property
    def deadline(self) -> float | None:
        """Seconds left until the deadline of this call, at least 0.0; None if it has none."""
    @property
    def call_id(self) -> int:
        """The number of this call in its pool."""
    @property
    def worker(self) -> int:
        """The number of the worker that runs it."""
    @property
    def session(self) -> None:
        """The session of this call: None, there are no sessions yet."""
    def cancelled(self) -> bool:
        """Whether nobody waits for this call any more: cancelled, past its deadline, or ended."""

    @property
    def host(self) -> Host:
        """The host, whose functions can be called while this call runs."""

@final
class Host:
    """The host, as a running method sees it: ctx.host."""

    def call(self, name: str, /, *arguments: Any, timeout: float | None = None) -> Any:
        """Call a function that the host has exposed, and wait for what it returns.

        At most `timeout` seconds, and never beyond the deadline of this call. From the main thread only. Raises HostError
        with the function's error, HostTimeout where it has not answered in time.
        """

@final
class HostLink:
    """A worker's tie to its host."""

    @property
    def layout_hash(self) -> int: ...
    @property
    def module(self) -> str: ...
    @property
    def worker(self) -> int: ...
    @property
    def incarnation(self) -> int: ...
    @property
    def log_level(self) -> int: ...
    def guard(self, forked: bool, /) -> None: ...
    def fail(self, reason: str, type: str, message: str, traceback: str, /) -> None: ...
    def serve(
        self,
        methods: Sequence[Method],
        describe: Callable[[BaseException], tuple[str, str, str]],
        /,
    ) -> int: ...

@final
class NurseryLink:
    """A nursery's tie to its host."""

    @property
    def layout_hash(self) -> int: ...
    @property
    def module(self) -> str: ...
    @property
    def log_level(self) -> int: ...
    def watch_host(self, on: bool, /) -> None: ...
    def fail(self, reason: str, type: str, message: str, traceback: str, /) -> None: ...
    def ready(self, threads: Sequence[str], /) -> None: ...
    def next_fork(self) -> tuple[int, int, int] | None: ...
    def forked(self, incarnation: int, pid: int, /) -> None: ...
    def refuse(self, incarnation: int, reason: str, type: str, message: str, traceback: str, /) -> None: ...
    def leave(self) -> None: ...

def receive_hello(fd: int, /) -> HostLink: ...
def receive_nursery_hello(fd: int, /) -> NurseryLink: ...
def collapse_pages(seconds: float, /) -> int: ...
def encode_value(object: object, /) -> bytes: ...
def decode_value(bytes: bytes | bytearray | memoryview, /) -> Any: ...
