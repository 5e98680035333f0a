"""The methods that `samovar bench payload` calls: those of noop.py, and some that take and make arrays."""

import numpy as np
import samovar
from noop import noop, pid  # noqa: F401  methods


@samovar.method
def another(array, *, ctx):
    return ctx.empty(array.shape, np.float32)


@samovar.method
def total(array):
    return float(array.sum())
