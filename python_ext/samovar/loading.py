"""Loading the user's module by what the host calls it: a name ("package.models") or a path ("models.py")."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType


def load(spec: str) -> ModuleType:
    """Import the module, running its code. Whatever that raises passes through."""
    return load_file(Path(spec)) if is_path(spec) else importlib.import_module(spec)


def is_path(spec: str) -> bool:
    return spec.endswith(".py") or os.sep in spec


def load_file(path: Path) -> ModuleType:
    if not path.is_file():
        what = "is not a file" if path.exists() else "does not exist"
        raise FileNotFoundError(f"{path} {what} (looked in {Path.cwd()})")
    path = path.resolve()
    name = path.stem
    if name in sys.modules:
        raise ImportError(f"{path.name} has the name of a module that is loaded already ({name}): rename the file")
    # What the file imports beside itself is found, as if it were run as a script.
    sys.path.insert(0, str(path.parent))
    found = importlib.util.spec_from_file_location(name, path)
    if found is None or found.loader is None:
        raise ImportError(f"{path} is no Python file: its name must end in .py")
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module
    try:
        found.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module
