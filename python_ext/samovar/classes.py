"""Handlers as classes: one instance in each worker, set up where preload hooks run, torn down when the worker ends."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from typing import Any

AnyFunction = Callable[..., Any]
AnyClass = type[Any]


class Handler:
    """A class of the user's that the host calls by a name, and its instance in this process."""

    def __init__(self, kind: AnyClass) -> None:
        self.kind = kind
        self.takes_batches = hasattr(kind, "handle_batch")
        self.called = "handle_batch" if self.takes_batches else "handle"
        if not callable(getattr(kind, self.called, None)):
            raise TypeError(
                f"{kind.__qualname__} needs a method `handle(self, x)`, or `handle_batch(self, items)`, to be called by the "
                "host; or put @samovar.method above a function"
            )
        self.instance: Any = None

    def shape(self) -> AnyFunction:
        """What will be called, without its instance: for its signature."""
        static = inspect.getattr_static(self.kind, self.called)
        found: AnyFunction = getattr(self.kind, self.called)
        return found if isinstance(static, (staticmethod, classmethod)) else types.MethodType(found, object())

    def function(self) -> AnyFunction:
        """What the host calls. Requires: set up."""
        found: AnyFunction = getattr(self.instance, self.called)
        return found

    def set_up(self) -> None:
        self.instance = self.kind()
        self._call("setup")

    def after_fork(self) -> None:
        self._call("after_fork")

    def tear_down(self) -> None:
        if self.instance is not None:
            self._call("teardown")

    def hook(self, function: AnyFunction, name: str) -> AnyFunction:
        """`function` under the name of the user's own, which errors tell."""

        def hook() -> None:
            function()

        hook.__qualname__ = f"{self.kind.__qualname__}.{name}"
        return hook

    def _call(self, name: str) -> None:
        function = getattr(self.instance, name, None)
        if function is not None:
            function()
