"""8 MiB by multiprocessing.shared_memory: one block for arguments, one for results, and a pipe that says which is written.

Three copies: the argument into its block (the worker reads it there), the result into its block, and the result out of it,
since the next call overwrites it.
"""

from __future__ import annotations

import multiprocessing
from multiprocessing.connection import Connection
from multiprocessing.shared_memory import SharedMemory

import numpy as np
from rounds import settle_worker, worker_cpu
from tensor_rounds import BYTES, ELEMENTS, Array, answer, serve_rounds

WRITTEN = b"w"


def array_in(block: SharedMemory) -> Array:
    return np.ndarray(ELEMENTS, np.float32, block.buf)


def work(requests: Connection, arguments: str, results: str, cpu: int) -> None:
    settle_worker(cpu)
    argument_block, result_block = SharedMemory(arguments), SharedMemory(results)
    argument, result = array_in(argument_block), array_in(result_block)
    while True:
        try:
            requests.recv_bytes()
        except EOFError:
            return
        result[:] = answer(argument)
        requests.send_bytes(WRITTEN)


def use(requests: Connection, argument_block: SharedMemory, result_block: SharedMemory) -> None:
    argument, result = array_in(argument_block), array_in(result_block)

    def call(array: Array) -> Array:
        argument[:] = array
        requests.send_bytes(WRITTEN)
        requests.recv_bytes()
        return result.copy()

    serve_rounds(call)


def main() -> None:
    ours, theirs = multiprocessing.Pipe()
    argument_block, result_block = (SharedMemory(create=True, size=BYTES) for _ in range(2))
    # spawn: a forked worker would hold our end, too, and never see it close.
    context = multiprocessing.get_context("spawn")
    names = (argument_block.name, result_block.name)
    worker = context.Process(target=work, args=(theirs, *names, worker_cpu()), daemon=True)
    worker.start()
    theirs.close()
    try:
        use(ours, argument_block, result_block)
    finally:
        ours.close()
        worker.join()
        for block in (argument_block, result_block):
            block.close()
            block.unlink()


if __name__ == "__main__":
    main()
