"""concurrent.futures.ProcessPoolExecutor: submit().result() with one worker process."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

from rounds import noop, serve_rounds, settle_worker, worker_cpu


def main() -> None:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=settle_worker, initargs=(worker_cpu(),)) as executor:

        def call(payload: bytes) -> bytes:
            return executor.submit(noop, payload).result()

        call(b"start the worker")
        serve_rounds(call)


if __name__ == "__main__":
    main()
