"""`samovar doctor` on this machine, and on this machine made worse. The tool: $SAMOVAR_TOOL, else the release build's."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import platform
import resource
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import samovar
from samovar import _native

ROOT = Path(__file__).resolve().parents[2]
TOOL = os.environ.get("SAMOVAR_TOOL", str(ROOT / "build" / "release" / "bin" / "samovar"))
INSTRUMENTED = "LD_PRELOAD" in os.environ  # a sanitizer's own memory is above any limit, and its own calls are refused, too


class Diagnosis:
    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.status = done.returncode
        self.document: dict[str, Any] = json.loads(done.stdout)
        self.findings = {finding["subject"]: finding for finding in self.document["findings"]}

    def is_told(self, verdict: str, subject: str, *words: str) -> None:
        """Asserts what is found of `subject`, and that verdicts, counts and exit status agree."""
        finding = self.findings[subject]
        assert finding["verdict"] == verdict, finding
        said = finding["what"] + " -> " + finding["follows"]
        for word in words:
            assert word in said, said
        assert self.document["can_run"] == (self.document["failures"] == 0)
        assert self.status == (0 if self.document["can_run"] else 1)
        if verdict == "fail":
            assert not self.document["can_run"]


def run(*arguments: str, before: Callable[[], None] | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [TOOL, "doctor", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | variables,
        preexec_fn=before,
    )


def diagnose(before: Callable[[], None] | None = None, **variables: str) -> Diagnosis:
    return Diagnosis(run("--json", before=before, **variables))


# This machine


def test_all_is_told_of_a_machine_on_which_a_pool_runs() -> None:
    well = diagnose()
    for subject in ("version", "memfd", "write seal", "arena", "pidfd", "futex", "eventfd", "sockets", "pinning"):
        well.is_told("ok", subject)
    for subject in ("descriptors", "cgroup CPU", "/dev/shm", "CPUs", "memory nodes", "frequency", "clock"):
        assert subject in well.findings
    well.is_told("ok", "extension", f"{_native.LAYOUT_HASH:#018x}")
    well.is_told("ok", "package", samovar.__version__)
    well.is_told("ok", "call", "one worker was ready in")
    assert well.status == 0


def test_a_table_is_printed_with_a_summary() -> None:
    done = run()
    assert done.returncode == 0, done.stdout
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert [line for line in lines if line and not line.startswith(" ")][:-1] == ["kernel", "limits", "machine", "python", "pool"]
    assert lines[-1].startswith("A pool can run here")
    assert any(line.startswith("  ok    pidfd ") for line in lines)


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    assert run(TMPDIR=str(tmp_path)).returncode == 0
    assert list(tmp_path.iterdir()) == []


# Python


def test_an_interpreter_that_is_not_there_is_told_with_who_named_it() -> None:
    diagnose(SAMOVAR_PYTHON="/no/such/python").is_told("fail", "interpreter", "/no/such/python (environment SAMOVAR_PYTHON)")


def test_an_interpreter_that_is_something_else_is_told_with_what_it_said(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho I am no Python\nexit 42\n")
    python.chmod(0o755)
    diagnose(SAMOVAR_PYTHON=str(python)).is_told("fail", "interpreter", str(python), "I am no Python")


def test_an_interpreter_that_is_too_old_or_another_is_refused(tmp_path: Path) -> None:
    python = tmp_path / "python"
    for implementation, version in (("CPython", [3, 10]), ("PyPy", [3, 11])):
        facts = {"implementation": implementation, "version": "1.2.3", "version_info": version, "abi": ".so"}
        python.write_text(f"#!/bin/sh\necho '{json.dumps(facts)}'\n")
        python.chmod(0o755)
        diagnose(SAMOVAR_PYTHON=str(python)).is_told("fail", "version", implementation, "CPython 3.11 or newer")


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the package, found before the real one with SAMOVAR_PYTHON_PATH=parent."""
    return Path(shutil.copytree(Path(samovar.__file__).parent, tmp_path / "samovar"))


def test_a_package_without_extension_is_told_with_what_was_built(package: Path) -> None:
    (extension,) = package.glob("_native*.so")
    extension.rename(package / "_native.cpython-399-x86_64-linux-gnu.so")
    found = diagnose(SAMOVAR_PYTHON_PATH=str(package.parent))
    found.is_told("fail", "extension", "pools cannot start", "cpython-399", "-DPython_EXECUTABLE")
    assert "call" not in found.findings


def test_an_extension_of_another_layout_is_told_with_both(package: Path) -> None:
    (extension,) = package.glob("_native*.so")
    ours, other = (struct.pack("<Q", number) for number in (_native.LAYOUT_HASH, _native.LAYOUT_HASH ^ 0x10))
    code = extension.read_bytes()
    assert ours in code
    extension.write_bytes(code.replace(ours, other))
    found = diagnose(SAMOVAR_PYTHON_PATH=str(package.parent))
    found.is_told("fail", "extension", f"{_native.LAYOUT_HASH:#018x}", f"{_native.LAYOUT_HASH ^ 0x10:#018x}")


def test_a_package_of_another_version_is_a_warning(package: Path) -> None:
    source = package / "__init__.py"
    source.write_text(source.read_text().replace(f'"{samovar.__version__}"', '"99.0"'))
    diagnose(SAMOVAR_PYTHON_PATH=str(package.parent)).is_told("warn", "package", "99.0", samovar.__version__)


# Options


def test_options_that_are_wrong_are_told(tmp_path: Path) -> None:
    diagnose(SAMOVAR_TIMEOUT="5").is_told("fail", "options", "SAMOVAR_TIMEOUT", 'did you mean "5s"?')
    file = tmp_path / "samovar.toml"
    file.write_text("worker = 1\n")
    diagnose(SAMOVAR_CONFIG=str(file)).is_told("fail", "options", f"{file}:1", '"workers"')


# Limits


def limit(kind: int, value: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(kind, (value, value))


def test_too_few_descriptors_for_any_pool_are_a_failure() -> None:
    diagnose(before=limit(resource.RLIMIT_NOFILE, 20)).is_told("fail", "descriptors", "20", "ulimit -n")


def test_too_few_descriptors_for_the_workers_as_configured_are_a_warning() -> None:
    few = limit(resource.RLIMIT_NOFILE, 64)
    diagnose(before=few, SAMOVAR_WORKERS="500").is_told("warn", "descriptors", "64", "500 workers", "ulimit -n")
    assert run("--strict", before=few, SAMOVAR_WORKERS="500").returncode == 1
    diagnose(before=few, SAMOVAR_WORKERS="1").is_told("ok", "descriptors")


def test_a_limit_of_file_size_counts_for_shared_memory() -> None:
    diagnose(before=limit(resource.RLIMIT_FSIZE, 8192)).is_told("fail", "file size", "lane", "ulimit -f")
    diagnose(before=limit(resource.RLIMIT_FSIZE, 1 << 30)).is_told("warn", "file size", "1 GiB", "arenas")


@pytest.mark.skipif(INSTRUMENTED, reason="a sanitizer's own memory is above any limit")
def test_a_limit_of_address_space_is_a_warning() -> None:
    diagnose(before=limit(resource.RLIMIT_AS, 8 << 30)).is_told("warn", "address space", "8 GiB", "cgroup")


# The machine


def test_a_single_cpu_is_a_warning() -> None:
    cpu = min(os.sched_getaffinity(0))
    diagnose(before=lambda: os.sched_setaffinity(0, {cpu})).is_told("warn", "CPUs", "1 CPU on 1 core")


def refuse(number: int, error: int = errno.ENOSYS) -> Callable[[], None]:
    """From here on the process and its children get `error` from a system call, as on a kernel that lacks it (seccomp)."""

    def install() -> None:
        load, equal, give = 0x20, 0x15, 0x06
        instructions = ((load, 0, 0, 0), (equal, 0, 1, number), (give, 0, 0, 0x00050000 | error), (give, 0, 0, 0x7FFF0000))
        program = b"".join(struct.pack("<HBBI", *instruction) for instruction in instructions)
        buffer = ctypes.create_string_buffer(program, len(program))
        filter_ = ctypes.create_string_buffer(struct.pack("<HxxxxxxQ", len(instructions), ctypes.addressof(buffer)))
        prctl = ctypes.CDLL(None, use_errno=True).prctl
        no_new_privileges, set_seccomp, mode_filter = 38, 22, 2
        if prctl(no_new_privileges, 1, 0, 0, 0) != 0 or prctl(set_seccomp, mode_filter, filter_) != 0:
            raise OSError(ctypes.get_errno(), "no seccomp here")

    return install


on_x86_64 = pytest.mark.skipif(platform.machine() != "x86_64", reason="numbers of x86-64's system calls")


@on_x86_64
@pytest.mark.parametrize(
    ("number", "subject", "needs"),
    [(319, "memfd", "Linux 3.17"), (434, "pidfd", "Linux 5.3"), (290, "eventfd", "sleeps"), (291, "eventfd", "sleeps")],
)
def test_what_the_kernel_lacks_is_told_with_what_follows(number: int, subject: str, needs: str) -> None:
    found = diagnose(before=refuse(number))
    found.is_told("fail", subject, "Function not implemented", "pools cannot start", needs)
    assert "call" not in found.findings


@on_x86_64
def test_pinning_that_is_refused_is_a_warning() -> None:
    diagnose(before=refuse(203, errno.EPERM)).is_told("warn", "pinning", "Operation not permitted", "worker_cpus")


TWO_NODES = {"HWLOC_SYNTHETIC": "numa:2 core:1 pu:1", "HWLOC_THISSYSTEM": "1"}  # what hwloc makes of this machine then


@pytest.mark.skipif(not {0, 1} <= os.sched_getaffinity(0), reason="needs CPUs 0 and 1")
def test_several_nodes_are_told_with_what_a_call_between_them_costs() -> None:
    diagnose(**TWO_NODES).is_told("note", "memory nodes", "2 NUMA nodes", "between nodes")


@on_x86_64
@pytest.mark.skipif(not {0, 1} <= os.sched_getaffinity(0), reason="needs CPUs 0 and 1")
def test_memory_policies_that_are_refused_are_a_warning_on_several_nodes() -> None:
    diagnose(before=refuse(237, errno.EPERM), **TWO_NODES).is_told(
        "warn", "memory nodes", "mbind", "Operation not permitted", "CAP_SYS_NICE"
    )


def test_without_proc_it_is_told_what_is_missing() -> None:
    command = f"mount -t tmpfs none /proc && exec '{TOOL}' doctor --json"
    unshare = ["unshare", "--user", "--map-root-user", "--mount"]
    done = subprocess.run([*unshare, "sh", "-c", command], capture_output=True, text=True, timeout=120, check=False)
    if not done.stdout:
        pytest.skip("no mount namespaces here: " + done.stderr.strip())
    Diagnosis(done).is_told("fail", "arena", "/proc")
