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
    def empty(self, shape: int | Sequence[int], dtype: Any = "float32") -> Any:
        """A writable NumPy array of any content that is sent without a copy when it is returned; a Tensor without NumPy."""

@final
class Tensor:
    """An array: elements of one type, C-contiguous, aligned to 64 bytes. Made by the worker."""

    @property
    def dtype(self) -> str:
        """As NumPy calls it: "float32", "bfloat16", "S8"."""
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def ndim(self) -> int: ...
    @property
    def itemsize(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    @property
    def readonly(self) -> bool: ...
    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...
    def __dlpack__(
        self,
        *,
        stream: None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any: ...
    def __dlpack_device__(self) -> tuple[int, int]: ...

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

@final
class Schema:
    """A FlatBuffers schema: its tables, structs and enums by name. samovar.schema() makes one."""

    def __new__(cls, bfbs: bytes | bytearray | memoryview, origin: str) -> Schema: ...
    @property
    def root(self) -> type[Any] | None:
        """The type of the root table; None where the schema names none."""
    @property
    def file_identifier(self) -> str:
        """The four characters that a buffer of it carries, or ''."""
    def view(self, buffer: Any, /) -> Any:
        """The root table of a finished FlatBuffer, verified, in place. Fails: ValueError that says where and why."""
    def __getattr__(self, name: str) -> Any: ...
    def __getitem__(self, name: str) -> Any: ...

@final
class FlatBuffer:
    """The bytes of a finished FlatBuffer; samovar.flatbuffer() makes one."""

    def __new__(cls, source: Any, /) -> FlatBuffer: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...
    def __len__(self) -> int: ...

def receive_hello(fd: int, /) -> HostLink: ...
def receive_nursery_hello(fd: int, /) -> NurseryLink: ...
def collapse_pages(seconds: float, /) -> int: ...
def encode_value(object: object, /) -> bytes: ...
def decode_value(bytes: bytes | bytearray | memoryview, /) -> Any: ...
