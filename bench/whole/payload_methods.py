"""The methods that `samovar bench payload` calls: those of noop.py, and some for arrays, batches and streams."""

import numpy as np
import samovar
from noop import noop, pid  # noqa: F401  methods


@samovar.method
def another(array, *, ctx):
    return ctx.empty(array.shape, np.float32)


@samovar.method
def total(array):
    return float(array.sum())


@samovar.method(batch=True, max_batch=32)
def each(items):
    return items


@samovar.method
def chunks(count_and_size):
    count, size = count_and_size
    chunk = bytes(size)
    for _ in range(count):
        yield chunk
