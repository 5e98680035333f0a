"""A Python other than the one that the library was built with: side by side in one prefix, and as the default of another."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from installing import (
    BUILD,
    CMAKE,
    CONSUMER,
    CXX,
    SOURCE,
    OtherPython,
    ask,
    base_of,
    build_consumer,
    compile_consumer,
    install,
    run,
)


@pytest.fixture(scope="module")
def other_build(tmp_path_factory: pytest.TempPathFactory, other_python: OtherPython) -> Path:
    """Library and extension for the other Python, in Debug, which compiles fast."""
    build = tmp_path_factory.mktemp("other build")
    configure_other(build, "lib/x86_64-linux-gnu", other_python)
    run(CMAKE, "--build", build, "--parallel", "2")
    return build


def configure_other(build: Path, libdir: str, python: OtherPython) -> None:
    parts = [f"-DSAMOVAR_{part}=OFF" for part in ("TESTS", "BENCH", "TOOLS")]
    settings = {
        "CMAKE_BUILD_TYPE": "Debug",
        "CMAKE_CXX_COMPILER": CXX,
        "CMAKE_INSTALL_LIBDIR": libdir,
        "Python_EXECUTABLE": python.path,
    }
    run(CMAKE, "-S", SOURCE, "-B", build, *parts, *(f"-D{name}={value}" for name, value in settings.items()))


def test_extension_for_another_python_is_added_to_a_prefix_and_chosen_by_the_environment(
    tmp_path: Path, other_build: Path, other_python: OtherPython
) -> None:
    prefix = install(BUILD, tmp_path / "a prefix")
    consumer = build_consumer(tmp_path / "build", f"-DCMAKE_PREFIX_PATH={prefix}")
    refused = run(consumer, CONSUMER / "models.py", fails=True, SAMOVAR_PYTHON=other_python.path)
    assert "incompatible_worker" in refused
    assert re.search(rf"this interpreter wants _native\.{other_python.tag}", refused)

    configure_other(other_build, "lib", other_python)
    install(other_build, prefix, "--component", "samovar_extension")
    assert len(list((prefix / "lib" / "samovar" / "python" / "samovar").glob("_native.*.so"))) == 2
    chosen = ask(consumer, SAMOVAR_PYTHON=other_python.path)
    assert (chosen.greeting, chosen.tag) == ("Hello, C++!", other_python.tag)
    default = ask(consumer)
    assert (default.interpreter, default.tag) == (base_of(sys.executable), sys.implementation.cache_tag)


def test_multiarch_library_folder_and_its_default_python(
    tmp_path: Path, other_build: Path, other_python: OtherPython
) -> None:
    configure_other(other_build, "lib/x86_64-linux-gnu", other_python)
    prefix = install(other_build, tmp_path / "usr")
    libdir = prefix / "lib" / "x86_64-linux-gnu"
    answer = ask(compile_consumer(libdir, tmp_path / "consumer"), LD_LIBRARY_PATH=libdir)
    assert (answer.interpreter, answer.tag) == (other_python.path, other_python.tag)
    assert answer.package == libdir / "samovar" / "python" / "samovar"


def test_default_python_can_be_named_when_configuring(tmp_path: Path, other_build: Path) -> None:
    run(CMAKE, "-B", other_build, "-S", SOURCE, "-DSAMOVAR_DEFAULT_PYTHON=/opt/app/bin/python3")
    prefix = install(other_build, tmp_path / "usr", "--component", "samovar_python")
    (default,) = prefix.rglob("default-interpreter")
    assert default.read_text() == "/opt/app/bin/python3\n"
