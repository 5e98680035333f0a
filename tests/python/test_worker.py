"""A worker or a nursery that cannot start says so in one sentence and a status of its own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import samovar
from samovar import _native, methods, worker


def start(
    *arguments: str, package: Path | None = None, fds: tuple[int, ...] = (), module: str = "samovar.worker"
) -> subprocess.CompletedProcess[str]:
    path = package if package is not None else Path(samovar.__file__).parent.parent
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env=os.environ | {"PYTHONPATH": str(path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        pass_fds=fds,
        check=False,
    )


MODULES = ("samovar.worker", "samovar.nursery")


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("arguments", [(), ("seven",), ("-1",), ("3", "4")])
def test_started_by_hand_it_explains_itself(arguments: tuple[str, ...], module: str) -> None:
    ended = start(*arguments, module=module)

    assert ended.returncode == worker.Exit.USAGE
    assert f"{module} is started by a Samovar pool" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("module", MODULES)
def test_help_says_what_it_is(module: str) -> None:
    ended = start("--help", module=module)

    assert ended.returncode == 0
    assert "started by a host" in ended.stdout


def test_missing_extension_names_what_is_there_and_what_is_wanted(tmp_path: Path) -> None:
    here = Path(samovar.__file__).parent
    shutil.copytree(here, tmp_path / "samovar", ignore=shutil.ignore_patterns("_native*.so"))
    (tmp_path / "samovar" / "_native.cpython-399-x86_64-linux-gnu.so").touch()

    ended = start("3", package=tmp_path)

    assert ended.returncode == worker.Exit.NO_EXTENSION
    assert "_native.cpython-399-x86_64-linux-gnu.so" in ended.stderr
    assert f"wants _native.cpython-{sys.version_info.major}{sys.version_info.minor}" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("module", MODULES)
def test_host_that_is_gone_before_its_first_word_is_told_apart(module: str) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        ours.close()
        ended = start(str(theirs.fileno()), fds=(theirs.fileno(),), module=module)

    assert ended.returncode == worker.Exit.HOST_GONE
    assert "before its first message" in ended.stderr


@pytest.mark.parametrize("module", MODULES)
def test_first_word_that_is_no_hello_is_refused(module: str) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        ours.send(b"hello?")
        ended = start(str(theirs.fileno()), fds=(theirs.fileno(),), module=module)

    assert ended.returncode == worker.Exit.LAYOUT
    assert "the host's first message" in ended.stderr


def test_native_types_are_made_by_the_worker_alone() -> None:
    with pytest.raises(TypeError):
        samovar.Context()
    with pytest.raises(TypeError):
        _native.HostLink()
    with pytest.raises(TypeError):
        _native.NurseryLink()
    assert samovar.Context is _native.Context
    assert 0 < _native.LAYOUT_HASH < 2**64


def test_async_methods_beside_batches_are_refused_with_the_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fresh = methods.Registry()
    monkeypatch.setattr(methods, "registry", fresh)
    monkeypatch.setattr(worker, "registry", fresh)
    source = tmp_path / "mixed.py"
    source.write_text(
        "import samovar\n@samovar.method\nasync def one(): ...\n"
        "@samovar.method\nasync def three():\n    yield 3\n@samovar.method\ndef four():\n    yield 4\n"
        "@samovar.method(batch=True)\ndef two(items): ...\n"
    )
    failure = worker.load(str(source))
    assert failure is not None
    assert "has async methods, and two (" in failure[0]
