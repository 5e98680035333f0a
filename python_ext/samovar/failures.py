"""How an exception of user code is told to the host: its type, its message, and a traceback of the user's frames alone."""

from __future__ import annotations

import traceback
from pathlib import Path

_OURS = str(Path(__file__).parent) + "/"


def describe(error: BaseException) -> tuple[str, str, str]:
    """Type, message and traceback. Called by the native loop for each exception that leaves a method."""
    return type_name(error), message(error), user_traceback(error)


def type_name(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def message(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException as broken:  # it is user code: anything may come, and none of it may end the worker
        return f"<str() of this {type(error).__name__} raised {type(broken).__name__}>"


def user_traceback(error: BaseException) -> str:
    """As Python prints it, causes included, without the frames of samovar and of the import machinery."""
    told = traceback.TracebackException(type(error), error, error.__traceback__, compact=True)
    _strip(told, set())
    return "".join(told.format())


def _strip(told: traceback.TracebackException | None, seen: set[int]) -> None:
    while told is not None and id(told) not in seen:
        seen.add(id(told))
        told.stack = traceback.StackSummary.from_list([frame for frame in told.stack if not _is_internal(frame.filename)])
        for member in told.exceptions or ():
            _strip(member, seen)
        _strip(told.__context__, seen)
        told = told.__cause__


def _is_internal(filename: str) -> bool:
    return filename.startswith((_OURS, "<frozen importlib", "<frozen runpy")) or filename.endswith("/importlib/__init__.py")
