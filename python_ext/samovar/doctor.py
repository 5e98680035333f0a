"""What `samovar doctor` asks an interpreter: `python -m samovar.doctor` prints it as a line of JSON. Needs no extension."""

from __future__ import annotations

import importlib.machinery
import importlib.metadata
import json
import platform
import sys
import sysconfig
from pathlib import Path

import samovar

# What methods compute with; told where it is installed.
PACKAGES = ("numpy", "scipy", "scikit-learn", "pandas", "pyarrow", "torch", "onnxruntime", "xgboost", "lightgbm")


def examine() -> dict[str, object]:
    return {
        "executable": sys.executable,
        "implementation": platform.python_implementation(),
        "version": platform.python_version(),
        "version_info": list(sys.version_info[:2]),
        "abi": importlib.machinery.EXTENSION_SUFFIXES[0],
        "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
        "environment": sys.prefix,
        "is_virtual": sys.prefix != sys.base_prefix,
        "samovar": samovar.__version__,
        "package": str(Path(samovar.__file__).parent),
        "extension": extension(),
        "packages": installed(),
    }


def extension() -> dict[str, object]:
    try:
        from samovar import _native
    except ImportError as error:
        built = sorted(path.name for path in Path(samovar.__file__).parent.glob("_native*.so"))
        return {"error": str(error), "built": built}
    return {"file": str(_native.__file__), "layout_hash": f"{_native.LAYOUT_HASH:#018x}"}


def installed() -> dict[str, str]:
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


if __name__ == "__main__":
    print(json.dumps(examine()))
