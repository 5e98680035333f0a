"""Durations as the host's options have them: "200us", "1ms", "0.5s"; a number is seconds."""

from __future__ import annotations

import re

NANOSECONDS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000, "min": 60_000_000_000, "h": 3_600_000_000_000}
_FORM = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*")


def nanoseconds(duration: str | float, what: str) -> int:
    """At least 0. Raises ValueError or TypeError, in which `what` is the duration's name."""
    advice = f'{what} is a duration like "200us", "1ms" or "0.5s" (units: {", ".join(NANOSECONDS)}), or seconds as a number'
    if isinstance(duration, str):
        found = _FORM.fullmatch(duration)
        if found is None or found[2] not in NANOSECONDS:
            raise ValueError(f"{advice}; not {duration!r}")
        return round(float(found[1]) * NANOSECONDS[found[2]])
    if isinstance(duration, bool) or not isinstance(duration, (int, float)):
        raise TypeError(f"{advice}; not {type(duration).__name__}")
    if not 0 <= duration < float("inf"):
        raise ValueError(f"{advice}; not {duration!r}")
    return round(duration * NANOSECONDS["s"])
