"""An initramfs from files of this machine: each at its own path, with the shared libraries it needs."""

from __future__ import annotations

import itertools
import re
import stat
import subprocess
from pathlib import Path
from typing import BinaryIO

# Of the standard library, what no worker imports.
LEFT_OUT = {"__pycache__", "test", "idlelib", "lib2to3", "ensurepip", "tkinter", "turtledemo", "pydoc_data", "dist-packages"}


class Initramfs:
    """Written as a cpio archive of the format "newc", which the kernel unpacks into its first file system."""

    def __init__(self) -> None:
        self._files: dict[str, Path] = {}
        self._folders: set[str] = set()

    def add_folder(self, path: str) -> None:
        for parent in [path, *map(str, Path(path).parents)]:
            self._folders.add(parent)

    def add_file(self, source: Path, path: str | None = None) -> None:
        """At `path`, or where it is here. Links are followed: two names of one file become two files."""
        path = path or str(source)
        self.add_folder(str(Path(path).parent))
        self._files[path] = source

    def add_binary(self, source: Path) -> None:
        """With the libraries that ldd finds, and the loader."""
        self.add_file(source)
        found = subprocess.run(["ldd", str(source)], capture_output=True, text=True, check=True).stdout
        assert "not found" not in found, f"{source} lacks a library:\n{found}"
        for library in re.findall(r"(?:=> |^\s+)(/\S+) \(0x", found, re.MULTILINE):
            self.add_file(Path(library))

    def add_tree(self, folder: Path) -> None:
        for path in sorted(folder.rglob("*")):
            if LEFT_OUT.isdisjoint(path.relative_to(folder).parts) and path.is_file():
                self.add_binary(path) if path.suffix == ".so" else self.add_file(path)

    def write(self, archive: Path) -> None:
        numbers = itertools.count(1)
        with archive.open("wb") as out:
            for folder in sorted(self._folders - {"/"}):
                _write_entry(out, folder, stat.S_IFDIR | 0o755, next(numbers))
            _write_entry(out, "/dev/console", stat.S_IFCHR | 0o600, next(numbers), device=(5, 1))
            for path, source in sorted(self._files.items()):
                permissions = 0o755 if source.stat().st_mode & 0o111 else 0o644
                _write_entry(out, path, stat.S_IFREG | permissions, next(numbers), source.read_bytes())
            _write_entry(out, "TRAILER!!!", 0, 0)


def _write_entry(
    out: BinaryIO, path: str, mode: int, number: int, content: bytes = b"", device: tuple[int, int] = (0, 0)
) -> None:
    name = path.lstrip("/").encode() + b"\0"
    owner, group, links, time, held_major, held_minor, checksum = 0, 0, 1, 0, 0, 0, 0
    fields = (number, mode, owner, group, links, time, len(content), held_major, held_minor, *device, len(name), checksum)
    header = b"070701" + b"".join(b"%08x" % field for field in fields) + name
    out.write(header + b"\0" * (-len(header) % 4))
    out.write(content + b"\0" * (-len(content) % 4))
