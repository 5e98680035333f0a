"""What modules of `samovar bench` that take part in a burst have in common."""

import os
import time


def begin(seconds):
    """Is busy for some time, and says when it began to be: CLOCK_MONOTONIC, ns, and in which process."""
    began = time.monotonic_ns()
    time.sleep(seconds)
    return [began, os.getpid()]
