"""multiprocessing.Pipe: pickled bytes over a socket pair to one worker process."""

from __future__ import annotations

import multiprocessing
from multiprocessing.connection import Connection

from rounds import noop, serve_rounds, settle_worker, worker_cpu


def work(requests: Connection, cpu: int) -> None:
    settle_worker(cpu)
    while True:
        try:
            payload = requests.recv()
        except EOFError:
            return
        requests.send(noop(payload))


def main() -> None:
    ours, theirs = multiprocessing.Pipe()
    # spawn: a forked worker would hold our end, too, and never see it close.
    context = multiprocessing.get_context("spawn")
    worker = context.Process(target=work, args=(theirs, worker_cpu()), daemon=True)
    worker.start()
    theirs.close()

    def call(payload: bytes) -> bytes:
        ours.send(payload)
        reply: bytes = ours.recv()
        return reply

    serve_rounds(call)
    ours.close()
    worker.join()


if __name__ == "__main__":
    main()
