"""Its first worker starts and no further one: a worker that cannot be replaced until its folder is mended."""

import os
import sys
from pathlib import Path

import samovar

marker = Path(os.environ["SAMOVAR_TEST_MARKER"])


def start():
    if marker.exists():
        raise RuntimeError("cannot load twice")
    marker.touch()


if "samovar.nursery" in sys.orig_argv:
    samovar.after_fork(start)
else:
    start()


@samovar.method
def pid():
    return os.getpid()


@samovar.method
def die(status):
    os._exit(status)
