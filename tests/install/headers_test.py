"""Each public header compiles alone, twice in one file, without a warning, with the compilers that users have."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from installing import CXX, SOURCE, WARNINGS, pkg_config, run

HEADERS = sorted(path.name for path in (SOURCE / "core" / "include" / "samovar").iterdir())
CLANG = next((name for name in ("clang++-14", "clang++") if shutil.which(name)), "clang++")


@pytest.mark.parametrize("compiler", [CXX, CLANG], ids=["ours", "clang"])
@pytest.mark.parametrize("header", HEADERS)
def test_header_stands_alone(prefix: Path, tmp_path: Path, compiler: str, header: str) -> None:
    if not shutil.which(compiler):
        pytest.skip(f"NOT TESTED: there is no {compiler} (Debian package: clang-14)")
    source = tmp_path / "alone.cc"
    source.write_text(f"#include <samovar/{header}>\n" * 2)
    run(compiler, "-std=c++20", "-fsyntax-only", *WARNINGS, *pkg_config(prefix / "lib", "--cflags"), source)


def test_all_of_them_are_installed_and_nothing_else(prefix: Path) -> None:
    installed = {str(path.relative_to(prefix / "include")) for path in (prefix / "include").rglob("*.h*")}
    assert installed == {f"samovar/{name}" for name in HEADERS} | {"samovar/third_party/tl/expected.hpp"}


def test_they_need_the_standard_library_and_nothing_that_is_not_installed_with_them(prefix: Path, tmp_path: Path) -> None:
    source = tmp_path / "all.cc"
    source.write_text("#include <samovar/samovar.h>\n")
    rule = run(CXX, "-std=c++20", "-M", *pkg_config(prefix / "lib", "--cflags"), source)
    used = {Path(word.replace("\0", " ")).resolve() for word in rule.replace("\\\n", " ").replace("\\ ", "\0").split()[1:]}
    ours = {path for path in used if path.is_relative_to(prefix)}
    assert prefix / "include" / "samovar" / "third_party" / "tl" / "expected.hpp" in ours

    empty = tmp_path / "empty.cc"
    empty.write_text("".join(f"#include <{path.name}>\n" for path in used if path.parent.match("include/c++/*")))
    standard = run(CXX, "-std=c++20", "-M", empty).replace("\\\n", " ").split()[1:]
    assert used - ours - {Path(word).resolve() for word in standard} == {source}
