"""An installed prefix, and a Python that it was not built for."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from installing import BUILD, OtherPython, install, look_at


@pytest.fixture(scope="session")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation of this build. Not to be moved or changed."""
    return install(BUILD, tmp_path_factory.mktemp("installed") / "a prefix")


@pytest.fixture(scope="session")
def other_python() -> OtherPython:
    """A CPython that the build under test is not for: from $PATH, else from pyenv."""
    names = [f"python3.{minor}" for minor in range(11, 20)]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = [Path(path) for name in names if (path := shutil.which(name))]
    for python in [*found, *sorted(pyenv.glob("3.*/bin/python3"))]:
        if other := look_at(python):
            return other
    pytest.skip("NOT TESTED: no CPython >= 3.11 of another version, with headers, is on this machine ($PATH, pyenv)")
