"""The nursery puts memory into huge pages: nothing in it changes, and where that cannot be done nothing happens."""

from __future__ import annotations

from pathlib import Path

import pytest
from samovar._native import collapse_pages

MIB = 1 << 20
SETTINGS = Path("/sys/kernel/mm/transparent_hugepage")


def huge_bytes() -> int:
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("AnonHugePages:"))


def test_collapsed_memory_holds_what_it_held() -> None:
    pattern = bytes(range(256)) * 4
    block = bytearray(pattern * (64 * MIB // len(pattern)))
    collapsed = collapse_pages(30.0)
    assert collapsed % (2 * MIB) == 0
    assert block == pattern * (64 * MIB // len(pattern))
    if collapsed > 0:
        assert huge_bytes() >= 2 * MIB


def test_without_time_nothing_is_collapsed() -> None:
    block = bytearray(b"x") * (16 * MIB)
    assert collapse_pages(0.0) == 0
    assert len(block) == 16 * MIB


def test_system_without_huge_pages_is_left_alone() -> None:
    if SETTINGS.is_dir() and "[never]" not in (SETTINGS / "enabled").read_text():
        pytest.skip("this system has huge pages")
    assert collapse_pages(1.0) == 0


def test_time_is_a_number() -> None:
    with pytest.raises(TypeError):
        collapse_pages("soon")  # type: ignore[arg-type]
