"""The `samovar` command of a pip installation, and `python -m samovar`: the program beside this package takes over.

`python -m samovar --cmake-dir` says where CMake finds the library: -Dsamovar_DIR=$(python -m samovar --cmake-dir)
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

HOST = Path(__file__).resolve().parent / "_host"


def main() -> int:
    if sys.argv[1:] == ["--cmake-dir"]:
        print(HOST / "lib" / "cmake" / "samovar")
        return 0
    command = HOST / "bin" / "samovar"
    try:
        os.execv(command, ["samovar", *sys.argv[1:]])
    except OSError as error:
        print(f"samovar: cannot run {command}: {error.strerror}; install the wheel again", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
