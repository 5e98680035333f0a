"""`cmake --install`: a user's project against it, by find_package and by pkg-config; its command; and the prefix moved."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest
from installing import (
    BUILD,
    CONSUMER,
    SOURCE,
    ask,
    base_of,
    build_consumer,
    compile_consumer,
    configure_consumer,
    install,
    run,
)


def test_project_finds_the_package_compiles_without_a_warning_and_calls_python(prefix: Path, tmp_path: Path) -> None:
    answer = ask(build_consumer(tmp_path / "a build", f"-DCMAKE_PREFIX_PATH={prefix}"))
    assert answer.greeting == "Hello, C++!"
    assert answer.package == prefix / "lib" / "samovar" / "python" / "samovar"
    assert answer.interpreter == base_of(sys.executable)  # not the .venv of the build


@pytest.mark.parametrize("wanted", ["0.2", "1.0", "0.1.99"])
def test_package_of_another_minor_version_is_refused(prefix: Path, tmp_path: Path, wanted: str) -> None:
    said = configure_consumer(tmp_path / "build", f"-DCMAKE_PREFIX_PATH={prefix}", f"-DWANTED_VERSION={wanted}", fails=True)
    assert "compatible with requested version" in " ".join(said.split())


@pytest.mark.parametrize("wanted", ["0.1", "0.1.0"])
def test_package_of_this_version_is_accepted(prefix: Path, tmp_path: Path, wanted: str) -> None:
    configure_consumer(tmp_path / "build", f"-DCMAKE_PREFIX_PATH={prefix}", f"-DWANTED_VERSION={wanted}")


def test_moved_prefix_serves_pkg_config_find_package_and_its_command(tmp_path: Path) -> None:
    before = install(BUILD, tmp_path / "before")
    prefix = tmp_path / "moved" / "to a longer path"
    prefix.parent.mkdir()
    before.rename(prefix)

    consumer = compile_consumer(prefix / "lib", tmp_path / "consumer")
    answer = ask(consumer, LD_LIBRARY_PATH=prefix / "lib")
    assert answer.greeting == "Hello, C++!"
    assert answer.package.is_relative_to(prefix)
    configure_consumer(tmp_path / "build", f"-DCMAKE_PREFIX_PATH={prefix}")
    assert run(prefix / "bin" / "samovar", "call", CONSUMER / "models.py", "greet", '"you"') == '"Hello, you!"\n'


def test_own_tl_expected_of_a_user_is_used_and_does_not_clash(prefix: Path, tmp_path: Path) -> None:
    own = tmp_path / "own" / "tl" / "expected.hpp"
    own.parent.mkdir(parents=True)
    shutil.copy(prefix / "include" / "samovar" / "third_party" / "tl" / "expected.hpp", own)
    with own.open("a") as header:
        header.write("#define OWN_EXPECTED\n")
    check = tmp_path / "check.h"
    check.write_text("#include <tl/expected.hpp>\n#ifndef OWN_EXPECTED\n#error another tl/expected.hpp\n#endif\n")
    consumer = compile_consumer(prefix / "lib", tmp_path / "consumer", f"-I{tmp_path / 'own'}", "-include", str(check))
    assert ask(consumer, LD_LIBRARY_PATH=prefix / "lib").greeting == "Hello, C++!"


def test_command_says_the_version_that_package_and_project_have(prefix: Path) -> None:
    project = re.search(r"project\(samovar VERSION (\S+)", (SOURCE / "CMakeLists.txt").read_text())
    assert project
    assert run(prefix / "bin" / "samovar", "--version") == f"samovar {project[1]}\n"
    package = run(
        sys.executable, "-c", "import samovar; print(samovar.__version__)", PYTHONPATH=prefix / "lib/samovar/python"
    )
    assert package == f"{project[1]}\n"


def test_installed_examples_build_against_the_prefix(prefix: Path, tmp_path: Path) -> None:
    hello = prefix / "share" / "samovar" / "examples" / "hello"
    run("cmake", "-S", hello, "-B", tmp_path, f"-DCMAKE_PREFIX_PATH={prefix}")
    run("cmake", "--build", tmp_path)
    assert "Hello, C++!" in run(tmp_path / "samovar_example_hello", hello / "models.py")


def test_nothing_installed_depends_on_the_build(prefix: Path) -> None:
    dependent = [
        str(path.relative_to(prefix))
        for path in prefix.rglob("*")
        if path.is_file() and str(BUILD).encode() in path.read_bytes()
    ]
    assert dependent == []
