"""What goes wrong when a method calls a function of the host: ctx.host.call()."""

from __future__ import annotations


class HostError(RuntimeError):
    """The host's function failed, or could not be called; the message says which and why."""


class HostTimeout(HostError, TimeoutError):  # noqa: N818  a TimeoutError, by its name, too
    """It has not answered in time. A late answer is dropped."""
