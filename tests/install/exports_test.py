"""The dynamic symbols of what is installed: the public API, and nothing of the libraries inside."""

from __future__ import annotations

import re
from pathlib import Path

from installing import SOURCE, run

PUBLIC = {path.name: path.read_text() for path in (SOURCE / "core" / "include" / "samovar").glob("*.h")}


def exported(library: Path) -> list[str]:
    """Demangled, with their versions: "samovar::Pool::poll()@@SAMOVAR_0.1"."""
    lines = run("nm", "--dynamic", "--defined-only", "--demangle", library).splitlines()
    return [line.split(" ", 2)[2] for line in lines if line.split(" ", 2)[1] != "A"]  # A: the version itself


def name_of(symbol: str) -> str:
    """samovar::Pool::poll of the above; of a conversion what it is to: samovar::TensorRef::Payload."""
    return re.split(r"[(@\[]", re.sub(r"operator (\w+::)*", "", symbol), maxsplit=1)[0]


def test_library_exports_what_a_public_header_declares(prefix: Path) -> None:
    symbols = exported(prefix / "lib" / "libsamovar.so")
    assert symbols
    words = {word for text in PUBLIC.values() for word in re.findall(r"operator[^\s\w(]+|\w+", text)}
    foreign = [
        symbol
        for symbol in symbols
        if not name_of(symbol).startswith("samovar::") or not set(name_of(symbol).replace("~", "").split("::")) <= words
    ]
    assert foreign == []


def test_library_exports_all_that_a_public_header_marks(prefix: Path) -> None:
    names = {part for symbol in exported(prefix / "lib" / "libsamovar.so") for part in name_of(symbol).split("::")}
    marked: set[str] = set()
    for text in PUBLIC.values():
        code = re.sub(r"//[^\n]*", "", text)
        marked |= set(re.findall(r"class\s+SAMOVAR_API\s+(\w+)", code))
        marked |= set(re.findall(r"SAMOVAR_API\s+(?!__)[^;{}()]*?(operator\W+|\w+)\(", code))
    assert len(marked) > 5
    assert marked - names == set()


def test_symbols_bear_the_version_that_may_break_them(prefix: Path) -> None:
    version = re.search(r"project\(samovar VERSION (\d+\.\d+)", (SOURCE / "CMakeLists.txt").read_text())
    assert version
    symbols = exported(prefix / "lib" / "libsamovar.so")
    assert [symbol for symbol in symbols if not symbol.endswith(f"@@SAMOVAR_{version[1]}")] == []
    assert f"[libsamovar.so.{version[1]}]" in run("readelf", "--dynamic", prefix / "lib" / "libsamovar.so")


def test_extension_exports_its_init_function_alone(prefix: Path) -> None:
    (extension,) = (prefix / "lib" / "samovar" / "python" / "samovar").glob("_native*.so")
    assert exported(extension) == ["PyInit__native"]
