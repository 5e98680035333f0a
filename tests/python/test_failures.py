"""What the host is told of an exception."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import pytest
from samovar import failures, loading


class NoSuchSymbolError(Exception): ...


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (ValueError("x"), "ValueError"),
        (NoSuchSymbolError("x"), f"{__name__}.NoSuchSymbolError"),
        (SystemExit(3), "SystemExit"),
    ],
)
def test_type_is_qualified_unless_builtin(error: BaseException, name: str) -> None:
    assert failures.describe(raised(error))[0] == name


def test_message_is_str_of_the_exception() -> None:
    assert failures.message(KeyError("k")) == "'k'"


@pytest.mark.parametrize("broken", [ValueError, SystemExit, KeyboardInterrupt, RecursionError])
def test_str_that_raises_is_survived(broken: type[BaseException]) -> None:
    class BadError(Exception):
        def __str__(self) -> str:
            raise broken

    kind, message, traceback = failures.describe(raised(BadError()))

    assert kind.endswith("BadError")
    assert broken.__name__ in message
    assert "Traceback" in traceback


def test_traceback_names_the_user_s_line_and_the_causes() -> None:
    try:
        try:
            os.environ["SAMOVAR_NO_SUCH_VARIABLE"]
        except KeyError as cause:
            raise ValueError("outer") from cause
    except ValueError as error:
        traceback = failures.user_traceback(error)

    assert (
        traceback.index("KeyError: 'SAMOVAR_NO_SUCH_VARIABLE'")
        < traceback.index("direct cause")
        < traceback.index("ValueError: outer")
    )
    assert Path(__file__).name in traceback


def test_traceback_of_a_cycle_of_causes_ends() -> None:
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one

    assert "one" in failures.user_traceback(raised(one))


def test_groups_are_told_with_their_members() -> None:
    traceback = failures.user_traceback(raised(ExceptionGroup("both", [ValueError("one"), TypeError("two")])))

    assert "ValueError: one" in traceback
    assert "TypeError: two" in traceback


def test_frames_of_samovar_and_of_the_import_machinery_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "samovar_test_failing.py").write_text("def fail():\n    raise OSError('here')\nfail()\n")
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(str(tmp_path))
            loading.load("samovar_test_failing")
    except OSError as error:
        # The frame of this test comes first; below it there is only the user's module.
        traceback = failures.user_traceback(error)
    finally:
        sys.modules.pop("samovar_test_failing", None)
        importlib.invalidate_caches()

    assert "importlib" not in traceback
    assert "loading.py" not in traceback
    assert traceback.count("samovar_test_failing.py") == 2


def test_syntax_error_shows_its_line() -> None:
    with pytest.raises(SyntaxError) as caught:
        compile("x = (", "models.py", "exec")

    assert 'File "models.py", line 1' in failures.user_traceback(caught.value)
