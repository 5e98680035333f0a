"""Loads the first time and not again: a worker that cannot be replaced until its folder is mended."""

import os
from pathlib import Path

import samovar

marker = Path(os.environ["SAMOVAR_TEST_MARKER"])
if marker.exists():
    raise RuntimeError("cannot load twice")
marker.touch()


@samovar.method
def pid():
    return os.getpid()


@samovar.method
def die(status):
    os._exit(status)
