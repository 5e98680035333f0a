"""Records of `logging` as the host gets them: marked lines, each in one write."""

from __future__ import annotations

import logging
import os
import select
from collections.abc import Callable, Iterator

import pytest
from samovar import log


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[str]]]:
    """What has been written since the last look; the root logger is put back afterwards."""
    writes: list[bytes] = []
    monkeypatch.setattr(os, "write", lambda fd, data: writes.append(data) if fd == log.OUTPUT else None)
    root = logging.getLogger()
    before = root.handlers[:], root.level

    def taken() -> list[str]:
        found = [data.decode() for data in writes]
        writes.clear()
        assert all(data.endswith("\n") and data.count("\n") == 1 for data in found)
        return [data[:-1] for data in found]

    yield taken
    root.handlers[:], _ = before
    root.setLevel(before[1])


def install(level: int) -> None:
    logging.getLogger().handlers.clear()  # pytest's, which would raise what is wrong with a record
    log.install(level)


def marked(level: int, text: str) -> str:
    return f"\x1e{level}\x1e{text}"


def test_each_level_of_python_has_one_of_the_host(lines: Callable[[], list[str]]) -> None:
    install(0)
    for level in (5, logging.DEBUG, logging.INFO, 25, logging.WARNING, logging.ERROR, logging.CRITICAL):
        logging.getLogger("a.b").log(level, "at %d", level)

    assert lines() == [  # 5 is below the host's least
        marked(0, "a.b: at 10"),
        marked(1, "a.b: at 20"),
        marked(1, "a.b: at 25"),
        marked(2, "a.b: at 30"),
        marked(3, "a.b: at 40"),
        marked(3, "a.b: at 50"),
    ]


@pytest.mark.parametrize("level", range(4))
def test_what_the_host_would_drop_is_not_written(level: int, lines: Callable[[], list[str]]) -> None:
    install(level)
    for each in log.LEVELS:
        logging.getLogger("m").log(each, "x")

    assert lines() == [marked(kept, "m: x") for kept in range(level, 4)]


def test_a_logger_may_say_more_than_the_root(lines: Callable[[], list[str]]) -> None:
    install(2)
    logging.getLogger("chatty").setLevel(logging.DEBUG)
    logging.getLogger("chatty").debug("psst")
    logging.getLogger("chatty").setLevel(logging.NOTSET)

    assert lines() == [marked(0, "chatty: psst")]


def test_all_lines_of_a_record_have_its_level(lines: Callable[[], list[str]]) -> None:
    install(1)
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        logging.getLogger("m").exception("failed\nbadly")
    got = lines()

    assert got[:3] == [marked(3, "m: failed"), marked(3, "badly"), marked(3, "Traceback (most recent call last):")]
    assert got[-2:] == [marked(3, "ValueError: first"), marked(3, "second")]
    assert all(line.startswith("\x1e3\x1e") for line in got)


def test_a_long_line_is_cut_between_characters_into_atomic_writes(lines: Callable[[], list[str]]) -> None:
    install(1)
    text = "aé漢😀" * 3000
    logging.getLogger("m").warning(text)
    got = lines()

    assert len(got) > 5
    assert all(len(line.encode()) + 1 <= select.PIPE_BUF for line in got)
    assert "".join(line.removeprefix("\x1e2\x1e") for line in got) == f"m: {text}"


def test_text_cannot_forge_a_mark_and_need_not_be_unicode(lines: Callable[[], list[str]]) -> None:
    install(1)
    logging.getLogger("m").info("a\x1e3\x1eb \udc80 c\rd\x85e")

    assert lines() == [marked(1, "m: a 3 b \\udc80 c\rd\x85e")]


def test_a_record_that_does_not_format_is_told_on_stderr(
    lines: Callable[[], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    install(1)
    logging.getLogger("m").warning("%d", "no number")

    assert lines() == []
    assert "--- Logging error ---" in capsys.readouterr().err


def test_code_that_configures_logging_wins(
    lines: Callable[[], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    install(2)
    logging.basicConfig(level=logging.INFO, format="mine %(message)s", force=True)
    logging.getLogger("m").info("hello")

    assert lines() == []
    assert "mine hello" in capsys.readouterr().err
