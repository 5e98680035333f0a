"""8 MiB by ZeroMQ: REQ and REP over ipc:// (a Unix socket), sent and received without a copy of pyzmq's own.

What is left are the kernel's two, into the socket and out of it, for each direction.
"""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
from rounds import settle_worker, worker_cpu
from tensor_rounds import Array, answer, serve_rounds

try:
    import zmq
except ImportError as error:
    print(f"{error} (pyzmq is in .venv: make setup)", flush=True)
    sys.exit(1)


def array_of(frame: zmq.Frame) -> Array:
    return np.frombuffer(frame.buffer, np.float32)  # which keeps the frame


def work(address: str, cpu: int) -> None:
    settle_worker(cpu)  # before the context, so that its I/O thread is pinned, too
    socket = zmq.Context().socket(zmq.REP)
    socket.connect(address)
    while len(frame := socket.recv(copy=False)) > 0:
        socket.send(answer(array_of(frame)), copy=False)


def main() -> None:
    if len(sys.argv) == 3:
        work(sys.argv[2], worker_cpu())
        return
    address = f"ipc://@samovar-bench-tensor-{os.getpid()}"
    socket = zmq.Context().socket(zmq.REQ)
    socket.bind(address)
    worker = subprocess.Popen([sys.executable, __file__, str(worker_cpu()), address], stdout=subprocess.DEVNULL)

    def call(argument: Array) -> Array:
        socket.send(argument, copy=False)
        return array_of(socket.recv(copy=False))

    try:
        serve_rounds(call)
        socket.send(b"")  # ends the worker
    finally:
        try:
            worker.wait(1)
        except subprocess.TimeoutExpired:
            worker.kill()


if __name__ == "__main__":
    main()
