"""8 MiB by multiprocessing.Pipe: send() pickles the array and writes it to a socket pair, recv() reads and unpickles it."""

from __future__ import annotations

import multiprocessing
from multiprocessing.connection import Connection

from rounds import settle_worker, worker_cpu
from tensor_rounds import Array, answer, serve_rounds


def work(requests: Connection, cpu: int) -> None:
    settle_worker(cpu)
    while True:
        try:
            argument = requests.recv()
        except EOFError:
            return
        requests.send(answer(argument))


def main() -> None:
    ours, theirs = multiprocessing.Pipe()
    # spawn: a forked worker would hold our end, too, and never see it close.
    context = multiprocessing.get_context("spawn")
    worker = context.Process(target=work, args=(theirs, worker_cpu()), daemon=True)
    worker.start()
    theirs.close()

    def call(argument: Array) -> Array:
        ours.send(argument)
        result: Array = ours.recv()
        return result

    serve_rounds(call)
    ours.close()
    worker.join()


if __name__ == "__main__":
    main()
