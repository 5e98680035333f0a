"""Methods that call functions of the host."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import samovar

seen: list[str] = []


@samovar.method
def ask(name: str, *arguments: Any, ctx: samovar.Context) -> Any:
    return ctx.host.call(name, *arguments)


@samovar.method
def ask_within(seconds: float, name: str, *arguments: Any, ctx: samovar.Context) -> str:
    try:
        return f"answered {ctx.host.call(name, *arguments, timeout=seconds)!r}"
    except TimeoutError as error:
        return f"{type(error).__name__}: {error}"


@samovar.method
def fails(name: str, *arguments: Any, ctx: samovar.Context) -> str:
    try:
        return f"answered {ctx.host.call(name, *arguments)!r}"
    except samovar.HostError as error:
        return str(error)


@samovar.method
def remembers(name: str, *, ctx: samovar.Context) -> None:
    try:
        ctx.host.call(name)
    except samovar.HostError as error:
        seen.append(str(error))
        raise


@samovar.method
def remembered() -> list[str]:
    return list(seen)


@samovar.method
def many(n: int, *, ctx: samovar.Context) -> int:
    return sum(ctx.host.call("double", i) for i in range(n))


@samovar.method
def stream(n: int, *, ctx: samovar.Context) -> Iterator[int]:
    for i in range(n):
        yield ctx.host.call("double", i)


@samovar.method
def from_thread(*, ctx: samovar.Context) -> str:
    said = []

    def run() -> None:
        try:
            ctx.host.call("double", 1)
        except samovar.HostError as error:
            said.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return said[0]


kept: list[samovar.Context] = []


@samovar.method
def keeps(*, ctx: samovar.Context) -> None:
    kept.append(ctx)


@samovar.method
def uses_kept() -> str:
    try:
        kept[0].host.call("double", 1)
    except samovar.HostError as error:
        return str(error)
    return "answered"


@samovar.method
def later(seconds: float, name: str, *, ctx: samovar.Context) -> Any:
    time.sleep(seconds)
    return ctx.host.call(name)


@samovar.method
def plain() -> int:
    return 1
