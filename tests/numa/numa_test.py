"""Pages lie on the nodes that they should, in a machine with two: a pool in QEMU, its kernel from Debian.

SAMOVAR_NUMA_GUEST is the program that runs there (guest.cc), SAMOVAR_NUMA_KERNEL the folder of a kernel, SAMOVAR_NUMA_FOLDER
where the initramfs and the console's log are left.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from initramfs import Initramfs

# On two idle CPUs it takes 15 s. All is emulated: /dev/kvm may be there and hang, inside of a virtual machine.
LIMIT_S = 600
HOW_TO_GET_IT = "tools/setup/install.sh numa fetches it, as make soak does; see what that says"
MODELS = Path(__file__).parent / "models.py"

# Each of these must be among the lines, as "ok - ...". Two nodes: what differs by the node is there for each.
CHECKS = [
    "the machine has two nodes with CPUs",
    "a pool starts",
    "a call from node 0, whose worker is busy, goes to the idle one of node 1",
    "the busy one was that of node 0",
    "the request arena has a region for each node, as large as the whole may get",
    "the worker that takes the place of a killed one is on its node",
    "what the nursery has loaded lies on both nodes",
    *(
        check.format(node)
        for node in (0, 1)
        for check in (
            "the worker that serves node {} may run on that node's CPUs only",
            "calls from node {} go to the worker there",
            "a loan of node {} lies there",
            "a loan of node {} reaches the worker there",
            "a large payload from node {} arrives",
            "a large reply from node {} is read in place",
            "the response arena of node {} lies there",
            "the request arena's region of node {} prefers it",
            "the request arena's region of node {} lies there",
            "what the user's code takes in the worker of node {} lies there",
            "all private memory of the worker of node {} prefers that node",
        )
    ),
]
# Of the first two channels and of the one that a killed worker's replacement has.
CHECKS_PER_CHANNEL = [
    "the segment {}-host prefers node",
    "the segment {}-worker prefers node",
    "the segment {}-responses prefers node",
    "the segment {}-host of node",
    "the segment {}-worker of node",
    "get_mempolicy says so, too, of {}-host",
]


def find_kernel() -> Path:
    kernels = sorted(Path(os.environ["SAMOVAR_NUMA_KERNEL"]).glob("vmlinuz-*"))
    assert kernels, f"no kernel in {os.environ['SAMOVAR_NUMA_KERNEL']}: {HOW_TO_GET_IT}"
    return kernels[-1]


def find_qemu() -> str:
    qemu = shutil.which("qemu-system-x86_64")
    assert qemu, f"no qemu-system-x86_64 (Debian package qemu-system-x86): {HOW_TO_GET_IT}"
    return qemu


def write_initramfs(archive: Path, guest: Path, python: Path) -> None:
    system = Initramfs()
    for folder in ("/proc", "/sys", "/dev", "/tmp"):
        system.add_folder(folder)
    system.add_binary(guest)
    system.add_binary(python)
    system.add_tree(Path(sysconfig.get_path("stdlib")))
    system.add_tree(guest.parents[1] / "python")  # where the library looks for its package
    system.add_file(MODELS)
    system.write(archive)


def boot(folder: Path) -> str:
    """The console's output of a machine that runs the guest's program as its first process, and is off."""
    qemu, kernel = find_qemu(), find_kernel()
    guest = Path(os.environ["SAMOVAR_NUMA_GUEST"]).resolve()
    python = Path(sys.executable).resolve()
    archive = folder / "initramfs.cpio"
    write_initramfs(archive, guest, python)
    command = [qemu, "-accel", "tcg", "-cpu", "max", "-nodefaults", "-no-user-config", "-display", "none"]
    command += ["-no-reboot", "-serial", "stdio", "-kernel", str(kernel), "-initrd", str(archive)]
    command += ["-m", "2G", "-smp", "4"]
    for node, cpus in ((0, "0-1"), (1, "2-3")):
        command += ["-object", f"memory-backend-ram,id=memory{node},size=1G"]
        command += ["-numa", f"node,nodeid={node},cpus={cpus},memdev=memory{node}"]
    command += ["-numa", "dist,src=0,dst=1,val=20"]
    # What follows `--` are the arguments of the first process; what the kernel does not know is its environment.
    command += ["-append", f"console=ttyS0 panic=-1 quiet rdinit={guest} SAMOVAR_PYTHON={python} -- {MODELS}"]
    try:
        finished = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired as late:
        said = (late.stdout or b"").decode(errors="replace")
        pytest.fail(f"the machine was not done within {LIMIT_S} s; the end of its console:\n{said[-4000:]}")
    (folder / "console.log").write_text(finished.stdout + finished.stderr)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_pages_lie_on_the_nodes_of_their_workers_and_callers() -> None:
    folder = Path(os.environ["SAMOVAR_NUMA_FOLDER"])
    console = boot(folder)
    print(console)
    lines = console.splitlines()

    failed = [line for line in lines if line.startswith("FAILED")]
    assert not failed, "\n".join([*failed, "the whole is in " + str(folder / "console.log")])
    assert "done, 0 failed" in lines, f"the guest's program did not come to its end:\n{console[-4000:]}"
    channels = [line.split()[4].removesuffix(",") for line in lines if line.startswith("ok") and "-host prefers" in line]
    channels = [name.removesuffix("-host") for name in channels]
    assert len(channels) == 3, channels
    wanted = CHECKS + [check.format(channel) for channel in channels for check in CHECKS_PER_CHANNEL]
    missing = [check for check in wanted if not any(line.startswith("ok - " + check) for line in lines)]
    assert not missing, "\n".join(missing)
