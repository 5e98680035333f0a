"""Samovar: Python, kept hot, served in a microsecond. This is the side that runs in the workers.

    import samovar

    @samovar.preload
    def load():
        global model
        model = joblib.load("model.bin")

    @samovar.method
    def score(features, *, ctx):
        return model.predict(features)

Functions stay plain functions: a test imports the module and calls them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from samovar.host import HostError, HostTimeout
from samovar.methods import after_fork, before_fork, method, preload

if TYPE_CHECKING:
    from samovar._native import Context, Tensor
    from samovar.schemas import flatbuffer, schema

__version__ = "0.1.0"
__all__ = [
    "Context",
    "HostError",
    "HostTimeout",
    "Tensor",
    "__version__",
    "after_fork",
    "before_fork",
    "flatbuffer",
    "method",
    "preload",
    "schema",
]


def __getattr__(name: str) -> object:
    # What is native is imported when asked for: the decorators work where no extension has been built, and a worker
    # whose extension does not load gets as far as saying so.
    if name in ("Context", "Tensor"):
        from samovar import _native

        return getattr(_native, name)
    if name in ("flatbuffer", "schema"):
        from samovar import schemas

        return getattr(schemas, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
