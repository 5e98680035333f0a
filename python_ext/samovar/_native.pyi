from collections.abc import Callable, Sequence
from typing import Any, final

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
    def guard(self) -> None: ...
    def fail(self, reason: str, type: str, message: str, traceback: str, /) -> None: ...
    def serve(
        self,
        methods: Sequence[tuple[str, Callable[..., Any], bool, int, int, str, str]],
        describe: Callable[[BaseException], tuple[str, str, str]],
        /,
    ) -> int: ...

def receive_hello(fd: int, /) -> HostLink: ...
def encode_value(object: object, /) -> bytes: ...
def decode_value(bytes: bytes | bytearray | memoryview, /) -> Any: ...
