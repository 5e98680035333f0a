"""What a user does with an installation: install, build a project against it, ask its worker. And other Pythons for it.

ctest says which build tree is installed ($SAMOVAR_BUILD_DIR) and which compiler its user has ($CXX).
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ["SAMOVAR_BUILD_DIR"])
CMAKE = os.environ.get("CMAKE", "cmake")
CXX = os.environ.get("CXX", "g++")
CONSUMER = Path(__file__).resolve().parent / "consumer"
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
LIMIT_S = 1500

# A user's environment knows nothing of this build.
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("SAMOVAR_", "PYTHON", "CMAKE_", "PKG_CONFIG", "LD_", "VIRTUAL_ENV"))
}


def run(*command: str | Path, fails: bool = False, **variables: str | Path) -> str:
    """Run a command, which must succeed (or fail), and return what it printed; stderr, too, where it fails."""
    ended = subprocess.run(
        [str(word) for word in command],
        env=ENVIRONMENT | {name: str(value) for name, value in variables.items()},
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    said = f"{shlex.join(str(word) for word in command)}\nstatus {ended.returncode}\n{ended.stdout}\n{ended.stderr}"
    assert (ended.returncode != 0) == fails, said
    return said if fails else ended.stdout


def install(build: Path, prefix: Path, *arguments: str) -> Path:
    run(CMAKE, "--install", build, "--prefix", prefix, *arguments)
    return prefix


def configure_consumer(build: Path, *arguments: str, fails: bool = False) -> str:
    return run(CMAKE, "-S", CONSUMER, "-B", build, f"-DCMAKE_CXX_COMPILER={CXX}", *arguments, fails=fails)


def build_consumer(build: Path, *arguments: str) -> Path:
    """A user's project that finds Samovar by find_package."""
    configure_consumer(build, *arguments)
    run(CMAKE, "--build", build)
    return build / "consumer"


def pkg_config(libdir: Path, *arguments: str) -> list[str]:
    return shlex.split(run("pkg-config", *arguments, "samovar", PKG_CONFIG_PATH=libdir / "pkgconfig"))


def compile_consumer(libdir: Path, program: Path, *first: str) -> Path:
    """The same program by one line of a shell, with pkg-config."""
    run(CXX, "-std=c++20", *WARNINGS, *first, CONSUMER / "main.cc", *pkg_config(libdir, "--cflags", "--libs"), "-o", program)
    return program


@dataclass(frozen=True)
class Answer:
    """What the consumer was told by its worker."""

    greeting: str
    interpreter: Path
    tag: str  # cpython-311
    package: Path


def ask(consumer: Path, **variables: str | Path) -> Answer:
    greeting, interpreter, tag, package = run(consumer, CONSUMER / "models.py", fails=False, **variables).splitlines()
    return Answer(greeting, Path(interpreter), tag, Path(package))


def base_of(python: str | Path) -> Path:
    """The interpreter below a virtual environment."""
    return Path(run(python, "-c", "import sys; print(sys._base_executable)").strip())


@dataclass(frozen=True)
class OtherPython:
    path: Path
    tag: str


def look_at(python: Path) -> OtherPython | None:
    """A CPython of another ABI that an extension can be built for, or nothing."""
    question = (
        "import json, os, sys, sysconfig as s;"
        "headers = os.path.exists(s.get_path('include') + '/Python.h');"
        "print(json.dumps([sys.implementation.name, sys.version_info[:2], sys._base_executable,"
        "sys.implementation.cache_tag, bool(s.get_config_var('Py_GIL_DISABLED')), headers]))"
    )
    try:
        said = subprocess.run([python, "-c", question], env=ENVIRONMENT, capture_output=True, timeout=60, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None  # a shim of pyenv for a version that is not chosen, say
    name, version, path, tag, free_threaded, headers = json.loads(said)
    fits = name == "cpython" and version >= [3, 11] and headers and not free_threaded
    return OtherPython(Path(path), tag) if fits and tag != sys.implementation.cache_tag else None
