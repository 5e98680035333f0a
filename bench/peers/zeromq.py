"""ZeroMQ: REQ and REP over ipc:// (a Unix socket in the abstract name space), worker in a second Python process."""

from __future__ import annotations

import os
import subprocess
import sys

from rounds import noop, serve_rounds, settle_worker, worker_cpu

try:
    import zmq
except ImportError as error:
    print(f"{error} (pyzmq is in .venv: make setup)", flush=True)
    sys.exit(1)


def work(address: str, cpu: int) -> None:
    settle_worker(cpu)  # before the context, so that its I/O thread is pinned, too
    socket = zmq.Context().socket(zmq.REP)
    socket.connect(address)
    while payload := socket.recv():
        socket.send(noop(payload))


def main() -> None:
    if len(sys.argv) == 3:
        work(sys.argv[2], worker_cpu())
        return
    address = f"ipc://@samovar-bench-{os.getpid()}"
    socket = zmq.Context().socket(zmq.REQ)
    socket.bind(address)
    worker = subprocess.Popen([sys.executable, __file__, str(worker_cpu()), address], stdout=subprocess.DEVNULL)

    def call(payload: bytes) -> bytes:
        socket.send(payload)
        reply: bytes = socket.recv()
        return reply

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
