"""`pip install .`: extension, package, command and library in a virtual environment of its own, whose path has a space."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from installing import CONSUMER, SOURCE, ask, build_consumer, run


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `pip install .` builds it, but with the scikit-build-core that is here: no index is asked."""
    folder = tmp_path_factory.mktemp("wheel")
    offline = ["--no-build-isolation", "--no-deps", "--no-index", f"--config-settings=build-dir={folder / 'build'}"]
    run(sys.executable, "-m", "pip", "wheel", *offline, "--wheel-dir", folder, SOURCE)
    (wheel,) = folder.glob("samovar-*.whl")
    return wheel


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    environment = tmp_path_factory.mktemp("installed") / "an environment"
    run(sys.executable, "-m", "venv", environment)
    run(environment / "bin" / "python", "-m", "pip", "install", "--no-index", wheel)
    return environment


def package_of(environment: Path) -> Path:
    return environment / "lib" / f"python3.{sys.version_info.minor}" / "site-packages" / "samovar"


def test_command_and_package_say_one_version(environment: Path, wheel: Path) -> None:
    version = run(environment / "bin" / "samovar", "--version").removeprefix("samovar ").strip()
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    question = "import importlib.metadata, samovar; print(samovar.__version__, importlib.metadata.version('samovar'))"
    assert run(environment / "bin" / "python", "-c", question) == f"{version} {version}\n"
    assert run(environment / "bin" / "python", "-m", "samovar", "--version") == f"samovar {version}\n"
    assert f"-{version}-" in wheel.name


def test_command_runs_workers_in_its_environment(environment: Path) -> None:
    said = run(environment / "bin" / "samovar", "call", CONSUMER / "models.py", "where")
    assert f'"{environment}/bin/python' in said
    assert f'"{package_of(environment)}"' in said


def test_command_reports_its_exit_status(environment: Path) -> None:
    assert "status 2" in run(environment / "bin" / "samovar", "no-such-subcommand", fails=True)


def test_worker_explains_itself(environment: Path) -> None:
    assert "started by a host" in run(environment / "bin" / "python", "-m", "samovar.worker", "--help")


def test_project_finds_the_library_of_the_environment_and_runs_its_python(environment: Path, tmp_path: Path) -> None:
    directory = run(environment / "bin" / "python", "-m", "samovar", "--cmake-dir").strip()
    answer = ask(build_consumer(tmp_path / "build", f"-Dsamovar_DIR={directory}"))
    assert answer.greeting == "Hello, C++!"
    assert answer.interpreter.parent == environment / "bin"
    assert answer.package == package_of(environment)


def test_moved_files_still_find_each_other(environment: Path, wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "a target"
    run(sys.executable, "-m", "pip", "install", "--no-index", "--target", target, wheel)
    command = target / "samovar" / "_host" / "bin" / "samovar"
    said = run(command, "call", CONSUMER / "models.py", "greet", '"you"', PYTHONPATH=target, SAMOVAR_PYTHON=sys.executable)
    assert said == '"Hello, you!"\n'
